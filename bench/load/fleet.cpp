// SPDX-License-Identifier: Apache-2.0
#include "bench/load/fleet.hpp"

#include <algorithm>
#include <stdexcept>

namespace callgate::load {

std::optional<client_library> find_library(std::string_view name) noexcept {
    client_library made;
    if (name == "nats.go") {
        made.name = "nats.go";
    } else if (name == "libnats") {
        made.name = "libnats";
    } else if (name == "nats.js") {
        made.name = "nats.js";
        made.waits_from_attempt = true;
        made.timeout_ns = 20'000'000'000;
        made.max_attempts = 10;
    } else {
        return std::nullopt;
    }
    return made;
}

fleet::fleet(std::size_t size, const client_library& library, std::uint64_t seed) : library_(library), clients_(size), random_(seed) {}

std::int64_t fleet::jitter() {
    return library_.jitter_ns <= 0 ? 0 : std::uniform_int_distribution<std::int64_t>(0, library_.jitter_ns - 1)(random_);
}

void fleet::wait_until(std::size_t index, std::int64_t due) {
    auto& c = clients_.at(index);
    c.now = state::waiting;
    c.due = due;
    due_.push({due, index});
}

void fleet::begin(std::int64_t now) {
    for (std::size_t i = 0; i < clients_.size(); ++i) wait_until(i, library_.waits_from_attempt ? now : now + jitter());
}

void fleet::begin_at(std::size_t index, std::int64_t due) {
    if (clients_.at(index).now != state::idle) throw std::logic_error("a client began twice");
    wait_until(index, due);
}

void fleet::again(std::size_t index, std::int64_t now) {
    const auto pause = library_.wait_ns + jitter();
    const auto& c = clients_.at(index);
    wait_until(index, library_.waits_from_attempt ? std::max(now, c.attempt_at + pause) : now + pause);
}

void fleet::lost(std::size_t index, std::int64_t now) {
    auto& c = clients_.at(index);
    if (c.now == state::in) --in_;
    else if (c.now != state::idle) throw std::logic_error("a client that was not connected lost its connection");
    c.refusals = c.failures = 0;
    // It connected long before: nats.js dials at once.
    if (library_.waits_from_attempt) wait_until(index, std::max(now, c.attempt_at + library_.wait_ns));
    else again(index, now);
}

std::optional<std::size_t> fleet::pop_due(std::int64_t now) {
    if (due_.empty() || due_.top().due > now) return std::nullopt;
    const auto index = due_.top().client;
    due_.pop();
    auto& c = clients_[index];
    c.now = state::trying;
    c.attempt_at = now;
    ++trying_;
    ++attempts_;
    return index;
}

std::optional<std::int64_t> fleet::next_due() const {
    if (due_.empty()) return std::nullopt;
    return due_.top().due;
}

void fleet::entered(std::size_t index) {
    auto& c = clients_.at(index);
    if (c.now != state::trying) throw std::logic_error("a client that was not trying is in");
    c.now = state::in;
    c.refusals = c.failures = 0;
    --trying_;
    ++in_;
}

bool fleet::refused(std::size_t index, std::int64_t now) {
    auto& c = clients_.at(index);
    if (c.now != state::trying) throw std::logic_error("a client that was not trying was refused");
    ++c.refusals;
    return close_or_again(index, now);
}

bool fleet::failed(std::size_t index, std::int64_t now) {
    if (clients_.at(index).now != state::trying) throw std::logic_error("a client that was not trying has failed");
    return close_or_again(index, now);
}

bool fleet::close_or_again(std::size_t index, std::int64_t now) {
    auto& c = clients_[index];
    --trying_;
    ++c.failures;
    const bool gives_up = (library_.closed_after != 0 && c.refusals >= library_.closed_after) || (library_.max_attempts != 0 && c.failures >= library_.max_attempts);
    if (!gives_up) {
        again(index, now);
        return false;
    }
    c.now = state::closed;
    ++closed_;
    return true;
}

}  // namespace callgate::load

// SPDX-License-Identifier: Apache-2.0
#include "bench/load/peer_loop.hpp"

#include <poll.h>
#include <sys/prctl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <stdexcept>

#include "bench/load/schedule.hpp"

namespace callgate::load {

std::int64_t steady_ns() noexcept { return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::int64_t wall_offset_ns() noexcept {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count() - steady_ns();
}

peer_loop::peer_loop(peer_book& book, std::vector<std::unique_ptr<broker_link>>& links, std::int64_t patience_ns, std::int64_t interval_ns)
    : book_(book), links_(links), patience_(patience_ns), interval_length_(interval_ns) {
    // The kernel may else wake us 50 µs late.
    ::prctl(PR_SET_TIMERSLACK, 1UL);
}

void peer_loop::send(std::uint64_t id, std::int64_t intended_ns, std::int64_t now) {
    auto& a = book_.at(id);
    a.intended_ns = intended_ns;
    a.sent_ns = now;
    send_lag_.record(now - intended_ns);
    links_[a.made.server % links_.size()]->queue(a.made.wire);
    waiting_.push_back(id);
    ++in_flight_;
    ++current_.sent;
}

void peer_loop::give_up(peer_driver& driver, std::int64_t now) {
    while (!waiting_.empty()) {
        auto& a = book_.at(waiting_.front());
        if (a.replies == 0) {
            if (a.intended_ns + patience_ > now) return;
            a.given_up = true;
            --in_flight_;
            ++current_.given_up;
            waiting_.pop_front();
            driver.given_up(*this, a, now);
        } else {
            waiting_.pop_front();
        }
    }
}

void peer_loop::close_interval() {
    current_.in_flight = in_flight_;
    const auto begin = current_.begin_ns + interval_length_;
    intervals_.push_back(std::move(current_));
    current_ = {};
    current_.begin_ns = begin;
}

void peer_loop::roll_interval(const peer_driver& driver, std::int64_t now) {
    const double rate = driver.offered_rate(now - start_);
    const double backlog = backlog_ms(in_flight_, rate);
    current_.offered_rate = rate;
    current_.backlog_ms = std::max(current_.backlog_ms, backlog);
    most_backlog_ms_ = std::max(most_backlog_ms_, backlog);
    while (now - start_ >= current_.begin_ns + interval_length_) close_interval();
}

void peer_loop::wait(peer_driver* driver, std::int64_t wake) {
    std::array<pollfd, 64> polled;
    for (std::size_t i = 0; i < links_.size(); ++i)
        polled[i] = {links_[i]->fd(), static_cast<short>(POLLIN | (links_[i]->wants_write() ? POLLOUT : 0)), 0};
    const auto left = std::max<std::int64_t>(0, wake - steady_ns());
    const timespec limit{left / 1'000'000'000, left % 1'000'000'000};
    const int ready = ::ppoll(polled.data(), links_.size(), &limit, nullptr);
    if (ready < 0 && errno != EINTR) throw std::runtime_error(std::string("ppoll: ") + std::strerror(errno));
    if (ready <= 0) return;
    for (std::size_t i = 0; i < links_.size(); ++i) {
        if ((polled[i].revents & (POLLIN | POLLHUP | POLLERR)) == 0 || !links_[i]->fill()) continue;
        // All of these were there at this moment; what is done with each of them must not count as the service's time.
        const auto now = steady_ns();
        links_[i]->drain([&](std::string_view subject, std::string_view payload) {
            auto* a = book_.take_reply(subject, payload, now);
            if (a == nullptr) return;
            if (a->given_up) {
                ++current_.late;
                return;
            }
            --in_flight_;
            last_reply_ = now;
            ++current_.replied;
            latency_.record(now - a->intended_ns);
            current_.latency.record(now - a->intended_ns);
            if (driver != nullptr) driver->replied(*this, *a, now);
        });
    }
}

void peer_loop::run(peer_driver& driver, std::int64_t start_ns) {
    waiting_.clear();
    intervals_.clear();
    current_ = {};
    latency_ = {};
    send_lag_ = {};
    in_flight_ = 0;
    most_backlog_ms_ = 0;
    start_ = last_reply_ = start_ns;
    while (steady_ns() < start_ns) wait(nullptr, start_ns);
    for (;;) {
        const auto now = steady_ns();
        give_up(driver, now);
        driver.send_due(*this, now);
        for (auto& link : links_) link->flush();
        roll_interval(driver, now);
        if (driver.done(*this, now)) break;
        std::int64_t wake = std::min(driver.next_wake(), start_ + current_.begin_ns + interval_length_);
        if (!waiting_.empty()) wake = std::min(wake, book_.at(waiting_.front()).intended_ns + patience_);
        if (wake > now && driver.idle_work()) wake = 0;
        wait(&driver, wake);
    }
    close_interval();
}

void peer_loop::linger(std::int64_t for_ns) {
    for (const auto end = steady_ns() + for_ns; steady_ns() < end;) wait(nullptr, end);
}

}  // namespace callgate::load

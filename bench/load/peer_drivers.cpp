// SPDX-License-Identifier: Apache-2.0
#include "bench/load/peer_drivers.hpp"

namespace callgate::load {

void closed_driver::send_due(peer_loop& loop, std::int64_t now) {
    if (now >= end_ns_) return;
    while (next_ != end_ && loop.in_flight() < width_) loop.send(next_++, now, now);
}

void open_driver::send_due(peer_loop& loop, std::int64_t now) {
    while (!ended()) {
        const auto intended = start_ + plan_.intended_ns(next_);
        if (intended > now) return;
        last_rate_ = plan_.rate_at(intended - start_);
        if (stop_at_backlog_ms_ > 0 && backlog_ms(loop.in_flight(), last_rate_) >= stop_at_backlog_ms_) {
            stopped_at_ = last_rate_;
            return;
        }
        loop.send(first_ + next_++, intended, now);
    }
}

storm_driver::storm_driver(peer_book& book, const request_maker& maker, fleet& clients, std::uint64_t first, std::int64_t start_ns, std::int64_t end_ns,
                           std::int64_t life_s, std::int64_t wall_offset_ns)
    : book_(book), maker_(maker), clients_(clients), start_(start_ns), end_ns_(end_ns), life_s_(life_s), wall_offset_(wall_offset_ns), ready_(clients.size()) {
    for (std::size_t i = 0; i < ready_.size(); ++i) ready_[i] = static_cast<std::int64_t>(first + i);
    entries_.reserve(clients.size());
}

std::uint64_t storm_driver::make(std::uint64_t client) {
    const auto id = book_.size();
    const auto iat = (clients_.due_of(client) + wall_offset_) / 1'000'000'000;
    book_.add(maker_.make(id, client, iat, life_s_), client);
    return id;
}

bool storm_driver::idle_work() {
    while (!to_prepare_.empty()) {
        const auto client = to_prepare_.front();
        to_prepare_.pop_front();
        if (clients_.state_of(client) != fleet::state::waiting || ready_[client] >= 0) continue;
        ready_[client] = static_cast<std::int64_t>(make(client));
        return true;
    }
    return false;
}

void storm_driver::send_due(peer_loop& loop, std::int64_t now) {
    if (now >= end_ns_) return;
    while (const auto client = clients_.pop_due(now)) {
        if (ready_[*client] < 0) {
            ++made_late_;
            ready_[*client] = static_cast<std::int64_t>(make(*client));
        }
        loop.send(static_cast<std::uint64_t>(ready_[*client]), clients_.due_of(*client), now);
        ready_[*client] = -1;
    }
}

bool storm_driver::done(const peer_loop&, std::int64_t now) const { return clients_.in() + clients_.closed() == clients_.size() || now >= end_ns_; }

void storm_driver::refused(peer_loop& loop, std::uint64_t client, std::int64_t now) {
    if (clients_.refused(client, now)) ++loop.current().closed;
    else to_prepare_.push_back(client);
}

void storm_driver::replied(peer_loop& loop, attempt& a, std::int64_t now) {
    if (looks_allowed(a.payload, maker_.servers()[a.made.server])) {
        clients_.entered(a.client);
        entries_.push_back(now - start_);
        ++loop.current().allowed;
        return;
    }
    ++loop.current().refused;
    refused(loop, a.client, now);
}

void storm_driver::given_up(peer_loop& loop, attempt& a, std::int64_t now) { refused(loop, a.client, now); }

}  // namespace callgate::load

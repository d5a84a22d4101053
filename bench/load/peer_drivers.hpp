// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "bench/load/fleet.hpp"
#include "bench/load/peer_loop.hpp"
#include "bench/load/schedule.hpp"

/// The ways of offering load. Each takes requests that stand in the book already; only the retries of a storm are made while
/// it runs, and as far as possible while the loop has nothing else to do.
namespace callgate::load {

/// N in flight, the next one when a reply came or was given up.
class closed_driver final : public peer_driver {
  public:
    /// Requests [first, first + count) of the book; none is sent after `end_ns`.
    closed_driver(std::uint64_t first, std::uint64_t count, std::uint32_t in_flight, std::int64_t end_ns)
        : next_(first), end_(first + count), width_(in_flight), end_ns_(end_ns) {}
    void send_due(peer_loop& loop, std::int64_t now) override;
    [[nodiscard]] std::int64_t next_wake() const override { return never_ns; }
    [[nodiscard]] bool done(const peer_loop& loop, std::int64_t now) const override { return loop.in_flight() == 0 && (next_ == end_ || now >= end_ns_); }

  private:
    std::uint64_t next_, end_;
    std::uint32_t width_;
    std::int64_t end_ns_;
};

/// By the clock, whatever became of those before.
class open_driver final : public peer_driver {
  public:
    /// Requests [first, first + plan.count()). stop_at_backlog_ms: offers nothing more once so much is waiting; 0: never.
    open_driver(std::uint64_t first, const schedule& plan, std::int64_t start_ns, double stop_at_backlog_ms)
        : first_(first), plan_(plan), start_(start_ns), stop_at_backlog_ms_(stop_at_backlog_ms) {}
    void send_due(peer_loop& loop, std::int64_t now) override;
    [[nodiscard]] std::int64_t next_wake() const override { return ended() ? never_ns : start_ + plan_.intended_ns(next_); }
    [[nodiscard]] bool done(const peer_loop& loop, std::int64_t) const override { return ended() && loop.in_flight() == 0; }
    [[nodiscard]] double offered_rate(std::int64_t after_start) const override { return ended() ? last_rate_ : plan_.rate_at(after_start); }
    /// The rate at which stop_at_backlog_ms was reached.
    [[nodiscard]] std::optional<double> stopped_at() const noexcept { return stopped_at_; }

  private:
    [[nodiscard]] bool ended() const noexcept { return stopped_at_ || next_ == plan_.count(); }
    std::uint64_t first_, next_ = 0;
    schedule plan_;
    std::int64_t start_;
    double stop_at_backlog_ms_, last_rate_ = 0;
    std::optional<double> stopped_at_;
};

/// Clients of a fleet that all want in, with their library's patience.
class storm_driver final : public peer_driver {
  public:
    /// The fleet has begun; request first + c is the first attempt of client c. Ends when all are in or closed, or at `end_ns`.
    storm_driver(peer_book& book, const request_maker& maker, fleet& clients, std::uint64_t first, std::int64_t start_ns, std::int64_t end_ns,
                 std::int64_t life_s, std::int64_t wall_offset_ns);
    void send_due(peer_loop& loop, std::int64_t now) override;
    [[nodiscard]] std::int64_t next_wake() const override { return std::min(clients_.next_due().value_or(never_ns), end_ns_); }
    [[nodiscard]] bool done(const peer_loop& loop, std::int64_t now) const override;
    void replied(peer_loop& loop, attempt& a, std::int64_t now) override;
    void given_up(peer_loop& loop, attempt& a, std::int64_t now) override;
    bool idle_work() override;

    /// ns after the start at which the clients got in, ascending.
    [[nodiscard]] const std::vector<std::int64_t>& entries() const noexcept { return entries_; }
    [[nodiscard]] std::uint64_t made_late() const noexcept { return made_late_; }  ///< retries that had to be signed when they were due

  private:
    void refused(peer_loop& loop, std::uint64_t client, std::int64_t now);
    std::uint64_t make(std::uint64_t client);

    peer_book& book_;
    const request_maker& maker_;
    fleet& clients_;
    std::int64_t start_, end_ns_, life_s_, wall_offset_;
    std::vector<std::int64_t> ready_;       // of each client: id of its next request, or -1
    std::deque<std::uint64_t> to_prepare_;  // clients that will need one
    std::vector<std::int64_t> entries_;
    std::uint64_t made_late_ = 0;
};

}  // namespace callgate::load

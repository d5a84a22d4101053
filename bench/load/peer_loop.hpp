// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <vector>

#include "bench/load/broker_link.hpp"
#include "bench/load/peer_book.hpp"

namespace callgate::load {

[[nodiscard]] std::int64_t steady_ns() noexcept;
/// Unix time minus steady clock, now.
[[nodiscard]] std::int64_t wall_offset_ns() noexcept;

inline constexpr std::int64_t never_ns = std::numeric_limits<std::int64_t>::max();

class peer_loop;

/// Decides what is sent when. Called by peer_loop on its thread; times are of the steady clock.
class peer_driver {
  public:
    virtual ~peer_driver() = default;
    virtual void send_due(peer_loop& loop, std::int64_t now) = 0;
    /// The next moment at which send_due has something to do by itself; never_ns: only after a reply.
    [[nodiscard]] virtual std::int64_t next_wake() const = 0;
    [[nodiscard]] virtual bool done(const peer_loop& loop, std::int64_t now) const = 0;
    /// First reply, in time.
    virtual void replied(peer_loop&, attempt&, std::int64_t) {}
    /// Nobody waits for this one any more.
    virtual void given_up(peer_loop&, attempt&, std::int64_t) {}
    /// Something that can be done while nothing else is to do, a few 10 µs at most. False: nothing.
    virtual bool idle_work() { return false; }
    /// Requests a second that are offered at that moment; 0: the driver follows the service (closed loop).
    [[nodiscard]] virtual double offered_rate(std::int64_t) const { return 0; }
};

/// Sends and receives on one thread: ppoll over the links, no lock, no allocation for a message.
class peer_loop {
  public:
    /// patience_ns: how long a reply is waited for, from the intended moment.
    peer_loop(peer_book& book, std::vector<std::unique_ptr<broker_link>>& links, std::int64_t patience_ns, std::int64_t interval_ns);

    /// Until the driver is done. The clock starts at `start_ns`, which may lie ahead.
    void run(peer_driver& driver, std::int64_t start_ns);
    /// Goes on receiving, so that second replies are seen.
    void linger(std::int64_t for_ns);

    /// For the driver. `client` chooses the link, as it does the server.
    void send(std::uint64_t id, std::int64_t intended_ns, std::int64_t now);
    [[nodiscard]] std::uint64_t in_flight() const noexcept { return in_flight_; }
    [[nodiscard]] interval& current() noexcept { return current_; }

    [[nodiscard]] const std::vector<interval>& intervals() const noexcept { return intervals_; }
    [[nodiscard]] const histogram& latency() const noexcept { return latency_; }    ///< of replies in time
    [[nodiscard]] const histogram& send_lag() const noexcept { return send_lag_; }  ///< sent minus intended: the generator's own lateness
    [[nodiscard]] std::int64_t last_reply_ns() const noexcept { return last_reply_; }
    [[nodiscard]] std::int64_t start_ns() const noexcept { return start_; }
    [[nodiscard]] double most_backlog_ms() const noexcept { return most_backlog_ms_; }

  private:
    void give_up(peer_driver& driver, std::int64_t now);
    void roll_interval(const peer_driver& driver, std::int64_t now);
    void close_interval();
    /// Waits until `wake` for something to read, and takes it.
    void wait(peer_driver* driver, std::int64_t wake);

    peer_book& book_;
    std::vector<std::unique_ptr<broker_link>>& links_;
    const std::int64_t patience_, interval_length_;
    std::deque<std::uint64_t> waiting_;  // in the order of their intended moments
    std::vector<interval> intervals_;
    interval current_;
    histogram latency_, send_lag_;
    std::uint64_t in_flight_ = 0;
    std::int64_t start_ = 0, last_reply_ = 0;
    double most_backlog_ms_ = 0;
};

}  // namespace callgate::load

// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bench/load/histogram.hpp"
#include "bench/load/reply_check.hpp"

namespace callgate::load {

/// One request of a peer run and what became of it. Times in ns of the steady clock; 0 = never.
struct attempt {
    made_request made;
    std::uint64_t client = 0;
    std::int64_t intended_ns = 0, sent_ns = 0, replied_ns = 0;
    std::uint32_t replies = 0;
    bool given_up = false;     ///< its server stopped waiting before a reply came
    std::string_view payload;  ///< of the first reply; lies in the book
};

/// What a stretch of time brought.
struct interval {
    std::int64_t begin_ns = 0;  ///< after the start of the clock
    std::uint64_t sent = 0, replied = 0, late = 0, given_up = 0;
    std::uint64_t allowed = 0, refused = 0, closed = 0;  ///< storms
    std::uint64_t in_flight = 0;                          ///< at its end
    double offered_rate = 0, backlog_ms = 0;              ///< at its end; backlog: the most within it
    histogram latency;                                    ///< from the intended moment, of what was replied in time
};

struct peer_totals {
    std::uint64_t sent = 0;
    std::uint64_t replied = 0;     ///< first replies, in time
    std::uint64_t late = 0;        ///< first replies that came when nobody waited any more
    std::uint64_t unanswered = 0;  ///< no reply at all
    std::uint64_t doubled = 0;     ///< replies beyond the first
    std::uint64_t stray = 0;       ///< replies to subjects never asked from
    std::uint64_t allowed = 0, denied = 0, invalid = 0;  ///< of the first replies, late ones included
    std::map<std::string, std::uint64_t> invalid_reasons, denied_reasons;
};

/// All requests of a run by their inbox id, and the replies as they came, to be judged when the clock has stopped.
/// One thread, except judge().
class peer_book {
  public:
    explicit peer_book(const request_maker& maker) : maker_(maker) {}

    /// Largest number of requests in one run: each keeps about 3 KB until the end.
    static constexpr std::uint64_t max_requests = 600'000;
    /// Replies are kept up to this sum; what comes on top is counted and not stored.
    static constexpr std::size_t max_reply_bytes = std::size_t{2} << 30;

    attempt& add(made_request made, std::uint64_t client);
    [[nodiscard]] attempt& at(std::uint64_t id) { return attempts_.at(id); }
    [[nodiscard]] std::uint64_t size() const noexcept { return attempts_.size(); }

    /// A message to $SYS._INBOX.<hash>.<id>. The attempt if this is its first reply; else nullptr, and it is counted.
    attempt* take_reply(std::string_view subject, std::string_view payload, std::int64_t now_ns);

    /// Verifies every first reply of attempts from `first` on, with all processors, and sums up. wall_offset_ns: unix time
    /// minus steady clock.
    [[nodiscard]] peer_totals judge(std::uint64_t first, const expectation& expected, std::int64_t wall_offset_ns) const;

  private:
    std::string_view keep(std::string_view payload);

    const request_maker& maker_;
    std::deque<attempt> attempts_;
    std::vector<std::unique_ptr<char[]>> blocks_;
    std::size_t kept_bytes_ = 0, block_used_ = 0, block_size_ = 0;
    std::uint64_t stray_ = 0;
};

}  // namespace callgate::load

// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstdint>
#include <queue>
#include <string_view>
#include <vector>

#include "engine/flow/ports.hpp"
#include "engine/flow/token_bucket.hpp"

namespace callgate::flow {

/// Pending connections to be closed at their server so that their clients come again: what a verified request
/// gets that could not be served. Not at once, or every shed client would be back within milliseconds, and from
/// a budget, since a storm of kicks is a storm too (decisions.md, Engine 8; review.md 2.5).
class kick_schedule {
  public:
    static constexpr std::size_t max_waiting = 16384;

    /// Between `due_ns` and `until_ns`; after that the server has given up by itself. False: not kept.
    bool add(std::uint32_t link, std::string_view server_id, std::uint64_t cid, std::int64_t due_ns, std::int64_t until_ns) {
        if (waiting_.size() >= max_waiting || server_id.size() != id_chars || due_ns >= until_ns) return false;
        kick k{due_ns, until_ns, cid, link, {}};
        server_id.copy(k.server_id.data(), id_chars);
        waiting_.push(k);
        return true;
    }
    /// Executes what is due; returns how many were sent.
    std::size_t run(std::int64_t now_ns, reply_port& world) {
        std::size_t sent = 0;
        while (!waiting_.empty() && waiting_.top().due_ns <= now_ns) {
            const kick k = waiting_.top();
            waiting_.pop();
            if (now_ns >= k.until_ns || !world.can_kick(k.link) || !budget_.take(now_ns)) continue;
            world.kick(k.link, {k.server_id.data(), id_chars}, k.cid);
            ++sent;
        }
        return sent;
    }
    void set_rate(std::uint32_t per_second) { budget_.set_rate(per_second, per_second); }
    [[nodiscard]] std::int64_t next_ns() const noexcept { return waiting_.empty() ? INT64_MAX : waiting_.top().due_ns; }
    [[nodiscard]] std::size_t size() const noexcept { return waiting_.size(); }

  private:
    static constexpr std::size_t id_chars = 56;
    struct kick {
        std::int64_t due_ns, until_ns;
        std::uint64_t cid;
        std::uint32_t link;
        std::array<char, id_chars> server_id;
        friend bool operator>(const kick& a, const kick& b) noexcept { return a.due_ns > b.due_ns; }
    };
    std::priority_queue<kick, std::vector<kick>, std::greater<>> waiting_;
    token_bucket budget_{500, 500};
};

}  // namespace callgate::flow

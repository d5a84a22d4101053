// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <unordered_map>

#include "engine/flow/fingerprint.hpp"
#include "engine/flow/key_tables.hpp"

namespace callgate::flow {

/// What verified requests taught about the servers that sent them: their time budget, which accounts they have
/// certainly loaded, and whose signatures come often enough for a verification table. Bounded; forgetting costs a little latency, never correctness.
class server_book {
  public:
    /// A (server, account) pair is warm this long after its first reply was sent (review.md 2.8: a server takes
    /// up to 1.9 s to fetch an account).
    static constexpr std::int64_t warm_after_ns = 2'000'000'000;

    static constexpr std::size_t default_servers = 4096, default_pairs = 65536;
    explicit server_book(std::size_t max_servers = default_servers, std::size_t max_pairs = default_pairs,
                         std::shared_ptr<key_tables> tables = std::make_shared<key_tables>());

    /// Of the servers' own keys.
    key_ranking keys;

    /// `reply_hash` is the server's part of the reply subject, which nobody signed: it only chooses how long an
    /// unread message may wait. Another server's budget under the same hash counts only when it is longer.
    void learn_budget(std::string_view reply_hash, std::string_view server_id, std::int64_t budget_ns);
    /// 0 = unknown.
    [[nodiscard]] std::int64_t budget(std::string_view reply_hash) const noexcept;

    /// Should a reply that places a client into `placement` take the cold link?
    [[nodiscard]] bool is_cold(std::string_view server_id, std::string_view placement, std::int64_t now_ns);
    void replied(std::string_view server_id, std::string_view placement, std::int64_t now_ns);

  private:
    struct server {
        std::uint64_t id = 0;
        std::int64_t budget_ns = 0;
    };
    template <class Value>
    struct two_generations {
        std::unordered_map<std::uint64_t, Value> current, previous;
        std::size_t max = 0;
        Value* find(std::uint64_t k) {
            if (auto it = current.find(k); it != current.end()) return &it->second;
            const auto old = previous.find(k);
            if (old == previous.end()) return nullptr;
            const Value v = old->second;
            previous.erase(old);
            return &put(k, v);
        }
        Value& put(std::uint64_t k, Value v) {
            if (current.size() >= max / 2 + 1 && !current.contains(k)) {
                previous.swap(current);
                current.clear();
            }
            return current[k] = v;
        }
    };
    fingerprint_key hash_;
    two_generations<server> servers_;
    two_generations<std::int64_t> first_reply_ns_;
};

}  // namespace callgate::flow

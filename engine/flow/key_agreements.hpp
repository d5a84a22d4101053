// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "engine/flow/ports.hpp"
#include "engine/flow/shared_key_cache.hpp"
#include "engine/flow/token_bucket.hpp"

namespace callgate::flow {

/// Key agreements under way: one for each pair, however many requests wait for it, and a bounded rate of them,
/// because the peer key comes from a header that anybody inside the callout account can invent.
class key_agreements {
  public:
    static constexpr double per_second = 200, burst = 512;
    static constexpr std::size_t max_under_way = 1024;
    static constexpr std::int64_t bad_key_ns = 60'000'000'000, unavailable_ns = 1'000'000'000;

    explicit key_agreements(std::uint32_t shard) : shard_(shard) {}

    /// False: not possible now. True: the waiter is in what completed() returns, perhaps already queued when
    /// this returns.
    [[nodiscard]] bool start(key_port& provider, const key_binding& own, const crypto::key_bytes& peer, std::int64_t deadline_ns,
                             std::int64_t now_ns, request_tag waiter, completion_sink& sink) {
        for (auto& [id, a] : under_way_) {
            if (a.own != own.public_bytes || a.peer != peer) continue;
            a.waiters.push_back(waiter);
            return true;
        }
        if (under_way_.size() >= max_under_way || !rate_.take(now_ns)) return false;
        const auto id = next_id_++;
        under_way_.emplace(id, agreement{own.public_bytes, peer, {waiter}});
        provider.export_shared(shard_, own.key, peer, deadline_ns, id, sink);
        return true;
    }
    /// Puts the outcome into the cache; the requests that waited, or nullopt for an agreement nobody made.
    [[nodiscard]] std::optional<std::vector<request_tag>> completed(request_tag id, result<crypto::secret> shared, std::int64_t now_ns,
                                                                    shared_key_cache& cache) {
        auto node = under_way_.extract(id);
        if (node.empty()) return std::nullopt;
        auto& a = node.mapped();
        if (shared && shared->size() == 32) {
            cache.insert(a.own, a.peer, std::move(*shared));
        } else {
            // A low-order key stays one; a provider that did not answer may answer the next time.
            const bool hopeless = shared.has_error() && shared.error().code == errc::invalid;
            cache.insert_failure(a.own, a.peer, now_ns + (hopeless ? bad_key_ns : unavailable_ns));
        }
        return std::move(a.waiters);
    }
    [[nodiscard]] std::size_t size() const noexcept { return under_way_.size(); }

  private:
    struct agreement {
        crypto::key_bytes own, peer;
        std::vector<request_tag> waiters;
    };
    std::uint32_t shard_;
    std::unordered_map<request_tag, agreement> under_way_;
    request_tag next_id_ = 1;
    token_bucket rate_{per_second, burst};
};

}  // namespace callgate::flow

// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string_view>
#include <vector>

#include "engine/flow/fingerprint.hpp"

namespace callgate::flow {

/// One-time user keys seen, each until its request is no longer acceptable. Two generations of keyed 64-bit
/// fingerprints: a generation is forgotten when everything in it has expired. Bounded: when both are full the
/// older one is forgotten early, so this is best effort, for one process. The shards share one: a captured
/// request comes over any link, and each shard has links of its own. Every function is [any].
class replay_set {
  public:
    static constexpr std::size_t default_entries = std::size_t{1} << 20;
    /// The bound is divided evenly among the stripes (at least one entry each).
    explicit replay_set(std::size_t max_entries_per_generation = default_entries);
    replay_set(const replay_set&) = delete;
    replay_set& operator=(const replay_set&) = delete;
    /// False: seen before. `until_ns` (monotonic): from then on the request would be refused as expired.
    [[nodiscard]] bool insert(std::string_view user_nkey, std::int64_t now_ns, std::int64_t until_ns);
    [[nodiscard]] std::size_t size() const;

  private:
    // Open addressing, linear probing, 0 = free, at most half full.
    struct generation {
        std::vector<std::uint64_t> cells;
        std::size_t count = 0;
        std::int64_t until_ns = INT64_MIN;
        [[nodiscard]] bool contains(std::uint64_t fingerprint) const noexcept;
        void insert(std::uint64_t fingerprint);
        void grow();
        void clear();
    };
    // Picked by the fingerprint: shards rarely meet at one lock, and a table that grows holds up few of them.
    struct stripe {
        mutable std::mutex mutex;
        generation current, previous;
    };
    static constexpr unsigned stripe_bits = 4;
    const fingerprint_key key_;
    const std::size_t max_entries_;  // of a generation of one stripe
    std::array<stripe, std::size_t{1} << stripe_bits> stripes_;
};

}  // namespace callgate::flow

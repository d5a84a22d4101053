// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/flow/fingerprint.hpp"

namespace callgate::flow {

/// One-time user keys seen, each until its request is no longer acceptable. Two generations of keyed 64-bit
/// fingerprints: a generation is forgotten when everything in it has expired. Bounded: when both are full the
/// older one is forgotten early, so this is best effort, for one shard of one process.
class replay_set {
  public:
    explicit replay_set(std::size_t max_entries_per_generation = std::size_t{1} << 20);
    /// False: seen before. `until_ns` (monotonic): from then on the request would be refused as expired.
    [[nodiscard]] bool insert(std::string_view user_nkey, std::int64_t now_ns, std::int64_t until_ns);
    [[nodiscard]] std::size_t size() const noexcept { return current_.count + previous_.count; }

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
    fingerprint_key key_;
    generation current_, previous_;
    std::size_t max_entries_;
};

}  // namespace callgate::flow

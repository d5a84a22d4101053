// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/ext/draft/cache_invalidate.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>

namespace callgate::host {

/// What backends withdrew, for whoever caches verdicts (cache-invalidate/1). A cache keeps with each verdict the generation() it
/// read BEFORE it asked the backend, and asks is_void() with it when it hits; equal generations need no question. [any]
class verdict_invalidations {
  public:
    static constexpr std::size_t remembered = 1024;

    /// The scope was read and checked. Returns the new generation.
    std::uint64_t record(std::string_view backend, std::uint32_t kind, std::string_view issuer, std::string_view subject,
                         std::string_view credential_id);
    /// Rises with every withdrawal; one load.
    [[nodiscard]] std::uint64_t generation() const noexcept { return generation_.load(std::memory_order_acquire); }
    /// Something that covers this verdict was withdrawn after `since`, or it cannot be told any more.
    [[nodiscard]] bool is_void(std::string_view backend, std::string_view issuer, std::string_view subject, std::string_view credential_id,
                               std::uint64_t since) const;

  private:
    struct entry {
        std::uint64_t generation;
        std::uint32_t kind;
        std::string backend, issuer, subject, credential_id;
    };
    std::atomic<std::uint64_t> generation_{0};
    mutable std::mutex mutex_;
    std::deque<entry> entries_;  // rising
};

/// Table of cache-invalidate/1.
extern const cg_cache_invalidate_api cache_invalidate_api;

}  // namespace callgate::host

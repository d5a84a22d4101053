// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "engine/base/error.hpp"
#include "engine/flow/ports.hpp"
#include "engine/host/instance.hpp"

namespace callgate::host {

/// Counters of one store's lookups; any thread reads them.
struct lookup_metrics {
    std::atomic<std::uint64_t> hits{0};       ///< answered from the cache
    std::atomic<std::uint64_t> found{0}, missing{0}, unavailable{0};  ///< answered by the store
};

struct lookup_cache_options {
    std::int64_t ttl_ns = 1'000'000'000;  ///< how old a cached document may be; 0 = no cache
    std::size_t max_entries = 16'384;
    std::size_t max_bytes = std::size_t{16} << 20;
};

/// A claim store plugin as flow::store_port. Documents that were found are kept for ttl_ns, all shards together, so that a storm
/// of one identity costs one read; what is missing is asked for each time, so that a new grant works at once.
class store_lookup : public flow::store_port {
  public:
    [[nodiscard]] virtual const lookup_metrics& lookups() const noexcept = 0;
};

/// [control] Shares the life of the instance. Error abi when it is no claim store, or one without get.
[[nodiscard]] result<std::shared_ptr<store_lookup>> make_store_port(std::shared_ptr<instance> owner, lookup_cache_options cache = {});

/// Largest document that is taken as a grant; a larger one is UNAVAILABLE, since it is no grant of ours.
inline constexpr std::size_t max_looked_up_bytes = 1u << 20;

}  // namespace callgate::host

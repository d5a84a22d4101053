// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>
#include <random>

#include "sdk/check/auth_request.hpp"
#include "sdk/check/instance.hpp"
#include "sdk/check/key_requests.hpp"

/// Ordinary operations of whatever kind the plugin is, for the checks that hold for all.
namespace callgate::check {

struct operation_options {
    std::int64_t left_ns = 2'000'000'000;
    bool cancelled = false; ///< already before the call
    std::uint32_t number = 0; ///< varies what is asked
};

class workload {
  public:
    virtual ~workload() = default;
    /// [control] Of an instance that is up. Throws not_applicable for kinds that have no operations on shards.
    static std::unique_ptr<workload> of(instance& i);
    /// [shard]
    virtual cg_op begin(std::uint32_t shard, const operation_options& options) = 0;
    /// [control] One ordinary operation to its end. A plugin that answers none shows here, under its own check, and not in
    /// whatever else the test is about.
    void trial(instance& i);
    /// [shard] Sizes, bytes and combinations no sane caller would send, but a stranger on the network can. `number`
    /// counts up to hostile_count().
    virtual cg_op begin_hostile(std::uint32_t shard, std::uint32_t number) = 0;
    [[nodiscard]] virtual std::uint32_t hostile_count() const = 0;
    [[nodiscard]] virtual std::string hostile_name(std::uint32_t number) const = 0;
    /// [shard] As begin, with every string at a page that cannot be touched.
    virtual cg_op begin_at_guard(std::uint32_t shard) = 0;
    /// [shard] Random; notes `named` and what it is before it calls.
    virtual cg_op begin_random(std::uint32_t shard, std::mt19937_64& random, const std::string& named) = 0;
    /// What the completed operation was answered with, for comparing; "" when that may differ from time to time.
    [[nodiscard]] virtual std::string outcome(cg_op op) = 0;
    /// [control] Operations the plugin takes at once on one shard.
    [[nodiscard]] virtual std::uint32_t at_once() = 0;
};

}  // namespace callgate::check

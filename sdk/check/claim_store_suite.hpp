// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/sdk/plugin.hpp>
#include <cstdint>
#include <functional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

/// What abi/draft/claim_store.h promises, as checks that any claim store can be put to.
namespace callgate::check {

/// The store under test. A check opens it any number of times, at once too; all of them are the same store when they are
/// given the same folder, and a store of their own in another.
struct claim_store_subject {
    const cg_factory* factory = nullptr;
    std::string config_json;  ///< relative paths in it start at `folder`
    std::string folder;       ///< empty and the check's own
    std::uint64_t seed = 1;   ///< of everything random
    /// How often the store is killed in `survives_kill`.
    int kills = 8;
};

/// What a store did wrong, in one sentence. Other exceptions are failures too.
struct claim_store_fault : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct claim_store_check {
    std::string_view name;    ///< [a-z_]+, stable
    std::string_view promise; ///< what it holds the store to
    /// Returns when the store kept the promise, throws when not. `survives_kill` forks: the process must have no
    /// other threads then. A check that needs snapshots of a store that has none returns.
    void (*run)(const claim_store_subject&);
};

[[nodiscard]] std::span<const claim_store_check> claim_store_checks() noexcept;

}  // namespace callgate::check

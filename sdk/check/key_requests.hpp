// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/key_provider.h>

#include <array>
#include <string>
#include <vector>

#include "sdk/check/instance.hpp"

/// Requests to key providers: each message, each signature and the items lie in guarded memory of their own.
namespace callgate::check {

struct listed_key {
    cg_key handle = 0;
    std::uint32_t algorithm = 0;
    std::string nkey, label;
    std::uint64_t max_message_bytes = 0;
    std::array<std::uint8_t, 32> raw{}; ///< decoded from nkey
    char letter = '?';                  ///< of nkey: O, A, U, N, C, X
    std::uint32_t purpose = 0;          ///< one it signs for; 0 = none found or not a signing key
};

struct sign_request {
    cg_key key = 0;
    std::uint32_t purpose = CG_SIGN_GENERIC;
    std::string message;
};
struct sign_outcome {
    cg_status status = 0;
    std::array<std::uint8_t, 64> signature{};
};
/// What items have before the provider touches them.
inline constexpr cg_status status_untouched = 0x7e57;

/// [control] Every page of list_keys, judged under keys.list.
std::vector<listed_key> list_keys(instance& i);
/// [control] The keys that sign, each with a purpose it signs for. Throws not_applicable when there is none.
std::vector<listed_key> signing_keys(instance& i);
/// [control] limits(), judged under keys.limits.
cg_key_limits key_limits(instance& i);

/// A batch on its way. The outcomes are read when it completes.
struct batch_in_flight {
    cg_op op = 0;
    std::shared_ptr<std::vector<sign_outcome>> outcomes;
};
/// [shard], or [control] with `shard` = no_shard.
inline constexpr std::uint32_t no_shard = ~0u;
batch_in_flight sign(instance& i, std::uint32_t shard, const std::vector<sign_request>& items, std::int64_t left_ns = 2'000'000'000, bool cancelled = false);
/// [control] On shard 0, waited for. Empty when the batch failed as a whole; its answer then is in `failure`.
std::vector<sign_outcome> sign_and_wait(instance& i, const std::vector<sign_request>& items, answer* failure = nullptr);

struct shared_value {
    std::array<std::uint8_t, 32> key{};
};
/// [control] export_shared, waited for.
answer export_shared(instance& i, cg_key key, const std::string& peer);

}  // namespace callgate::check

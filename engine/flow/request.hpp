// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/arena.hpp"
#include "engine/codec/request_reader.hpp"
#include "engine/codec/response_writer.hpp"
#include "engine/flow/shard_engine.hpp"
#include "engine/flow/shared_key_cache.hpp"
#include "engine/observe/shard_metrics.hpp"

namespace callgate::flow {

/// Memory of one request: what was decrypted and decoded, what plugins read, what gets signed. Lives until the
/// last of slot, plugin and signer lets go; wiped then.
class request_memory final : public pinned {
  public:
    request_memory(std::shared_ptr<arena_pool> pool, std::size_t max_bytes) noexcept : bytes(std::move(pool), max_bytes) {}
    arena bytes;
};
using request_memory_ptr = boost::intrusive_ptr<request_memory>;

/// One callout while it is worked on. Filled in the order of its life by callout_fsm.
struct request {
    // as it arrived
    callout_message message;  ///< payload is let go once it is decoded
    std::string reply;
    std::uint32_t link = 0;
    std::int64_t arrival_ns = 0;
    std::shared_ptr<const flow_config> config;
    request_memory_ptr memory;
    std::string_view correlation_id;

    // opened and verified
    bool sealed = false;
    std::size_t xkey = 0;          ///< index of the own xkey that opened it, or is tried
    crypto::key_bytes peer{};      ///< the server's xkey, from the header
    shared_key shared;             ///< seals the reply
    codec::request_claims claims;
    bool verified = false;         ///< from here on side effects are allowed
    bool server_pinned = false;
    std::int64_t budget_ns = 0;    ///< how long the server waits
    std::int64_t deadline_ns = 0;

    // decided
    policy::connection connection;
    const policy::route* route = nullptr;
    cg_auth_request* ask = nullptr;
    std::size_t chain_position = 0;
    bool some_unavailable = false;
    std::vector<policy::identity> earlier;
    std::string backend;           ///< that decided
    policy::identity who;
    policy::decision decision;
    std::string_view verdict;      ///< "", "allow", "deny" or "unavailable"

    // answered
    const account_binding* account = nullptr;
    const key_binding* signer = nullptr;
    codec::unsigned_token token;   ///< being signed
    std::string_view user_jwt;
    bool cold = false;

    std::array<std::int64_t, observe::stage_count> spent_ns{};  ///< -1 = stage not reached
    std::int64_t stage_began_ns = 0;
};

}  // namespace callgate::flow

// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "bench/load/request_maker.hpp"

namespace callgate::load {

/// What a right reply looks like, beside what follows from the request.
struct expectation {
    bool operator_mode = false;
    std::string issuer;         ///< auth_callout.issuer; operator mode: the callout account
    std::string account;        ///< where users must be placed (name, or A key in operator mode); empty: anywhere
    bool allow_unsealed = false;  ///< a plain reply to a sealed request is taken, as nats-server does
};

struct judgement {
    enum class verdict : std::uint8_t { allowed, denied, invalid } what = verdict::invalid;
    std::string reason;  ///< invalid: what is wrong; denied: the service's error text, cut to 120 characters
};

/// Everything nats-server checks before it lets a client in (protocol.md 3.6, checks 1-9, 11-12, 15-16 and expiry), and that a
/// sealed request got a sealed reply. `arrived_s`: wall clock, unix seconds. Any thread.
[[nodiscard]] judgement judge_reply(std::string_view payload, const crypto::key_bytes& user_nkey, const simulated_server& server, const expectation& expected,
                                    std::int64_t arrived_s);

/// Only whether it would let the client in: opens and decodes, checks no signature. For the time when a storm is running.
[[nodiscard]] bool looks_allowed(std::string_view payload, const simulated_server& server);

}  // namespace callgate::load

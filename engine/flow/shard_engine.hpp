// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/clock.hpp"
#include "engine/flow/ports.hpp"
#include "engine/observe/shard_metrics.hpp"

namespace callgate::flow {

/// A message of the callout subject as the shard hands it over. The views live as long as `memory`.
struct callout_message {
    std::string_view reply;
    std::span<const std::uint8_t> payload;
    std::string_view xkey_header;
    std::int64_t arrival_ns = 0;
    std::uint32_t link = 0;
    pinned_ptr memory;
};

/// Where a grant's account leads: resolved when the configuration was put together.
struct account_binding {
    std::string placement;  ///< config mode: account name (`aud`); operator mode: A key (`issuer_account`)
    key_binding signer;     ///< signs the user JWT
    bool set_issuer_account = false;  ///< operator mode and signer is not the account key itself
    std::map<std::string, key_binding> roles;
};

enum class pinning : std::uint8_t { any, known_only };

/// Everything a request needs of the configuration; immutable, swapped whole by reload. A request keeps the
/// one it started with.
struct flow_config {
    bool operator_mode = false;
    std::string callout_account;   ///< expected `sub` of requests in operator mode (A key); AUTH for issuer_account
    key_binding issuer;            ///< signs the response
    /// Placements no grant may lead to, besides callout_account: callout and system account, as names (config
    /// mode) or A keys (operator mode). Checked again before a JWT is built, whatever the policy said.
    std::vector<std::string> forbidden_placements;
    std::string request_subject_key;  ///< expected `sub`: issuer public key (config mode) or AUTH key (operator mode)
    bool response_issuer_account = false;  ///< issuer is a signing key of AUTH: set issuer_account in the envelope
    std::vector<key_binding> xkeys;   ///< current first
    bool allow_plaintext = false;
    pinning servers = pinning::any;
    std::int64_t leeway_ns = 0, safety_ns = 0;
    std::size_t max_request_bytes = 1u << 20;
    bool silent_deny = false;
    std::map<std::string, account_binding> accounts;
    std::shared_ptr<const policy::compiled> policy;
    std::vector<std::shared_ptr<auth_port>> backends;  ///< found by name
    std::vector<std::shared_ptr<store_port>> stores;   ///< found by name
    std::vector<std::shared_ptr<key_port>> providers;  ///< key_binding::provider indexes this
    std::uint32_t max_in_flight = 4096, max_queued = 65536;
    std::size_t max_queued_bytes = 64u << 20;
    double age_limit = 0.75, kick_after = 0.8;
    std::int64_t default_budget_ns = 2'000'000'000;
    std::uint32_t kicks_per_second = 500;
};

class key_tables;
class replay_set;

/// The life of every request of one shard: admission, stages, signing, reply. Sans-io and single-threaded:
/// it never waits, reads no clock but the one given, and talks through the ports.
class shard_engine : public completion_sink {
  public:
    /// `replays` and `tables`: one for all shards of the process; `replays` not null, without `tables` it has its own.
    static std::unique_ptr<shard_engine> make(std::uint32_t shard, const clock_source& clock, reply_port& replies,
                                              audit_port& audit, observe::shard_metrics& metrics,
                                              std::shared_ptr<replay_set> replays, std::shared_ptr<key_tables> tables = nullptr);
    ~shard_engine() override = default;

    /// Takes effect for requests admitted from now on.
    virtual void use(std::shared_ptr<const flow_config> config) = 0;
    /// Queues; cheap: looks at size and reply subject only.
    virtual void offer(callout_message&& message) = 0;
    /// One round: drops what is too old, starts what fits, flushes the signing batch, expires deadlines.
    /// Call after each batch of messages or completions. True: more work is waiting, call again soon
    /// (after polling I/O).
    virtual bool run() = 0;
    /// Monotonic time at which run() must be called again even if nothing happens; INT64_MAX = never.
    [[nodiscard]] virtual std::int64_t next_deadline_ns() const = 0;
    /// Requests queued or in flight.
    [[nodiscard]] virtual std::size_t pending() const = 0;
};

}  // namespace callgate::flow

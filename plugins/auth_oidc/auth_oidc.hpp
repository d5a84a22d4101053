// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <callgate/sdk/auth_backend.hpp>
#include <callgate/sdk/extensions.hpp>
#include <callgate/sdk/extensions_metrics.hpp>
#include <callgate/sdk/plugin.hpp>
#include <mutex>
#include <random>

#include "plugins/auth_oidc/issuer.hpp"
#include "plugins/auth_oidc/key_fetcher.hpp"
#include "plugins/auth_oidc/schema.hpp"

namespace callgate::auth_oidc {

/// Auth backend "oidc": signed tokens of OpenID Connect issuers. Tokens are judged on the shard against a
/// snapshot of each issuer's keys; keys are fetched on [control], in the background.
class backend final : public sdk::auth_backend {
  public:
    static constexpr std::string_view type = "oidc";
    static constexpr std::string_view summary = "JWTs signed by OpenID Connect issuers, keys from file, URL or discovery";
    static constexpr std::string_view config_schema = schema;

    static std::unique_ptr<sdk::auth_backend> create(sdk::host_ref host, const sdk::create_args& args);
    backend(sdk::host_ref host, options o);

    void start(sdk::op_handle&& op) override;
    std::unique_ptr<sdk::shard_state> attach_shard(std::uint32_t shard) override;
    void drain(sdk::op_handle&& op) override;
    void stop(sdk::op_handle&& op) override;
    sdk::health current_health() override;
    void cancel(cg_op op, std::int32_t reason) override;
    void authenticate(sdk::shard_state* state, sdk::op_handle&& op, const sdk::request_view& request) override;

  private:
    struct waiter {
        sdk::op_handle op;
        sdk::request_view request;
    };
    struct issuer_state {
        /// `label` names the issuer in metrics.
        issuer_state(backend& of, const issuer_options& o, std::string_view label);
        backend& owner;
        const issuer_options& options;
        sdk::snapshot_cell<key_set> keys;
        std::atomic<std::int64_t> fresh_ns{0};  ///< when the keys were last known good; 0 = never
        key_fetcher fetcher;
        sdk::one_shot_timer timer;
        const sdk::metric_gauge key_count;
        const sdk::metric_counter fetched, fetch_failed;
        // [control]
        bool attempted = false;
        std::string fault;
        std::int64_t failing_since_unix_s = 0;
        std::chrono::nanoseconds backoff{0};
        // under mutex_
        bool fetching = false;
        bool failed = false;  ///< the last attempt
        std::int64_t last_fetch_ns = INT64_MIN / 2;
        std::int64_t expected_ns = 200'000'000;  ///< what a fetch takes
        std::uint64_t nudge = 0;                 ///< timer that carries a request from a shard to [control]
        std::vector<waiter> waiters;
    };
    /// What a token comes to, before anything is answered.
    struct judgement {
        std::uint32_t verdict = CG_VERDICT_DENY;
        std::string_view reason_id;
        std::string_view reason;
        issuer_state* issuer = nullptr;  ///< whose keys are missing, with unknown_kid and keys_unavailable
    };
    /// Buffers of one thread, and the token it is looking at.
    struct judge_state : sdk::shard_state {
        token_reader reader;
        token t;
        std::string_view known_issuer, used_kid;
    };

    [[nodiscard]] static std::string_view credential_of(const sdk::request_view& r);
    [[nodiscard]] judgement judge(judge_state& s, std::string_view credential, std::int64_t now_unix_s) const;
    [[nodiscard]] judgement check_claims(const judge_state& s, const issuer_options& o, std::int64_t now_unix_s) const;
    void answer(judge_state& s, const judgement& j, sdk::op_handle& op) const;
    [[nodiscard]] std::string credential_id(const token& t) const;

    /// Keeps `op` when a fetch that is worth waiting for is under way, or was begun by this; else says how
    /// to answer. `iat` of the token, which nobody has verified.
    [[nodiscard]] judgement wait_for_keys(judgement j, std::optional<std::int64_t> iat, sdk::op_handle& op, const sdk::request_view& request);
    /// Under mutex_. False when throttled or stopping.
    bool nudge(issuer_state& s);
    void begin_fetch(issuer_state& s);                         // [control]
    void on_fetched(issuer_state& s, fetch_outcome outcome);   // [control]
    void record(issuer_state& s, const fetch_outcome& outcome);
    /// `fresh_for`: what the issuer said (RFC 9111).
    void schedule(issuer_state& s, bool failed, std::optional<std::chrono::seconds> fresh_for);
    void finish_start();
    void finish_drain();
    void finish_stop();  // [control]
    [[nodiscard]] bool usable(const issuer_state& s) const noexcept;

    const options options_;
    crypto::key_bytes fingerprint_key_{};
    judge_state control_judge_;  // [control]
    std::minstd_rand jitter_;
    std::vector<std::unique_ptr<issuer_state>> issuers_;
    mutable std::mutex mutex_;
    // under mutex_
    sdk::op_handle start_op_, drain_op_, stop_op_;
    bool stopping_ = false;
    std::size_t waiting_ = 0;
};

}  // namespace callgate::auth_oidc

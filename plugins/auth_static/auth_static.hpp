// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <callgate/sdk/auth_backend.hpp>
#include <callgate/sdk/extensions.hpp>
#include <callgate/sdk/extensions_metrics.hpp>
#include <callgate/sdk/plugin.hpp>

#include "plugins/auth_static/hash_pool.hpp"
#include "plugins/auth_static/users_file.hpp"

namespace callgate::auth_static {

struct options {
    std::string file;
    std::chrono::nanoseconds reload_interval = std::chrono::seconds(1);  ///< 0 = never read again by this instance
    hash_options hash;
};

/// Auth backend "static": users in a YAML file. Tokens and nkeys are judged on the shard, passwords on
/// the hash pool.
class backend final : public sdk::auth_backend {
  public:
    static constexpr std::string_view type = "static";
    static constexpr std::string_view summary = "users, password hashes, tokens and nkeys in a file";
    static constexpr std::string_view config_schema = R"({
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "additionalProperties": false,
  "required": ["file"],
  "properties": {
    "file": {"type": "string", "minLength": 1, "description": "the users file; relative paths start at the configuration file"},
    "reload_interval": {"type": "string", "description": "how often the file is looked at, 100ms to 1h; default 1s. 0 = never re-read while running: a reload keeps a backend whose configuration is unchanged, so restart callgate or change this configuration"},
    "hash": {
      "type": "object",
      "additionalProperties": false,
      "properties": {
        "threads": {"type": "integer", "minimum": 1, "maximum": 16, "description": "default 1"},
        "queue": {"type": "integer", "minimum": 1, "maximum": 65536, "description": "password logins that may wait; default 256"},
        "per_user": {"type": "integer", "minimum": 1, "maximum": 65536, "description": "of these for one user name; default 4"},
        "per_host": {"type": "integer", "minimum": 1, "maximum": 65536, "description": "of these for one client address; default 64"},
        "max_wait": {"type": "string", "description": "longest wait for a turn, 10ms to 1m; default 1s"},
        "priority": {"enum": ["idle", "low", "normal"], "description": "of the hashing threads; default idle"},
        "reserve_threads": {"type": "integer", "minimum": 0, "maximum": 4, "description": "threads at normal priority for logins that the hashing threads leave waiting; default 1, and 0 with priority normal"},
        "reserve_after": {"type": "string", "description": "the wait after which they take a login, 10ms to 1m, shorter than max_wait; default 200ms, or half of a max_wait up to 200ms"}
      }
    }
  }
})";

    static std::unique_ptr<sdk::auth_backend> create(sdk::host_ref host, const sdk::create_args& args);
    backend(sdk::host_ref host, options o);

    void start(sdk::op_handle&& op) override;
    void drain(sdk::op_handle&& op) override;
    void stop(sdk::op_handle&& op) override;
    sdk::health current_health() override;
    void cancel(cg_op op, std::int32_t reason) override;
    void authenticate(sdk::shard_state* state, sdk::op_handle&& op, const sdk::request_view& request) override;

    [[nodiscard]] std::size_t waiting() const { return pool_.waiting(); }

  private:
    void poll();
    void load();

    /// What to answer, or, with `hash`, what the pool has to find out.
    struct decision {
        std::uint32_t verdict = CG_VERDICT_UNAVAILABLE;
        std::string_view reason_id, reason;
        std::string_view how;            ///< "token", "nkey" or "password"; empty when nothing was judged
        std::uint32_t shard = CG_METRIC_NO_SHARD;
        entry_ptr entry;
        std::string_view credential_id;
        std::string_view password;
        std::optional<password_hash> hash;
    };
    [[nodiscard]] static decision judge(const user_table& table, const sdk::request_view& r);
    [[nodiscard]] static decision judge_nkey(const user_table& table, const sdk::request_view& r);
    [[nodiscard]] static decision admit(entry_ptr entry, std::string_view credential_id, std::string_view how);
    [[nodiscard]] static decision deny(std::string_view reason_id, std::string_view reason, std::string_view how);
    void answer(const decision& d, sdk::op_handle& op) const;

    const options options_;
    sdk::snapshot_cell<user_table> table_;
    sdk::one_shot_timer timer_;
    hash_pool pool_;
    struct login_counters {
        std::string_view how;
        sdk::metric_counter match, no_match;
    };
    [[nodiscard]] static login_counters count_logins(const sdk::host_ref& host, std::string_view how);
    const std::array<login_counters, 3> logins_;
    const sdk::metric_gauge users_, file_in_use_;
    // [control]
    std::optional<file_stamp> loaded_, seen_;
    std::string fault_;
};

}  // namespace callgate::auth_static

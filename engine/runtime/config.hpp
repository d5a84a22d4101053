// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/error.hpp"
#include "engine/net/nats_link.hpp"
#include "engine/policy/document.hpp"
#include "engine/policy/policy.hpp"

/// The configuration as it was read: one YAML file, checked against configs/schema.json, unknown and
/// duplicate keys refused. Immutable once loaded. Durations are written "30s", "500ms", "1h"; sizes
/// "64KiB", "1MiB"; `${ENV}` is replaced in scalar values; relative paths start at the file's folder.
namespace callgate::runtime {

/// A finding of `callgate check` or of the loader: "file:line: key: text".
using finding = policy::finding;

/// "<provider>/<label>": a key of a key provider instance.
struct key_ref {
    std::string provider, label;
    [[nodiscard]] std::string text() const { return provider + "/" + label; }
    friend bool operator==(const key_ref&, const key_ref&) = default;
};

enum class callout_mode : std::uint8_t { config, operator_ };
enum class server_pinning : std::uint8_t { any, discovered, list };

/// plugins:
struct plugin_options {
    std::vector<std::string> directories;            ///< `directories`; default: ../plugins.d and ../lib/callgate/plugins beside the executable
    std::map<std::string, std::string> sha256;       ///< `sha256: {auth_static: <hex>}` optional pin for a plugin file
};

/// A setting below `config` of an instance that is one `${NAME}`; its value is put in when the plugin's schema is known.
struct config_reference {
    std::string path;     ///< "ldap.password"
    bool quoted = false;  ///< then always a text
};

/// `breaker:` of an instance: pauses after failures in a row
struct breaker_settings {
    std::uint32_t failures = 16;                   ///< 0 = none opens it
    std::int64_t pause_ns = 1'000'000'000;         ///< then one request is tried; doubles each time that fails
    std::int64_t longest_pause_ns = 30'000'000'000;
    friend bool operator==(const breaker_settings&, const breaker_settings&) = default;
};

/// `overdue:` of an instance: when what it does not complete makes it one that hangs
struct overdue_settings {
    std::uint32_t max = 0;                   ///< operations past their deadline at once; 0 = half of max_in_flight
    std::int64_t age_ns = 10'000'000'000;    ///< one of them for longer
    friend bool operator==(const overdue_settings&, const overdue_settings&) = default;
};

/// `keys: {<instance>: {plugin: key_file, config: {...}}}` and `backends: {...}` alike
struct instance_options {
    std::string name;
    std::string plugin;       ///< file callgate_<plugin>.so is looked for in plugins.directories
    std::string type;         ///< factory type; empty = the only factory of that kind
    std::string config_json;  ///< `config`, converted to JSON; resolve_instance() puts in what references stand for
    std::vector<config_reference> references;
    std::vector<std::string> uses;    ///< `uses: [keys/local, store/main, nats/main]`: instances it may call, clusters it may connect to
    std::vector<int> uses_lines;      ///< beside uses
    std::uint32_t max_in_flight = 0;  ///< 0 = default_max_in_flight()
    std::int64_t timeout_ns = 0;      ///< 0 = what the request's deadline leaves
    breaker_settings breaker;
    overdue_settings overdue;
    std::int64_t cache_ttl_ns = 1'000'000'000;  ///< stores: how long a document that was found is kept; 0 = not at all
    int line = 0;
    std::vector<std::pair<std::string, int>> config_lines;  ///< "files.issuer" -> line, for check_against_schema
};

/// `nats:` one or more clusters to serve; each gets links on every shard
struct nats_options {
    std::string name;
    net::link_options link;             ///< urls, credentials (creds|nkey|user+password_file), tls
    std::uint32_t links_per_server = 2; ///< 1..16 for each shard; plus one cold link
    std::optional<net::link_options> system;  ///< `system: {credentials...}`, urls default to those above
    std::optional<net::link_options> plugin_link;  ///< `plugin_link: {credentials...}`: as whom plugins connect (nats/1); none = none may
    int line = 0;
};

/// `callout:`
struct callout_options {
    callout_mode mode = callout_mode::config;
    std::string account;         ///< config mode: name; operator mode: A key of the callout account
    std::string system_account;  ///< config mode: name; operator mode: A key; never granted, never empty
    std::string queue = "callgate";
    key_ref issuer;              ///< signs the response; config mode: also the user JWTs
    std::vector<key_ref> xkeys;  ///< current first; empty = plaintext requests expected
    bool allow_plaintext = false;  ///< with xkeys: accept requests of servers that do not encrypt (never by default)
    server_pinning servers = server_pinning::any;
    std::vector<std::string> server_list;        ///< N keys, with server_pinning::list
    std::int64_t leeway_ns = 30'000'000'000;     ///< for exp and iat of requests
    std::int64_t safety_ns = 150'000'000;        ///< subtracted from a request's time budget
    std::size_t max_request_bytes = 1u << 20;
    bool silent_deny = false;    ///< `deny: silent` = no answer instead of an error response
};

/// `accounts: {APP: {key: A..., signer: local/app, roles: {reader: local/app-reader}}}`; policy rules name these
struct account_options {
    std::string name;
    std::string key;                         ///< operator mode: A key; config mode: empty
    std::optional<key_ref> signer;           ///< operator mode: account key or signing key; config mode: none (issuer)
    std::map<std::string, key_ref> roles;    ///< scoped signing keys
    int line = 0;
};

/// `admission:`
struct admission_options {
    std::uint32_t max_in_flight = 4096;  ///< requests being worked on, for each shard: the slab
    std::uint32_t max_queued = 65536;    ///< read but not started, for each shard
    std::size_t max_queued_bytes = 64u << 20;
    double age_limit = 0.75;             ///< share of a server's time budget after which an unread request is dropped
    std::int64_t default_budget_ns = 2'000'000'000;  ///< until a server's own is learned
    double kick_after = 0.8;             ///< shed by kick not before this share of the budget
    std::uint32_t kicks_per_second = 500;  ///< for the whole process; 0 = never
};

/// `admin:`
struct admin_options {
    std::string listen;      ///< "unix:/run/callgate/admin.sock" or "127.0.0.1:9222"; empty = off
    std::string token_file;  ///< bearer token; needed for other than loopback without client_ca_file
    std::string cert_file, key_file, client_ca_file;  ///< TLS, mutual when client_ca_file is set
};

/// `audit:`, about the sinks of `audit_sinks:`
struct audit_options {
    std::string path;  ///< file, "stdout", or empty: the sink `audit` (audit_file) stands for it, see add_audit_sink
    bool fail_closed = false;           ///< `on_full: fail_closed|drop_count`
    std::size_t queue_bytes = std::size_t{8} << 20;  ///< `queue`: records that wait for one sink
    std::vector<std::string> required;  ///< with fail_closed: sinks without which nobody is let in; empty = every sink
};

struct log_options {
    std::string level = "info";
    std::string format = "text";  ///< text or json
};

struct config {
    std::string file;  ///< absolute path it was read from
    std::string base_dir;  ///< absolute; relative paths start here, those in `config` of an instance too
    plugin_options plugins;
    std::vector<nats_options> nats;
    callout_options callout;
    std::vector<instance_options> keys;
    std::vector<instance_options> backends;
    std::vector<instance_options> stores;      ///< claim stores; may be empty
    std::vector<instance_options> modules;     ///< with `admin` (module_admin) when admin.listen is set and nothing else has that name
    std::vector<instance_options> audit_sinks; ///< with `audit` (audit_file) when audit.path is set
    bool bundled_admin = false;                ///< that one is not the file's
    std::vector<account_options> accounts;
    std::shared_ptr<const policy::compiled> policy;  ///< routes and rules
    admission_options admission;
    admin_options admin;
    audit_options audit;
    log_options log;
    std::uint32_t shards = 0;                    ///< 0 = number of cores
    std::int64_t drain_limit_ns = 10'000'000'000;  ///< `drain_limit`
};

/// What an instance without max_in_flight gets: a quarter of admission.max_in_flight, less where more than four instances hold
/// requests (keys and backends), so that all of them together cannot take the place of every request.
[[nodiscard]] std::uint32_t default_max_in_flight(const config& c) noexcept;

/// Reads and checks everything that can be checked without running a plugin or talking to a server.
/// A config comes back only when there is no finding of severity error.
struct load_outcome {
    std::optional<config> value;
    std::vector<finding> findings;
};
[[nodiscard]] load_outcome load_config(const std::string& path);
/// YAML text instead of a file; `name` stands in messages.
[[nodiscard]] load_outcome load_config_text(const std::string& text, const std::string& name, const std::string& base_dir);
/// Checks `config` of an instance against a plugin's JSON Schema; findings name `keys.<name>.config...`.
[[nodiscard]] std::vector<finding> check_against_schema(const std::string& schema_json, const instance_options& instance,
                                                        const std::string& file, const std::string& section);

}  // namespace callgate::runtime

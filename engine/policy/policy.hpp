// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/error.hpp"

/// Routes (which backends, which credential) and rules (identity -> grant), compiled and immutable.
namespace callgate::policy {

enum class client_kind : std::uint8_t { nats = 1, websocket, mqtt, leafnode, other };  // = CG_CLIENT_*
enum class tls_state : std::uint8_t { none, no_cert, unverified, verified };           // = CG_TLS_*
enum class credential_source : std::uint8_t { none, auth_token, pass, jwt, user, nkey };  // = CG_CREDENTIAL_*

/// What is known of the connection; what a matcher may look at as `connection.*`. Views of the request.
struct connection {
    client_kind kind = client_kind::nats;
    tls_state tls = tls_state::none;
    std::string_view client_host, user, client_name, mqtt_id, lang, version, nkey;
    std::string_view server_id, server_name, server_cluster;
    std::span<const std::string_view> server_tags, client_tags;
    bool server_pinned = false;
    bool has_auth_token = false, has_pass = false, has_jwt = false, has_nkey_signature = false;
};

/// Who: what a backend said. `attributes_json` is a JSON object; matchers see it as `claims.*`.
struct identity {
    std::string backend;  ///< instance name
    std::string issuer, subject, attributes_json = "{}";
    std::int64_t credential_exp = 0, credential_iat = 0;  ///< unix seconds, 0 = none
    std::string credential_id;
    std::vector<std::string> revocation_handles;
};

struct response_permission { std::int64_t max = 1; std::int64_t ttl_ns = 0; };

/// What: where the client is put and what it may do there. All subjects are valid permissions.
struct grant {
    std::string account;  ///< name in `accounts`
    std::string role;     ///< scoped signing key; then the lists are empty
    std::string name;     ///< user JWT `name`: the identity, shown by CONNZ
    std::int64_t exp = 0; ///< unix seconds, always set
    /// An empty allow list allows nothing: decide() and admit() then put ">" into the deny list (pub: unless
    /// `resp` is set, which makes nats-server refuse the rest). All four empty without a role is left only
    /// for a rule that says `default_permissions: true`.
    std::vector<std::string> pub_allow, pub_deny, sub_allow, sub_deny;
    std::optional<response_permission> resp;
    std::vector<std::string> tags;
};

/// Reasons, stable: they are metric labels and audit values.
///   no_rule, rule_denies, account_unknown, account_forbidden, placeholder_missing, placeholder_unsafe,
///   too_many_subjects, invalid_subject, credential_expired, role_unknown, unsafe_name, no_route,
///   claims_invalid (attributes are not one JSON object within bounds), role_permissions (a backend's grant
///   has a role and permissions), no_stored_grant, stored_grant_invalid, window_ends (within seconds)
/// Where a rule leaves the grant to a claim store (`grant: {from: claims}`).
struct stored_grant {
    std::string store;             ///< name under `stores:`
    std::string key;               ///< a well-formed key
    std::int64_t until_unix_s = INT64_MAX;  ///< end of the rule's time window
};

struct decision {
    bool allow = false;
    std::string reason_id;  ///< "ok" when allowed
    std::string reason;     ///< for the operator
    std::string rule;       ///< name of the rule that decided; empty = none
    policy::grant grant;    ///< when allow
    /// Set when the rules matched and the grant is yet to be looked up: nothing is decided then, allow is false and
    /// reason_id is empty. A missing document is a denial (no_stored_grant), admit_stored() judges one that is there.
    std::optional<stored_grant> stored;
};

struct chain_step {
    std::string backend;          ///< instance name
    bool next_on_unavailable = false;  ///< `on_unavailable: next`
};

struct route {
    std::string name;
    std::vector<credential_source> credentials;  ///< order of search; first non-empty wins
    std::vector<chain_step> chain;
};

/// A grant a backend gave itself (cg_grant), still to be judged.
struct backend_grant {
    grant what;        ///< exp 0 = the policy's maximum
};

class compiled {
  public:
    virtual ~compiled() = default;
    /// First route whose `when` holds; nullptr = deny (no_route). Any thread, no side effect.
    [[nodiscard]] virtual const route* find_route(const connection& c) const = 0;
    /// First rule whose `when` holds decides; none = deny. A grant ends no later than time windows let that rule decide. `jitter` in [0,1) shortens the time to live by
    /// up to max_jitter of it. Any thread, no side effect; now in unix seconds.
    [[nodiscard]] virtual decision decide(const connection& c, const identity& who, std::int64_t now_unix_s,
                                          double jitter) const = 0;
    /// Judges a backend's own grant: account known and not forbidden, subjects valid, exp capped.
    [[nodiscard]] virtual decision admit(const connection& c, const identity& who, const backend_grant& asked,
                                         std::int64_t now_unix_s, double jitter) const = 0;
    /// Judges a document of a claim store as a grant of the policy's own is judged; `asked` is what decide() left open.
    [[nodiscard]] virtual decision admit_stored(const connection& c, const identity& who, const decision& asked, std::string_view document,
                                                std::int64_t now_unix_s, double jitter) const {
        static_cast<void>(c), static_cast<void>(who), static_cast<void>(document), static_cast<void>(now_unix_s), static_cast<void>(jitter);
        decision d;
        d.rule = asked.rule;
        d.reason_id = "stored_grant_invalid";
        d.reason = "this policy takes no grants from claim stores";
        return d;
    }
    /// Claim stores named by any rule.
    [[nodiscard]] virtual const std::vector<std::string>& stores() const {
        static const std::vector<std::string> none;
        return none;
    }
    /// Backends named by any route, in order.
    [[nodiscard]] virtual const std::vector<std::string>& backends() const = 0;
};

}  // namespace callgate::policy

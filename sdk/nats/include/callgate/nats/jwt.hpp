// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/nats/error.hpp>
#include <callgate/nats/nkey.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

/// NATS JWT v2 claims of every kind (protocol.md section 2). Cold path: allocates freely. The engine's
/// callout path has its own reader and writer (engine/codec) that are tested against this one.
namespace callgate::nats {

inline constexpr std::size_t max_token_size = 1u << 20;
/// base64url of {"typ":"JWT","alg":"ed25519-nkey"}
inline constexpr std::string_view jwt_header_b64 = "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ";

/// JSON text of members we do not know, kept as they came: name -> raw JSON value.
using unknown_members = std::map<std::string, std::string>;

struct subject_permission {
    std::vector<std::string> allow;
    std::vector<std::string> deny;
    friend bool operator==(const subject_permission&, const subject_permission&) = default;
};
struct response_permission {
    std::int64_t max = 0;     ///< messages; 0 = server default 1, negative = unlimited
    std::int64_t ttl_ns = 0;  ///< 0 = server default 2 min
    friend bool operator==(const response_permission&, const response_permission&) = default;
};
struct permissions {
    subject_permission pub, sub;
    std::optional<response_permission> resp;
    friend bool operator==(const permissions&, const permissions&) = default;
};
struct time_range {
    std::string start, end;  ///< "HH:MM:SS"
    friend bool operator==(const time_range&, const time_range&) = default;
};
/// UserPermissionLimits (2.7). The defaults are those of a user that may do everything.
struct user_limits {
    permissions perms;
    std::vector<std::string> src;  ///< CIDR
    std::vector<time_range> times;
    std::string times_location;
    std::int64_t subs = -1, data = -1, payload = -1;
    bool bearer_token = false;
    bool proxy_required = false;
    std::vector<std::string> allowed_connection_types;
    /// All zero and empty: what a user signed by a scoped key must carry.
    static user_limits zero() { user_limits l; l.subs = l.data = l.payload = 0; return l; }
    [[nodiscard]] bool is_zero() const { return *this == zero(); }
    friend bool operator==(const user_limits&, const user_limits&) = default;
};

/// Members every claim has at top level (2.2). `iss`, `iat`, `jti` are overwritten by encode.
struct claims_base {
    std::string aud, jti, iss, name, sub;
    std::int64_t exp = 0, iat = 0, nbf = 0;  ///< unix seconds, 0 = absent
    std::vector<std::string> tags;           ///< nats.tags
    unknown_members unknown_top;             ///< unknown members of the claim
    unknown_members unknown_body;            ///< unknown members of "nats"
    friend bool operator==(const claims_base&, const claims_base&) = default;
};

struct operator_claims : claims_base {
    std::vector<std::string> signing_keys;
    std::string account_server_url;
    std::vector<std::string> operator_service_urls;
    std::string system_account;
    std::string assert_server_version;
    bool strict_signing_key_usage = false;
    friend bool operator==(const operator_claims&, const operator_claims&) = default;
};

struct account_limits {
    std::int64_t subs = -1, data = -1, payload = -1, imports = -1, exports = -1, conn = -1, leaf = -1;
    bool wildcards = true;
    bool disallow_bearer = false;
    friend bool operator==(const account_limits&, const account_limits&) = default;
};
struct jetstream_limits {
    std::int64_t mem_storage = 0, disk_storage = 0, streams = 0, consumer = 0, max_ack_pending = 0,
                 mem_max_stream_bytes = 0, disk_max_stream_bytes = 0;
    bool max_bytes_required = false;
    friend bool operator==(const jetstream_limits&, const jetstream_limits&) = default;
};
/// A signing key of an account; plain, or scoped with a role and template (2.6.2).
struct signing_key {
    std::string key;
    bool scoped = false;
    std::string role, description;
    user_limits scope;  ///< template; absent numbers are -1
    friend bool operator==(const signing_key&, const signing_key&) = default;
};
struct external_authorization {
    std::vector<std::string> auth_users, allowed_accounts;
    std::string xkey;
    friend bool operator==(const external_authorization&, const external_authorization&) = default;
};
struct service_latency {
    std::int64_t sampling = 0;  ///< 1..100; 0 = "headers"
    std::string results;
    friend bool operator==(const service_latency&, const service_latency&) = default;
};
struct export_claim {
    std::string name, subject, type;  ///< type: "stream" or "service"
    bool token_req = false;
    std::map<std::string, std::int64_t> revocations;
    std::string response_type;
    std::int64_t response_threshold_ns = 0;
    std::optional<service_latency> latency;
    std::int64_t account_token_position = 0;
    bool advertise = false, allow_trace = false;
    std::string description, info_url;
    friend bool operator==(const export_claim&, const export_claim&) = default;
};
struct import_claim {
    std::string name, subject, account, token, to, local_subject, type;
    bool share = false, allow_trace = false;
    friend bool operator==(const import_claim&, const import_claim&) = default;
};
struct weighted_mapping {
    std::string subject, cluster;
    std::int64_t weight = 0;  ///< 0 = 100
    friend bool operator==(const weighted_mapping&, const weighted_mapping&) = default;
};
struct trace_claim {
    std::string dest;
    std::int64_t sampling = 0;
    friend bool operator==(const trace_claim&, const trace_claim&) = default;
};
struct account_claims : claims_base {
    std::vector<import_claim> imports;
    std::vector<export_claim> exports;
    account_limits limits;
    jetstream_limits jetstream;
    std::map<std::string, jetstream_limits> tiered_limits;
    std::vector<signing_key> signing_keys;
    std::map<std::string, std::int64_t> revocations;
    permissions default_permissions;
    std::map<std::string, std::vector<weighted_mapping>> mappings;
    external_authorization authorization;
    std::optional<trace_claim> trace;
    std::string cluster_traffic, description, info_url;
    friend bool operator==(const account_claims&, const account_claims&) = default;
};

struct user_claims : claims_base {
    user_limits limits;
    std::string issuer_account;
    friend bool operator==(const user_claims&, const user_claims&) = default;
};
struct activation_claims : claims_base {
    std::string subject, kind, issuer_account;
    /// Padded base32 of SHA-256("iss.sub.<clean subject>") (2.8).
    [[nodiscard]] std::string hash_id() const;
    friend bool operator==(const activation_claims&, const activation_claims&) = default;
};

struct server_id {
    std::string name, host, id, version, cluster, xkey;
    std::vector<std::string> tags;
    friend bool operator==(const server_id&, const server_id&) = default;
};
struct client_info {
    std::string host, user, name, name_tag, kind, type, mqtt_id, nonce;
    std::uint64_t id = 0;
    std::vector<std::string> tags;
    friend bool operator==(const client_info&, const client_info&) = default;
};
struct connect_options {
    std::string jwt, nkey, sig, auth_token, user, pass, name, lang, version;
    std::int64_t protocol = 0;
    friend bool operator==(const connect_options&, const connect_options&) = default;
};
struct client_tls {
    std::string version, cipher;
    std::vector<std::string> certs;
    std::vector<std::vector<std::string>> verified_chains;
    friend bool operator==(const client_tls&, const client_tls&) = default;
};
struct authorization_request_claims : claims_base {
    server_id server;
    std::string user_nkey;
    client_info client;
    connect_options connect;
    std::optional<client_tls> tls;
    std::string request_nonce;
    friend bool operator==(const authorization_request_claims&, const authorization_request_claims&) = default;
};
struct authorization_response_claims : claims_base {
    std::string jwt, error, issuer_account;
    friend bool operator==(const authorization_response_claims&, const authorization_response_claims&) = default;
};
struct generic_claims : claims_base {
    std::string type;                            ///< nats.type, may be empty
    std::map<std::string, std::string> members;  ///< nats members: name -> raw JSON value
    friend bool operator==(const generic_claims&, const generic_claims&) = default;
};

using any_claims = std::variant<operator_claims, account_claims, user_claims, activation_claims,
                                authorization_request_claims, authorization_response_claims, generic_claims>;

/// How a token gets signed when the private key is elsewhere: public text of the signer, and a function
/// that signs bytes.
struct external_signer {
    std::string public_text;
    std::function<result<crypto::signature_bytes>(std::string_view)> sign;
};

/// Encodes and signs with iat = now_unix_s and a fresh jti (2.3). For account claims the jti also covers
/// the body, so that two claims of one second differ. Refuses a wrong subject or signer kind (2.4).
[[nodiscard]] result<std::string> encode(const any_claims& claims, const key_pair& signer, std::int64_t now_unix_s);
[[nodiscard]] result<std::string> encode(const any_claims& claims, const external_signer& signer, std::int64_t now_unix_s);

/// Strict: three chunks, canonical base64url, one JSON object without duplicate members, at most 64 deep,
/// header typ and alg, version 2, signature by `iss`, signer kind (2.4). v1 tokens are refused except
/// through decode_generic. Times and contents are not judged: call validate.
[[nodiscard]] result<any_claims> decode(std::string_view token);
template <class Claims>
[[nodiscard]] result<Claims> decode_as(std::string_view token) {
    auto any = decode(token);
    if (!any) return any.error();
    if (auto* c = std::get_if<Claims>(&*any)) return std::move(*c);
    return error{errc::bad_claims, "token is of another type than expected"};
}
/// Reads the claims without checking signature or signer: for `callgate jwt decode` only.
struct unverified_token {
    any_claims claims;
    std::string header_json, payload_json;
    bool signature_ok = false;
};
[[nodiscard]] result<unverified_token> decode_unverified(std::string_view token);
/// Generic tokens, v1 ones too (signature rule by header alg, 2.8).
[[nodiscard]] result<generic_claims> decode_generic(std::string_view token);

struct issue {
    enum class severity : std::uint8_t { error, time_check, warning } level = severity::error;
    std::string text;
    friend bool operator==(const issue&, const issue&) = default;
};
/// 2.5 - 2.12. Times are compared with now_unix_s, without leeway.
[[nodiscard]] std::vector<issue> validate(const any_claims& claims, std::int64_t now_unix_s);
/// include_time: time checks block too (2.12).
[[nodiscard]] bool is_blocking(const std::vector<issue>& issues, bool include_time) noexcept;

[[nodiscard]] std::string_view type_name(const any_claims& claims) noexcept;  ///< nats.type
[[nodiscard]] const claims_base& base_of(const any_claims& claims) noexcept;
[[nodiscard]] claims_base& base_of(any_claims& claims) noexcept;
/// Readable JSON of the whole claim, indented.
[[nodiscard]] std::string to_json(const any_claims& claims);

/// jti as the Go library computes it (2.3): base32 of SHA-512/256 over the generic members.
[[nodiscard]] std::string go_jti(const claims_base& claims);

/// Did the operator (or the account) issue that claim, itself or by a signing key (2.5)?
[[nodiscard]] bool did_sign(const operator_claims& op, const any_claims& claims);
[[nodiscard]] bool did_sign(const account_claims& account, const any_claims& claims);

/// The entry of signing_keys, or nullptr. The account's identity key is no entry.
[[nodiscard]] const signing_key* find_signing_key(const account_claims& account, std::string_view key) noexcept;
/// What a claim signed by a scoped key must be: a user without any permission or limit (2.6.2).
[[nodiscard]] result<void> check_scoped_signer(const signing_key& scope, const any_claims& claims);

/// Revocation lists (2.9).
void revoke(std::map<std::string, std::int64_t>& revocations, const std::string& key, std::int64_t at_unix_s);
[[nodiscard]] bool is_revoked(const std::map<std::string, std::int64_t>& revocations, const std::string& key, std::int64_t iat);
void compact_revocations(std::map<std::string, std::int64_t>& revocations);

}  // namespace callgate::nats

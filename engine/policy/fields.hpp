// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <simdjson.h>

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/policy/policy.hpp"

/// What matchers and placeholders may look at, by name. Internal to the room.
namespace callgate::policy {

enum class field_type : std::uint8_t { text, list, flag, claim };

enum class field_id : std::uint8_t {
    backend, issuer, subject, claim,
    kind, tls, client_host, user, client_name, mqtt_id, lang, version, nkey, server_id, server_name, server_cluster,
    server_tags, client_tags, server_pinned, has_auth_token, has_pass, has_jwt, has_nkey_signature,
};

/// A field as a rule names it. Claims carry the way to their value.
struct field {
    field_id id = field_id::subject;
    field_type type = field_type::text;
    std::string name;               ///< as written
    std::vector<std::string> path;  ///< claims only: member names from the outside in

    [[nodiscard]] bool of_identity() const noexcept { return id <= field_id::claim; }
    /// Said by the server that asks: a forged request can carry anything, unless servers are pinned
    /// (decisions.md, Engine 5; review.md 4.3).
    [[nodiscard]] bool needs_pinned_servers() const noexcept;
    /// Said by the client about itself and checked by nobody.
    [[nodiscard]] bool self_asserted() const noexcept;
};

/// "subject" or "sub", "claims.team", `claims."kubernetes.io".namespace`, "k8s.namespace",
/// "connection.client_host", "tags" (= connection.client_tags). nullopt = no such field.
[[nodiscard]] std::optional<field> parse_field(std::string_view name);
[[nodiscard]] std::span<const std::string_view> field_names() noexcept;

inline constexpr std::string_view kind_words[] = {"nats", "websocket", "mqtt", "leafnode", "other"};
inline constexpr std::string_view tls_words[] = {"none", "no_cert", "unverified", "verified"};
inline constexpr std::string_view credential_words[] = {"none", "auth_token", "pass", "jwt", "user", "nkey"};

/// The claims of one identity, parsed. Lives on the stack of one decide(); the JSON tree belongs to a
/// parser of the thread, so at most one of these is alive per thread.
class claims_view {
  public:
    /// False when the text is not one JSON object of at most 64 KiB, 64 levels, without duplicate members.
    [[nodiscard]] bool parse(std::string_view json);
    /// The value, when present and not null.
    [[nodiscard]] std::optional<simdjson::dom::element> find(std::span<const std::string> path) const;

  private:
    simdjson::dom::object root_;
    bool empty_ = true;
};

/// Everything a decision may look at.
struct facts {
    const connection* client = nullptr;
    const identity* who = nullptr;  ///< nullptr while a route is chosen
    const claims_view* claims = nullptr;
    std::int64_t now_unix_s = 0;  ///< what time windows are compared with; rules only
};

/// Value of a text field; empty = absent.
[[nodiscard]] std::string_view text_of(field_id id, const facts& f) noexcept;
[[nodiscard]] std::span<const std::string_view> list_of(field_id id, const facts& f) noexcept;
[[nodiscard]] bool flag_of(field_id id, const facts& f) noexcept;

}  // namespace callgate::policy

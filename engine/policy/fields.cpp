// SPDX-License-Identifier: Apache-2.0
#include "engine/policy/fields.hpp"

#include <algorithm>
#include <array>

namespace callgate::policy {
namespace {

constexpr std::size_t max_claims_bytes = 64u << 10;
constexpr std::size_t max_claims_depth = 64;

struct named_field {
    std::string_view name;
    field_id id;
    field_type type;
};
constexpr named_field fields[] = {
    {"backend", field_id::backend, field_type::text},
    {"issuer", field_id::issuer, field_type::text},
    {"subject", field_id::subject, field_type::text},
    {"sub", field_id::subject, field_type::text},
    {"tags", field_id::client_tags, field_type::list},
    {"connection.kind", field_id::kind, field_type::text},
    {"connection.tls", field_id::tls, field_type::text},
    {"connection.client_host", field_id::client_host, field_type::text},
    {"connection.user", field_id::user, field_type::text},
    {"connection.client_name", field_id::client_name, field_type::text},
    {"connection.mqtt_id", field_id::mqtt_id, field_type::text},
    {"connection.lang", field_id::lang, field_type::text},
    {"connection.version", field_id::version, field_type::text},
    {"connection.nkey", field_id::nkey, field_type::text},
    {"connection.server_id", field_id::server_id, field_type::text},
    {"connection.server_name", field_id::server_name, field_type::text},
    {"connection.server_cluster", field_id::server_cluster, field_type::text},
    {"connection.server_tags", field_id::server_tags, field_type::list},
    {"connection.client_tags", field_id::client_tags, field_type::list},
    {"connection.server_pinned", field_id::server_pinned, field_type::flag},
    {"connection.has_auth_token", field_id::has_auth_token, field_type::flag},
    {"connection.has_pass", field_id::has_pass, field_type::flag},
    {"connection.has_jwt", field_id::has_jwt, field_type::flag},
    {"connection.has_nkey_signature", field_id::has_nkey_signature, field_type::flag},
};

// Members are compared after unescaping: "a" and "\u0061" are the same name.
bool has_duplicates(const simdjson::dom::element& value);

bool has_duplicate_members(const simdjson::dom::object& object) {
    constexpr std::size_t few = 8;
    std::array<std::string_view, few> first{};
    std::vector<std::string_view> many;
    std::size_t n = 0;
    for (const auto& member : object) {
        if (n < few) {
            if (std::find(first.begin(), first.begin() + static_cast<std::ptrdiff_t>(n), member.key) != first.begin() + static_cast<std::ptrdiff_t>(n)) return true;
            first[n] = member.key;
        } else {
            if (many.empty()) many.assign(first.begin(), first.end());
            many.push_back(member.key);
        }
        ++n;
        if (has_duplicates(member.value)) return true;
    }
    std::ranges::sort(many);
    return std::ranges::adjacent_find(many) != many.end();
}

bool has_duplicates(const simdjson::dom::element& value) {
    simdjson::dom::object object;
    if (!value.get_object().get(object)) return has_duplicate_members(object);
    simdjson::dom::array items;
    if (value.get_array().get(items)) return false;
    for (const auto item : items) {
        if (has_duplicates(item)) return true;
    }
    return false;
}

// a."b.c".d
std::optional<std::vector<std::string>> parse_path(std::string_view text) {
    std::vector<std::string> path;
    while (true) {
        std::string segment;
        if (!text.empty() && text.front() == '"') {
            const auto end = text.find('"', 1);
            if (end == std::string_view::npos) return std::nullopt;
            segment = text.substr(1, end - 1);
            text.remove_prefix(end + 1);
        } else {
            const auto end = std::min(text.find('.'), text.size());
            segment = text.substr(0, end);
            text.remove_prefix(end);
            if (segment.find_first_of("\"{}| \t") != std::string::npos) return std::nullopt;
        }
        if (segment.empty() || path.size() >= max_claims_depth) return std::nullopt;
        path.push_back(std::move(segment));
        if (text.empty()) return path;
        if (text.front() != '.') return std::nullopt;
        text.remove_prefix(1);
    }
}

}  // namespace

bool field::needs_pinned_servers() const noexcept {
    switch (id) {
        case field_id::kind:
        case field_id::tls:
        case field_id::client_host:
        case field_id::server_id:
        case field_id::server_name:
        case field_id::server_cluster:
        case field_id::server_tags:
        case field_id::client_tags: return true;
        default: return false;
    }
}

bool field::self_asserted() const noexcept {
    return id == field_id::user || id == field_id::client_name || id == field_id::mqtt_id || id == field_id::lang ||
           id == field_id::version || id == field_id::nkey;
}

std::optional<field> parse_field(std::string_view name) {
    field out;
    out.name = name;
    for (const auto& f : fields) {
        if (f.name == name) {
            out.id = f.id;
            out.type = f.type;
            return out;
        }
    }
    if (name == "k8s.namespace") {
        out.path = {"kubernetes.io", "namespace"};
    } else if (name == "k8s.service_account") {
        out.path = {"kubernetes.io", "serviceaccount", "name"};
    } else if (name == "k8s.pod") {
        out.path = {"kubernetes.io", "pod", "name"};
    } else if (name.starts_with("claims.")) {
        auto path = parse_path(name.substr(7));
        if (!path) return std::nullopt;
        out.path = std::move(*path);
    } else {
        return std::nullopt;
    }
    out.id = field_id::claim;
    out.type = field_type::claim;
    return out;
}

std::span<const std::string_view> field_names() noexcept {
    static constexpr auto names = [] {
        std::array<std::string_view, std::size(fields) + 4> n{};
        std::size_t i = 0;
        for (const auto& f : fields) n[i++] = f.name;
        n[i++] = "claims.";
        n[i++] = "k8s.namespace";
        n[i++] = "k8s.service_account";
        n[i++] = "k8s.pod";
        return n;
    }();
    return names;
}

bool claims_view::parse(std::string_view json) {
    empty_ = true;
    if (json.empty() || json == "{}") return true;
    if (json.size() > max_claims_bytes) return false;
    thread_local simdjson::dom::parser parser(max_claims_bytes);
    // The first call of a thread sets the depth; the buffers stay.
    if (parser.max_depth() != max_claims_depth && parser.allocate(max_claims_bytes, max_claims_depth)) return false;
    if (parser.parse(json.data(), json.size()).get_object().get(root_)) return false;
    if (has_duplicate_members(root_)) return false;
    empty_ = false;
    return true;
}

std::optional<simdjson::dom::element> claims_view::find(std::span<const std::string> path) const {
    if (empty_ || path.empty()) return std::nullopt;
    simdjson::dom::object at = root_;
    for (std::size_t i = 0;; ++i) {
        simdjson::dom::element value;
        if (at.at_key(path[i]).get(value) || value.is_null()) return std::nullopt;
        if (i + 1 == path.size()) return value;
        if (value.get_object().get(at)) return std::nullopt;
    }
}

std::string_view text_of(field_id id, const facts& f) noexcept {
    const connection& c = *f.client;
    switch (id) {
        case field_id::backend: return f.who ? std::string_view(f.who->backend) : std::string_view{};
        case field_id::issuer: return f.who ? std::string_view(f.who->issuer) : std::string_view{};
        case field_id::subject: return f.who ? std::string_view(f.who->subject) : std::string_view{};
        case field_id::kind: {
            const auto n = static_cast<std::size_t>(c.kind);
            return n >= 1 && n <= std::size(kind_words) ? kind_words[n - 1] : "other";
        }
        case field_id::tls: {
            const auto n = static_cast<std::size_t>(c.tls);
            return n < std::size(tls_words) ? tls_words[n] : "none";
        }
        case field_id::client_host: return c.client_host;
        case field_id::user: return c.user;
        case field_id::client_name: return c.client_name;
        case field_id::mqtt_id: return c.mqtt_id;
        case field_id::lang: return c.lang;
        case field_id::version: return c.version;
        case field_id::nkey: return c.nkey;
        case field_id::server_id: return c.server_id;
        case field_id::server_name: return c.server_name;
        case field_id::server_cluster: return c.server_cluster;
        default: return {};
    }
}

std::span<const std::string_view> list_of(field_id id, const facts& f) noexcept {
    if (id == field_id::server_tags) return f.client->server_tags;
    if (id == field_id::client_tags) return f.client->client_tags;
    return {};
}

bool flag_of(field_id id, const facts& f) noexcept {
    switch (id) {
        case field_id::server_pinned: return f.client->server_pinned;
        case field_id::has_auth_token: return f.client->has_auth_token;
        case field_id::has_pass: return f.client->has_pass;
        case field_id::has_jwt: return f.client->has_jwt;
        case field_id::has_nkey_signature: return f.client->has_nkey_signature;
        default: return false;
    }
}

}  // namespace callgate::policy

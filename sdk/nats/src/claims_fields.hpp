// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "claims_io.hpp"

/// Members of each object of a claim, in the order in which Go writes them (protocol.md 2.2 - 2.8).
/// `Io` is object_writer or object_reader.
namespace callgate::nats {

template <class Io>
void fields(Io& io, subject_permission& v) {
    io.texts("allow", v.allow);
    io.texts("deny", v.deny);
}
template <class Io>
void fields(Io& io, response_permission& v) {
    io.always_integer("max", v.max);
    io.always_integer("ttl", v.ttl_ns);
}
template <class Io>
void fields(Io& io, permissions& v) {
    io.object("pub", v.pub);
    io.object("sub", v.sub);
    io.object("resp", v.resp);
}
template <class Io>
void fields(Io& io, time_range& v) {
    io.text("start", v.start);
    io.text("end", v.end);
}
template <class Io, class Numbers>
void limit_fields(Io& io, user_limits& v, Numbers numbers) {
    fields(io, v.perms);
    io.cidr_texts("src", v.src);
    io.objects("times", v.times);
    io.text("times_location", v.times_location);
    numbers("subs", v.subs);
    numbers("data", v.data);
    numbers("payload", v.payload);
    io.flag("bearer_token", v.bearer_token);
    io.flag("proxy_required", v.proxy_required);
    io.texts("allowed_connection_types", v.allowed_connection_types);
}
template <class Io>
void fields(Io& io, user_limits& v) {
    limit_fields(io, v, [&](std::string_view name, std::int64_t& n) { io.integer(name, n); });
}
/// The template of a scope, where an absent number reads as unlimited: a zero must be said.
struct scope_limits {
    user_limits& limits;
};
template <class Io>
void fields(Io& io, scope_limits& v) {
    limit_fields(io, v.limits, [&](std::string_view name, std::int64_t& n) { io.always_integer(name, n); });
}

template <class Io>
void fields(Io& io, jetstream_limits& v) {
    io.integer("mem_storage", v.mem_storage);
    io.integer("disk_storage", v.disk_storage);
    io.integer("streams", v.streams);
    io.integer("consumer", v.consumer);
    io.integer("max_ack_pending", v.max_ack_pending);
    io.integer("mem_max_stream_bytes", v.mem_max_stream_bytes);
    io.integer("disk_max_stream_bytes", v.disk_max_stream_bytes);
    io.flag("max_bytes_required", v.max_bytes_required);
}
/// The flat "limits" object of an account.
struct all_account_limits {
    account_limits& account;
    jetstream_limits& jetstream;
    std::map<std::string, jetstream_limits>& tiers;
};
template <class Io>
void fields(Io& io, all_account_limits& v) {
    io.integer("subs", v.account.subs);
    io.integer("data", v.account.data);
    io.integer("payload", v.account.payload);
    io.integer("imports", v.account.imports);
    io.integer("exports", v.account.exports);
    io.flag("wildcards", v.account.wildcards);
    io.flag("disallow_bearer", v.account.disallow_bearer);
    io.integer("conn", v.account.conn);
    io.integer("leaf", v.account.leaf);
    fields(io, v.jetstream);
    io.objects_by_name("tiered_limits", v.tiers);
}
template <class Io>
void fields(Io& io, external_authorization& v) {
    io.texts("auth_users", v.auth_users);
    io.texts("allowed_accounts", v.allowed_accounts);
    io.text("xkey", v.xkey);
}

inline constexpr std::int64_t headers_sampling = 0;
inline void sampling_rate(object_writer& io, std::int64_t& v) {
    if (v != headers_sampling) return io.always_integer("sampling", v, 1, 100);
    io.key("sampling");
    io.out().string("headers");
}
inline void sampling_rate(object_reader& io, std::int64_t& v) {
    const auto* e = io.take("sampling");
    if (e == nullptr) return;
    if (!e->is_string()) return io.read_integer(*e, "sampling", v, std::numeric_limits<std::int32_t>::min(), std::numeric_limits<std::int32_t>::max());
    if (folded_name(e->get_string().value_unsafe()) != "headers") io.fail(errc::bad_json, "sampling", "expected 1 to 100 or \"headers\"");
    v = headers_sampling;
}
template <class Io>
void fields(Io& io, service_latency& v) {
    sampling_rate(io, v.sampling);
    io.always_text("results", v.results);
}
template <class Io>
void fields(Io& io, export_claim& v) {
    io.text("name", v.name);
    io.text("subject", v.subject);
    io.choice("type", v.type, {"stream", "service"});
    io.flag("token_req", v.token_req);
    io.integers_by_name("revocations", v.revocations);
    io.text("response_type", v.response_type);
    io.integer("response_threshold", v.response_threshold_ns);
    io.object("service_latency", v.latency);
    io.integer("account_token_position", v.account_token_position, 0);
    io.flag("advertise", v.advertise);
    io.flag("allow_trace", v.allow_trace);
    io.text("description", v.description);
    io.text("info_url", v.info_url);
}
template <class Io>
void fields(Io& io, import_claim& v) {
    io.text("name", v.name);
    io.text("subject", v.subject);
    io.text("account", v.account);
    io.text("token", v.token);
    io.text("to", v.to);
    io.text("local_subject", v.local_subject);
    io.choice("type", v.type, {"stream", "service"});
    io.flag("share", v.share);
    io.flag("allow_trace", v.allow_trace);
}
template <class Io>
void fields(Io& io, weighted_mapping& v) {
    io.always_text("subject", v.subject);
    io.integer("weight", v.weight, 0, 255);
    io.text("cluster", v.cluster);
}
template <class Io>
void fields(Io& io, trace_claim& v) {
    io.text("dest", v.dest);
    io.integer("sampling", v.sampling);
}
/// Go reads scopes by way of floating point, so that servers see greater numbers rounded or not at all.
template <class Io>
void check_exact_in_go(Io& io, const user_limits& l) {
    constexpr std::int64_t largest = std::int64_t{1} << 53;
    for (const auto n : {l.subs, l.data, l.payload, l.perms.resp ? l.perms.resp->max : 0, l.perms.resp ? l.perms.resp->ttl_ns : 0})
        if (n > largest || n < -largest) io.fail(errc::bad_claims, "template", std::to_string(n) + " is beyond 2^53, which servers do not read exactly in a scope");
}
/// The object form of an account's signing key.
template <class Io>
void fields(Io& io, signing_key& v) {
    std::string kind = Io::reading ? "" : "user_scope";
    io.always_text("kind", kind);
    if (kind != "user_scope") io.fail(errc::bad_claims, "kind", "unknown scope kind " + quoted_text(kind));
    io.always_text("key", v.key);
    io.always_text("role", v.role);
    scope_limits scope{v.scope};
    io.object("template", scope);
    check_exact_in_go(io, v.scope);
    io.always_text("description", v.description);
}
inline void signing_keys(object_writer& io, std::vector<signing_key>& v) {
    if (v.empty()) return;
    io.key("signing_keys");
    io.out().begin_array();
    for (auto& k : v) {
        if (k.scoped) io.nested(k, {nullptr, "signing_keys"});
        else io.out().string(k.key);
    }
    io.out().end_array();
}
inline void signing_keys(object_reader& io, std::vector<signing_key>& v) {
    io.for_each_item(io.take("signing_keys"), "signing_keys", [&](simdjson::dom::element e) {
        auto& k = v.emplace_back();
        if (e.is_string()) return io.read_text(e, "signing_keys", k.key);
        k.scoped = true;
        io.nested(e, "signing_keys", k);
    });
}

template <class Io>
void fields(Io& io, operator_claims& v) {
    io.texts("signing_keys", v.signing_keys);
    io.text("account_server_url", v.account_server_url);
    io.texts("operator_service_urls", v.operator_service_urls);
    io.text("system_account", v.system_account);
    io.text("assert_server_version", v.assert_server_version);
    io.flag("strict_signing_key_usage", v.strict_signing_key_usage);
}
template <class Io>
void fields(Io& io, account_claims& v) {
    io.objects("imports", v.imports);
    io.objects("exports", v.exports);
    all_account_limits limits{v.limits, v.jetstream, v.tiered_limits};
    io.object("limits", limits);
    signing_keys(io, v.signing_keys);
    io.integers_by_name("revocations", v.revocations);
    io.object("default_permissions", v.default_permissions);
    io.object_lists_by_name("mappings", v.mappings);
    io.object("authorization", v.authorization);
    io.object("trace", v.trace);
    io.text("cluster_traffic", v.cluster_traffic);
    io.text("description", v.description);
    io.text("info_url", v.info_url);
}
template <class Io>
void fields(Io& io, user_claims& v) {
    fields(io, v.limits);
    io.text("issuer_account", v.issuer_account);
}
template <class Io>
void fields(Io& io, activation_claims& v) {
    io.text("subject", v.subject);
    io.choice("kind", v.kind, {"stream", "service"});
    io.text("issuer_account", v.issuer_account);
}

template <class Io>
void fields(Io& io, server_id& v) {
    io.always_text("name", v.name);
    io.always_text("host", v.host);
    io.always_text("id", v.id);
    io.text("version", v.version);
    io.text("cluster", v.cluster);
    io.texts("tags", v.tags);
    io.text("xkey", v.xkey);
}
template <class Io>
void fields(Io& io, client_info& v) {
    io.text("host", v.host);
    io.unsigned_integer("id", v.id);
    io.text("user", v.user);
    io.text("name", v.name);
    io.texts("tags", v.tags);
    io.text("name_tag", v.name_tag);
    io.text("kind", v.kind);
    io.text("type", v.type);
    io.text("mqtt_id", v.mqtt_id);
    io.text("nonce", v.nonce);
}
template <class Io>
void fields(Io& io, connect_options& v) {
    io.text("jwt", v.jwt);
    io.text("nkey", v.nkey);
    io.text("sig", v.sig);
    io.text("auth_token", v.auth_token);
    io.text("user", v.user);
    io.text("pass", v.pass);
    io.text("name", v.name);
    io.text("lang", v.lang);
    io.text("version", v.version);
    io.always_integer("protocol", v.protocol);
}
template <class Io>
void fields(Io& io, client_tls& v) {
    io.text("version", v.version);
    io.text("cipher", v.cipher);
    io.texts("certs", v.certs);
    io.text_lists("verified_chains", v.verified_chains);
}
template <class Io>
void fields(Io& io, authorization_request_claims& v) {
    io.object("server_id", v.server);
    io.always_text("user_nkey", v.user_nkey);
    io.object("client_info", v.client);
    io.object("connect_opts", v.connect);
    io.object("client_tls", v.tls);
    io.text("request_nonce", v.request_nonce);
}
template <class Io>
void fields(Io& io, authorization_response_claims& v) {
    io.text("jwt", v.jwt);
    io.text("error", v.error);
    io.text("issuer_account", v.issuer_account);
}

}  // namespace callgate::nats

// SPDX-License-Identifier: Apache-2.0
#include <fmt/chrono.h>
#include <fmt/format.h>

#include "engine/base/escape.hpp"
#include "engine/runtime/audit_trail.hpp"

namespace callgate::runtime {
namespace {

void append(std::string& out, std::string_view key, std::string_view value, bool always = false) {
    if (value.empty() && !always) return;
    out += ",\"";
    out += key;
    out += "\":\"";
    append_escaped(out, value);
    out.push_back('"');
}

void begin(std::string& out, std::int64_t unix_ms, std::string_view event) {
    const std::chrono::system_clock::time_point at{std::chrono::milliseconds(unix_ms)};
    fmt::format_to(std::back_inserter(out), "{{\"ts\":\"{:%Y-%m-%dT%H:%M:%S}.{:03}Z\",\"event\":\"{}\"", fmt::gmtime(at), unix_ms % 1000, event);
}

}  // namespace

std::string to_json_line(const flow::audit_record& r) {
    std::string out;
    out.reserve(512);
    begin(out, r.unix_ms, "decision");
    append(out, "verdict", r.verdict, true);
    append(out, "reason_id", r.reason_id, true);
    append(out, "reason", r.reason);
    append(out, "identity", r.identity);
    append(out, "issuer", r.issuer);
    append(out, "backend", r.backend);
    append(out, "route", r.route);
    append(out, "rule", r.rule);
    append(out, "account", r.account);
    append(out, "permissions", r.permissions_hash);
    append(out, "client_host", r.client_host);
    append(out, "client_kind", r.client_kind);
    append(out, "server_id", r.server_id);
    append(out, "server_name", r.server_name);
    fmt::format_to(std::back_inserter(out), ",\"cid\":{}", r.client_id);
    append(out, "user_nkey", r.user_nkey);
    append(out, "correlation_id", r.correlation_id);
    if (r.exp_unix_s != 0) fmt::format_to(std::back_inserter(out), ",\"exp\":{}", r.exp_unix_s);
    fmt::format_to(std::back_inserter(out), ",\"latency_us\":{}}}\n", r.latency_us);
    return out;
}

// What the plugin says is inside `fields`, or under names that are no engine's word: it cannot pose as a decision.
std::string to_json_line(const host::audit_note& n, std::int64_t unix_ms) {
    std::string out;
    begin(out, unix_ms, "plugin");
    append(out, "instance", n.source, true);
    append(out, "action", n.action, true);
    append(out, "outcome", n.outcome);
    append(out, "identity", n.identity);
    if (!n.fields.empty()) {
        std::string inner;
        for (const auto& [name, value] : n.fields) append(inner, name, value, true);
        out += ",\"fields\":{" + inner.substr(1) + "}";
    }
    out += "}\n";
    return out;
}

}  // namespace callgate::runtime

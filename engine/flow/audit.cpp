// SPDX-License-Identifier: Apache-2.0
#include "engine/flow/audit.hpp"

#include <callgate/crypto/hash.hpp>

#include <algorithm>
#include <vector>

namespace callgate::flow {
namespace {

std::string_view to_string(policy::client_kind k) noexcept {
    switch (k) {
        case policy::client_kind::nats: return "nats";
        case policy::client_kind::websocket: return "websocket";
        case policy::client_kind::mqtt: return "mqtt";
        case policy::client_kind::leafnode: return "leafnode";
        case policy::client_kind::other: break;
    }
    return "other";
}

}  // namespace

std::string permissions_hash(const policy::grant& g) {
    // Room kept from one decision to the next: no grant holds a secret.
    thread_local std::string canonical;
    thread_local std::vector<std::string_view> sorted;
    canonical = "role\n";
    canonical += g.role;
    canonical += '\n';
    const auto append = [&](std::string_view label, const std::vector<std::string>& list) {
        sorted.assign(list.begin(), list.end());
        std::sort(sorted.begin(), sorted.end());
        sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
        canonical += label;
        canonical += '\n';
        for (const auto s : sorted) {
            canonical += s;
            canonical += '\n';
        }
    };
    // A subject has no line feed, so no two different grants have one text.
    append("pub allow", g.pub_allow);
    append("pub deny", g.pub_deny);
    append("sub allow", g.sub_allow);
    append("sub deny", g.sub_deny);
    if (g.resp) canonical += "resp " + std::to_string(g.resp->max) + " " + std::to_string(g.resp->ttl_ns) + "\n";
    sorted.clear();
    const auto digest = crypto::sha256(canonical);
    constexpr char hex[] = "0123456789abcdef";
    std::string out;
    out.reserve(16);
    for (std::size_t i = 0; i < 8; ++i) {
        out += hex[digest[i] >> 4];
        out += hex[digest[i] & 15];
    }
    return out;
}

audit_record make_audit_record(const request& r, std::int64_t now_ns, std::int64_t now_unix_ms) {
    audit_record a;
    a.unix_ms = now_unix_ms;
    a.correlation_id = r.correlation_id;
    a.server_id = r.claims.server.id;
    a.server_name = r.claims.server.name;
    a.client_host = r.claims.client.host;
    a.client_kind = to_string(r.connection.kind);
    a.client_id = r.claims.client.id;
    a.identity = r.who.subject;
    a.issuer = r.who.issuer;
    a.backend = r.backend;
    if (r.route != nullptr) a.route = r.route->name;
    a.rule = r.decision.rule;
    a.verdict = r.verdict;
    a.reason_id = r.decision.reason_id;
    a.reason = r.decision.reason;
    a.user_nkey = r.claims.user_nkey;
    a.latency_us = (now_ns - r.arrival_ns) / 1000;
    if (r.verdict == "allow") {
        a.account = r.decision.grant.account;
        a.permissions_hash = permissions_hash(r.decision.grant);
        a.exp_unix_s = r.decision.grant.exp;
    }
    return a;
}

}  // namespace callgate::flow

// SPDX-License-Identifier: Apache-2.0
// Second half of callout_fsm: from a verified request to a verdict. Three verdicts all the way through; only
// DENY is ever answered as a denial.
#include <algorithm>
#include <utility>

#include "engine/flow/callout_fsm.hpp"

namespace callgate::flow {

using observe::drop_reason;

namespace {

// What the client learns: the reason goes to audit and metrics, or it would tell an attacker what to try next.
constexpr std::string_view denied = "authorization denied";

cg_str to_cg(std::string_view s) noexcept { return {s.data(), s.size()}; }

cg_str_list to_cg(std::span<const std::string_view> list, arena& memory) noexcept {
    auto out = memory.make_array<cg_str>(list.size());
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = to_cg(list[i]);
    return {out.data(), out.size()};
}

policy::client_kind kind_of(const codec::request_client& c) noexcept {
    if (c.kind == "Leafnode") return policy::client_kind::leafnode;
    if (c.kind != "Client") return policy::client_kind::other;
    if (c.type == "websocket") return policy::client_kind::websocket;
    if (c.type == "mqtt") return policy::client_kind::mqtt;
    return c.type.empty() || c.type == "nats" ? policy::client_kind::nats : policy::client_kind::other;
}

policy::tls_state tls_of(const codec::request_tls& t) noexcept {
    if (!t.present) return policy::tls_state::none;
    if (t.chain_pem.empty()) return policy::tls_state::no_cert;
    return t.verified ? policy::tls_state::verified : policy::tls_state::unverified;
}

std::string_view credential_of(const codec::request_connect& c, policy::credential_source source) noexcept {
    switch (source) {
        case policy::credential_source::auth_token: return c.auth_token;
        case policy::credential_source::pass: return c.pass;
        case policy::credential_source::jwt: return c.jwt;
        case policy::credential_source::user: return c.user;
        case policy::credential_source::nkey: return c.nkey;
        case policy::credential_source::none: break;
    }
    return {};
}

cg_identity to_cg(const policy::identity& id, arena& memory) noexcept {
    cg_identity out{};
    out.struct_size = sizeof out;
    out.issuer = to_cg(memory.copy(id.issuer));
    out.subject = to_cg(memory.copy(id.subject));
    out.attributes_json = to_cg(memory.copy(id.attributes_json));
    out.credential_exp_unix_s = id.credential_exp;
    out.credential_iat_unix_s = id.credential_iat;
    out.credential_id = to_cg(memory.copy(id.credential_id));
    auto handles = memory.make_array<cg_str>(id.revocation_handles.size());
    for (std::size_t i = 0; i < handles.size(); ++i) handles[i] = to_cg(memory.copy(id.revocation_handles[i]));
    out.revocation_handles = {handles.data(), handles.size()};
    return out;
}

}  // namespace

action callout_fsm::route() {
    const auto& q = r_.claims;
    auto& c = r_.connection;
    c.kind = kind_of(q.client);
    c.tls = tls_of(q.tls);
    c.client_host = q.client.host;
    c.user = q.connect.user;
    c.client_name = q.connect.name.empty() ? q.client.name : q.connect.name;
    c.mqtt_id = q.client.mqtt_id;
    c.lang = q.connect.lang;
    c.version = q.connect.version;
    c.nkey = q.connect.nkey;
    c.server_id = q.server.id;
    c.server_name = q.server.name;
    c.server_cluster = q.server.cluster;
    c.server_tags = q.server.tags;
    c.client_tags = q.client.tags;
    c.server_pinned = r_.server_pinned;
    c.has_auth_token = !q.connect.auth_token.empty();
    c.has_pass = !q.connect.pass.empty();
    c.has_jwt = !q.connect.jwt.empty();
    c.has_nkey_signature = !q.connect.nkey.empty() && !q.connect.sig.empty();

    r_.route = r_.config->policy ? r_.config->policy->find_route(c) : nullptr;
    close_stage(observe::stage::policy);
    if (r_.route == nullptr) return deny("no_route", "no route matches the connection");
    return next_backend();
}

bool callout_fsm::prepare_ask() {
    const auto& q = r_.claims;
    // A plugin that answered late may still read the request it was given, so each backend has one of its own.
    auto* a = memory().make<cg_auth_request>();
    if (a == nullptr) return false;
    a->struct_size = sizeof *a;
    a->flags = r_.server_pinned ? CG_REQUEST_SERVER_PINNED : 0;
    a->trust = CG_TRUST_VERIFIED;
    a->shard = c_.shard;
    a->correlation_id = to_cg(r_.correlation_id);
    a->arrival_ns = r_.arrival_ns;
    a->deadline_ns = r_.deadline_ns;
    a->now_unix_s = c_.clock.wall_s();
    a->server_id = to_cg(q.server.id);
    a->server_name = to_cg(q.server.name);
    a->server_host = to_cg(q.server.host);
    a->server_version = to_cg(q.server.version);
    a->server_cluster = to_cg(q.server.cluster);
    a->server_tags = to_cg(q.server.tags, memory());
    a->client_id = q.client.id;
    a->client_kind = static_cast<std::uint32_t>(r_.connection.kind);
    a->tls = static_cast<std::uint32_t>(r_.connection.tls);
    a->client_host = to_cg(q.client.host);
    a->client_user = to_cg(q.client.user);
    a->client_name = to_cg(q.client.name);
    a->client_mqtt_id = to_cg(q.client.mqtt_id);
    a->client_nonce = to_cg(q.client.nonce);
    a->client_tags = to_cg(q.client.tags, memory());
    a->user_nkey = to_cg(q.user_nkey);
    a->jwt = to_cg(q.connect.jwt);
    a->nkey = to_cg(q.connect.nkey);
    a->sig = to_cg(q.connect.sig);
    a->auth_token = to_cg(q.connect.auth_token);
    a->user = to_cg(q.connect.user);
    a->pass = to_cg(q.connect.pass);
    a->name = to_cg(q.connect.name);
    a->lang = to_cg(q.connect.lang);
    a->version = to_cg(q.connect.version);
    a->tls_version = to_cg(q.tls.version);
    a->tls_cipher = to_cg(q.tls.cipher);
    a->tls_chain_pem = to_cg(q.tls.chain_pem, memory());
    for (const auto source : r_.route->credentials) {
        const auto credential = credential_of(q.connect, source);
        if (credential.empty()) continue;
        a->credential_source = static_cast<std::uint32_t>(source);
        a->credential = to_cg(credential);
        break;
    }
    auto earlier = memory().make_array<cg_identity>(r_.earlier.size());
    for (std::size_t i = 0; i < earlier.size(); ++i) earlier[i] = to_cg(r_.earlier[i], memory());
    a->earlier_stride = sizeof(cg_identity);
    a->earlier = earlier.data();
    a->earlier_count = earlier.size();
    a->claims_json = to_cg(q.json);
    r_.ask = a;
    return !memory().exhausted();
}

action callout_fsm::next_backend() {
    const auto& chain = r_.route->chain;
    if (r_.chain_position == chain.size()) {
        // Somebody who might have said yes could not be asked: that is not a denial.
        if (r_.some_unavailable) return shed(drop_reason::backend_unavailable, "a backend of the chain was unavailable and no other decided");
        return deny("all_abstained", "no backend of the chain knows this credential");
    }
    r_.backend = chain[r_.chain_position].backend;
    const auto& backends = r_.config->backends;
    const auto it = std::find_if(backends.begin(), backends.end(), [&](const auto& b) { return b->name() == r_.backend; });
    if (it == backends.end()) return shed(drop_reason::backend_unavailable, "route names a backend that is not loaded");
    if (c_.clock.mono_ns() >= r_.deadline_ns) return shed(drop_reason::out_of_time, "deadline passed before the backend was asked");
    if (!prepare_ask()) return shed(drop_reason::slab_full, "no memory for the backend's request");
    state_ = state::authenticating;
    action a{.what = action::kind::authenticate};
    a.backend = it->get();
    return a;
}

action callout_fsm::judge(auth_result& reply) {
    close_stage(observe::stage::authenticate);
    auto& d = r_.decision;
    // ALLOW without saying who is a defect of the backend; letting in a nobody would be ours.
    const bool nobody = reply.verdict == CG_VERDICT_ALLOW && (!reply.who || reply.who->subject.empty());
    const auto verdict = nobody ? CG_VERDICT_UNAVAILABLE : reply.verdict;
    switch (verdict) {
        case CG_VERDICT_ALLOW: break;
        case CG_VERDICT_DENY:
            if (reply.who) r_.who = std::move(*reply.who);
            return deny(reply.reason_id.empty() ? "backend_denies" : reply.reason_id, reply.reason);
        case CG_VERDICT_ABSTAIN:
            if (reply.who) r_.earlier.push_back(std::move(*reply.who));
            ++r_.chain_position;
            return next_backend();
        default:
            if (r_.route->chain[r_.chain_position].next_on_unavailable) {
                r_.some_unavailable = true;
                ++r_.chain_position;
                return next_backend();
            }
            d.reason_id = nobody ? "backend_defect" : reply.reason_id;
            d.reason = nobody ? "ALLOW without an identity" : reply.reason;
            return shed(drop_reason::backend_unavailable, "backend " + r_.backend + " is unavailable");
    }
    r_.who = std::move(*reply.who);
    if (r_.who.backend.empty()) r_.who.backend = r_.backend;
    const auto now = c_.clock.wall_s();
    const auto& policy = *r_.config->policy;
    d = reply.grant ? policy.admit(r_.connection, r_.who, *reply.grant, now, c_.next_jitter())
                    : policy.decide(r_.connection, r_.who, now, c_.next_jitter());
    return d.stored ? look_up() : grant();
}

// The rules matched and leave the grant to a claim store.
action callout_fsm::look_up() {
    const auto& stores = r_.config->stores;
    const auto it = std::find_if(stores.begin(), stores.end(), [&](const auto& s) { return s->name() == r_.decision.stored->store; });
    close_stage(observe::stage::policy);
    if (it == stores.end()) {
        r_.decision.reason_id = "store_unavailable";
        return shed(drop_reason::backend_unavailable, "rule names a claim store that is not loaded");
    }
    if (c_.clock.mono_ns() >= r_.deadline_ns) return shed(drop_reason::out_of_time, "deadline passed before the claim store was asked");
    state_ = state::looking_up;
    action a{.what = action::kind::look_up};
    a.store = it->get();
    return a;
}

action callout_fsm::judge_stored(stored_result& found) {
    auto& d = r_.decision;
    switch (found.what) {
        case stored_result::state::found: break;
        case stored_result::state::missing: return deny("no_stored_grant", "the claim store has no grant under " + d.stored->key);
        case stored_result::state::unavailable:
            // Who might be let in is told to come again, never refused.
            d.reason_id = "store_unavailable";
            d.reason = std::move(found.reason);
            return shed(drop_reason::backend_unavailable, "claim store " + d.stored->store + " is unavailable");
    }
    d = r_.config->policy->admit_stored(r_.connection, r_.who, d, *found.document, c_.clock.wall_s(), c_.next_jitter());
    return grant();
}

// The policy has decided; what would be a breach if it were wrong is looked at once more.
action callout_fsm::grant() {
    auto& d = r_.decision;
    const auto& config = *r_.config;
    close_stage(observe::stage::policy);
    if (!d.allow) return deny(d.reason_id.empty() ? "rule_denies" : d.reason_id, d.reason);
    const auto account = config.accounts.find(d.grant.account);
    if (account == config.accounts.end()) return deny("account_unknown", "granted account is not configured");
    const auto& placement = account->second.placement;
    // A client in the callout account reads everybody's credentials; one in the system account rules the servers.
    const auto& forbidden = config.forbidden_placements;
    if (placement.empty() || placement == config.callout_account || std::find(forbidden.begin(), forbidden.end(), placement) != forbidden.end())
        return deny("account_forbidden", "grants into the callout or system account are never made");
    r_.account = &account->second;
    r_.signer = &account->second.signer;
    if (!d.grant.role.empty()) {
        const auto role = account->second.roles.find(d.grant.role);
        if (role == account->second.roles.end()) return deny("role_unknown", "account has no such role");
        const auto& g = d.grant;
        if (!g.pub_allow.empty() || !g.pub_deny.empty() || !g.sub_allow.empty() || !g.sub_deny.empty() || g.resp)
            return deny("role_unknown", "a grant by role carries no permissions of its own");
        r_.signer = &role->second;
    }
    if (d.grant.exp <= c_.clock.wall_s()) return deny("credential_expired", "grant would have expired already");
    if (c_.clock.mono_ns() >= r_.deadline_ns) return shed(drop_reason::out_of_time, "deadline passed before the answer was signed");
    r_.verdict = "allow";
    if (d.reason_id.empty()) d.reason_id = "ok";
    return sign_user();
}

action callout_fsm::deny(std::string_view reason_id, std::string_view reason) {
    auto& d = r_.decision;
    // Copied first: both may be views of the decision that is replaced here.
    policy::decision denial;
    denial.reason_id = std::string(reason_id);
    denial.reason = std::string(reason);
    denial.rule = std::move(d.rule);
    d = std::move(denial);
    r_.verdict = "deny";
    r_.account = nullptr;
    if (r_.config->silent_deny) return drop(drop_reason::silent_deny, "denials are configured to be silent");
    return sign_response(denied);
}

}  // namespace callgate::flow

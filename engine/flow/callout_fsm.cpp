// SPDX-License-Identifier: Apache-2.0
#include "engine/flow/callout_fsm.hpp"

#include <callgate/crypto/box.hpp>

#include <algorithm>
#include <cassert>
#include <utility>

#include "engine/flow/reply_subject.hpp"

namespace callgate::flow {

using observe::drop_reason;

double flow_context::next_jitter() noexcept {
    // splitmix64: this spreads expiry times and protects nothing.
    std::uint64_t z = jitter_state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return static_cast<double>(z >> 11) * 0x1.0p-53;
}

void callout_fsm::begin(callout_message&& message, std::shared_ptr<const flow_config> config, request_memory_ptr memory,
                        std::string_view correlation_id) {
    end();
    r_.reply.assign(message.reply);
    r_.link = message.link;
    r_.arrival_ns = message.arrival_ns;
    r_.message = std::move(message);
    r_.config = std::move(config);
    r_.memory = std::move(memory);
    r_.correlation_id = correlation_id;
    // Until the request itself says how long its server waits.
    const auto learned = c_.servers.budget(server_hash(r_.reply));
    r_.budget_ns = learned != 0 ? learned : r_.config->default_budget_ns;
    r_.deadline_ns = r_.arrival_ns + r_.budget_ns - std::min(r_.config->safety_ns, r_.budget_ns / 2);
    r_.spent_ns.fill(-1);
    r_.stage_began_ns = r_.arrival_ns;
}

void callout_fsm::end() noexcept {
    // Strings keep their room for the next request of this slot; what is secret lies in `memory` alone.
    std::string reply = std::move(r_.reply), backend = std::move(r_.backend);
    auto earlier = std::move(r_.earlier);
    r_ = request{};
    reply.clear();
    backend.clear();
    earlier.clear();
    r_.reply = std::move(reply);
    r_.backend = std::move(backend);
    r_.earlier = std::move(earlier);
    state_ = state::idle;
}

action callout_fsm::resume(event e) {
    assert(state_ != state::over);
    if (e.what == event::kind::out_of_time) {
        // A verified client is told to come again; who did not prove to be a server gets no side effect.
        return r_.verified ? shed(drop_reason::out_of_time, "deadline passed") : drop(drop_reason::out_of_time, "deadline passed before the request was verified");
    }
    switch (state_) {
        case state::idle:
            // The queue can be long: whatever is dead on arrival must cost nothing more.
            close_stage(observe::stage::queue);
            state_ = state::opening;
            return open();

        case state::opening:
            // Comes back here once for each own xkey whose agreement with this server was not at hand.
            if (e.what == event::kind::not_agreed) return drop(drop_reason::unknown_xkey, "no key agreement with the server's xkey possible now");
            return open();

        case state::authenticating:
            // The backend may have taken its time; the deadline is looked at before more is spent on it.
            assert(e.what == event::kind::backend_replied && e.reply != nullptr);
            return judge(*e.reply);

        case state::looking_up:
            assert(e.what == event::kind::looked_up && e.stored != nullptr);
            return judge_stored(*e.stored);

        case state::signing_user:
            // Two signatures by two keys, the inner one first: the response contains the user JWT as text.
            if (e.what == event::kind::sign_failed) return shed(drop_reason::sign_failed, "user JWT was not signed");
            r_.user_jwt = r_.token.finish(e.signature.first<64>());
            return sign_response({});

        case state::signing_response:
            if (e.what == event::kind::sign_failed) return shed(drop_reason::sign_failed, "response was not signed");
            close_stage(observe::stage::sign);
            return send(r_.token.finish(e.signature.first<64>()));

        case state::over: break;
    }
    return drop(drop_reason::not_decodable, "request is over");
}

action callout_fsm::sign_user() {
    const auto& g = r_.decision.grant;
    const auto& config = *r_.config;
    codec::user_jwt jwt;
    // Config mode places by aud, operator mode by the issuer's account; the other one is refused there (3.6).
    if (config.operator_mode) {
        // Without issuer_account the server takes the signer for the account: a key bound to the wrong account
        // would place the client there instead of being refused.
        if (r_.account->set_issuer_account || !g.role.empty() || r_.signer->nkey != r_.account->placement)
            jwt.issuer_account = r_.account->placement;
    } else {
        jwt.aud = r_.account->placement;
    }
    jwt.iss = r_.signer->nkey;
    jwt.name = g.name;
    jwt.sub = r_.claims.user_nkey;
    jwt.exp = g.exp;
    jwt.iat = c_.clock.wall_s();
    jwt.scoped = !g.role.empty();
    jwt.pub_allow = g.pub_allow;
    jwt.pub_deny = g.pub_deny;
    jwt.sub_allow = g.sub_allow;
    jwt.sub_deny = g.sub_deny;
    jwt.tags = g.tags;
    if (g.resp) {
        jwt.has_resp = true;
        jwt.resp_max = g.resp->max;
        jwt.resp_ttl_ns = g.resp->ttl_ns;
    }
    r_.token = c_.writer.write(jwt, memory());
    if (!r_.token) return shed(drop_reason::slab_full, "no memory for the user JWT");
    state_ = state::signing_user;
    action a{.what = action::kind::sign};
    a.purpose = CG_SIGN_USER_JWT;
    return a;
}

action callout_fsm::sign_response(std::string_view error) {
    const auto& config = *r_.config;
    codec::authorization_response response;
    // Always with aud: a response without it is refused as "not for server" and logged as our mistake.
    response.aud = r_.claims.server.id;
    response.sub = r_.claims.user_nkey;
    response.iss = config.issuer.nkey;
    response.jwt = r_.user_jwt;
    response.error = error;
    response.iat = c_.clock.wall_s();
    if (config.operator_mode && config.response_issuer_account) response.issuer_account = config.callout_account;
    r_.signer = &config.issuer;
    r_.token = c_.writer.write(response, memory());
    if (!r_.token) return shed(drop_reason::slab_full, "no memory for the response");
    state_ = state::signing_response;
    action a{.what = action::kind::sign};
    a.purpose = CG_SIGN_AUTH_RESPONSE;
    return a;
}

action callout_fsm::send(std::string_view response) {
    std::span<const std::uint8_t> payload{reinterpret_cast<const std::uint8_t*>(response.data()), response.size()};
    if (r_.sealed) {
        // With the xkey that opened the request: during a rotation servers still trust the one they sealed to.
        auto* out = reinterpret_cast<std::uint8_t*>(memory().make_text(payload.size() + crypto::xkv1_overhead));
        if (out == nullptr) return shed(drop_reason::slab_full, "no memory for the sealed response");
        crypto::seal(payload, r_.shared->bytes(), out);
        payload = {out, payload.size() + crypto::xkv1_overhead};
    }
    // A server that is further away fetches the account in its route's or gateway's reader whichever link brings the
    // reply; and only the link that received a request from another cluster is sure to reach its inbox (README).
    if (r_.verdict == "allow" && c_.world.leads_to(r_.link, r_.claims.server.id))
        r_.cold = c_.servers.is_cold(r_.claims.server.id, r_.account->placement, c_.clock.mono_ns());
    state_ = state::over;
    action a{.what = action::kind::reply};
    a.payload = payload;
    return a;
}

action callout_fsm::shed(drop_reason why, std::string detail) {
    state_ = state::over;
    r_.verdict = "unavailable";
    if (r_.decision.reason_id.empty() || r_.decision.allow) r_.decision.reason_id = std::string(observe::to_string(why));
    r_.decision.allow = false;
    if (r_.decision.reason.empty()) r_.decision.reason = detail;
    return {.what = action::kind::shed, .why = why, .detail = std::move(detail)};
}

action callout_fsm::drop(drop_reason why, std::string detail) {
    state_ = state::over;
    return {.what = action::kind::drop, .why = why, .detail = std::move(detail)};
}

void callout_fsm::close_stage(observe::stage s) noexcept {
    const auto now = c_.clock.mono_ns();
    auto& spent = r_.spent_ns[static_cast<std::size_t>(s)];
    // A chain of backends comes by more than once.
    spent = std::max<std::int64_t>(spent, 0) + (now - r_.stage_began_ns);
    r_.stage_began_ns = now;
}

}  // namespace callgate::flow

// SPDX-License-Identifier: Apache-2.0
// First half of callout_fsm: from bytes to a verified request. Nothing here has an effect that outlives the
// request until the signature and every check of protocol.md 3.5 hold.
#include <callgate/crypto/box.hpp>
#include <callgate/nats/nkey.hpp>

#include <algorithm>

#include "engine/flow/callout_fsm.hpp"
#include "engine/flow/reply_subject.hpp"

namespace callgate::flow {

using observe::drop_reason;

namespace {

constexpr std::int64_t second_ns = 1'000'000'000;
// authorization.timeout is a matter of seconds. A longer life than this would only keep replays acceptable.
constexpr std::int64_t max_life_s = 120;
constexpr std::int64_t min_budget_ns = second_ns;

struct forget_on_exit {
    codec::request_reader& reader;
    ~forget_on_exit() { reader.forget(); }
};

}  // namespace

action callout_fsm::open() {
    const auto& config = *r_.config;
    const auto payload = r_.message.payload;
    const std::string_view text{reinterpret_cast<const char*>(payload.data()), payload.size()};
    if (!crypto::looks_sealed(payload)) {
        if (!config.xkeys.empty() && !config.allow_plaintext)
            return drop(drop_reason::plaintext_refused, "request is not encrypted although an xkey is configured; set authorization.xkey at the server");
        return decode(text);
    }
    if (config.xkeys.empty()) return drop(drop_reason::unknown_xkey, "request is encrypted but no xkey is configured");
    if (!r_.sealed) {
        const auto peer = nats::decode_public(r_.message.xkey_header, nats::key_type::curve);
        if (!peer) return drop(drop_reason::unknown_xkey, "header Nats-Server-Xkey is missing or no curve key");
        r_.peer = peer->bytes;
        r_.sealed = true;
    }
    // The box does not name its recipient. During a rotation most servers use the current key, so it comes first.
    const std::size_t plain_size = payload.size() - std::min(payload.size(), crypto::xkv1_overhead);
    std::uint8_t* plain = nullptr;
    bool no_agreement = false;
    for (; r_.xkey < config.xkeys.size(); ++r_.xkey) {
        const auto found = c_.shared_keys.find(config.xkeys[r_.xkey].public_bytes, r_.peer, c_.clock.mono_ns());
        if (!found.known) return {.what = action::kind::agree};
        if (!found.key) {
            no_agreement = true;
            continue;
        }
        if (plain == nullptr) plain = reinterpret_cast<std::uint8_t*>(memory().make_text(plain_size + 1));
        if (plain == nullptr) return drop(drop_reason::slab_full, "no memory to decrypt the request");
        if (const auto n = crypto::open(payload, found.key->bytes(), plain)) {
            r_.shared = found.key;
            close_stage(observe::stage::open);
            return decode({reinterpret_cast<const char*>(plain), *n});
        }
    }
    if (no_agreement)
        return drop(drop_reason::unknown_xkey, "a key provider made no shared key with the server's xkey: it is down or slow, or the xkey is unusable; see /health");
    return drop(drop_reason::unknown_xkey, "request opens with none of the configured xkeys; compare authorization.xkey at the server with callout.xkeys");
}

action callout_fsm::decode(std::string_view token) {
    const forget_on_exit guard{c_.reader};
    if (const auto ok = c_.reader.open(token, memory()); !ok)
        return drop(ok.error().code == errc::busy ? drop_reason::slab_full : drop_reason::not_decodable, ok.error().text);
    if (!c_.reader.issuer_is_server()) return drop(drop_reason::issuer_mismatch, "iss is not the public key of a server");
    const auto by_issuer = [this](const auto& text, const auto& signature, const auto& key) { return c_.servers.keys.verify(text, signature, key); };
    if (!c_.reader.verify(by_issuer)) return drop(drop_reason::bad_signature, "signature is not by iss");
    auto claims = c_.reader.claims(memory());
    if (!claims)
        return drop(claims.error().code == errc::busy ? drop_reason::slab_full : drop_reason::not_decodable, claims.error().text);
    r_.claims = *claims;
    close_stage(observe::stage::verify);
    return check();
}

// The header is compared while the message is still there; after this stage it is let go.
action callout_fsm::check() {
    const auto& config = *r_.config;
    const auto& q = r_.claims;
    if (q.iss != q.server.id) return drop(drop_reason::issuer_mismatch, "iss is not nats.server_id.id");
    if (q.aud != "nats-authorization-request") return drop(drop_reason::wrong_audience, "aud is not nats-authorization-request");
    if (!config.request_subject_key.empty() && q.sub != config.request_subject_key)
        return drop(drop_reason::wrong_subject, "sub is not the key this callout is configured with (issuer, or the callout account in operator mode)");
    if ((r_.sealed || !r_.message.xkey_header.empty()) && q.server.xkey != r_.message.xkey_header)
        return drop(drop_reason::xkey_mismatch, "nats.server_id.xkey is not the key of the header");
    r_.message = {};

    const std::int64_t now_s = c_.clock.wall_s(), now_ns = c_.clock.mono_ns();
    const std::int64_t leeway_s = config.leeway_ns / second_ns;
    // Bounds first: sums below must not overflow on numbers a stranger chose.
    constexpr std::int64_t far = std::int64_t{1} << 40;
    if (q.exp <= 0 || q.iat <= 0 || q.exp > far || q.iat > far) return drop(drop_reason::not_decodable, "exp or iat is not a time of this age");
    if (q.exp + leeway_s < now_s) return drop(drop_reason::expired, "exp passed: request is old, or the clocks differ by more than the leeway");
    if (q.iat > now_s + leeway_s) return drop(drop_reason::from_future, "iat is in the future by more than the leeway: compare the clocks");
    if (q.exp - q.iat > max_life_s) return drop(drop_reason::from_future, "exp is more than 120 s after iat");
    if (!nats::is_public(q.user_nkey, nats::key_type::user)) return drop(drop_reason::bad_user_nkey, "nats.user_nkey is no user key");

    r_.server_pinned = c_.world.is_pinned(r_.link, q.server.id);
    if (config.servers == pinning::known_only && !r_.server_pinned)
        return drop(drop_reason::server_not_pinned, "server is neither listed nor discovered");

    // A replay stays acceptable until exp and leeway have passed, so it is remembered as long.
    if (!c_.replays->insert(q.user_nkey, now_ns, now_ns + (q.exp + leeway_s + 1 - now_s) * second_ns))
        return drop(drop_reason::replayed, "user_nkey was seen before");
    r_.verified = true;
    c_.servers.keys.proven(c_.reader.issuer_key(), now_ns);
    if (r_.sealed) c_.shared_keys.mark_proven(config.xkeys[r_.xkey].public_bytes, r_.peer);

    // exp is now + timeout in whole seconds at the server: how long it waits, whatever its clock says. Below a
    // second the truncation leaves nothing to learn from.
    r_.budget_ns = std::max((q.exp - q.iat) * second_ns, min_budget_ns);
    r_.deadline_ns = r_.arrival_ns + r_.budget_ns - std::min(config.safety_ns, r_.budget_ns / 2);
    c_.servers.learn_budget(server_hash(r_.reply), q.server.id, r_.budget_ns);
    if (now_ns >= r_.deadline_ns) return shed(drop_reason::out_of_time, "waited too long before it was verified");
    return route();
}

}  // namespace callgate::flow

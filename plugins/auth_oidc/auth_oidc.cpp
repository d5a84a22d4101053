// SPDX-License-Identifier: Apache-2.0
#include "plugins/auth_oidc/auth_oidc.hpp"

#include <algorithm>
#include <callgate/crypto/hash.hpp>

namespace callgate::auth_oidc {
namespace {

constexpr std::size_t max_jti_bytes = 256;
/// `iat` ahead of us by more than this, and the leeway, was not issued by a clock.
constexpr std::int64_t max_iat_ahead_s = 5;

/// RFC 7519 5.1 and RFC 9068: an access or ID token. Other kinds of JWT are signed with the same keys.
bool acceptable_type(std::string_view typ) {
    std::string lower(typ);
    std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    if (lower.starts_with("application/")) lower.erase(0, std::string_view("application/").size());
    return lower.empty() || lower == "jwt" || lower == "at+jwt";
}

std::int64_t saturating_add(std::int64_t a, std::int64_t b) {
    std::int64_t out = 0;
    return __builtin_add_overflow(a, b, &out) ? (b > 0 ? INT64_MAX : INT64_MIN) : out;
}

}  // namespace

std::string_view backend::credential_of(const sdk::request_view& r) {
    if (r.credential_source() == CG_CREDENTIAL_NKEY) return {};
    if (r.credential_source() != CG_CREDENTIAL_NONE) return r.credential();
    if (!r.auth_token().empty()) return r.auth_token();
    return r.pass().empty() ? r.jwt() : r.pass();
}

backend::judgement backend::check_claims(const judge_state& s, const issuer_options& o, std::int64_t now) const {
    const auto& t = s.t;
    const auto deny = [](std::string_view id, std::string_view why) { return judgement{CG_VERDICT_DENY, id, why, nullptr}; };
    const std::int64_t leeway = o.leeway.count();
    if (!t.exp) return deny("exp_missing", "the token has no exp");
    if (saturating_add(*t.exp, leeway) <= now) return deny("token_expired", "exp is past");
    if (t.nbf && *t.nbf > saturating_add(now, leeway)) return deny("token_not_yet_valid", "nbf is ahead");
    if (t.iat && *t.iat > saturating_add(now, leeway + max_iat_ahead_s)) return deny("iat_in_future", "iat is ahead; compare the clocks");
    if (o.max_age.count() != 0) {
        if (!t.iat) return deny("iat_missing", "max_age is set and the token has no iat");
        if (saturating_add(*t.iat, o.max_age.count() + leeway) < now) return deny("token_too_old", "iat is further back than max_age");
    }
    const bool for_us = std::any_of(t.aud.begin(), t.aud.end(), [&](std::string_view a) {
        return std::find(o.audiences.begin(), o.audiences.end(), a) != o.audiences.end();
    });
    if (!for_us) return deny("aud_mismatch", "aud holds none of the configured audiences");
    if (t.sub.empty()) return deny("sub_missing", "the token has no sub");
    for (const auto& [name, values] : o.required_claims)
        if (!s.reader.claim_is(name, values)) return deny("required_claim", "a required claim is absent or has another value");
    return {CG_VERDICT_ALLOW, {}, {}, nullptr};
}

backend::judgement backend::judge(judge_state& s, std::string_view credential, std::int64_t now) const {
    s.t = {};
    s.known_issuer = s.used_kid = {};
    const auto deny = [](std::string_view id, std::string_view why) { return judgement{CG_VERDICT_DENY, id, why, nullptr}; };
    const auto abstain = [](std::string_view id, std::string_view why) { return judgement{CG_VERDICT_ABSTAIN, id, why, nullptr}; };
    if (credential.empty()) return abstain("no_token", "the request carries no token where the route looks for one");
    if (credential.size() > options_.max_token)
        return credential.starts_with("eyJ") ? deny("token_too_large", "the token is longer than max_token") : abstain("not_a_token", "not a compact JWS");
    switch (s.reader.read(credential, s.t)) {
        case token_form::foreign: return abstain("not_a_token", "not a compact JWS");
        case token_form::malformed: return deny("malformed_token", "not base64url, not UTF-8 JSON, a member twice, or nested too deep");
        case token_form::jws: break;
    }
    const auto& t = s.t;
    const auto mine = std::find_if(issuers_.begin(), issuers_.end(), [&](const auto& i) { return i->options.issuer == t.iss; });
    if (mine == issuers_.end()) return abstain("other_issuer", "iss is none of the configured issuers");
    issuer_state& issuer = **mine;
    const auto& o = issuer.options;
    s.known_issuer = o.issuer;

    if (t.bad_header_type || t.kid.size() > max_kid_bytes) return deny("bad_header", "alg, kid or typ of the header is not text, or kid is too long");
    const auto alg = algorithm_from(t.alg);
    if (!alg || std::find(o.algorithms.begin(), o.algorithms.end(), *alg) == o.algorithms.end())
        return deny("alg_not_allowed", "alg is none of the configured algorithms");
    if (t.has_crit) return deny("crit_not_supported", "the header has crit");
    if (t.has_foreign_key) return deny("key_in_header", "the header brings a key along (jku, x5u or jwk)");
    if (!acceptable_type(t.typ)) return deny("typ_not_allowed", "typ says it is neither an access token nor an ID token");
    if (!t.bad_claim.empty()) return deny("bad_claim_type", "a registered claim has a wrong type");
    if (t.payload.size() > max_claims_bytes) return deny("claims_too_large", "the claims are larger than 64 KiB");

    const auto keys = issuer.keys.read();
    if (!keys || !usable(issuer)) return {CG_VERDICT_UNAVAILABLE, "keys_unavailable", "the issuer's keys were never loaded, or not for max_stale", &issuer};
    const auto found = keys->find(t.kid, *alg);
    if (!found.kid_known) {
        // A token that would fail anyway is not worth a fetch.
        const auto rest = check_claims(s, o, now);
        if (rest.verdict != CG_VERDICT_ALLOW) return rest;
        return {CG_VERDICT_DENY, "unknown_kid", "no key of the issuer has this kid", &issuer};
    }
    if (found.usable.empty())
        return t.kid.empty() ? deny("kid_missing", "the token names no key and not exactly one fits") : deny("alg_key_mismatch", "alg does not fit the key");
    const bool good = std::any_of(found.usable.begin(), found.usable.end(),
                                  [&](const set_key* k) { return k->key.verify(*alg, t.signing_input, t.signature); });
    if (!good) return deny("bad_signature", "the signature does not verify");
    s.used_kid = t.kid;
    return check_claims(s, o, now);
}

std::string backend::credential_id(const token& t) const {
    const bool plain = std::all_of(t.jti.begin(), t.jti.end(), [](char c) { return c > 0x20 && c < 0x7f; });
    if (!t.jti.empty() && t.jti.size() <= max_jti_bytes && plain) return std::string(t.jti);
    // Keyed twice over digests, so that nobody without the key can tell which token it was.
    std::array<std::uint8_t, 64> in{};
    const auto inner = crypto::sha256(t.signing_input);
    std::copy(fingerprint_key_.begin(), fingerprint_key_.end(), in.begin());
    std::copy(inner.begin(), inner.end(), in.begin() + 32);
    const auto digest = crypto::sha256(in);
    std::string out = "fp:";
    for (std::size_t i = 0; i < 12; ++i) {
        out += "0123456789abcdef"[digest[i] >> 4];
        out += "0123456789abcdef"[digest[i] & 15];
    }
    return out;
}

void backend::answer(judge_state& s, const judgement& j, sdk::op_handle& op) const {
    sdk::reply_builder reply;
    if (!s.known_issuer.empty()) reply.explain("issuer", s.known_issuer);
    if (!s.used_kid.empty()) reply.explain("signature", "good");
    if (j.verdict != CG_VERDICT_ALLOW) {
        reply.explain("verdict", j.reason_id);
        if (j.verdict == CG_VERDICT_ABSTAIN)
            reply.abstain(j.reason_id, j.reason);
        else if (j.verdict == CG_VERDICT_UNAVAILABLE)
            reply.unavailable(j.reason_id, j.reason);
        else
            reply.deny(j.reason_id, j.reason);
        reply.send(op);
        return;
    }
    const auto id = credential_id(s.t);
    reply.allow(s.t.sub)
        .issuer(s.t.iss)
        .attributes_json(s.t.payload)
        .credential_exp(*s.t.exp)
        .credential_iat(s.t.iat.value_or(0))
        .credential_id(id)
        .send(op);
}

void backend::authenticate(sdk::shard_state* state, sdk::op_handle&& op, const sdk::request_view& request) {
    auto& s = static_cast<judge_state&>(*state);
    auto j = judge(s, credential_of(request), request.now_unix_s());
    if (j.issuer != nullptr) j = wait_for_keys(j, s.t.iat, op, request);
    if (op) answer(s, j, op);
}

std::unique_ptr<sdk::shard_state> backend::attach_shard(std::uint32_t) { return std::make_unique<judge_state>(); }

std::unique_ptr<sdk::auth_backend> backend::create(sdk::host_ref host, const sdk::create_args& args) {
    return std::make_unique<backend>(host, read_options(args));
}

}  // namespace callgate::auth_oidc

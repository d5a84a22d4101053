// SPDX-License-Identifier: Apache-2.0
#include "bench/load/reply_check.hpp"

#include <callgate/crypto/base64url.hpp>
#include <callgate/nats/jwt.hpp>

#include <optional>

namespace callgate::load {
namespace {

using verdict = judgement::verdict;

std::span<const std::uint8_t> bytes_of(std::string_view s) { return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()}; }

std::optional<std::string> open_box(std::string_view payload, const simulated_server& server) {
    if (payload.size() < crypto::xkv1_overhead || server.shared.empty()) return std::nullopt;
    std::string token(payload.size() - crypto::xkv1_overhead, '\0');
    if (!crypto::open(bytes_of(payload), server.shared.bytes(), reinterpret_cast<std::uint8_t*>(token.data()))) return std::nullopt;
    return token;
}

judgement invalid(std::string reason) { return {verdict::invalid, std::move(reason)}; }

// Which of the two signatures, or what else, the library found wrong: without the parts that differ from reply to reply.
std::string decode_reason(std::string_view what, const nats::error& e) {
    if (e.code == nats::errc::bad_signature) return std::string(what) + ": bad signature";
    if (e.code == nats::errc::bad_token) return std::string(what) + ": no NATS JWT";
    return std::string(what) + ": " + e.text.substr(0, 120);
}

judgement judge_user(const nats::authorization_response_claims& response, std::string_view user_nkey, const expectation& expected, std::int64_t now_s) {
    const auto user = nats::decode_as<nats::user_claims>(response.jwt);
    if (!user) return invalid(decode_reason("user JWT", user.error()));
    if (user->sub != user_nkey) return invalid("user JWT: wrong subject");
    if (user->exp != 0 && user->exp <= now_s) return invalid("user JWT: expired");
    if (const auto issues = nats::validate(*user, now_s); !issues.empty()) return invalid("user JWT: " + issues.front().text.substr(0, 120));
    if (!expected.operator_mode) {
        if (!user->issuer_account.empty()) return invalid("user JWT: issuer_account in config mode");
        if (user->iss != expected.issuer) return invalid("user JWT: wrong issuer");
        if (user->aud.empty()) return invalid("user JWT: no audience");
        if (!expected.account.empty() && user->aud != expected.account) return invalid("user JWT: wrong audience");
    } else if (!expected.account.empty() && (user->issuer_account.empty() ? user->iss : user->issuer_account) != expected.account) {
        return invalid("user JWT: wrong account");
    }
    return {verdict::allowed, {}};
}

}  // namespace

judgement judge_reply(std::string_view payload, const crypto::key_bytes& user_nkey, const simulated_server& server, const expectation& expected,
                      std::int64_t arrived_s) {
    if (payload.empty()) return {verdict::denied, "(empty reply)"};
    std::string opened;
    if (payload.starts_with("eyJ")) {
        if (!server.shared.empty() && !expected.allow_unsealed) return invalid("reply to a sealed request is not sealed");
    } else if (server.shared.empty()) {
        return invalid(crypto::looks_sealed(bytes_of(payload)) ? "reply to a plain request is sealed" : "response: no NATS JWT");
    } else {
        auto token = open_box(payload, server);
        if (!token) return invalid("box does not open");
        opened = std::move(*token);
        payload = opened;
    }
    char nkey[nats::public_key_chars];
    nats::encode_public(nats::key_type::user, user_nkey, nkey);
    const std::string_view user_nkey_text(nkey, sizeof nkey);

    const auto response = nats::decode_as<nats::authorization_response_claims>(payload);
    if (!response) return invalid(decode_reason("response", response.error()));
    // An expired envelope is named as such, ahead of the library's own words for it.
    if (response->exp != 0 && response->exp < arrived_s) return invalid("response: expired");
    if (const auto issues = nats::validate(*response, arrived_s); !issues.empty()) return invalid("response: " + issues.front().text.substr(0, 120));
    if (response->sub != user_nkey_text) return invalid("response: wrong subject");
    if (response->aud != server.id.public_text()) return invalid("response: wrong audience");
    // Behind a box the server of operator mode does not look at the envelope's issuer (3.6, check 8).
    if (!expected.operator_mode && response->iss != expected.issuer) return invalid("response: wrong issuer");
    if (expected.operator_mode && opened.empty() && (response->issuer_account.empty() ? response->iss : response->issuer_account) != expected.issuer)
        return invalid("response: wrong issuer");
    if (!response->error.empty()) return {verdict::denied, response->error.substr(0, 120)};
    return judge_user(*response, user_nkey_text, expected, arrived_s);
}

bool looks_allowed(std::string_view payload, const simulated_server& server) {
    std::optional<std::string> opened;
    if (!payload.starts_with("eyJ")) {
        opened = open_box(payload, server);
        if (!opened) return false;
        payload = *opened;
    }
    const auto first = payload.find('.');
    if (first == payload.npos) return false;
    const auto body = payload.substr(first + 1, payload.find('.', first + 1) - first - 1);
    const auto json = crypto::base64url::decode(body);
    // A denial has "error" and no "jwt" (3.6).
    return json && json->find("\"jwt\":\"") != json->npos;
}

}  // namespace callgate::load

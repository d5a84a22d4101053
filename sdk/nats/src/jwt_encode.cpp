// SPDX-License-Identifier: Apache-2.0
#include <callgate/crypto/base64url.hpp>
#include <callgate/crypto/hash.hpp>
#include <callgate/nats/jwt.hpp>

#include <algorithm>

#include "claim_kinds.hpp"
#include "claims_fields.hpp"
#include "url.hpp"

namespace callgate::nats {
namespace {

constexpr std::int64_t version = 2;

// aud to sub, in Go's order: the jti is a hash over exactly this spelling.
void standard_members(object_writer& io, claims_base& c) {
    io.text("aud", c.aud);
    io.integer("exp", c.exp, 0);
    io.text("jti", c.jti);
    io.integer("iat", c.iat, 0);
    io.text("iss", c.iss);
    io.text("name", c.name);
    io.integer("nbf", c.nbf, 0);
    io.text("sub", c.sub);
}

std::string hash_input(const claims_base& claims) {
    claims_base c;
    c.aud = claims.aud;
    c.exp = claims.exp;
    c.iat = claims.iat;
    c.iss = claims.iss;
    c.name = claims.name;
    c.nbf = claims.nbf;
    c.sub = claims.sub;
    std::string out;
    json_writer w(out);
    io_failure ignored;
    const member_path root;
    w.begin_object();
    object_writer io(w, ignored, root);
    standard_members(io, c);
    w.end_object();
    return out;
}

std::string hashed(std::string_view text) { return base32_encode(crypto::sha512_256(text)); }

template <class Claims>
void body(object_writer& io, Claims& c) {
    fields(io, c);
    io.unknown(c.unknown_body, {"tags", "type", "version"});
    io.texts("tags", c.tags);
    std::string type(claim_kind<Claims>::name);
    io.always_text("type", type);
    auto v = version;
    io.always_integer("version", v);
}

bool is_reserved_type(std::string_view type) {
    constexpr std::string_view reserved[] = {"operator", "account", "user", "activation", "authorization_request", "authorization_response", "cluster", "server"};
    return std::ranges::find(reserved, type) != std::end(reserved);
}

// A free map: Go writes its members sorted.
void body(object_writer& io, generic_claims& c) {
    if (is_reserved_type(c.type)) io.fail(errc::bad_claims, "type", "a generic claim may not call itself " + quoted_text(c.type));
    auto members = c.members;
    const auto add = [&](std::string_view name, std::string json) {
        if (!members.emplace(name, std::move(json)).second)
            io.fail(errc::bad_claims, name, "is among the free members but has a meaning of its own");
    };
    if (!c.type.empty()) {
        std::string text;
        append_json_string(text, c.type);
        add("type", text);
    }
    if (!c.tags.empty()) {
        std::string text;
        json_writer w(text);
        w.begin_array();
        for (const auto& t : c.tags) w.string(t);
        w.end_array();
        add("tags", text);
    }
    add("version", std::to_string(version));
    io.unknown(members, {});
}

template <class Claims>
void write_body(json_writer& w, io_failure& failure, Claims& c) {
    const member_path root, at{&root, "nats"};
    w.begin_object();
    object_writer io(w, failure, at);
    body(io, c);
    w.end_object();
}

template <class Claims>
result<std::string> payload_json(Claims& c, bool html_safe) {
    std::string out;
    json_writer w(out, html_safe);
    io_failure failure;
    const member_path root;
    w.begin_object();
    object_writer top(w, failure, root);
    standard_members(top, c);
    top.unknown(c.unknown_top, {"nats", "type"});
    top.key("nats");
    write_body(w, failure, c);
    w.end_object();
    if (failure.first) return *failure.first;
    return out;
}

void normalise(account_claims& c) {
    std::ranges::stable_sort(c.imports, {}, &import_claim::subject);
    std::ranges::stable_sort(c.exports, {}, &export_claim::subject);
    std::ranges::stable_sort(c.signing_keys, {}, &signing_key::key);
}
template <class Claims>
void normalise(Claims&) {}

result<void> check_contents(const operator_claims& c) {
    if (!c.account_server_url.empty() && !read_url(c.account_server_url))
        return error{errc::bad_claims, "account_server_url " + quoted_text(c.account_server_url) + " is no URL with a scheme"};
    return {};
}
result<void> check_contents(const account_claims& c) {
    for (std::size_t i = 1; i < c.signing_keys.size(); ++i)
        if (c.signing_keys[i].key == c.signing_keys[i - 1].key)
            return error{errc::bad_claims, "signing key " + quoted_text(c.signing_keys[i].key) + " is listed twice"};
    return {};
}
template <class Claims>
result<void> check_contents(const Claims&) {
    return {};
}

template <class Claims>
result<void> check_parties(const Claims& c, key_type signer) {
    if constexpr (!std::is_same_v<Claims, generic_claims>) {
        using kind = claim_kind<Claims>;
        if (kind::subject && !is_public(c.sub, *kind::subject))
            return error{errc::bad_claims, "subject " + quoted_text(c.sub) + " of " + std::string(kind::name) + " claims is no " + std::string(to_string(*kind::subject)) + " public key"};
        if (std::ranges::find(kind::signers, signer) == kind::signers.end())
            return error{errc::bad_claims, std::string(kind::name) + " claims may not be signed by a key of kind " + std::string(to_string(signer))};
    }
    if (c.sub.empty()) return error{errc::bad_claims, "subject is not set"};
    return {};
}

template <class Claims>
std::string fresh_jti(Claims& c) {
    if constexpr (std::is_same_v<Claims, account_claims>) {
        // Resolvers compare account tokens by jti; over the generic members alone two of one second are one.
        std::string text = hash_input(c);
        json_writer w(text);
        io_failure ignored;
        write_body(w, ignored, c);
        return hashed(text);
    } else {
        return go_jti(c);
    }
}

}  // namespace

std::string go_jti(const claims_base& claims) { return hashed(hash_input(claims)); }

result<std::string> encode(const any_claims& claims, const external_signer& signer, std::int64_t now_unix_s) {
    const auto key = decode_public(signer.public_text);
    if (!key) return key.error();
    if (key->type == key_type::curve) return error{errc::not_a_signer, "curve key " + signer.public_text + " cannot sign claims"};
    return std::visit(
        [&](auto c) -> result<std::string> {
            normalise(c);
            if (auto r = check_parties(c, key->type); !r) return r.error();
            if (auto r = check_contents(c); !r) return r.error();
            c.iss = signer.public_text;
            c.iat = now_unix_s;
            c.jti = fresh_jti(c);
            auto payload = payload_json(c, true);
            if (!payload) return payload.error();
            std::string token(jwt_header_b64);
            token += '.';
            token += crypto::base64url::encode(std::string_view{*payload});
            auto signature = signer.sign(token);
            if (!signature) return signature.error();
            // A token nobody can verify is found here, and not by the server it is sent to.
            if (auto r = verify(signer.public_text, token, *signature); !r)
                return error{errc::bad_signature, "the signer of " + signer.public_text + " returned a signature that does not verify"};
            token += '.';
            token += crypto::base64url::encode(std::span<const std::uint8_t>{*signature});
            if (token.size() > max_token_size)
                return error{errc::bad_token, "token is too large: " + std::to_string(token.size()) + " bytes, at most " + std::to_string(max_token_size)};
            return token;
        },
        claims);
}

result<std::string> encode(const any_claims& claims, const key_pair& signer, std::int64_t now_unix_s) {
    return encode(claims, external_signer{signer.public_text(), [&](std::string_view text) { return signer.sign(text); }}, now_unix_s);
}

std::string to_json(const any_claims& claims) {
    return std::visit(
        [](auto c) {
            auto text = payload_json(c, false);
            return text ? indent_json(*text) : "claims cannot be shown: " + text.error().text;
        },
        claims);
}

std::string_view type_name(const any_claims& claims) noexcept {
    return std::visit(
        []<class Claims>(const Claims& c) -> std::string_view {
            if constexpr (std::is_same_v<Claims, generic_claims>) return c.type;
            else return claim_kind<Claims>::name;
        },
        claims);
}

const claims_base& base_of(const any_claims& claims) noexcept {
    return std::visit([](const auto& c) -> const claims_base& { return c; }, claims);
}
claims_base& base_of(any_claims& claims) noexcept {
    return std::visit([](auto& c) -> claims_base& { return c; }, claims);
}

}  // namespace callgate::nats

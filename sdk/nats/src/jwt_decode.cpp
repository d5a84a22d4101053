// SPDX-License-Identifier: Apache-2.0
#include <callgate/crypto/base64url.hpp>
#include <callgate/nats/jwt.hpp>

#include <algorithm>

#include "claim_kinds.hpp"
#include "claims_fields.hpp"

namespace callgate::nats {
namespace {

using simdjson::dom::element;
using simdjson::dom::object;

struct envelope {
    std::string header, payload;
    std::string_view signed_text;    // header and payload, as they came
    std::string_view payload_chunk;  // what v1 signed
    crypto::signature_bytes signature{};
    bool v1_algorithm = false;
};

error bad_token(std::string why) { return {errc::bad_token, "token: " + std::move(why)}; }

result<std::string> read_chunk(std::string_view text, const char* which) {
    auto out = crypto::base64url::decode(text);
    if (!out) return error{errc::bad_encoding, std::string("token: ") + which + " is not base64url without padding"};
    return std::move(*out);
}

result<void> read_header(envelope& e) {
    simdjson::dom::parser parser;
    auto root = parse_strict_object(parser, e.header, "token header");
    if (!root) return root.error();
    std::string typ, alg;
    io_failure failure;
    const member_path path{nullptr, "token header"};
    object_reader io(*root, failure, path);
    io.text("typ", typ);
    io.text("alg", alg);
    unknown_members others;
    io.finish(&others);
    if (failure.first) return *failure.first;
    // RFC 7515 4.1.11: extensions we do not know but must.
    if (others.contains("crit")) return bad_token("header has critical extensions, none are known");
    if (folded_name(typ) != "jwt") return bad_token("header typ is " + quoted_text(typ) + ", not JWT");
    const auto algorithm = folded_name(alg);
    e.v1_algorithm = algorithm == "ed25519";
    if (!e.v1_algorithm && algorithm != "ed25519-nkey") return bad_token("header alg is " + quoted_text(alg) + ", not ed25519-nkey");
    return {};
}

result<envelope> open_envelope(std::string_view token) {
    if (token.size() > max_token_size)
        return bad_token("too large: " + std::to_string(token.size()) + " bytes, at most " + std::to_string(max_token_size));
    const auto first = token.find('.');
    const auto second = first == std::string_view::npos ? first : token.find('.', first + 1);
    if (second == std::string_view::npos || token.find('.', second + 1) != std::string_view::npos) return bad_token("expected 3 chunks");
    envelope e;
    e.signed_text = token.substr(0, second);
    e.payload_chunk = token.substr(first + 1, second - first - 1);
    auto header = read_chunk(token.substr(0, first), "header");
    if (!header) return header.error();
    e.header = std::move(*header);
    auto payload = read_chunk(e.payload_chunk, "payload");
    if (!payload) return payload.error();
    e.payload = std::move(*payload);
    auto signature = read_chunk(token.substr(second + 1), "signature");
    if (!signature) return signature.error();
    if (signature->size() != e.signature.size())
        return error{errc::bad_signature, "token: signature has " + std::to_string(signature->size()) + " bytes, not 64"};
    std::ranges::transform(*signature, e.signature.begin(), [](char c) { return static_cast<std::uint8_t>(c); });
    if (auto r = read_header(e); !r) return r.error();
    return e;
}

// What decides how the rest of a payload is to be read.
struct outline {
    object top, body;
    std::string_view iss, type;
    bool top_level_type = false, has_body = false;
    std::int64_t version = 0;
};

result<outline> read_outline(object top) {
    outline o;
    o.top = top;
    element e;
    if (top.at_key("iss").get(e) == simdjson::SUCCESS && e.get_string().get(o.iss) != simdjson::SUCCESS)
        return error{errc::bad_json, "member iss: expected a string"};
    o.top_level_type = top.at_key("type").error() == simdjson::SUCCESS;
    if (top.at_key("nats").get(e) == simdjson::SUCCESS) {
        if (e.get_object().get(o.body) != simdjson::SUCCESS) return error{errc::bad_json, "member nats: expected an object"};
        o.has_body = true;
        if (o.body.at_key("type").get(e) == simdjson::SUCCESS && e.is_string()) o.type = e.get_string().value_unsafe();
        if (o.body.at_key("version").get(e) == simdjson::SUCCESS) {
            if (!e.is_int64()) return error{errc::bad_json, "member nats.version: expected an integer of 64 bits"};
            o.version = e.get_int64().value_unsafe();
        }
    }
    return o;
}

result<void> require_version_2(const outline& o) {
    if (o.top_level_type || o.version < 2)
        return error{errc::bad_claims, "token is of version 1 or says none: only version 2 is accepted"};
    if (o.version > 2) return error{errc::bad_claims, "token is of version " + std::to_string(o.version) + ", newer than the known 2"};
    if (!o.has_body) return error{errc::bad_claims, "token has no member nats"};
    return {};
}

void read_standard_members(object_reader& io, claims_base& c) {
    io.text("aud", c.aud);
    io.integer("exp", c.exp, 0);
    io.text("jti", c.jti);
    io.integer("iat", c.iat, 0);
    io.text("iss", c.iss);
    io.text("name", c.name);
    io.integer("nbf", c.nbf, 0);
    io.text("sub", c.sub);
    io.take("nats");
}

// What an absent number means differs: zero in users and accounts (2.6.1, 2.7).
void absent_is_zero(user_claims& c) { c.limits = user_limits::zero(); }
void absent_is_zero(account_claims& c) {
    c.limits.subs = c.limits.data = c.limits.payload = c.limits.imports = c.limits.exports = c.limits.conn = c.limits.leaf = 0;
    c.limits.wildcards = false;
}
template <class Claims>
void absent_is_zero(Claims&) {}

void complete(account_claims& c) {
    if (!c.tiered_limits.empty()) c.jetstream = {};
}
template <class Claims>
void complete(Claims&) {}

template <class Claims>
result<any_claims> read_typed(const outline& o) {
    Claims c;
    absent_is_zero(c);
    io_failure failure;
    const member_path root, at{&root, "nats"};
    object_reader top(o.top, failure, root);
    read_standard_members(top, c);
    top.take("type");
    top.finish(&c.unknown_top);
    object_reader body(o.body, failure, at);
    fields(body, c);
    body.texts("tags", c.tags);
    body.take("type");
    body.take("version");
    body.finish(&c.unknown_body);
    if (failure.first) return *failure.first;
    complete(c);
    return any_claims(std::move(c));
}

result<any_claims> read_generic(const outline& o) {
    generic_claims c;
    io_failure failure;
    const member_path root;
    object_reader top(o.top, failure, root);
    read_standard_members(top, c);
    top.finish(&c.unknown_top);
    if (o.has_body) {
        for (auto [name, value] : o.body) {
            if (name == "version") continue;
            if (name == "type" && value.is_string()) {
                c.type = value.get_string().value_unsafe();
                continue;
            }
            c.members.emplace(name, json_text(value));
        }
        const auto tags = c.members.find("tags");
        io_failure not_a_list;
        if (tags != c.members.end()) {
            object_reader body(o.body, not_a_list, root);
            body.texts("tags", c.tags);
            if (not_a_list.first || c.tags.empty()) c.tags.clear();
            else c.members.erase(tags);
        }
    }
    if (failure.first) return *failure.first;
    return any_claims(std::move(c));
}

result<any_claims> read_by_type(const outline& o) {
    if (o.type == claim_kind<operator_claims>::name) return read_typed<operator_claims>(o);
    if (o.type == claim_kind<account_claims>::name) return read_typed<account_claims>(o);
    if (o.type == claim_kind<user_claims>::name) return read_typed<user_claims>(o);
    if (o.type == claim_kind<activation_claims>::name) return read_typed<activation_claims>(o);
    if (o.type == claim_kind<authorization_request_claims>::name) return read_typed<authorization_request_claims>(o);
    if (o.type == claim_kind<authorization_response_claims>::name) return read_typed<authorization_response_claims>(o);
    if (o.type == "cluster" || o.type == "server") return error{errc::bad_claims, "claims of type " + quoted_text(o.type) + " are not supported"};
    return read_generic(o);
}

result<void> check_parties(const any_claims& claims) {
    return std::visit(
        []<class Claims>(const Claims& c) -> result<void> {
            if (c.sub.empty()) return error{errc::bad_claims, "subject is not set"};
            if constexpr (!std::is_same_v<Claims, generic_claims>) {
                using kind = claim_kind<Claims>;
                if (std::ranges::none_of(kind::signers, [&](key_type t) { return is_public(c.iss, t); }))
                    return error{errc::bad_claims, std::string(kind::name) + " claims may not be signed by " + quoted_text(c.iss)};
                if (kind::subject && !is_public(c.sub, *kind::subject))
                    return error{errc::bad_claims, "subject " + quoted_text(c.sub) + " of " + std::string(kind::name) + " claims is no " + std::string(to_string(*kind::subject)) + " public key"};
            }
            return {};
        },
        claims);
}

}  // namespace

result<any_claims> decode(std::string_view token) {
    auto e = open_envelope(token);
    if (!e) return e.error();
    if (e->v1_algorithm) return bad_token("header alg ed25519 is of version 1: only version 2 (ed25519-nkey) is accepted");
    simdjson::dom::parser parser;
    auto top = parse_strict_object(parser, e->payload, "token payload");
    if (!top) return top.error();
    auto o = read_outline(*top);
    if (!o) return o.error();
    if (auto r = require_version_2(*o); !r) return r.error();
    if (auto r = verify(o->iss, e->signed_text, e->signature); !r) return r.error();
    auto claims = read_by_type(*o);
    if (!claims) return claims.error();
    if (auto r = check_parties(*claims); !r) return r.error();
    return claims;
}

result<generic_claims> decode_generic(std::string_view token) {
    auto e = open_envelope(token);
    if (!e) return e.error();
    simdjson::dom::parser parser;
    auto top = parse_strict_object(parser, e->payload, "token payload");
    if (!top) return top.error();
    auto o = read_outline(*top);
    if (!o) return o.error();
    if (o->version > 2) return require_version_2(*o).error();
    if (auto r = verify(o->iss, e->v1_algorithm ? e->payload_chunk : e->signed_text, e->signature); !r) return r.error();
    auto claims = read_generic(*o);
    if (!claims) return claims.error();
    return std::get<generic_claims>(std::move(*claims));
}

result<unverified_token> decode_unverified(std::string_view token) {
    auto e = open_envelope(token);
    if (!e) return e.error();
    simdjson::dom::parser parser;
    auto top = parse_strict_object(parser, e->payload, "token payload");
    if (!top) return top.error();
    auto o = read_outline(*top);
    if (!o) return o.error();
    const bool v2 = require_version_2(*o).has_value();
    auto claims = v2 ? read_by_type(*o) : read_generic(*o);
    if (!claims && v2) claims = read_generic(*o);
    if (!claims) return claims.error();
    unverified_token out;
    out.claims = std::move(*claims);
    out.signature_ok = verify(o->iss, e->v1_algorithm ? e->payload_chunk : e->signed_text, e->signature).has_value();
    out.header_json = std::move(e->header);
    out.payload_json = std::move(e->payload);
    return out;
}

}  // namespace callgate::nats

// SPDX-License-Identifier: Apache-2.0
#include "plugins/auth_oidc/jwks.hpp"

#include <callgate/crypto/base64url.hpp>

#include "plugins/auth_oidc/strict_json.hpp"

namespace callgate::auth_oidc {
namespace {

using simdjson::dom::object;

constexpr std::size_t max_candidates = 4;

std::string printable(std::string_view text) {
    std::string out;
    for (const char c : text.substr(0, 64)) out += c >= 0x20 && c < 0x7f ? c : '?';
    return out;
}

std::optional<std::vector<std::uint8_t>> bytes_of(const object& jwk, std::string_view name) {
    const auto text = text_of(jwk, name);
    if (!text || text->empty() || text->size() > 2048) return std::nullopt;
    std::vector<std::uint8_t> out(crypto::base64url::decoded_size(text->size()));
    const auto n = crypto::base64url::decode(*text, out.data());
    if (!n) return std::nullopt;
    out.resize(*n);
    return out;
}

/// False when the set itself says that this key does not verify signatures.
bool meant_for_signatures(const object& jwk) {
    if (has(jwk, "use") && text_of(jwk, "use") != "sig") return false;
    if (!has(jwk, "key_ops")) return true;
    simdjson::dom::array ops;
    if (jwk["key_ops"].get(ops) != simdjson::SUCCESS) return false;
    for (const auto op : ops) {
        std::string_view v;
        if (op.get(v) == simdjson::SUCCESS && v == "verify") return true;
    }
    return false;
}

std::optional<verification_key> import(const object& jwk, std::string_view kty, std::string& why) {
    const auto crv = text_of(jwk, "crv").value_or("");
    if (kty == "RSA") {
        const auto n = bytes_of(jwk, "n"), e = bytes_of(jwk, "e");
        if (n && e) return verification_key::rsa(*n, *e, why);
        why = "n and e must be base64url";
    } else if (kty == "EC" && (crv == "P-256" || crv == "P-384" || crv == "P-521")) {
        const auto x = bytes_of(jwk, "x"), y = bytes_of(jwk, "y");
        const auto curve = crv == "P-256" ? key_type::p256 : crv == "P-384" ? key_type::p384 : key_type::p521;
        if (x && y) return verification_key::ec(curve, *x, *y, why);
        why = "x and y must be base64url";
    } else if (kty == "OKP" && crv == "Ed25519") {
        const auto x = bytes_of(jwk, "x");
        if (x) return verification_key::ed25519(*x, why);
        why = "x must be base64url";
    }
    return std::nullopt;
}

void add(const object& jwk, parsed_jwks& out) {
    const auto kid = text_of(jwk, "kid").value_or("");
    const auto skip = [&](const std::string& why) { out.skipped.push_back("key \"" + printable(kid) + "\": " + why); };
    const auto kty = text_of(jwk, "kty");
    if (!kty || !meant_for_signatures(jwk)) return;
    if (has(jwk, "d") || has(jwk, "k")) return skip("it holds a private or shared key, which is disclosed now and not used");
    if (has(jwk, "kid") && (!text_of(jwk, "kid") || kid.size() > max_kid_bytes)) return skip("kid is not text of at most 256 bytes");
    std::optional<algorithm> only;
    if (has(jwk, "alg")) {
        only = algorithm_from(text_of(jwk, "alg").value_or(""));
        if (!only) return;
    }
    std::string why;
    auto key = import(jwk, *kty, why);
    if (!key) {
        if (!why.empty()) skip(why);
        return;
    }
    if (only && key_type_for(*only) != key->type()) return skip("alg does not fit kty and crv");
    out.keys.push_back({std::string(kid), only, std::move(*key)});
}

}  // namespace

key_set::lookup key_set::find(std::string_view kid, algorithm a) const {
    lookup out;
    for (const auto& k : keys_) {
        if (!kid.empty() && k.kid != kid) continue;
        out.kid_known = true;
        if (k.key.type() == key_type_for(a) && (!k.only || *k.only == a) && out.usable.size() < max_candidates) out.usable.push_back(&k);
    }
    if (kid.empty() && out.usable.size() > 1) out.usable.clear();
    return out;
}

bool parse_jwks(std::string_view text, parsed_jwks& out, std::string& fault) {
    if (text.size() > max_jwks_bytes) {
        fault = "the key set is larger than 1 MiB";
        return false;
    }
    simdjson::dom::parser parser;
    object root;
    simdjson::dom::array keys;
    if (!parse_strict(parser, text, root) || root["keys"].get(keys) != simdjson::SUCCESS) {
        fault = "not a JSON Web Key Set: an object with the list \"keys\", no member twice, at most 32 levels";
        return false;
    }
    if (keys.size() > max_jwks_keys) {
        fault = "the key set has more than 100 keys";
        return false;
    }
    for (const auto k : keys) {
        object jwk;
        if (k.get(jwk) != simdjson::SUCCESS) {
            fault = "a key of the set is not an object";
            return false;
        }
        add(jwk, out);
    }
    if (!out.keys.empty()) return true;
    fault = "no key of the set can verify signatures";
    if (!out.skipped.empty()) fault += "; " + out.skipped.front();
    return false;
}

}  // namespace callgate::auth_oidc

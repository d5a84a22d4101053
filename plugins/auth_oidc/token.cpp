// SPDX-License-Identifier: Apache-2.0
#include "plugins/auth_oidc/token.hpp"

#include <algorithm>
#include <array>
#include <callgate/crypto/base64url.hpp>
#include <cmath>

#include "plugins/auth_oidc/strict_json.hpp"

namespace callgate::auth_oidc {
namespace {

using simdjson::dom::element;
using simdjson::dom::object;

constexpr std::size_t max_header_chars = 16 * 1024;
constexpr std::size_t max_audiences = 64;

/// NumericDate of RFC 7519: a number, perhaps with a fraction.
bool numeric_date(const element& e, std::optional<std::int64_t>& out) {
    std::int64_t whole = 0;
    if (e.get(whole) == simdjson::SUCCESS) {
        out = whole;
        return true;
    }
    double real = 0;
    // Beyond 2^53 a double no longer means a second.
    if (e.is_double() && e.get(real) == simdjson::SUCCESS && std::isfinite(real) && std::fabs(real) < 9e15) {
        out = static_cast<std::int64_t>(std::floor(real));
        return true;
    }
    return false;
}

bool same(const element& e, const claim_value& v) {
    if (const auto* text = std::get_if<std::string>(&v)) {
        std::string_view s;
        return e.get(s) == simdjson::SUCCESS && s == *text;
    }
    if (const auto* flag = std::get_if<bool>(&v)) {
        bool b = false;
        return e.get(b) == simdjson::SUCCESS && b == *flag;
    }
    std::int64_t n = 0;
    return e.is_int64() && e.get(n) == simdjson::SUCCESS && n == std::get<std::int64_t>(v);
}

void read_header(const object& h, token& out) {
    const auto text = [&](const char* name, std::string_view& to) {
        if (!has(h, name)) return;
        if (const auto v = text_of(h, name))
            to = *v;
        else
            out.bad_header_type = true;
    };
    text("alg", out.alg);
    text("kid", out.kid);
    text("typ", out.typ);
    out.has_crit = has(h, "crit");
    out.has_foreign_key = has(h, "jku") || has(h, "x5u") || has(h, "jwk");
}

bool read_audience(const element& e, token& out) {
    std::string_view one;
    if (e.get(one) == simdjson::SUCCESS) {
        out.aud.push_back(one);
        return true;
    }
    simdjson::dom::array list;
    if (e.get(list) != simdjson::SUCCESS || list.size() > max_audiences) return false;
    for (const auto v : list) {
        if (v.get(one) != simdjson::SUCCESS) return false;
        out.aud.push_back(one);
    }
    return true;
}

void read_claims(const object& c, token& out) {
    const auto bad = [&](std::string_view name) {
        if (out.bad_claim.empty()) out.bad_claim = name;
    };
    const std::array<std::pair<const char*, std::string_view*>, 3> texts = {{{"iss", &out.iss}, {"sub", &out.sub}, {"jti", &out.jti}}};
    for (const auto& [name, to] : texts) {
        if (!has(c, name)) continue;
        if (const auto v = text_of(c, name))
            *to = *v;
        else
            bad(name);
    }
    const std::array<std::pair<const char*, std::optional<std::int64_t>*>, 3> dates = {{{"exp", &out.exp}, {"nbf", &out.nbf}, {"iat", &out.iat}}};
    for (const auto& [name, to] : dates) {
        element e;
        if (c.at_key(name).get(e) == simdjson::SUCCESS && !numeric_date(e, *to)) bad(name);
    }
    element aud;
    if (c.at_key("aud").get(aud) == simdjson::SUCCESS && !read_audience(aud, out)) bad("aud");
}

}  // namespace

struct token_reader::impl {
    simdjson::dom::parser header_parser, claims_parser;
    object claims;
};

token_reader::token_reader() : impl_(std::make_unique<impl>()) {}
token_reader::token_reader(token_reader&&) noexcept = default;
token_reader::~token_reader() = default;

token_form token_reader::read(std::string_view text, token& out) {
    const auto first = text.find('.');
    if (first == std::string_view::npos || first > max_header_chars || text.size() > max_token_bytes) return token_form::foreign;
    const auto second = text.find('.', first + 1);
    if (second == std::string_view::npos || text.find('.', second + 1) != std::string_view::npos) return token_form::foreign;
    const auto header = crypto::base64url::decode(text.substr(0, first));
    if (!header || !header->starts_with('{')) return token_form::foreign;

    object header_object;
    if (!parse_strict(impl_->header_parser, *header, header_object)) return token_form::malformed;
    read_header(header_object, out);
    if (out.alg.empty() && !out.bad_header_type) return token_form::foreign;

    auto payload = crypto::base64url::decode(text.substr(first + 1, second - first - 1));
    if (!payload) return token_form::malformed;
    out.payload = std::move(*payload);
    const auto signature = text.substr(second + 1);
    out.signature.resize(crypto::base64url::decoded_size(signature.size()));
    const auto n = crypto::base64url::decode(signature, out.signature.data());
    if (!n || !parse_strict(impl_->claims_parser, out.payload, impl_->claims)) return token_form::malformed;
    out.signature.resize(*n);
    out.signing_input = text.substr(0, second);
    read_claims(impl_->claims, out);
    return token_form::jws;
}

bool token_reader::claim_is(const std::string& name, const std::vector<claim_value>& accepted) const {
    element e;
    if (impl_->claims.at_key(name).get(e) != simdjson::SUCCESS) return false;
    const auto any = [&](const element& v) { return std::any_of(accepted.begin(), accepted.end(), [&](const claim_value& a) { return same(v, a); }); };
    simdjson::dom::array list;
    if (e.get(list) != simdjson::SUCCESS) return any(e);
    return std::any_of(list.begin(), list.end(), any);
}

}  // namespace callgate::auth_oidc

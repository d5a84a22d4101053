// SPDX-License-Identifier: Apache-2.0
#include "plugins/auth_oidc/issuer.hpp"

#include <algorithm>
#include <callgate/sdk/config.hpp>

namespace callgate::auth_oidc {
namespace {

using namespace std::chrono_literals;
using sdk::config_view;

constexpr std::size_t max_issuers = 64;

std::chrono::seconds whole_seconds(std::chrono::nanoseconds n) { return std::chrono::duration_cast<std::chrono::seconds>(n); }

std::vector<algorithm> read_algorithms(const config_view& c) {
    if (!c.has("algorithms")) return {algorithm::rs256, algorithm::es256, algorithm::eddsa};
    std::vector<algorithm> out;
    for (const auto& item : c.at("algorithms").items()) {
        const auto a = algorithm_from(item.string());
        if (!a) item.fail("must be one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA");
        out.push_back(*a);
    }
    if (out.empty()) c.at("algorithms").fail("must name at least one algorithm");
    return out;
}

claim_value read_claim_value(const config_view& v) {
    if (v.is_string()) return v.string();
    try {
        return v.boolean();
    } catch (const sdk::status_error&) {
        return v.integer(INT64_MIN, INT64_MAX);
    }
}

std::vector<claim_value> read_claim_values(const config_view& v) {
    if (!v.is_array()) return {read_claim_value(v)};
    std::vector<claim_value> out;
    for (const auto& i : v.items()) out.push_back(read_claim_value(i));
    if (out.empty()) v.fail("must have at least one accepted value");
    return out;
}

void read_origin(const config_view& c, const sdk::create_args& args, issuer_options& o) {
    const bool discovery = c.boolean_or("discovery", false);
    if (c.has("jwks_file") + c.has("jwks_url") + discovery != 1) c.fail("needs exactly one of jwks_file, jwks_url and discovery: true");
    std::string fault;
    if (c.has("jwks_file")) {
        o.origin = key_origin::file;
        o.jwks = args.resolve(c.at("jwks_file").string());
    } else if (c.has("jwks_url")) {
        o.origin = key_origin::url;
        o.jwks = c.at("jwks_url").string();
        if (fault = url_fault(o.jwks, o.allow_http_loopback); !fault.empty()) c.at("jwks_url").fail(fault);
    } else {
        o.jwks = o.issuer.substr(0, o.issuer.find_last_not_of('/') + 1) + "/.well-known/openid-configuration";
        if (fault = url_fault(o.jwks, o.allow_http_loopback); !fault.empty()) c.at("issuer").fail("cannot be used for discovery: " + fault);
    }
    if (!c.has("jwks_origins")) return;
    for (const auto& item : c.at("jwks_origins").items()) {
        if (fault = url_fault(item.string(), o.allow_http_loopback); !fault.empty()) item.fail(fault);
        o.jwks_origins.push_back(origin_of(item.string()));
    }
}

issuer_options read_issuer(const config_view& c, const sdk::create_args& args) {
    c.only({"issuer", "audiences", "algorithms", "jwks_file", "jwks_url", "discovery", "jwks_origins", "ca_file", "leeway", "max_age",
            "required_claims", "allow_http_loopback"});
    issuer_options o;
    o.issuer = c.at("issuer").string();
    if (o.issuer.empty()) c.at("issuer").fail("is empty");
    o.audiences = c.at("audiences").strings();
    if (o.audiences.empty() || std::find(o.audiences.begin(), o.audiences.end(), "") != o.audiences.end())
        c.at("audiences").fail("must name at least one audience: a token for another service must not open this one");
    o.algorithms = read_algorithms(c);
    o.allow_http_loopback = c.boolean_or("allow_http_loopback", false);
    if (c.has("ca_file")) o.ca_file = args.resolve(c.at("ca_file").string());
    o.leeway = whole_seconds(c.duration_or("leeway", 30s, 0s, 5min));
    o.max_age = whole_seconds(c.duration_or("max_age", 0s, 0s, 24h * 365));
    if (c.has("max_age") && o.max_age < 1s) c.at("max_age").fail("must be at least 1s");
    if (c.has("required_claims"))
        for (const auto& [name, value] : c.at("required_claims").members()) o.required_claims.emplace_back(name, read_claim_values(value));
    read_origin(c, args, o);
    return o;
}

}  // namespace

options read_options(const sdk::create_args& args) {
    const auto c = config_view::parse(args.config_json);
    c.only({"issuers", "refresh", "refresh_min", "refresh_max", "min_refresh_interval", "max_stale", "fetch_timeout", "max_token"});
    options o;
    for (const auto& item : c.at("issuers").items()) {
        o.issuers.push_back(read_issuer(item, args));
        for (std::size_t i = 0; i + 1 < o.issuers.size(); ++i)
            if (o.issuers[i].issuer == o.issuers.back().issuer) item.at("issuer").fail("this issuer stands there twice");
    }
    if (o.issuers.empty() || o.issuers.size() > max_issuers) c.at("issuers").fail("must have 1 to 64 issuers");
    o.refresh = c.duration_or("refresh", 1h, 1s, 24h * 30);
    o.min_refresh_interval = c.duration_or("min_refresh_interval", 10s, 1s, 1h);
    o.max_stale = c.duration_or("max_stale", 24h, 1s, 24h * 365);
    o.fetch_timeout = c.duration_or("fetch_timeout", 5s, 100ms, 60s);
    o.max_token = static_cast<std::size_t>(c.integer_or("max_token", 64 * 1024, 256, max_token_bytes));
    o.refresh_min = c.duration_or("refresh_min", std::min<std::chrono::nanoseconds>(1min, o.refresh), 1s, 24h * 30);
    o.refresh_max = c.duration_or("refresh_max", o.refresh, 1s, 24h * 30);
    if (o.max_stale < o.refresh) c.at(c.has("max_stale") ? "max_stale" : "refresh").fail("max_stale must not be shorter than refresh");
    if (c.has("refresh_min") && o.refresh_min > o.refresh) c.at("refresh_min").fail("must not be longer than refresh");
    if (c.has("refresh_max") && o.refresh_max < o.refresh) c.at("refresh_max").fail("must not be shorter than refresh");
    if (c.has("refresh_max") && o.refresh_max > o.max_stale) c.at("refresh_max").fail("must not be longer than max_stale");
    return o;
}

std::string origin_of(std::string_view url) {
    if (std::any_of(url.begin(), url.end(), [](char c) { return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f || c == '\\'; })) return {};
    const auto scheme_end = url.find("://");
    if (scheme_end == std::string_view::npos) return {};
    const auto rest = url.substr(scheme_end + 3);
    const auto authority = rest.substr(0, rest.find_first_of("/?#"));
    if (authority.empty() || authority.front() == ':' || authority.find('@') != std::string_view::npos) return {};
    std::string out(url.substr(0, scheme_end + 3 + authority.size()));
    std::transform(out.begin(), out.end(), out.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    const bool https = out.starts_with("https://");
    if (!https && !out.starts_with("http://")) return {};
    const std::string_view port = https ? ":443" : ":80";
    if (out.ends_with(port)) out.resize(out.size() - port.size());
    return out;
}

std::string url_fault(std::string_view url, bool allow_http_loopback) {
    const auto origin = origin_of(url);
    if (origin.empty()) return "must be a URL such as https://issuer.example/keys, without user name or spaces";
    if (origin.starts_with("https://")) return {};
    auto host = std::string_view(origin).substr(7);
    host = host.starts_with('[') ? host.substr(0, host.find(']') + 1) : host.substr(0, host.find(':'));
    if (host != "127.0.0.1" && host != "[::1]" && host != "localhost") return "must be https: keys fetched in the clear can be replaced on the way";
    return allow_http_loopback ? "" : "is http; for tests on this machine set allow_http_loopback: true";
}

}  // namespace callgate::auth_oidc

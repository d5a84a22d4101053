// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/cmd_jwt.hpp"

#include <boost/json.hpp>
#include <callgate/nats/creds.hpp>
#include <callgate/nats/jwt.hpp>
#include <ctime>
#include <ostream>
#include <set>

#include "engine/cli/terminal.hpp"

namespace callgate::cli {
namespace {

namespace json = boost::json;

constexpr std::size_t max_input = nats::max_token_size + 65'536;
constexpr std::string_view mask = "[not shown]";

bool is_seed(std::string_view text) { return text.size() == nats::seed_chars && nats::key_pair::from_seed(text).has_value(); }

std::string_view trimmed(std::string_view text) {
    const auto first = text.find_first_not_of(" \t\r\n");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

bool holds_seed(std::string_view text) {
    while (!(text = trimmed(text)).empty()) {
        const auto word = text.substr(0, text.find_first_of(" \t\r\n"));
        if (is_seed(word)) return true;
        text.remove_prefix(word.size());
    }
    return false;
}

bool is_token(std::string_view text) { return text.starts_with("eyJ") && text.find('.') != std::string_view::npos; }

bool is_credential(std::string_view key) {
    return key == "pass" || key == "auth_token" || key == "sig" || key == "nonce" || key == "jwt" || key == "token";
}

void collect_credentials(const json::value& v, std::string_view key, std::set<std::string, std::less<>>& out) {
    if (const auto* o = v.if_object()) {
        for (const auto& member : *o) collect_credentials(member.value(), member.key(), out);
    } else if (const auto* a = v.if_array()) {
        for (const auto& item : *a) collect_credentials(item, key, out);
    } else if (const auto* s = v.if_string(); s && !s->empty() && is_credential(key)) {
        out.emplace(s->data(), s->size());
    }
}

/// What people log in with stands in authorization requests, on nats-server 2.10 a token a second time as
/// the user's name; a user JWT in a response is a credential too; a seed stands nowhere by right.
void hide_secrets(json::value& v, const std::set<std::string, std::less<>>& credentials) {
    if (auto* o = v.if_object()) {
        for (auto& member : *o) hide_secrets(member.value(), credentials);
    } else if (auto* a = v.if_array()) {
        for (auto& item : *a) hide_secrets(item, credentials);
    } else if (const auto* s = v.if_string()) {
        const std::string_view text(s->data(), s->size());
        if (credentials.contains(text) || is_seed(text) || is_token(text)) v = json::string(mask);
    }
}

void print(const json::value& v, const std::string& indent, std::string& out) {
    const std::string deeper = indent + "  ";
    if (const auto* o = v.if_object(); o && !o->empty()) {
        out += "{\n";
        for (auto it = o->begin(); it != o->end(); ++it) {
            out += deeper + json::serialize(json::string(it->key())) + ": ";
            print(it->value(), deeper, out);
            out += std::next(it) == o->end() ? "\n" : ",\n";
        }
        out += indent + "}";
    } else if (const auto* a = v.if_array(); a && !a->empty()) {
        out += "[\n";
        for (std::size_t i = 0; i < a->size(); ++i) {
            out += deeper;
            print((*a)[i], deeper, out);
            out += i + 1 == a->size() ? "\n" : ",\n";
        }
        out += indent + "]";
    } else {
        out += json::serialize(v);
    }
}

std::string time_text(std::int64_t unix_s) {
    const std::time_t t = unix_s;
    std::tm parts{};
    char text[40];
    if (!::gmtime_r(&t, &parts) || std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0) return "out of range";
    return text;
}

json::object times_of(const nats::claims_base& c, std::int64_t now) {
    json::object out;
    if (c.iat) out["issued"] = time_text(c.iat);
    if (c.nbf) out["not_before"] = time_text(c.nbf);
    out["expires"] = c.exp ? time_text(c.exp) + (now > c.exp ? " (over)" : "") : std::string("never");
    return out;
}

std::string_view severity(nats::issue::severity s) {
    switch (s) {
        case nats::issue::severity::error: return "error";
        case nats::issue::severity::time_check: return "time";
        case nats::issue::severity::warning: return "warning";
    }
    return "error";
}

/// Where to look next to know whether the issuer may be believed.
std::string chain_hint(const nats::any_claims& claims) {
    const auto& base = nats::base_of(claims);
    if (std::holds_alternative<nats::operator_claims>(claims))
        return base.iss == base.sub ? "self-signed: a root of trust, to be compared with the operator in nats-server's configuration"
                                    : "signed by a signing key of the operator";
    if (std::holds_alternative<nats::account_claims>(claims))
        return base.iss.starts_with('O') ? "signed by operator key " + base.iss + ": must be the operator's subject or in its signing_keys"
                                         : "self-signed: servers with an operator refuse it";
    if (const auto* u = std::get_if<nats::user_claims>(&claims)) {
        if (u->issuer_account.empty()) return "signed by account " + base.iss;
        return "signed by key " + base.iss + " for account " + u->issuer_account + ": must be in that account's signing_keys";
    }
    if (std::holds_alternative<nats::authorization_request_claims>(claims))
        return "signed by server " + base.iss + ", a key it made at its start: compare with $SYS.REQ.SERVER.PING.IDZ";
    if (std::holds_alternative<nats::authorization_response_claims>(claims))
        return "signed by " + base.iss + ": must be the callout's issuer";
    return "signed by " + base.iss;
}

result<json::array> check_chain(const nats::any_claims& claims, const std::vector<std::string>& issuers) {
    json::array out;
    for (std::size_t i = 0; i < issuers.size(); ++i) {
        const std::string which = "--issuer number " + std::to_string(i + 1);
        auto token = nats::parse_decorated_jwt(issuers[i]);
        if (!token) return make_error(errc::invalid, "holds no JWT: " + token.error().text, which);
        auto issuer = nats::decode(trimmed(*token));
        if (!issuer) return make_error(errc::invalid, "is not a good JWT: " + issuer.error().text, which);
        bool signed_it = false;
        if (const auto* op = std::get_if<nats::operator_claims>(&*issuer)) signed_it = nats::did_sign(*op, claims);
        else if (const auto* account = std::get_if<nats::account_claims>(&*issuer)) signed_it = nats::did_sign(*account, claims);
        else return make_error(errc::invalid, "is a " + std::string(nats::type_name(*issuer)) + " JWT; only operators and accounts issue others", which);
        const auto& base = nats::base_of(*issuer);
        out.push_back(json::object{{"type", std::string(nats::type_name(*issuer))}, {"name", base.name}, {"key", base.sub}, {"issued_this", signed_it}});
    }
    return out;
}

}  // namespace

result<std::string> describe_jwt(std::string_view input, const std::vector<std::string>& issuers, std::int64_t now) {
    const auto text = trimmed(input);
    if (text.empty()) return make_error(errc::invalid, "there is nothing to decode: the input is empty");
    auto token = nats::parse_decorated_jwt(text);
    if ((!token || !is_token(trimmed(*token))) && holds_seed(text))
        return make_error(errc::invalid, "this is a seed, a private key, and no JWT: keep it secret, and replace the key if it came here by mistake");
    if (!token) return make_error(errc::invalid, "holds no JWT: " + token.error().text);
    const auto bare = trimmed(*token);
    auto read = nats::decode_unverified(bare);
    if (!read) return make_error(errc::invalid, "is no NATS JWT: " + read.error().text);

    const auto& base = nats::base_of(read->claims);
    json::object out;
    out["type"] = std::string(nats::type_name(read->claims));
    out["signature"] = read->signature_ok ? "valid" : "INVALID";
    json::object times = times_of(base, now);
    out["times"] = std::move(times);
    json::array issues;
    for (const auto& i : nats::validate(read->claims, now))
        issues.push_back(json::object{{"severity", std::string(severity(i.level))}, {"text", i.text}});
    out["issues"] = std::move(issues);
    out["chain"] = chain_hint(read->claims);
    if (!issuers.empty()) {
        auto chain = check_chain(read->claims, issuers);
        if (!chain) return chain.error();
        out["issuers"] = std::move(*chain);
    }
    boost::system::error_code ec;
    out["header"] = json::parse(read->header_json, ec);
    json::value claims = json::parse(read->payload_json, ec);
    if (ec) return make_error(errc::invalid, "its claims are not JSON: " + ec.message());
    std::set<std::string, std::less<>> credentials;
    collect_credentials(claims, {}, credentials);
    hide_secrets(claims, credentials);
    out["claims"] = std::move(claims);
    std::string shown;
    print(out, "", shown);
    return shown + "\n";
}

result<void> run_jwt_decode(const std::string& path, const std::vector<std::string>& issuers, std::ostream& out) {
    auto text = read_input(path, max_input);
    if (!text) return text.error();
    std::vector<std::string> issuer_texts;
    for (const auto& file : issuers) {
        auto issuer = read_input(file, max_input);
        if (!issuer) return issuer.error();
        issuer_texts.push_back(std::move(*issuer));
    }
    auto shown = describe_jwt(*text, issuer_texts, static_cast<std::int64_t>(std::time(nullptr)));
    crypto::wipe(text->data(), text->size());  // a creds file has a seed in it
    if (!shown) return make_error(shown.error().code, shown.error().text, path == "-" ? "standard input" : path);
    out << *shown;
    return {};
}

}  // namespace callgate::cli

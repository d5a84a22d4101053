// SPDX-License-Identifier: Apache-2.0
// Our side of the interop test: answers each line of stdin, a JSON object, with a line on stdout. The other
// sides (oracle/main.go, npm_speaker.mjs) speak the same language; README.md lists it.
#include <callgate/crypto/base64url.hpp>
#include <callgate/nats/creds.hpp>
#include <callgate/nats/json_writer.hpp>
#include <callgate/nats/jwt.hpp>

#include <boost/json.hpp>

#include <chrono>
#include <iostream>

#include "random_claims.hpp"

namespace json = boost::json;
namespace b64 = callgate::crypto::base64url;
using namespace callgate::nats;

namespace {

std::int64_t now() { return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count(); }
std::string text(const json::value& v, std::string_view name) { return std::string(v.at(name).as_string()); }
template <class T>
T must(result<T> r) {
    if (!r) throw std::runtime_error(r.error().text);
    return std::move(*r);
}
std::string bytes(const json::value& v, std::string_view name) {
    auto out = b64::decode(text(v, name));
    if (!out) throw std::runtime_error("bad base64url in the question");
    return *out;
}

// to_json indents; between tokens the compact form has nothing.
std::string compact(const any_claims& claims) {
    std::string out;
    bool quoted = false;
    const auto in = to_json(claims);
    for (std::size_t i = 0; i < in.size(); ++i) {
        if (quoted) {
            out += in[i];
            if (in[i] == '\\') out += in[++i];
            else if (in[i] == '"') quoted = false;
            continue;
        }
        if (in[i] == ' ' || in[i] == '\n') continue;
        quoted = in[i] == '"';
        out += in[i];
    }
    return out;
}

json::object describe(const any_claims& claims) {
    const auto issues = validate(claims, now());
    json::object out{{"ok", true}, {"kind", std::holds_alternative<generic_claims>(claims) ? "generic" : type_name(claims)}, {"claims", compact(claims)}, {"blocking", is_blocking(issues, false)}, {"blocking_with_time", is_blocking(issues, true)}};
    if (const auto* a = std::get_if<activation_claims>(&claims)) out["hash_id"] = a->hash_id();
    json::array texts;
    for (const auto& i : issues) texts.emplace_back(i.text);
    out["issues"] = std::move(texts);
    return out;
}

json::object generate(const json::value& q) {
    callgate::interop::claims_generator generator(static_cast<std::uint64_t>(q.at("seed").as_int64()));
    json::array items;
    for (auto n = q.at("count").as_int64(); n > 0; --n) {
        const auto item = generator.next();
        const auto token = encode(item.claims, item.signer, now());
        // Two scopes with one key, for example, are refused: take the next.
        if (!token) throw std::runtime_error("generated claims do not encode: " + token.error().text);
        auto answer = describe(must(decode(*token)));
        answer["token"] = *token;
        answer["seed"] = std::string(item.signer.seed_text().text());
        items.push_back(std::move(answer));
    }
    return {{"items", std::move(items)}};
}

json::object decode_one(const json::value& item) {
    auto claims = decode(text(item, "token"));
    if (!claims) return {{"ok", false}, {"error", claims.error().text}};
    return describe(*claims);
}

json::object reencode_one(const json::value& item) {
    const auto claims = must(decode(text(item, "token")));
    return {{"token", must(encode(claims, must(key_pair::from_seed(text(item, "seed"))), base_of(claims).iat))}};
}

json::object make_keys() {
    json::array out;
    for (auto type : {key_type::operator_, key_type::account, key_type::user, key_type::server, key_type::cluster, key_type::curve}) {
        const auto key = key_pair::generate(type);
        out.push_back({{"seed", std::string(key.seed_text().text())}, {"public", key.public_text()}});
    }
    return {{"keys", std::move(out)}};
}

json::object answer(const json::value& q) {
    const auto what = text(q, "do");
    if (what == "generate") return generate(q);
    if (what == "decode" || what == "reencode") {
        json::array results;
        for (const auto& item : q.at("items").as_array()) results.push_back(what == "decode" ? decode_one(item) : reencode_one(item));
        return {{"results", std::move(results)}};
    }
    if (what == "make_keys") return make_keys();
    if (what == "public") return {{"public", must(key_pair::from_seed(text(q, "seed"))).public_text()}};
    if (what == "sign") {
        const auto signature = must(must(key_pair::from_seed(text(q, "seed"))).sign(bytes(q, "message")));
        return {{"signature", b64::encode(std::span<const std::uint8_t>{signature})}};
    }
    if (what == "verify") {
        const auto signature = bytes(q, "signature");
        const auto r = verify(text(q, "public"), bytes(q, "message"), {reinterpret_cast<const std::uint8_t*>(signature.data()), signature.size()});
        return {{"ok", r.has_value()}};
    }
    if (what == "seal") return {{"sealed", b64::encode(std::string_view{must(must(key_pair::from_seed(text(q, "seed"))).seal(bytes(q, "message"), text(q, "public")))})}};
    if (what == "open") {
        const auto plain = must(key_pair::from_seed(text(q, "seed"))).open(bytes(q, "sealed"), text(q, "public"));
        if (!plain) return {{"ok", false}};
        return {{"ok", true}, {"message", b64::encode(std::string_view{*plain})}};
    }
    if (what == "format_creds") return {{"creds", std::string(must(format_creds(text(q, "token"), must(key_pair::from_seed(text(q, "seed"))))).text())}};
    if (what == "parse_creds") {
        const auto c = must(parse_creds(text(q, "creds")));
        return {{"token", c.jwt}, {"seed", std::string(c.seed.text())}};
    }
    throw std::runtime_error("unknown question " + what);
}

}  // namespace

int main() {
    callgate::crypto::init();
    std::string line;
    while (std::getline(std::cin, line)) {
        json::object out;
        try {
            out = answer(json::parse(line));
        } catch (const std::exception& e) {
            out = {{"failed", e.what()}};
        }
        std::cout << json::serialize(out) << std::endl;
    }
}

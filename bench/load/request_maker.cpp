// SPDX-License-Identifier: Apache-2.0
#include "bench/load/request_maker.hpp"

#include <callgate/crypto/base64url.hpp>
#include <callgate/crypto/random.hpp>
#include <callgate/nats/json_writer.hpp>
#include <callgate/nats/jwt.hpp>

#include <fmt/format.h>

#include <array>
#include <stdexcept>

namespace callgate::load {
namespace {

constexpr std::string_view base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
// Any pattern below 2^47 (62^8 is above that), so that an id does not show how many came before.
constexpr std::uint64_t id_mask = 0x5b3c'9d27'4e61;
constexpr std::uint64_t id_space = std::uint64_t{1} << 47;

struct client_kind {
    std::string_view name, lang, version;
};
constexpr std::array<client_kind, 5> client_kinds{{{"orders-api", "go", "1.53.1"},
                                                   {"sensor-gateway", "nats.js", "3.4.0"},
                                                   {"billing-worker", "C", "3.12.0"},
                                                   {"edge-collector", "rust", "0.45.0"},
                                                   {"reporting", "python3", "2.11.0"}}};

std::string random_hash() {
    std::array<std::uint8_t, 8> bytes;
    crypto::random_bytes(bytes);
    std::string out;
    for (const auto b : bytes) out += base62[b % base62.size()];
    return out;
}

void member(nats::json_writer& w, std::string_view name, std::string_view value) {
    if (value.empty()) return;
    w.key(name);
    w.string(value);
}

}  // namespace

void encode_inbox_id(std::uint64_t index, char* out) noexcept {
    auto value = index % id_space ^ id_mask;
    for (int i = 7; i >= 0; --i) {
        out[i] = base62[value % 62];
        value /= 62;
    }
}

std::optional<std::uint64_t> decode_inbox_id(std::string_view id) noexcept {
    if (id.size() != 8) return std::nullopt;
    std::uint64_t value = 0;
    for (const char c : id) {
        const auto digit = base62.find(c);
        if (digit == base62.npos) return std::nullopt;
        value = value * 62 + digit;
    }
    value ^= id_mask;
    if (value >= id_space) return std::nullopt;
    return value;
}

simulated_server::simulated_server(std::size_t index, std::string_view service_xkey)
    : name(fmt::format("load-{}", index + 1)), hash(random_hash()), id(nats::key_pair::generate(nats::key_type::server)) {
    if (service_xkey.empty()) return;
    const auto peer = nats::decode_public(service_xkey, nats::key_type::curve);
    if (!peer) throw std::runtime_error(fmt::format("--xkey {}: {}; expected the service's public curve key (X...)", service_xkey, peer.error().text));
    xkey = nats::key_pair::generate(nats::key_type::curve);
    auto agreed = crypto::agree(xkey->raw_seed().first<32>(), peer->bytes);
    if (!agreed) throw std::runtime_error(fmt::format("--xkey {}: a key of small order", service_xkey));
    shared = std::move(*agreed);
}

request_maker::request_maker(std::string sub, std::string_view service_xkey, std::vector<credential> credentials, std::size_t servers)
    : sub_(std::move(sub)), credentials_(std::move(credentials)) {
    if (!nats::is_public(sub_, nats::key_type::account)) throw std::runtime_error(fmt::format("--issuer {}: expected a public account key (A...)", sub_));
    if (credentials_.empty() || servers == 0) throw std::runtime_error("a request needs a credential and a server");
    for (std::size_t i = 0; i < servers; ++i) servers_.emplace_back(i, service_xkey);
    for (const auto& c : credentials_) {
        signers_.emplace_back();
        if (!c.seed.empty()) signers_.back() = nats::key_pair::from_seed(c.seed).value();
    }
}

std::string request_maker::claims_json(const simulated_server& server, std::uint64_t client, std::string_view user_nkey, std::int64_t iat_s,
                                       std::int64_t life_s) const {
    const auto& who = credentials_[client % credentials_.size()];
    const auto& signer = signers_[client % credentials_.size()];
    const auto& kind = client_kinds[client % client_kinds.size()];
    std::string nonce, nkey;
    if (signer) {
        std::array<std::uint8_t, 11> bytes;
        crypto::random_bytes(bytes);
        nonce = crypto::base64url::encode(bytes);
        if (who.what == credential::kind::nkey) nkey = signer->public_text();
    }

    nats::claims_base top;
    top.aud = "nats-authorization-request";
    top.exp = iat_s + life_s;
    top.iat = iat_s;
    top.iss = server.id.public_text();
    top.sub = sub_;
    std::string out;
    out.reserve(1024);
    nats::json_writer w(out);
    w.begin_object();
    member(w, "aud", top.aud);
    w.key("exp");
    w.integer(top.exp);
    member(w, "jti", nats::go_jti(top));
    w.key("iat");
    w.integer(top.iat);
    member(w, "iss", top.iss);
    member(w, "sub", top.sub);
    w.key("nats");
    w.begin_object();

    w.key("server_id");
    w.begin_object();
    member(w, "name", server.name);
    member(w, "host", "0.0.0.0");
    member(w, "id", server.id.public_text());
    member(w, "version", "2.15.1");
    if (server.xkey) member(w, "xkey", server.xkey->public_text());
    w.end_object();
    member(w, "user_nkey", user_nkey);

    w.key("client_info");
    w.begin_object();
    member(w, "host", fmt::format("10.{}.{}.{}", client / 64516 % 254 + 1, client / 254 % 254, client % 254 + 1));
    w.key("id");
    w.unsigned_integer(client + 5);
    if (who.what == credential::kind::user) member(w, "user", who.name);
    else if (who.what == credential::kind::token) member(w, "user", "[REDACTED]");
    else if (!nkey.empty()) member(w, "user", nkey);
    const auto client_name = fmt::format("{}-{}", kind.name, client);
    member(w, "name", client_name);
    member(w, "kind", "Client");
    member(w, "type", "nats");
    member(w, "nonce", nonce);
    w.end_object();

    w.key("connect_opts");
    w.begin_object();
    if (who.what == credential::kind::jwt) member(w, "jwt", who.secret);
    member(w, "nkey", nkey);
    if (signer) member(w, "sig", crypto::base64url::encode(signer->sign(nonce).value()));
    if (who.what == credential::kind::token) member(w, "auth_token", who.secret);
    if (who.what == credential::kind::user) {
        member(w, "user", who.name);
        member(w, "pass", who.secret);
    }
    member(w, "name", client_name);
    member(w, "lang", kind.lang);
    member(w, "version", kind.version);
    w.key("protocol");
    w.integer(1);
    w.end_object();

    member(w, "type", "authorization_request");
    w.key("version");
    w.integer(2);
    w.end_object();
    w.end_object();
    return out;
}

made_request request_maker::make(std::uint64_t index, std::uint64_t client, std::int64_t iat_s, std::int64_t life_s) const {
    made_request made;
    made.server = static_cast<std::uint32_t>(client % servers_.size());
    const auto& server = servers_[made.server];
    crypto::random_bytes(made.user_nkey);
    char nkey[nats::public_key_chars];
    nats::encode_public(nats::key_type::user, made.user_nkey, nkey);

    std::string token(nats::jwt_header_b64);
    token += '.';
    token += crypto::base64url::encode(std::string_view(claims_json(server, client, {nkey, sizeof nkey}, iat_s, life_s)));
    const auto signature = server.id.sign(token).value();
    token += '.';
    token += crypto::base64url::encode(signature);

    char id[8];
    encode_inbox_id(index, id);
    const auto subjects = fmt::format("$SYS.REQ.USER.AUTH $SYS._INBOX.{}.{}", server.hash, std::string_view(id, sizeof id));
    if (server.shared.empty()) {
        made.wire = fmt::format("PUB {} {}\r\n{}\r\n", subjects, token.size(), token);
        return made;
    }
    const auto headers = fmt::format("NATS/1.0\r\nNats-Server-Xkey: {}\r\n\r\n", server.xkey->public_text());
    std::string sealed(token.size() + crypto::xkv1_overhead, '\0');
    crypto::seal({reinterpret_cast<const std::uint8_t*>(token.data()), token.size()}, server.shared.bytes(), reinterpret_cast<std::uint8_t*>(sealed.data()));
    made.wire = fmt::format("HPUB {} {} {}\r\n", subjects, headers.size(), headers.size() + sealed.size());
    made.wire += headers;
    made.wire += sealed;
    made.wire += "\r\n";
    return made;
}

}  // namespace callgate::load

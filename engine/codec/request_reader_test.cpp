// SPDX-License-Identifier: Apache-2.0
#include "engine/codec/request_reader.hpp"

#include <callgate/crypto/base64url.hpp>
#include <callgate/nats/jwt.hpp>
#include <gtest/gtest.h>

#include <string>

namespace callgate::codec {
namespace {

namespace b64 = crypto::base64url;

struct request_reader_test : testing::Test {
    std::shared_ptr<arena_pool> pool = std::make_shared<arena_pool>(std::size_t{256} << 20);
    std::unique_ptr<arena> memory = std::make_unique<arena>(pool, std::size_t{64} << 20);
    request_reader reader;
    nats::key_pair server = nats::key_pair::generate(nats::key_type::server);
    nats::key_pair user = nats::key_pair::generate(nats::key_type::user);
    nats::key_pair issuer = nats::key_pair::generate(nats::key_type::account);

    std::string sign(std::string_view payload, std::string_view header = R"({"typ":"JWT","alg":"ed25519-nkey"})") const {
        const std::string input = b64::encode(header) + "." + b64::encode(payload);
        return input + "." + b64::encode(std::span<const std::uint8_t>(server.sign(input).value()));
    }
    std::string claim(std::string_view body_extra = "", std::string_view top_extra = "") const {
        return R"({"aud":"nats-authorization-request","exp":1800000002,"iat":1800000000,"iss":")" + server.public_text() + R"(","sub":")" +
               issuer.public_text() + "\"" + std::string(top_extra) + R"(,"nats":{"server_id":{"name":"s1","host":"0.0.0.0","id":")" +
               server.public_text() + R"("},"user_nkey":")" + user.public_text() +
               R"(","client_info":{"host":"127.0.0.1","id":7,"kind":"Client","type":"nats"},"connect_opts":{"user":"u","pass":"p","protocol":1})" +
               std::string(body_extra) + R"(,"type":"authorization_request","version":2}})";
    }
    std::string failure(std::string_view token) {
        memory = std::make_unique<arena>(pool, std::size_t{64} << 20);
        if (const auto ok = reader.open(token, *memory); !ok) return "open: " + ok.error().text;
        if (!reader.issuer_is_server()) return "issuer";
        if (!reader.verify()) return "signature";
        if (const auto c = reader.claims(*memory); !c) return "claims: " + c.error().text;
        return "";
    }
};

TEST_F(request_reader_test, reads_what_the_claims_library_writes) {
    nats::authorization_request_claims q;
    q.aud = "nats-authorization-request";
    q.sub = issuer.public_text();
    q.exp = 1'800'000'002;
    q.user_nkey = user.public_text();
    q.server = {"s \"1\"", "0.0.0.0", server.public_text(), "2.15.1", "c1", "X", {"t1", "t2"}};
    q.client = {"10.0.0.1", "u<>", "app", "tag", "Client", "websocket", "mq", "nonce", 18446744073709551615u, {"a"}};
    q.connect = {"jwt", "nkey", "sig", "tok", "user", "pa\nss", "name", "go", "1.2", 1};
    q.tls = nats::client_tls{"1.3", "TLS_AES", {}, {{"leaf", "ca"}, {"other"}}};
    const auto token = nats::encode(q, server, 1'800'000'000);
    ASSERT_TRUE(token) << token.error().text;
    ASSERT_TRUE(reader.open(*token, *memory));
    EXPECT_EQ(reader.issuer(), server.public_text());
    EXPECT_TRUE(reader.issuer_is_server());
    EXPECT_TRUE(reader.verify());
    const auto c = reader.claims(*memory);
    ASSERT_TRUE(c) << c.error().text;
    reader.forget();
    EXPECT_EQ(c->iss, server.public_text());
    EXPECT_EQ(c->aud, q.aud);
    EXPECT_EQ(c->sub, q.sub);
    EXPECT_EQ(c->exp, q.exp);
    EXPECT_EQ(c->iat, 1'800'000'000);
    EXPECT_EQ(c->user_nkey, q.user_nkey);
    EXPECT_EQ(c->server.name, q.server.name);
    EXPECT_EQ(c->server.host, q.server.host);
    EXPECT_EQ(c->server.id, q.server.id);
    EXPECT_EQ(c->server.version, q.server.version);
    EXPECT_EQ(c->server.cluster, q.server.cluster);
    EXPECT_EQ(c->server.xkey, q.server.xkey);
    ASSERT_EQ(c->server.tags.size(), 2u);
    EXPECT_EQ(c->server.tags[1], "t2");
    EXPECT_EQ(c->client.user, q.client.user);
    EXPECT_EQ(c->client.name, q.client.name);
    EXPECT_EQ(c->client.name_tag, q.client.name_tag);
    EXPECT_EQ(c->client.kind, q.client.kind);
    EXPECT_EQ(c->client.type, q.client.type);
    EXPECT_EQ(c->client.mqtt_id, q.client.mqtt_id);
    EXPECT_EQ(c->client.nonce, q.client.nonce);
    EXPECT_EQ(c->client.id, q.client.id);
    ASSERT_EQ(c->client.tags.size(), 1u);
    EXPECT_EQ(c->connect.jwt, q.connect.jwt);
    EXPECT_EQ(c->connect.nkey, q.connect.nkey);
    EXPECT_EQ(c->connect.sig, q.connect.sig);
    EXPECT_EQ(c->connect.auth_token, q.connect.auth_token);
    EXPECT_EQ(c->connect.user, q.connect.user);
    EXPECT_EQ(c->connect.pass, q.connect.pass);
    EXPECT_EQ(c->connect.name, q.connect.name);
    EXPECT_EQ(c->connect.lang, q.connect.lang);
    EXPECT_EQ(c->connect.version, q.connect.version);
    EXPECT_EQ(c->connect.protocol, 1);
    EXPECT_TRUE(c->tls.present);
    EXPECT_TRUE(c->tls.verified);
    EXPECT_EQ(c->tls.version, "1.3");
    EXPECT_EQ(c->tls.cipher, "TLS_AES");
    ASSERT_EQ(c->tls.chain_pem.size(), 2u);
    EXPECT_EQ(c->tls.chain_pem[0], "leaf");
    EXPECT_TRUE(c->json.starts_with('{') && c->json.ends_with('}'));
}

TEST_F(request_reader_test, unverified_certificates_are_told_from_verified_ones) {
    ASSERT_EQ(failure(sign(claim(R"(,"client_tls":{"version":"1.3","cipher":"c","certs":["pem"]})"))), "");
    reader.open(sign(claim(R"(,"client_tls":{"certs":["pem"]})")), *memory).value();
    auto c = reader.claims(*memory).value();
    EXPECT_FALSE(c.tls.verified);
    EXPECT_EQ(c.tls.chain_pem.size(), 1u);
    reader.open(sign(claim(R"(,"client_tls":{"verified_chains":[]})")), *memory).value();
    c = reader.claims(*memory).value();
    EXPECT_TRUE(c.tls.present);
    EXPECT_FALSE(c.tls.verified);
    EXPECT_TRUE(c.tls.chain_pem.empty());
    EXPECT_NE(failure(sign(claim(R"(,"client_tls":{"verified_chains":["pem"]})"))).find("verified_chains"), std::string::npos);
}

TEST_F(request_reader_test, a_plain_claim_is_accepted) { EXPECT_EQ(failure(sign(claim())), ""); }

TEST_F(request_reader_test, every_truncation_is_refused) {
    const auto token = sign(claim());
    for (std::size_t n = 0; n < token.size(); ++n) ASSERT_NE(failure(token.substr(0, n)), "") << n;
}

TEST_F(request_reader_test, every_changed_character_is_refused) {
    const auto token = sign(claim());
    for (std::size_t i = 0; i < token.size(); i += 3) {
        auto changed = token;
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        ASSERT_NE(failure(changed), "") << i;
    }
}

TEST_F(request_reader_test, duplicate_members_are_refused_wherever_they_stand) {
    EXPECT_NE(failure(sign(claim("", R"(,"aud":"x")"))).find("duplicate member in object claim"), std::string::npos);
    EXPECT_NE(failure(sign(claim(R"(,"user_nkey":"x")"))).find("duplicate member in object nats"), std::string::npos);
    EXPECT_NE(failure(sign(claim(R"(,"unknown":[{"a":1,"b":2,"a":3}])"))).find("duplicate member"), std::string::npos);
    EXPECT_NE(failure(sign(claim(R"(,"unknown":{"a":1,"\u0061":3})"))).find("duplicate member"), std::string::npos) << "two spellings of one name";
    EXPECT_EQ(failure(sign(claim(R"(,"unknown":[{"a":1},{"a":2}])"))), "");
}

TEST_F(request_reader_test, depth_is_bounded) {
    const auto nested = [](int n) { return ",\"x\":" + std::string(static_cast<std::size_t>(n), '[') + std::string(static_cast<std::size_t>(n), ']'); };
    EXPECT_EQ(failure(sign(claim(nested(60)))), "");
    EXPECT_NE(failure(sign(claim(nested(64)))), "");
    EXPECT_NE(failure(sign(claim(nested(1000)))), "");
    EXPECT_NE(failure(sign(std::string(100'000, '['))), "");
    EXPECT_NE(failure(sign(R"({"a":)" + std::string(1000, '{'))), "");
}

TEST_F(request_reader_test, sizes_are_bounded) {
    EXPECT_NE(failure(std::string(max_token_bytes + 1, 'a')).find("larger than 1 MiB"), std::string::npos);
    EXPECT_NE(failure(std::string(max_token_bytes, 'a')), "");
    EXPECT_NE(failure(std::string(max_token_bytes, '.')), "");
    std::string members = ",\"x\":{\"0\":0";
    for (int i = 1; i <= 1024; ++i) members += ",\"" + std::to_string(i) + "\":0";
    EXPECT_NE(failure(sign(claim(members + "}"))).find("more than 1024 members"), std::string::npos);
    std::string list = ",\"x\":[0";
    for (int i = 0; i < 4096; ++i) list += ",0";
    EXPECT_NE(failure(sign(claim(list + "]"))).find("more than 4096 elements"), std::string::npos);
    EXPECT_EQ(failure(sign(claim(R"(,"big":")" + std::string(700'000, 'x') + "\""))), "") << "large and well-formed is fine";
}

TEST_F(request_reader_test, invalid_utf8_is_refused) {
    EXPECT_NE(failure(sign(claim(",\"x\":\"\xff\""))), "");
    EXPECT_NE(failure(sign(claim(",\"x\":\"\xc0\xaf\""))), "");
    EXPECT_NE(failure(sign(claim(",\"x\":\"\xed\xa0\x80\""))), "");
    EXPECT_NE(failure(sign(claim(R"(,"x":"\ud800")"))), "") << "half a surrogate pair";
}

TEST_F(request_reader_test, wrong_types_are_named) {
    const auto with = [&](std::string_view from, std::string_view to) {
        auto c = claim();
        c.replace(c.find(from), from.size(), to);
        return failure(sign(c));
    };
    EXPECT_EQ(with(R"("exp":1800000002)", R"("exp":"1800000002")"), "claims: exp is not a 64-bit integer");
    EXPECT_EQ(with(R"("exp":1800000002)", R"("exp":1.8e9)"), "claims: exp is not a 64-bit integer");
    EXPECT_EQ(with(R"("exp":1800000002,)", ""), "claims: exp is missing");
    EXPECT_EQ(with(R"("iat":1800000000,)", ""), "claims: iat is missing");
    EXPECT_EQ(with(R"("id":7)", R"("id":-7)"), "claims: nats.client_info.id is not an unsigned 64-bit integer");
    EXPECT_EQ(with(R"("pass":"p")", R"("pass":["p"])"), "claims: nats.connect_opts.pass is not a string");
    EXPECT_EQ(with(R"("host":"127.0.0.1")", R"("tags":"a")"), "claims: nats.client_info.tags is not an array of strings");
    EXPECT_EQ(with(R"("host":"127.0.0.1")", R"("tags":[1])"), "claims: nats.client_info.tags is not an array of strings");
    EXPECT_EQ(with(R"("version":2)", R"("version":1)"), "claims: nats.version is not 2");
    EXPECT_EQ(with(R"(,"version":2)", ""), "claims: nats.version is not 2");
    EXPECT_EQ(with(R"("type":"authorization_request")", R"("type":"user")"), "claims: nats.type is not authorization_request");
    EXPECT_EQ(with(R"("server_id":{)", R"("server_xx":{)"), "claims: nats.server_id is missing");
    EXPECT_EQ(with(R"("aud":"nats-authorization-request")", R"("aud":["a"])"), "claims: aud is not a string");
    EXPECT_EQ(failure(sign("[]")), "open: payload is not a JSON object");
    EXPECT_EQ(failure(sign("{}")), "open: iss is missing or not a string");
    EXPECT_NE(failure(sign("")), "");
}

TEST_F(request_reader_test, errors_repeat_nothing_of_the_token) {
    const auto text = failure(sign(claim(R"(,"x":{"s3cret-name":{"d":1,"d":2}})")));
    EXPECT_NE(text, "");
    EXPECT_EQ(text.find("s3cret"), std::string::npos) << text;
}

TEST_F(request_reader_test, version_1_tokens_are_refused) {
    EXPECT_NE(failure(sign(claim("", R"(,"type":"auth")"))).find("version 1"), std::string::npos);
    // The legacy signature covers the payload chunk alone.
    const std::string header = b64::encode(R"({"typ":"jwt","alg":"ed25519"})"), body = b64::encode(claim());
    EXPECT_NE(failure(header + "." + body + "." + b64::encode(std::span<const std::uint8_t>(server.sign(body).value()))), "");
    const std::string header2 = b64::encode(R"({"typ":"JWT","alg":"ed25519-nkey"})");
    EXPECT_EQ(failure(header2 + "." + body + "." + b64::encode(std::span<const std::uint8_t>(server.sign(body).value()))), "signature");
}

TEST_F(request_reader_test, other_algorithms_are_refused) {
    for (const char* alg : {"none", "None", "HS256", "RS256", "ed25519", "EdDSA", ""})
        EXPECT_EQ(failure(sign(claim(), std::string(R"({"typ":"JWT","alg":")") + alg + "\"}")), "open: token header: alg is not ed25519-nkey") << alg;
    EXPECT_EQ(failure(sign(claim(), R"({"alg":"ed25519-nkey"})")), "open: token header: typ is not JWT");
    EXPECT_NE(failure(sign(claim(), R"({"typ":"JWT","alg":"ed25519-nkey","alg":"none"})")), "");
    EXPECT_EQ(failure(sign(claim(), R"({"alg":"ED25519-nkey","typ":"jwt","x":1})")), "") << "order and case are the writer's choice";
    const std::string unsigned_text = b64::encode(R"({"typ":"JWT","alg":"none"})") + "." + b64::encode(claim()) + ".";
    EXPECT_NE(failure(unsigned_text), "");
}

TEST_F(request_reader_test, forged_and_foreign_issuers_are_refused) {
    const auto other = nats::key_pair::generate(nats::key_type::server);
    auto c = claim();
    c.replace(c.find(server.public_text()), 56, other.public_text());
    EXPECT_EQ(failure(sign(c)), "signature");
    c = claim();
    c.replace(c.find(server.public_text()), 56, issuer.public_text());
    EXPECT_EQ(failure(sign(c)), "issuer") << "an account key is no server";
    c = claim();
    c.replace(c.find(server.public_text()), 56, "N");
    EXPECT_EQ(failure(sign(c)), "issuer");
}

TEST_F(request_reader_test, base64_must_be_canonical) {
    const auto token = sign(claim());
    EXPECT_NE(failure(token + "="), "");
    EXPECT_NE(failure(token.substr(0, 60) + "\n" + token.substr(60)), "");
    EXPECT_NE(failure(token + "."), "");
    EXPECT_NE(failure(token.substr(0, token.size() - 1) + "\x80"), "");
}

TEST_F(request_reader_test, small_arena_is_reported_as_busy) {
    arena small(pool, 16 * 1024);
    const auto token = sign(claim(R"(,"x":")" + std::string(30'000, 'x') + "\""));
    const auto ok = reader.open(token, small);
    ASSERT_FALSE(ok);
    EXPECT_EQ(ok.error().code, errc::busy);
}

TEST_F(request_reader_test, a_bad_token_leaves_nothing_behind_for_the_next) {
    EXPECT_NE(failure(sign("{\"iss\":1}")), "");
    EXPECT_FALSE(reader.verify());
    EXPECT_FALSE(reader.claims(*memory));
    EXPECT_EQ(failure(sign(claim())), "");
}

}  // namespace
}  // namespace callgate::codec

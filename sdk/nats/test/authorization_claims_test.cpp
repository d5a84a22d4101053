// SPDX-License-Identifier: Apache-2.0
#include <callgate/nats/jwt.hpp>

#include "sdk/nats/test/test_keys.hpp"

using namespace callgate::nats;
using namespace callgate::nats::test;

TEST(authorization_request, needs_a_user_nkey) {
    authorization_request_claims r;
    r.sub = "x";
    EXPECT_EQ(texts_of(validate(r, now)), std::vector<std::string>{"user_nkey is required"});
    r.user_nkey = upstream_account;
    EXPECT_TRUE(mentions(validate(r, now), "not a user public key"));
    r.user_nkey = upstream_user;
    EXPECT_TRUE(validate(r, now).empty());
    r.exp = now - 1;
    EXPECT_EQ(texts_of(validate(r, now)), std::vector<std::string>{"claim is expired"});
}

TEST(authorization_request, everything_round_trips_in_go_order) {
    authorization_request_claims r;
    r.sub = upstream_account;
    r.aud = "nats-authorization-request";
    r.exp = now + 2;
    r.server = {"s", "0.0.0.0", counting_key(key_type::server).public_text(), "2.11.0", "c", counting_key(key_type::curve).public_text(), {"t"}};
    r.user_nkey = upstream_user;
    r.client = {"127.0.0.1", "u", "n", "nt", "Client", "nats", "m", "nonce", 18'446'744'073'709'551'615u, {"g"}};
    r.connect = {"j", "k", "s", "a", "u", "p", "n", "go", "1", 1};
    r.tls = client_tls{"1.3", "TLS_AES_128_GCM_SHA256", {"PEM"}, {{"a", "b"}, {"c"}}};
    r.request_nonce = "rn";
    const auto server = counting_key(key_type::server);
    const auto token = encode(r, server, now).value();
    auto back = decode_as<authorization_request_claims>(token).value();
    back.iss.clear();
    back.iat = 0;
    back.jti.clear();
    EXPECT_EQ(back, r);
    EXPECT_NE(payload_of(token).find(R"("nats":{"server_id":{"name":"s","host":"0.0.0.0","id":")" + server.public_text() + R"(","version":"2.11.0","cluster":"c","tags":["t"],"xkey":"X)"), std::string::npos);
    EXPECT_NE(payload_of(token).find(R"("client_info":{"host":"127.0.0.1","id":18446744073709551615,"user":"u")"), std::string::npos);
    EXPECT_NE(payload_of(token).find(R"("protocol":1},"client_tls":{"version":"1.3",)"), std::string::npos);
}

TEST(authorization_response, empty_one_has_three_errors_in_order) {
    EXPECT_EQ(texts_of(validate(authorization_response_claims{}, now)),
              (std::vector<std::string>{"Subject must be a user public key", "Audience must be a server public key", "Error or Jwt is required"}));
}

TEST(authorization_response, rules) {
    authorization_response_claims r;
    r.sub = upstream_user;
    r.aud = counting_key(key_type::server).public_text();
    r.error = "no";
    EXPECT_TRUE(validate(r, now).empty());
    r.jwt = "x";
    EXPECT_EQ(texts_of(validate(r, now)), std::vector<std::string>{"Only Error or Jwt can be set"});
    r.error.clear();
    EXPECT_TRUE(validate(r, now).empty());
    r.issuer_account = upstream_user;
    EXPECT_EQ(texts_of(validate(r, now)), std::vector<std::string>{"issuer_account is not an account public key"});
    r.issuer_account = upstream_account;
    EXPECT_TRUE(validate(r, now).empty());
    r.aud = upstream_account;
    EXPECT_EQ(texts_of(validate(r, now)), std::vector<std::string>{"Audience must be a server public key"});
    r.aud = counting_key(key_type::server).public_text();
    r.nbf = now + 1;
    EXPECT_EQ(texts_of(validate(r, now)), std::vector<std::string>{"claim is not yet valid"});
}

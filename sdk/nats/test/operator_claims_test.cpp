// SPDX-License-Identifier: Apache-2.0
#include <callgate/nats/jwt.hpp>

#include "sdk/nats/test/test_keys.hpp"

using namespace callgate::nats;
using namespace callgate::nats::test;

namespace {
operator_claims plain_operator() {
    operator_claims o;
    o.sub = o.iss = counting_key(key_type::operator_).public_text();
    return o;
}
}  // namespace

TEST(operator_claims, everything_round_trips) {
    auto o = plain_operator();
    o.signing_keys = {fresh_public(key_type::operator_)};
    o.account_server_url = "https://accounts.example.org/jwt/v1";
    o.operator_service_urls = {"nats://h:4222", "tls://h", "ws://h", "WSS://h", "nats://[::1]:4222", ""};
    o.system_account = fresh_public(key_type::account);
    o.assert_server_version = "2.10.0";
    o.strict_signing_key_usage = true;
    o.tags = {"x"};
    EXPECT_TRUE(validate(o, now).empty());
    auto back = decode_as<operator_claims>(encode(o, counting_key(key_type::operator_), now).value()).value();
    back.iat = 0;
    back.jti.clear();
    EXPECT_EQ(back, o);
}

TEST(operator_claims, account_server_url_needs_a_scheme_also_to_be_signed) {
    auto o = plain_operator();
    for (const char* bad : {"accounts.example.org", "/path", "http://a b", "://x", "1http://x"}) {
        o.account_server_url = bad;
        EXPECT_TRUE(mentions(validate(o, now), "account_server_url")) << bad;
        EXPECT_EQ(encode(o, counting_key(key_type::operator_), now).error().code, errc::bad_claims) << bad;
    }
}

TEST(operator_claims, service_urls) {
    auto o = plain_operator();
    for (const char* bad : {"http://h", "nats://user:pass@h", "nats://user@h", "nats://h/", "nats://h/path", "h:4222", "nats", "nats://h:port", "nats://[::1"}) {
        o.operator_service_urls = {bad};
        EXPECT_TRUE(mentions(validate(o, now), "operator service url")) << bad;
    }
}

TEST(operator_claims, keys_are_checked) {
    auto o = plain_operator();
    o.signing_keys = {fresh_public(key_type::account)};
    EXPECT_TRUE(mentions(validate(o, now), "not an operator public key"));
    o.signing_keys = {""};
    EXPECT_FALSE(validate(o, now).empty());
    o.signing_keys.clear();
    o.system_account = fresh_public(key_type::user);
    EXPECT_TRUE(mentions(validate(o, now), "not an account public key"));
}

TEST(operator_claims, server_version_has_three_numbers) {
    auto o = plain_operator();
    for (const char* good : {"", "0.0.0", "2.10.29"}) {
        o.assert_server_version = good;
        EXPECT_TRUE(validate(o, now).empty()) << good;
    }
    for (const char* bad : {"1", "1.2", "1.2.3.4", "1.2.x", "-1.2.3", "1..3", "1.2.3 ", "v1.2.3", "1.2.3-rc"}) {
        o.assert_server_version = bad;
        EXPECT_TRUE(mentions(validate(o, now), "assert_server_version")) << bad;
    }
}

TEST(did_sign, operator_itself_its_keys_and_strict_use) {
    auto o = plain_operator();
    const auto key = fresh_public(key_type::operator_);
    o.signing_keys = {key};
    account_claims a;
    a.sub = upstream_account;
    a.iss = o.sub;
    EXPECT_TRUE(did_sign(o, a));
    a.iss = key;
    EXPECT_TRUE(did_sign(o, a));
    a.iss = fresh_public(key_type::operator_);
    EXPECT_FALSE(did_sign(o, a));
    a.iss.clear();
    EXPECT_FALSE(did_sign(o, a));
    o.strict_signing_key_usage = true;
    a.iss = o.sub;
    EXPECT_FALSE(did_sign(o, a));
    EXPECT_TRUE(did_sign(o, o));
    a.iss = key;
    EXPECT_TRUE(did_sign(o, a));
}

TEST(did_sign, account_itself_and_its_keys_with_issuer_account) {
    account_claims a;
    a.sub = upstream_account;
    const auto key = fresh_public(key_type::account);
    a.signing_keys = {{key, true, "", "", {}}};
    user_claims u;
    u.sub = upstream_user;
    u.iss = a.sub;
    EXPECT_TRUE(did_sign(a, u));
    u.iss = key;
    EXPECT_FALSE(did_sign(a, u));
    u.issuer_account = a.sub;
    EXPECT_TRUE(did_sign(a, u));
    u.iss = fresh_public(key_type::account);
    EXPECT_FALSE(did_sign(a, u));
    activation_claims act;
    act.iss = key;
    EXPECT_FALSE(did_sign(a, act));
    act.issuer_account = a.sub;
    EXPECT_TRUE(did_sign(a, act));
    generic_claims g;
    g.iss = key;
    EXPECT_FALSE(did_sign(a, g));
    EXPECT_EQ(find_signing_key(a, key), &a.signing_keys[0]);
    EXPECT_EQ(find_signing_key(a, a.sub), nullptr);
}

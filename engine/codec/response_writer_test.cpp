// SPDX-License-Identifier: Apache-2.0
#include "engine/codec/response_writer.hpp"

#include <callgate/crypto/base64url.hpp>
#include <callgate/nats/jwt.hpp>
#include <gtest/gtest.h>

#include <set>

namespace callgate::codec {
namespace {

struct response_writer_test : testing::Test {
    std::shared_ptr<arena_pool> pool = std::make_shared<arena_pool>(std::size_t{64} << 20);
    arena memory{pool, std::size_t{32} << 20};
    response_writer writer;
    nats::key_pair account = nats::key_pair::generate(nats::key_type::account);
    nats::key_pair user = nats::key_pair::generate(nats::key_type::user);
    nats::key_pair server = nats::key_pair::generate(nats::key_type::server);

    template <class C>
    std::string signed_token(const C& claims) {
        const auto t = writer.write(claims, memory);
        EXPECT_TRUE(t);
        const auto sig = account.sign({t.text, t.size}).value();
        return std::string(t.finish(sig));
    }
    static std::string payload(std::string_view token) {
        const auto a = token.find('.');
        return crypto::base64url::decode(token.substr(a + 1, token.rfind('.') - a - 1)).value();
    }
};

TEST_F(response_writer_test, user_jwt_decodes_to_what_was_asked) {
    const std::vector<std::string> pa{"a.>", "b<&"}, pd{"x"}, sa{"_INBOX.>", "q.* grp"}, sd{"y.>"}, tags{"team:a", "gr\xc3\xbcn"};
    user_jwt c;
    c.aud = "APP \"1\"";
    c.iss = account.public_text();
    c.name = "alice <a@b>";
    c.sub = user.public_text();
    c.exp = 1'900'000'000;
    c.iat = 1'800'000'000;
    c.pub_allow = pa;
    c.pub_deny = pd;
    c.sub_allow = sa;
    c.sub_deny = sd;
    c.tags = tags;
    c.has_resp = true;
    c.resp_max = -1;
    c.resp_ttl_ns = 5'000'000'000;
    const auto decoded = nats::decode_as<nats::user_claims>(signed_token(c));
    ASSERT_TRUE(decoded) << decoded.error().text;
    EXPECT_EQ(decoded->aud, c.aud);
    EXPECT_EQ(decoded->iss, c.iss);
    EXPECT_EQ(decoded->name, c.name);
    EXPECT_EQ(decoded->sub, c.sub);
    EXPECT_EQ(decoded->exp, c.exp);
    EXPECT_EQ(decoded->iat, c.iat);
    EXPECT_EQ(decoded->nbf, 0);
    EXPECT_EQ(decoded->tags, tags);
    EXPECT_EQ(decoded->limits.perms.pub.allow, pa);
    EXPECT_EQ(decoded->limits.perms.pub.deny, pd);
    EXPECT_EQ(decoded->limits.perms.sub.allow, sa);
    EXPECT_EQ(decoded->limits.perms.sub.deny, sd);
    ASSERT_TRUE(decoded->limits.perms.resp);
    EXPECT_EQ(decoded->limits.perms.resp->max, -1);
    EXPECT_EQ(decoded->limits.perms.resp->ttl_ns, 5'000'000'000);
    EXPECT_EQ(decoded->limits.subs, -1);
    EXPECT_EQ(decoded->limits.data, -1);
    EXPECT_EQ(decoded->limits.payload, -1);
    EXPECT_TRUE(decoded->issuer_account.empty());
    EXPECT_TRUE(decoded->unknown_top.empty());
    EXPECT_TRUE(decoded->unknown_body.empty());
}

TEST_F(response_writer_test, members_stand_in_go_order) {
    user_jwt c;
    c.aud = "APP";
    c.iss = account.public_text();
    c.name = "n";
    c.sub = user.public_text();
    c.exp = 2;
    c.iat = 1;
    const auto text = payload(signed_token(c));
    std::size_t last = 0;
    for (const char* member : {"{\"aud\":", ",\"exp\":", ",\"jti\":", ",\"iat\":", ",\"iss\":", ",\"name\":", ",\"sub\":", ",\"nats\":"}) {
        const auto at = text.find(member);
        ASSERT_NE(at, text.npos) << member;
        EXPECT_GE(at, last) << member;
        last = at;
    }
    EXPECT_TRUE(text.ends_with(R"("nats":{"pub":{},"sub":{},"subs":-1,"data":-1,"payload":-1,"type":"user","version":2}})")) << text;
}

TEST_F(response_writer_test, user_of_a_scoped_key_has_zero_limits_and_no_empty_list) {
    const std::vector<std::string> ignored{"a"};
    user_jwt c;
    c.iss = account.public_text();
    c.sub = user.public_text();
    c.iat = 1;
    c.exp = 2;
    c.scoped = true;
    c.pub_allow = ignored;
    c.issuer_account = account.public_text();
    const auto token = signed_token(c);
    const auto decoded = nats::decode_as<nats::user_claims>(token);
    ASSERT_TRUE(decoded) << decoded.error().text;
    EXPECT_TRUE(decoded->limits.is_zero());
    EXPECT_EQ(decoded->issuer_account, account.public_text());
    const auto text = payload(token);
    for (const char* never : {"allow", "deny", "[]", "subs", "-1", "src", "times", "aud"}) EXPECT_EQ(text.find(never), text.npos) << never;
}

TEST_F(response_writer_test, response_decodes_with_jwt_or_error) {
    authorization_response c;
    c.aud = server.public_text();
    c.iss = account.public_text();
    c.sub = user.public_text();
    c.iat = 1'800'000'000;
    c.jwt = "a.b.c";
    c.issuer_account = account.public_text();
    auto decoded = nats::decode_as<nats::authorization_response_claims>(signed_token(c));
    ASSERT_TRUE(decoded) << decoded.error().text;
    EXPECT_EQ(decoded->jwt, "a.b.c");
    EXPECT_EQ(decoded->error, "");
    EXPECT_EQ(decoded->aud, server.public_text());
    EXPECT_EQ(decoded->sub, user.public_text());
    EXPECT_EQ(decoded->issuer_account, account.public_text());
    c.jwt = {};
    c.error = "authorization denied";
    c.issuer_account = {};
    decoded = nats::decode_as<nats::authorization_response_claims>(signed_token(c));
    ASSERT_TRUE(decoded) << decoded.error().text;
    EXPECT_EQ(decoded->jwt, "");
    EXPECT_EQ(decoded->error, "authorization denied");
    EXPECT_TRUE(nats::validate(nats::any_claims(*decoded), 1'800'000'000).empty());
}

TEST_F(response_writer_test, jti_is_fresh_and_32_characters_of_base32) {
    std::set<std::string> seen;
    user_jwt c;
    c.iss = account.public_text();
    c.sub = user.public_text();
    for (int i = 0; i < 200; ++i) {
        const auto decoded = nats::decode_as<nats::user_claims>(signed_token(c));
        ASSERT_TRUE(decoded);
        EXPECT_EQ(decoded->jti.size(), 32u);
        EXPECT_EQ(decoded->jti.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"), std::string::npos);
        EXPECT_TRUE(seen.insert(decoded->jti).second);
    }
}

TEST_F(response_writer_test, hostile_names_stay_inside_their_string) {
    user_jwt c;
    c.iss = account.public_text();
    c.sub = user.public_text();
    constexpr char raw[] = "\",\"aud\":\"SYS\",\"x\":\"\0\xff";
    const std::string name(raw, sizeof raw - 1);
    c.name = name;
    const auto decoded = nats::decode_as<nats::user_claims>(signed_token(c));
    ASSERT_TRUE(decoded) << decoded.error().text;
    EXPECT_EQ(decoded->aud, "");
    EXPECT_TRUE(decoded->unknown_top.empty());
}

TEST_F(response_writer_test, exhausted_arena_gives_no_token) {
    arena small(pool, 100);
    user_jwt c;
    c.iss = account.public_text();
    EXPECT_FALSE(writer.write(c, small));
}

}  // namespace
}  // namespace callgate::codec

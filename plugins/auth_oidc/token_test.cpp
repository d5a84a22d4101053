// SPDX-License-Identifier: Apache-2.0
#include "plugins/auth_oidc/token.hpp"

#include <callgate/crypto/base64url.hpp>
#include <gtest/gtest.h>

namespace {

using namespace callgate::auth_oidc;

std::string make(const std::string& header, const std::string& claims, const std::string& signature = "sig") {
    namespace b64 = callgate::crypto::base64url;
    return b64::encode(std::string_view(header)) + "." + b64::encode(std::string_view(claims)) + "." + b64::encode(std::string_view(signature));
}
token_form form(const std::string& text) {
    token_reader r;
    token t;
    return r.read(text, t);
}
const std::string header = R"({"alg":"RS256","kid":"k"})";

TEST(token, reads_header_and_claims) {
    token_reader r;
    token t;
    const auto text = make(header, R"({"iss":"i","sub":"s","jti":"j","aud":["a","b"],"exp":10.9,"nbf":-3,"iat":5,"n":[1,"x",true]})");
    ASSERT_EQ(r.read(text, t), token_form::jws);
    EXPECT_EQ(t.alg, "RS256");
    EXPECT_EQ(t.kid, "k");
    EXPECT_EQ(t.iss, "i");
    EXPECT_EQ(t.aud, (std::vector<std::string_view>{"a", "b"}));
    EXPECT_EQ(t.exp, 10);
    EXPECT_EQ(t.nbf, -3);
    EXPECT_EQ(t.iat, 5);
    EXPECT_EQ(t.signing_input, text.substr(0, text.rfind('.')));
    EXPECT_TRUE(r.claim_is("n", {std::string("x")}));
    EXPECT_TRUE(r.claim_is("n", {true}));
    EXPECT_TRUE(r.claim_is("n", {std::int64_t{7}, std::int64_t{1}}));
    EXPECT_FALSE(r.claim_is("n", {std::string("true")}));
    EXPECT_FALSE(r.claim_is("absent", {std::string("x")}));
    EXPECT_TRUE(r.claim_is("sub", {std::string("s")}));
}

TEST(token, what_is_no_jws_is_foreign) {
    for (const std::string& text : std::initializer_list<std::string>{std::string(), std::string("opaque"), std::string("a.b"), std::string("a.b.c"), std::string("..."), std::string("a.b.c.d.e"),
                                   make("[]", "{}"), make("text", "{}"), make("{}", "{}"), make(header, "{}") + ".x", std::string(max_token_bytes + 10, '.')})
        EXPECT_EQ(form(text), token_form::foreign) << text.substr(0, 40);
}

TEST(token, hostile_json_is_malformed) {
    EXPECT_EQ(form(make(header, R"({"iss":"a","iss":"b"})")), token_form::malformed);
    EXPECT_EQ(form(make(header, R"({"x":{"y":1,"y":2}})")), token_form::malformed);
    EXPECT_EQ(form(make(header, R"({"x":[{"y":1,"\u0079":2}]})")), token_form::malformed) << "the same member, escaped";
    EXPECT_EQ(form(make(R"({"alg":"RS256","alg":"none"})", "{}")), token_form::malformed);
    EXPECT_EQ(form(make(header, R"({"x":)" + std::string(1000, '[') + std::string(1000, ']') + "}")), token_form::malformed);
    EXPECT_EQ(form(make(header, R"({"x":)" + std::string(40, '[') + std::string(40, ']') + "}")), token_form::malformed);
    EXPECT_EQ(form(make(header, R"({"x":)" + std::string(20, '[') + std::string(20, ']') + "}")), token_form::jws);
    EXPECT_EQ(form(make(header, "{\"x\":\"\xff\"}")), token_form::malformed);
    EXPECT_EQ(form(make(header, "[]")), token_form::malformed);
    EXPECT_EQ(form(make(header, "{} {}")), token_form::malformed);
    EXPECT_EQ(form(make(header, "{\"n\":01}")), token_form::malformed);
    const auto good = make(header, R"({"iss":"i"})");
    const auto dot = good.find('.');
    EXPECT_EQ(form(good.substr(0, dot + 1) + "a+b/" + good.substr(good.rfind('.'))), token_form::malformed);
    EXPECT_EQ(form(good + "="), token_form::malformed);
}

TEST(token, wrong_types_are_remembered) {
    const auto bad = [](const std::string& claims) {
        token_reader r;
        token t;
        EXPECT_EQ(r.read(make(header, claims), t), token_form::jws) << claims;
        return std::string(t.bad_claim);
    };
    EXPECT_EQ(bad(R"({"exp":"10"})"), "exp");
    EXPECT_EQ(bad(R"({"exp":1e300})"), "exp");
    EXPECT_EQ(bad(R"({"exp":18446744073709551615})"), "exp");
    EXPECT_EQ(bad(R"({"nbf":null})"), "nbf");
    EXPECT_EQ(bad(R"({"sub":5})"), "sub");
    EXPECT_EQ(bad(R"({"aud":5})"), "aud");
    EXPECT_EQ(bad(R"({"aud":["a",5]})"), "aud");
    EXPECT_EQ(bad(R"({"exp":9223372036854775807})"), "");
    token_reader r;
    token t;
    ASSERT_EQ(r.read(make(R"({"alg":5})", "{}"), t), token_form::jws);
    EXPECT_TRUE(t.bad_header_type);
}

}  // namespace

// SPDX-License-Identifier: Apache-2.0
#include "engine/policy/text_template.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace callgate::policy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::optional<text_template> parsed(const std::string& text, std::vector<finding>& out, bool pinned = true) {
    const reporter to("t.yaml", out);
    return text_template::parse(text, 7, "grant.name", {&to, true, pinned, {}});
}

struct outcome {
    std::string reason;  ///< empty = expanded
    std::vector<std::string> texts;
};
outcome expand(const std::string& text, const std::string& json, insertion how = insertion::one_token, std::size_t limit = max_grant_subjects,
               const std::string& subject = "alice") {
    std::vector<finding> out;
    const auto t = parsed(text, out);
    EXPECT_TRUE(t) << text;
    identity who;
    who.subject = subject;
    connection c;
    claims_view claims;
    EXPECT_TRUE(claims.parse(json));
    outcome o;
    if (auto r = t->expand({&c, &who, &claims}, how, limit, o.texts)) o.reason = r->id;
    return o;
}

TEST(text_template, puts_values_in) {
    EXPECT_THAT(expand("app.{{sub}}.>", "{}").texts, ElementsAre("app.alice.>"));
    EXPECT_THAT(expand("{{ sub }}", "{}").texts, ElementsAre("alice"));
    EXPECT_THAT(expand("a-{{claims.n}}-{{claims.b}}", R"({"n":-7,"b":true})").texts, ElementsAre("a--7-true"));
    EXPECT_THAT(expand("{{claims.u}}", R"({"u":18446744073709551615})").texts, ElementsAre("18446744073709551615"));
    EXPECT_THAT(expand("no.holes", "{}").texts, ElementsAre("no.holes"));
    EXPECT_THAT(expand("{{k8s.namespace}}.{{k8s.service_account}}", R"({"kubernetes.io":{"namespace":"ns","serviceaccount":{"name":"sa"}}})").texts,
                ElementsAre("ns.sa"));
}

TEST(text_template, a_value_is_one_token_or_refused) {
    for (const std::string bad : {"a.b", "*", ">", "a>", "a*b", "a b", "a\\tb", "a\\u0000b", "\\u00e9", "\\u200b", "a\\u007f", "."}) {
        EXPECT_EQ(expand("app.{{claims.x}}.>", "{\"x\":\"" + bad + "\"}").reason, "placeholder_unsafe") << bad;
    }
    EXPECT_EQ(expand("app.{{sub}}", "{}", insertion::one_token, 8, "a.>").reason, "placeholder_unsafe");
}

TEST(text_template, encoding_is_always_done_so_that_no_two_values_meet) {
    EXPECT_THAT(expand("app.{{claims.x}}", R"({"x":"a.>"})", insertion::encoded).texts, ElementsAre("app.mexd4"));
    EXPECT_THAT(expand("app.{{claims.x | base32}}", R"({"x":"mexd4"})").texts, ElementsAre("app." + encode_token("mexd4")));
    EXPECT_NE(encode_token("mexd4"), "mexd4");
    EXPECT_EQ(encode_token("foobar"), "mzxw6ytboi") << "RFC 4648 section 10, lower case, no padding";
}

TEST(text_template, nothing_missing_is_dropped) {
    for (const std::string json : {"{}", R"({"x":null})", R"({"x":""})", R"({"x":[]})", R"({"x":["a",""]})"}) {
        EXPECT_EQ(expand("app.{{claims.x}}", json).reason, "placeholder_missing") << json;
    }
    for (const std::string json : {R"({"x":{}})", R"({"x":1.5})", R"({"x":[["a"]]})", R"({"x":["a",null]})"}) {
        EXPECT_EQ(expand("app.{{claims.x}}", json).reason, "placeholder_unsafe") << json;
    }
    EXPECT_EQ(expand("app.{{sub}}", "{}", insertion::one_token, 8, "").reason, "placeholder_missing");
    EXPECT_EQ(expand("app.{{claims.x}}", R"({"x":["ok","not.ok"]})").reason, "placeholder_unsafe");
}

TEST(text_template, lists_give_one_subject_each) {
    EXPECT_THAT(expand("t.{{claims.g}}.>", R"({"g":["a","b","a"]})").texts, ElementsAre("t.a.>", "t.b.>"));
    EXPECT_THAT(expand("{{claims.g}}.{{claims.h}}", R"({"g":["a","b"],"h":["1","2"]})").texts, ElementsAre("a.1", "a.2", "b.1", "b.2"));
    EXPECT_THAT(expand("{{claims.g}}.x.{{claims.g}}", R"({"g":["a","b"]})").texts, ElementsAre("a.x.a", "b.x.b"));
}

TEST(text_template, lists_are_bounded) {
    const auto list = [](int n) {
        std::string s = R"({"g":[)";
        for (int i = 0; i < n; ++i) s += (i ? "," : "") + std::to_string(i);
        return s + R"(],"h":["a","b","c"]})";
    };
    EXPECT_EQ(expand("{{claims.g}}", list(64)).texts.size(), 64u);
    EXPECT_EQ(expand("{{claims.g}}", list(65)).reason, "too_many_subjects");
    EXPECT_EQ(expand("{{claims.g}}.{{claims.h}}", list(64), insertion::one_token, 191).reason, "too_many_subjects");
    EXPECT_EQ(expand("{{claims.g}}.{{claims.h}}", list(64), insertion::one_token, 192).texts.size(), 192u);
    EXPECT_EQ(expand("{{claims.x}}", "{\"x\":\"" + std::string(1100, 'a') + "\"}").reason, "placeholder_unsafe");
}

TEST(text_template, free_text_may_have_dots_but_no_control_characters) {
    EXPECT_THAT(expand("{{claims.mail}}", R"({"mail":"a.b@c.d"})", insertion::free_text).texts, ElementsAre("a.b@c.d"));
    EXPECT_EQ(expand("{{claims.mail}}", R"({"mail":"a\nb"})", insertion::free_text).reason, "placeholder_unsafe");
}

TEST(text_template, expand_one_refuses_several) {
    std::vector<finding> out;
    const auto t = parsed("{{claims.g}}", out);
    claims_view claims;
    ASSERT_TRUE(claims.parse(R"({"g":["a","b"]})"));
    identity who;
    connection c;
    std::string text = "untouched";
    const auto r = t->expand_one({&c, &who, &claims}, insertion::one_token, text);
    ASSERT_TRUE(r);
    EXPECT_EQ(r->id, "placeholder_unsafe");
    EXPECT_EQ(text, "untouched");
}

TEST(text_template, mistakes_are_found_when_it_is_read) {
    struct row { std::string text, expected; };
    for (const auto& r : {row{"{{sub", "has {{ without }}"}, row{"sub}}", "has }} without {{"}, row{"{{subj}}", "did you mean {{sub}}?"}, row{"{{}}", "no such placeholder"},
                          row{"{{claims.}}", "no such placeholder"}, row{"{{sub | base64}}", "the only filter is base32"}, row{"{{connection.has_jwt}}", "no such placeholder"},
                          row{"{{name()}}", "no such placeholder"}}) {
        std::vector<finding> out;
        EXPECT_FALSE(parsed(r.text, out)) << r.text;
        ASSERT_EQ(out.size(), 1u) << r.text;
        EXPECT_THAT(out[0].message(), HasSubstr("t.yaml:7: grant.name: ")) << r.text;
        EXPECT_THAT(out[0].text, HasSubstr(r.expected)) << r.text;
    }
    std::vector<finding> out;
    EXPECT_FALSE(parsed("{{connection.client_host}}", out, false));
    EXPECT_THAT(out[0].text, HasSubstr("callout.servers"));
    out.clear();
    EXPECT_TRUE(parsed("{{connection.user}}", out));
    ASSERT_EQ(out.size(), 1u);
    EXPECT_EQ(out[0].level, finding::severity::warning);
    std::string many;
    for (int i = 0; i < 17; ++i) many += "{{sub}}";
    out.clear();
    EXPECT_FALSE(parsed(many, out));
}

TEST(text_template, a_claim_name_may_hold_dots_and_bars) {
    EXPECT_THAT(expand(R"({{claims."a|b.c"}})", R"({"a|b.c":"x"})").texts, ElementsAre("x"));
}

}  // namespace
}  // namespace callgate::policy

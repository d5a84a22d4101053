// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "engine/policy/policy_fixture.hpp"
#include "engine/policy/test_case.hpp"

namespace callgate::policy {
namespace {

constexpr std::int64_t now = 1'800'000'000;

environment with_store() {
    auto env = testing::two_tenants();
    env.stores = {"main"};
    return env;
}
testing::compilation with_grant(const std::string& grant, const std::string& more = "") {
    return testing::compile_text("policy:\n  jitter: 0\n  rules:\n    - {name: stored, when: always, grant: " + grant + "}\n" + more, with_store());
}
const std::string by_sub = "{from: claims, store: main, key: \"grants/{{sub}}\"}";

identity somebody(std::string subject) {
    identity who;
    who.subject = std::move(subject);
    return who;
}

struct stored_grant_test : ::testing::Test {
    testing::compilation c = with_grant(by_sub);
    identity who = somebody("alice@example.com");
    decision judge(const std::string& document) {
        const auto asked = c.policy->decide({}, who, now, 0);
        EXPECT_TRUE(asked.stored);
        return c.policy->admit_stored({}, who, asked, document, now, 0);
    }
    std::string refused(const std::string& document) {
        const auto d = judge(document);
        EXPECT_FALSE(d.allow) << document;
        EXPECT_EQ(d.rule, "stored");
        EXPECT_TRUE(d.reason_id == "stored_grant_invalid" || d.reason.starts_with("stored grant grants/alice@example.com of store main: ")) << d.reason;
        return d.reason_id + "|" + d.reason;
    }
};

TEST_F(stored_grant_test, rule_leaves_the_grant_to_the_store) {
    const auto d = c.policy->decide({}, who, now, 0);
    EXPECT_FALSE(d.allow);
    EXPECT_EQ(d.reason_id, "");
    EXPECT_EQ(d.rule, "stored");
    ASSERT_TRUE(d.stored);
    EXPECT_EQ(d.stored->store, "main");
    EXPECT_EQ(d.stored->key, "grants/alice@example.com");
    EXPECT_EQ(c.policy->stores(), std::vector<std::string>{"main"});
}

TEST_F(stored_grant_test, document_gives_what_a_rule_could_give) {
    const auto d = judge(R"({"version": 1, "account": "APP", "name": "Alice", "pub": {"allow": ["a.>"], "deny": ["a.x"]}, "sub": {"allow": ["b", "c q"]},
                             "resp": {"max": 3, "ttl": "5s"}, "ttl": "10m", "tags": ["t"]})");
    ASSERT_TRUE(d.allow) << d.reason;
    EXPECT_EQ(d.rule, "stored");
    EXPECT_EQ(d.grant.account, "APP");
    EXPECT_EQ(d.grant.name, "Alice");
    EXPECT_EQ(d.grant.pub_allow, std::vector<std::string>{"a.>"});
    EXPECT_EQ(d.grant.pub_deny, std::vector<std::string>{"a.x"});
    EXPECT_EQ(d.grant.sub_allow, (std::vector<std::string>{"b", "c q"}));
    EXPECT_EQ(d.grant.resp->max, 3);
    EXPECT_EQ(d.grant.resp->ttl_ns, 5'000'000'000);
    EXPECT_EQ(d.grant.tags, std::vector<std::string>{"t"});
    EXPECT_EQ(d.grant.exp, now + 600);
}

TEST_F(stored_grant_test, what_is_not_said_is_not_open) {
    const auto d = judge(R"({"version": 1, "account": "APP", "pub": {"allow": ["a"]}})");
    EXPECT_EQ(d.grant.sub_deny, std::vector<std::string>{">"});
    EXPECT_EQ(d.grant.name, "alice@example.com");
    EXPECT_EQ(d.grant.exp, now + 3600) << "the policy's max_ttl";
    const auto open = judge(R"({"version": 1, "account": "APP", "default_permissions": true})");
    EXPECT_TRUE(open.allow);
    EXPECT_TRUE(open.grant.sub_deny.empty() && open.grant.pub_deny.empty());
}

TEST_F(stored_grant_test, callout_and_system_account_are_refused) {
    for (const char* account : {"AUTH", "SYSTEM", "$SYS"}) EXPECT_TRUE(refused(R"({"version": 1, "account": ")" + std::string(account) + "\"}").starts_with("account_forbidden|")) << account;
    EXPECT_TRUE(refused(R"({"version": 1, "account": "NONE"})").starts_with("account_unknown|"));
}

TEST_F(stored_grant_test, rules_of_roles_subjects_and_names_hold) {
    who.subject = "alice";
    c = with_grant("{from: claims, store: main, key: \"grants/alice@example.com\"}");
    EXPECT_TRUE(judge(R"({"version": 1, "account": "APP", "role": "reader"})").allow);
    EXPECT_EQ(judge(R"({"version": 1, "account": "APP", "role": "none"})").reason_id, "role_unknown");
    EXPECT_EQ(judge(R"({"version": 1, "account": "APP", "role": "reader", "pub": {"allow": ["a"]}})").reason_id, "role_permissions");
    EXPECT_EQ(judge(R"({"version": 1, "account": "APP", "role": "reader", "name": "*"})").reason_id, "unsafe_name");
    EXPECT_EQ(judge(R"({"version": 1, "account": "APP", "pub": {"allow": ["a..b"]}})").reason_id, "invalid_subject");
    EXPECT_EQ(judge(R"({"version": 1, "account": "APP", "sub": {"allow": ["a.>.b"]}})").reason_id, "invalid_subject");
}

TEST_F(stored_grant_test, document_is_read_strictly) {
    const auto says = [&](const std::string& document, const char* part) {
        const auto r = refused(document);
        EXPECT_TRUE(r.starts_with("stored_grant_invalid|")) << r;
        EXPECT_NE(r.find(part), std::string::npos) << r;
    };
    says("", "not one JSON object");
    says("[]", "not one JSON object");
    says(R"({"version": 1, "account": "APP"} x)", "not one JSON object");
    says(R"({"account": "APP"})", "version: is missing");
    says(R"({"version": 2, "account": "APP"})", "version: must be 1");
    says(R"({"version": 1})", "account: is missing");
    says(R"({"version": 1, "account": "APP", "accounts": "x"})", "not known");
    says(R"({"version": 1, "account": "APP", "acc\u006funt": "BLUE"})", "twice");
    says(R"({"version": 1, "account": "APP", "pub": {"allow": "a"}})", "pub: must be a list");
    says(R"({"version": 1, "account": "APP", "pub": {"alow": ["a"]}})", "pub: has a member that is not known");
    says(R"({"version": 1, "account": "APP", "pub": {"deny": ["a"]}})", "allows nothing");
    says(R"({"version": 1, "account": "APP", "ttl": 60})", "ttl: must be a duration");
    says(R"({"version": 1, "account": "APP", "ttl": "1s"})", "ttl: must be a duration from");
    says(R"({"version": 1, "account": "APP", "resp": {"max": 0}})", "resp: max");
    says(R"({"version": 1, "account": "APP", "default_permissions": true, "pub": {"allow": ["a"]}})", "beside other permissions");
    says(R"({"version": 1, "account": "APP", "name": ")" + std::string(70'000, 'x') + "\"}", "larger than");
    std::string deep = R"({"version": 1, "account": "APP", "tags": )";
    for (int i = 0; i < 100; ++i) deep += "[";
    says(deep, "not one JSON object");
}

TEST_F(stored_grant_test, credential_and_policy_end_it_earlier) {
    who.credential_exp = now + 60;
    EXPECT_EQ(judge(R"({"version": 1, "account": "APP", "ttl": "10m"})").grant.exp, now + 60);
    who.credential_exp = 0;
    EXPECT_EQ(judge(R"({"version": 1, "account": "APP", "ttl": "48h"})").grant.exp, now + 3600);
}

TEST_F(stored_grant_test, subject_stays_one_segment_of_the_key) {
    for (const char* bad : {"a/b", "..", ".", "a b", "\xc3\xa4"}) {
        const auto d = c.policy->decide({}, somebody(bad), now, 0);
        EXPECT_EQ(d.reason_id, "placeholder_unsafe") << bad;
        EXPECT_FALSE(d.stored);
    }
    c = with_grant("{from: claims, store: main, key: \"grants/{{sub}}\", encode: base32}");
    EXPECT_EQ(c.policy->decide({}, somebody("../x"), now, 0).stored->key, "grants/fyxc66a");
}

TEST(stored_grant_rule, faults_are_found_when_it_is_loaded) {
    const auto says = [](const std::string& grant, const char* part) { EXPECT_NE(with_grant(grant).messages().find(part), std::string::npos) << with_grant(grant).messages(); };
    says("{from: claim, store: main, key: x}", "from: must be one of claims");
    says("{from: claims, store: mian, key: x}", "did you mean \"main\"?");
    says("{from: claims, store: main}", "key: is missing");
    says("{store: main, key: x}", "from: is missing");
    says("{from: claims, store: main, key: \"{{sub}}\", account: APP}", "account: stands beside from: claims");
    says("{from: claims, store: main, key: \"/{{sub}}\"}", "empty segment");
    says("{from: claims, store: main, key: \"{{nobody}}\"}", "no such placeholder");
    EXPECT_TRUE(with_grant("{from: claims, store: main, key: all}").policy);
    says("{from: claims, store: main, key: all}", "everybody whom the rule matches gets the same grant");
}

TEST(stored_grant_rule, cases_give_documents_inline) {
    const auto tests = [](const std::string& cases) { return with_grant(by_sub, "  tests:\n" + cases).messages(); };
    EXPECT_EQ(tests(R"(    - {name: in, identity: {subject: alice}, stored: {main: {grants/alice: {version: 1, account: APP, pub: {allow: [a]}, ttl: 1m}}}, expect: {account: APP, pub.allow: [a], ttl: 1m}}
    - {name: none, identity: {subject: bob}, expect: {deny: no_stored_grant}}
    - {name: bad, identity: {subject: bob}, stored: {main: {grants/bob: {version: 1, account: AUTH}}}, expect: {deny: account_forbidden}}
)"), "");
    EXPECT_NE(tests("    - {name: in, identity: {subject: alice}, stored: {main: {grants/alice: {account: APP}}}, expect: {allow: true}}\n").find("stored_grant_invalid"), std::string::npos);
    EXPECT_NE(tests("    - {name: in, identity: {subject: alice}, stored: [x], expect: {allow: true}}\n").find("must be a mapping of stores"), std::string::npos);
}

}  // namespace
}  // namespace callgate::policy

// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/policy_test_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/runtime/config_fixture.hpp"

namespace callgate::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::shared_ptr<const policy::compiled> production() {
    testing::set_account_environment();
    const auto o = load_config(std::string(CALLGATE_CONFIGS) + "/production.yaml");
    EXPECT_TRUE(o.value) << testing::messages(o.findings);
    return o.value ? o.value->policy : nullptr;
}

TEST(policy_test_file, the_cases_beside_the_production_policy_hold) {
    const auto p = production();
    ASSERT_TRUE(p);
    const auto r = run_policy_test_file(*p, std::string(CALLGATE_CONFIGS) + "/policy/production_cases.yaml");
    EXPECT_TRUE(r.passed()) << testing::messages(r.findings, false);
    EXPECT_GE(r.cases.size(), 6u);
    for (const auto& c : r.cases) EXPECT_TRUE(c.passed) << c.name << ": " << ::testing::PrintToString(c.differences);
}

TEST(policy_test_file, a_failing_case_says_what_differs) {
    const auto p = production();
    ASSERT_TRUE(p);
    const auto r = run_policy_test_text(*p, R"(tests:
  - name: good
    identity: {backend: idp, subject: u, claims: {groups: [sre]}}
    expect: {rule: on-call}
  - name: bad
    identity: {backend: idp, subject: u, claims: {groups: [sre]}}
    expect: {account: SERVICES, pub.allow: [x], ttl: 1h}
)",
                                       "t.yaml");
    EXPECT_FALSE(r.passed());
    ASSERT_EQ(r.cases.size(), 2u);
    EXPECT_TRUE(r.cases[0].passed);
    EXPECT_FALSE(r.cases[1].passed);
    EXPECT_EQ(r.cases[1].line, 5);
    EXPECT_EQ(r.cases[1].expected, "allow account=SERVICES pub.allow=[x] ttl=1h");
    EXPECT_THAT(r.cases[1].actual, HasSubstr("allow account=PEOPLE role=- name=u pub=[>]"));
    EXPECT_THAT(r.cases[1].differences, ElementsAre("account: expected SERVICES, got PEOPLE", "pub.allow: expected [x], got [>]", "ttl: expected 1h, got 15m"));
}

TEST(policy_test_file, a_file_that_proves_nothing_fails) {
    const auto p = production();
    ASSERT_TRUE(p);
    struct row { std::string text, expected; };
    for (const auto& r : {row{"tests: []", "t.yaml:1: tests: holds no case"}, row{"", "tests: is missing"}, row{"cases: []", "cases: unknown key"},
                          row{"tests: [{name: a}]", "tests[0].expect: is missing"}, row{"tests: [{name: a, expect: {allow: maybe}}]", "tests[0].expect.allow: must be true or false"},
                          row{"tests: [{name: a, identity: {clams: {}}, expect: {allow: true}}]", "did you mean \"claims\"?"}}) {
        const auto o = run_policy_test_text(*p, r.text, "t.yaml");
        EXPECT_FALSE(o.passed()) << r.text;
        EXPECT_THAT(testing::messages(o.findings), HasSubstr(r.expected)) << r.text;
    }
    EXPECT_FALSE(run_policy_test_file(*p, "/nonexistent/t.yaml").passed());
}

}  // namespace
}  // namespace callgate::runtime

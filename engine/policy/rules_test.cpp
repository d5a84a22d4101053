// SPDX-License-Identifier: Apache-2.0
// Faults of routes, rules and tests that are found when a policy is compiled.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/policy/policy_fixture.hpp"

namespace callgate::policy {
namespace {

using ::testing::HasSubstr;
using testing::compile_text;

std::string grant_fault(const std::string& grant) {
    return compile_text("policy:\n  rules:\n    - name: r\n      when: always\n      grant: " + grant + "\n").messages();
}

struct row {
    std::string text, expected;
};

TEST(rules, faults_of_a_grant) {
    for (const auto& r : {
             row{"{account: NONE, sub: {allow: [a]}}", "p.yaml:5: policy.rules[0].grant.account: no account is named \"NONE\"; add it"},
             row{"{account: APS, sub: {allow: [a]}}", "did you mean \"APP\"?"},
             row{"{account: AUTH, sub: {allow: [a]}}", "policy.rules[0].grant.account: \"AUTH\" is the callout account, the system account"},
             row{"{account: " + std::string(testing::callout_key) + ", sub: {allow: [a]}}", "is the callout account"},
             row{"{account: SYSTEM, sub: {allow: [a]}}", "is the callout account, the system account"},
             row{"{account: $SYS, sub: {allow: [a]}}", "is the callout account, the system account"},
             row{"{sub: {allow: [a]}}", "policy.rules[0].grant.account: is missing"},
             row{"{account: APP, role: owner}", "account \"APP\" has no role named \"owner\""},
             row{"{account: APP, role: raeder}", "did you mean \"reader\"?"},
             row{"{account: '{{claims.t}}', role: nobody}", "no account has a role named \"nobody\""},
             row{"{account: APP, role: '{{claims.r}}'}", "grant.role: cannot hold a placeholder"},
             row{"{account: APP, role: reader, pub: {allow: [a]}}", "grant.role: brings its own permissions"},
             row{"{account: APP, role: reader, resp: {max: 1}}", "grant.role: brings its own permissions"},
             row{"{account: APP, role: reader, name: 'user {{sub}}'}", "grant.name: must be one subject token"},
             row{"{account: APP, role: reader, tags: ['a.b:c']}", "grant.tags: \"a.b:c\" must be one subject token"},
             row{"{account: APP, subs: 10}", "grant.subs: nobody can enforce it"},
             row{"{account: APP, payload: 10}", "grant.payload: nobody can enforce it"},
             row{"{account: APP, data: 10}", "grant.data: nobody can enforce it"},
             row{"{account: APP, src: [10.0.0.0/8]}", "grant.src: nats-server does not check it"},
             row{"{account: APP, allowed_connection_types: [MQTT]}", "write when: {connection.kind"},
             row{"{account: APP, acount: APP}", "grant.acount: unknown key; did you mean \"account\"?"},
             row{"{account: APP, pub: [a]}", "grant.pub: must be a mapping with the keys allow, deny, not a list"},
             row{"{account: APP, pub: {alow: [a]}}", "grant.pub.alow: unknown key; did you mean \"allow\"?"},
             row{"{account: APP, pub: {deny: [a]}}", "grant.pub: denies some and allows nothing"},
             row{"{account: APP, pub: {allow: ['a..b']}}", "grant.pub.allow[0]: \"a..b\" is not a valid subject"},
             row{"{account: APP, pub: {allow: [ok, 'a queue']}}", "grant.pub.allow[1]: \"a queue\" is not a valid subject; a queue group can only stand under sub"},
             row{"{account: APP, sub: {allow: ['a.>.b']}}", "is not a valid subject"},
             row{"{account: APP, sub: {allow: ['a.{{subb}}']}}", "did you mean {{sub}}?"},
             row{"{account: APP, sub: {allow: [[a]]}}", "grant.sub.allow[0]: must be a text, not a list"},
             row{"{account: APP, sub: {allow: [a]}, ttl: 2h}", "grant.ttl: is longer than policy.max_ttl (1h)"},
             row{"{account: APP, sub: {allow: [a]}, ttl: 3s}", "grant.ttl: must be a duration from 10s"},
             row{"{account: APP, sub: {allow: [a]}, ttl: 15}", "grant.ttl: must be a duration"},
             row{"{account: APP, sub: {allow: [a]}, resp: {max: 0}}", "grant.resp.max: must be a whole number from 1 to 1000000"},
             row{"{account: APP, sub: {allow: [a]}, encode: base64}", "grant.encode: must be one of base32, not \"base64\"; did you mean \"base32\"?"},
             row{"{account: APP, sub: {allow: [a]}, default_permissions: true}", "default_permissions: stands beside other permissions"},
             row{"APP", "policy.rules[0].grant: must be a mapping"},
         }) {
        const auto messages = grant_fault(r.text);
        EXPECT_THAT(messages, HasSubstr(r.expected)) << r.text;
        EXPECT_THAT(messages, HasSubstr("p.yaml:5: ")) << r.text;
    }
    EXPECT_THAT(grant_fault("{account: APP}"), HasSubstr("allows nothing: neither publish nor subscribe")) << "a warning";
}

TEST(rules, roles_need_operator_mode) {
    auto env = testing::two_tenants();
    env.operator_mode = false;
    EXPECT_THAT(compile_text("policy: {rules: [{name: r, when: always, grant: {account: APP, role: reader}}]}", env).messages(), HasSubstr("operator mode only"));
}

TEST(rules, a_second_name_for_the_callout_accounts_key_is_forbidden_too) {
    auto env = testing::two_tenants();
    env.accounts.push_back({"HARMLESS", std::string(testing::callout_key), {}});
    EXPECT_THAT(compile_text("policy: {rules: [{name: r, when: always, grant: {account: HARMLESS, sub: {allow: [a]}}}]}", env).messages(),
                HasSubstr("\"HARMLESS\" is the callout account"));
}

TEST(rules, faults_of_rules_and_policy) {
    const std::string g = "grant: {account: APP, sub: {allow: [a]}}";
    for (const auto& r : {
             row{"policy: {}", "policy.rules: is missing"},
             row{"policy: {rules: []}", "policy.rules: must be a list with at least one rule"},
             row{"policy: {rules: {name: r}}", "policy.rules: must be a list"},
             row{"policy: {rules: [{when: always, " + g + "}]}", "policy.rules[0].name: is missing"},
             row{"policy: {rules: [{name: r, " + g + "}]}", "policy.rules[0].when: is missing"},
             row{"policy: {rules: [{name: r, when: always}]}", "policy.rules[0]: has neither grant nor deny: true"},
             row{"policy: {rules: [{name: r, when: always, deny: true, " + g + "}]}", "policy.rules[0]: has both grant and deny"},
             row{"policy: {rules: [{name: r, when: always, deny: false}]}", "policy.rules[0].deny: can only be true"},
             row{"policy: {rules: [{name: r, when: {backend: corp}, " + g + "}, {name: r, when: always, " + g + "}]}", "policy.rules[1].name: another one is named \"r\" already"},
             row{"policy: {rules: [{name: a, when: always, " + g + "}, {name: b, when: always, " + g + "}]}", "policy.rules[1]: is never reached: rule \"a\""},
             row{"policy: {rules: [r]}", "policy.rules[0]: must be a mapping"},
             row{"policy: {rule: []}", "policy.rule: unknown key; did you mean \"rules\"?"},
             row{"policy: {max_ttl: 48h, rules: [{name: r, when: always, " + g + "}]}", "allow_long_ttl: true"},
             row{"policy: {jitter: 1.5, rules: [{name: r, when: always, " + g + "}]}", "policy.jitter: must be a number from 0 to 0.9"},
             row{"policy: {forbid_accounts: [NONE], rules: [{name: r, when: always, " + g + "}]}", "policy.forbid_accounts: no account is named \"NONE\""},
             row{"policy: {file: x, rules: [{name: r, when: always, " + g + "}]}", "policy.file: stands beside other keys"},
             row{"policy: {tests: 1, rules: [{name: r, when: always, " + g + "}]}", "policy.tests: must be a list of cases"},
         }) {
        EXPECT_THAT(compile_text(r.text).messages(), HasSubstr(r.expected)) << r.text;
    }
    const auto good = compile_text("policy: {max_ttl: 48h, allow_long_ttl: true, rules: [{name: r, when: always, grant: {account: APP, sub: {allow: [a]}, ttl: 36h}}]}");
    EXPECT_TRUE(good.policy) << good.messages();
}

TEST(rules, faults_of_routes) {
    const std::string rest = "policy: {rules: [{name: r, when: always, grant: {account: APP, sub: {allow: [a]}}}]}";
    for (const auto& r : {
             row{"[]", "routes: must be a list with at least one route"},
             row{"{name: a}", "routes: must be a list"},
             row{"[{chain: [users]}]", "routes[0].name: is missing"},
             row{"[{name: a}]", "routes[0].chain: is missing"},
             row{"[{name: a, chain: []}]", "routes[0].chain: must be a list with at least one backend"},
             row{"[{name: a, chain: [user]}]", "routes[0].chain[0]: no backend is named \"user\"; did you mean \"users\"?"},
             row{"[{name: a, chain: [users, users]}]", "routes[0].chain[1]: backend \"users\" stands in this chain already"},
             row{"[{name: a, chain: [{backend: users, on_unavailable: skip}]}]", "on_unavailable: must be one of stop, next"},
             row{"[{name: a, chain: [{on_unavailable: next}]}]", "routes[0].chain[0].backend: is missing"},
             row{"[{name: a, credential: [token], chain: [users]}]", "routes[0].credential: \"token\" is not one of"},
             row{"[{name: a, credential: [pass, pass], chain: [users]}]", "routes[0].credential: names pass twice"},
             row{"[{name: a, credential: [], chain: [users]}]", "is an empty list"},
             row{"[{name: a, when: {subject: x}, chain: [users]}]", "routes[0].when.subject: subject is not known yet"},
             row{"[{name: a, chain: [users]}, {name: b, chain: [corp]}]", "routes[1]: is never reached: route \"a\""},
             row{"[{name: a, when: {connection.user: x}, chain: [users]}, {name: a, chain: [corp]}]", "routes[1].name: another one is named \"a\" already"},
         }) {
        EXPECT_THAT(compile_text("routes: " + r.text + "\n" + rest).messages(), HasSubstr(r.expected)) << r.text;
    }
}

TEST(rules, tests_run_when_the_policy_is_compiled) {
    const std::string head = R"(
policy:
  rules:
    - {name: ops, when: {claims.groups: {has: ops}}, grant: {account: APP, sub: {allow: ["app.{{sub}}.>"]}, ttl: 15m}}
  tests:
)";
    const auto good = compile_text(head + R"(
    - name: alice
      identity: {backend: corp, subject: alice, claims: {groups: [ops]}}
      connection: {kind: nats, client_host: 10.1.2.3}
      expect: {account: APP, rule: ops, route: all, name: alice, sub.allow: ["app.alice.>"], pub.allow: [], pub.deny: [">"], ttl: 15m}
    - {name: bob, identity: {subject: bob}, expect: {deny: no_rule}}
    - {name: short, identity: {subject: a, claims: {groups: ops}, expires_in: 2m}, expect: {ttl: 2m}}
)");
    EXPECT_TRUE(good.policy) << good.messages();

    const auto bad = compile_text(head + "    - {name: mallory, identity: {subject: mallory}, expect: {account: APP}}\n");
    EXPECT_FALSE(bad.policy);
    EXPECT_THAT(bad.messages(), HasSubstr("p.yaml:6: policy.tests[0]: policy test \"mallory\" fails: expected allow, got deny (no_rule): no rule"));
    for (const auto& r : {
             row{"{account: BLUE}", "account: expected BLUE, got APP"}, row{"{sub.allow: [x]}", "sub.allow: expected [x], got [app.a.>]"}, row{"{ttl: 1h}", "ttl: expected 1h, got 15m"},
             row{"{deny: rule_denies}", "expected deny (rule_denies), got allow"}, row{"{allow: false}", "expected deny, got allow"}, row{"{rule: other}", "rule: expected other, got ops"},
             row{"{resp: {max: 1}}", "resp: expected max 1 ttl 2m, got none"}, row{"{deny: no_such}", "must be one of"}, row{"{}", "expects nothing"},
             row{"{deny: no_rule, account: APP}", "expects a denial and parts of a grant"}, row{"{acount: APP}", "did you mean \"account\"?"}}) {
        EXPECT_THAT(compile_text(head + "    - {name: t, identity: {subject: a, claims: {groups: ops}}, expect: " + r.text + "}\n").messages(), HasSubstr(r.expected)) << r.text;
    }
}

}  // namespace
}  // namespace callgate::policy

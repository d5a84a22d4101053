// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <set>
#include <thread>

#include "engine/policy/policy_fixture.hpp"

namespace callgate::policy {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::compile_text;

constexpr std::int64_t now = 1'800'000'000;

decision decide(const std::string& yaml, const identity& who, double jitter = 0, const connection& c = {}) {
    const auto p = compile_text(yaml);
    EXPECT_TRUE(p.policy) << p.messages();
    return p.policy ? p.policy->decide(c, who, now, jitter) : decision{};
}

identity alice(const std::string& claims = "{}") {
    identity who;
    who.backend = "corp";
    who.issuer = "https://idp.example";
    who.subject = "alice";
    who.attributes_json = claims;
    return who;
}

std::string rule(const std::string& grant, const std::string& when = "always") {
    return "policy:\n  jitter: 0\n  rules:\n    - {name: r, when: " + when + ", grant: " + grant + "}\n";
}

TEST(decide, first_match_gives_the_grant) {
    const auto d = decide(R"(
policy:
  rules:
    - name: bots
      when: {claims.bot: true}
      deny: true
    - name: ops
      when: {all: [{backend: corp}, {claims.groups: {has: ops}}, {connection.client_host: {cidr: [10.0.0.0/8]}}]}
      grant:
        account: APP
        pub: {allow: ["app.{{sub}}.>"], deny: ["app.{{sub}}.secret"]}
        sub: {allow: ["app.{{sub}}.>", "_INBOX.>", "work.* group"]}
        resp: {max: 2, ttl: 30s}
        ttl: 15m
        tags: ["team:{{claims.team}}"]
    - name: rest
      when: always
      grant: {account: BLUE, sub: {allow: [news]}}
)",
                          alice(R"({"groups":["dev","ops"],"team":"blue"})"), 0, [] {
                              connection c;
                              c.client_host = "10.1.2.3";
                              return c;
                          }());
    ASSERT_TRUE(d.allow) << d.reason;
    EXPECT_EQ(d.reason_id, "ok");
    EXPECT_EQ(d.rule, "ops");
    EXPECT_EQ(d.grant.account, "APP");
    EXPECT_EQ(d.grant.name, "alice");
    EXPECT_THAT(d.grant.pub_allow, ElementsAre("app.alice.>"));
    EXPECT_THAT(d.grant.pub_deny, ElementsAre("app.alice.secret"));
    EXPECT_THAT(d.grant.sub_allow, ElementsAre("app.alice.>", "_INBOX.>", "work.* group"));
    EXPECT_THAT(d.grant.sub_deny, IsEmpty());
    ASSERT_TRUE(d.grant.resp);
    EXPECT_EQ(d.grant.resp->max, 2);
    EXPECT_EQ(d.grant.resp->ttl_ns, 30'000'000'000);
    EXPECT_THAT(d.grant.tags, ElementsAre("team:blue"));
    EXPECT_EQ(d.grant.exp, now + 900);
}

TEST(decide, an_empty_allow_list_allows_nothing) {
    auto d = decide(rule("{account: APP, sub: {allow: [a]}}"), alice());
    EXPECT_THAT(d.grant.pub_deny, ElementsAre(">"));
    EXPECT_THAT(d.grant.sub_deny, IsEmpty());
    d = decide(rule("{account: APP}"), alice());
    EXPECT_THAT(d.grant.pub_deny, ElementsAre(">"));
    EXPECT_THAT(d.grant.sub_deny, ElementsAre(">"));
    d = decide(rule("{account: APP, sub: {allow: [svc]}, resp: {max: 1}}"), alice());
    EXPECT_THAT(d.grant.pub_deny, IsEmpty()) << "resp alone makes nats-server refuse other publishes";
    EXPECT_EQ(d.grant.resp->ttl_ns, 120'000'000'000);
    d = decide(rule("{account: APP, default_permissions: true}"), alice());
    EXPECT_THAT(d.grant.pub_deny, IsEmpty());
    EXPECT_THAT(d.grant.sub_deny, IsEmpty());
}

TEST(decide, a_role_has_no_lists) {
    const auto d = decide(rule("{account: APP, role: reader, tags: ['team:{{claims.t}}']}"), alice(R"({"t":["a","b"]})"));
    ASSERT_TRUE(d.allow) << d.reason;
    EXPECT_EQ(d.grant.role, "reader");
    EXPECT_TRUE(d.grant.pub_allow.empty() && d.grant.pub_deny.empty() && d.grant.sub_allow.empty() && d.grant.sub_deny.empty() && !d.grant.resp);
    EXPECT_THAT(d.grant.tags, ElementsAre("team:a", "team:b"));
}

// ---- every reason ------------------------------------------------------------------------------------
struct reason_row {
    std::string what, grant, claims, expected, subject = "alice";
    std::int64_t credential_exp = 0;
};

TEST(decide, reasons) {
    const std::string list65 = [] {
        std::string s = R"({"g":[)";
        for (int i = 0; i < 65; ++i) s += (i ? "," : "") + std::to_string(i);
        return s + "]}";
    }();
    const std::string list40 = [] {
        std::string s = R"({"g":[)";
        for (int i = 0; i < 40; ++i) s += (i ? "," : "") + std::to_string(i);
        s += R"(],"h":[)";
        for (int i = 0; i < 30; ++i) s += (i ? "," : "") + std::to_string(i);
        return s + "]}";
    }();
    const reason_row rows[] = {
        {"tenant that is no account", "{account: '{{claims.t}}', sub: {allow: [a]}}", R"({"t":"NONE"})", "account_unknown"},
        {"tenant named by its key", "{account: '{{claims.t}}', sub: {allow: [a]}}", R"({"t":"AAPP"})", "account_unknown"},
        {"tenant in another case", "{account: '{{claims.t}}', sub: {allow: [a]}}", R"({"t":"app"})", "account_unknown"},
        {"callout account by name", "{account: '{{claims.t}}', sub: {allow: [a]}}", R"({"t":"AUTH"})", "account_forbidden"},
        {"callout account by key", "{account: '{{claims.t}}', sub: {allow: [a]}}", "{\"t\":\"" + std::string(testing::callout_key) + "\"}", "account_forbidden"},
        {"system account by name", "{account: '{{claims.t}}', sub: {allow: [a]}}", R"({"t":"SYSTEM"})", "account_forbidden"},
        {"$SYS", "{account: '{{claims.t}}', sub: {allow: [a]}}", R"({"t":"$SYS"})", "account_forbidden"},
        {"tenant missing", "{account: '{{claims.t}}', sub: {allow: [a]}}", "{}", "placeholder_missing"},
        {"two tenants", "{account: '{{claims.t}}', sub: {allow: [a]}}", R"({"t":["APP","BLUE"]})", "placeholder_unsafe"},
        {"role this tenant has not", "{account: '{{claims.t}}', role: writer}", R"({"t":"BLUE"})", "role_unknown"},
        {"placeholder missing in a list", "{account: APP, pub: {allow: ['a.{{claims.x}}']}}", "{}", "placeholder_missing"},
        {"placeholder missing in a deny list", "{account: APP, pub: {allow: ['>'], deny: ['a.{{claims.x}}']}}", "{}", "placeholder_missing"},
        {"placeholder missing in a tag", "{account: APP, role: reader, tags: ['t:{{claims.x}}']}", "{}", "placeholder_missing"},
        {"wildcard in a value", "{account: APP, pub: {allow: ['a.{{claims.x}}']}}", R"({"x":"*"})", "placeholder_unsafe"},
        {"dot in a value under deny", "{account: APP, pub: {allow: ['>'], deny: ['a.{{claims.x}}']}}", R"({"x":"b.c"})", "placeholder_unsafe"},
        {"dot in a scoped tag", "{account: APP, role: reader, tags: ['t:{{claims.x}}']}", R"({"x":"b.>"})", "placeholder_unsafe"},
        {"too many values", "{account: APP, pub: {allow: ['a.{{claims.g}}']}}", list65, "too_many_subjects"},
        {"too many subjects in all", "{account: APP, pub: {allow: ['a.{{claims.g}}.{{claims.h}}']}}", list40, "too_many_subjects"},
        {"too many tags", "{account: APP, role: reader, tags: ['a:{{claims.g}}', 'b:{{claims.g}}']}", list40, "too_many_subjects"},
        {"subject that is name, role", "{account: APP, role: reader}", "{}", "unsafe_name", "*"},
        {"wide name, role", "{account: APP, role: reader}", "{}", "unsafe_name", "a.>"},
        {"blank name, role", "{account: APP, role: reader}", "{}", "unsafe_name", "a b"},
        {"control character in a name", "{account: APP, sub: {allow: [a]}}", "{}", "unsafe_name", "a\nb"},
        {"name too long", "{account: APP, sub: {allow: [a]}}", "{}", "unsafe_name", std::string(300, 'a')},
        {"name missing", "{account: APP, sub: {allow: [a]}}", "{}", "placeholder_missing", ""},
        {"credential that ended", "{account: APP, sub: {allow: [a]}}", "{}", "credential_expired", "alice", now - 1},
        {"credential about to end", "{account: APP, sub: {allow: [a]}}", "{}", "credential_expired", "alice", now + 4},
        {"hostile expiry", "{account: APP, sub: {allow: [a]}}", "{}", "credential_expired", "alice", std::numeric_limits<std::int64_t>::min()},
        {"claims that are no object", "{account: APP, sub: {allow: [a]}}", "[1]", "claims_invalid"},
        {"claims with a duplicate", "{account: APP, sub: {allow: [a]}}", R"({"a":1,"a":2})", "claims_invalid"},
    };
    std::set<std::string> seen;
    for (const auto& r : rows) {
        auto who = alice(r.claims);
        who.subject = r.subject;
        who.credential_exp = r.credential_exp;
        const auto d = decide(rule(r.grant), who);
        EXPECT_FALSE(d.allow) << r.what;
        EXPECT_EQ(d.reason_id, r.expected) << r.what << ": " << d.reason;
        EXPECT_FALSE(d.reason.empty()) << r.what;
        EXPECT_TRUE(d.grant.account.empty() && d.grant.pub_allow.empty()) << r.what << ": a refusal carries no grant";
        seen.insert(d.reason_id);
    }
    auto d = decide(rule("{account: APP, sub: {allow: [a]}}", "{backend: users}"), alice());
    EXPECT_EQ(d.reason_id, "no_rule");
    EXPECT_EQ(d.rule, "");
    seen.insert(d.reason_id);
    d = decide("policy: {rules: [{name: out, when: {claims.disabled: true}, deny: true}, {name: in, when: always, grant: {account: APP, sub: {allow: [a]}}}]}", alice(R"({"disabled":true})"));
    EXPECT_EQ(d.reason_id, "rule_denies");
    EXPECT_EQ(d.rule, "out");
    seen.insert(d.reason_id);
    // Queue groups may stand behind a subject, so a value could only break a subject by its length or place.
    d = decide(rule("{account: APP, sub: {allow: ['{{claims.a}}']}}"), alice("{\"a\":\"" + std::string(1025, 'a') + "\"}"));
    EXPECT_EQ(d.reason_id, "placeholder_unsafe");
    // `now` of these tests is 08:00 UTC on a Friday.
    d = decide(rule("{account: APP, sub: {allow: [a]}}", "{time: {zone: UTC, to: '08:00:04'}}"), alice());
    EXPECT_EQ(d.reason_id, "window_ends");
    EXPECT_TRUE(d.grant.account.empty() && d.grant.exp == 0) << "a refusal carries no grant";
    seen.insert(d.reason_id);
    for (const auto id : reason_ids()) {
        if (id == "no_route" || id == "role_permissions" || id == "invalid_subject") continue;  // routes and admit() below
        if (id == "no_stored_grant" || id == "stored_grant_invalid") continue;                  // stored_test.cpp
        EXPECT_TRUE(seen.contains(std::string(id))) << id << " has no row";
    }
}

TEST(decide, forbidden_accounts_also_by_configuration) {
    const auto d = decide("policy: {forbid_accounts: [OPS], rules: [{name: r, when: always, grant: {account: '{{claims.t}}', sub: {allow: [a]}}}]}", alice(R"({"t":"OPS"})"));
    EXPECT_EQ(d.reason_id, "account_forbidden");
}

TEST(decide, callout_account_G_of_config_mode_is_forbidden_by_name) {
    environment env;
    env.accounts = {{"$G", "", {}}, {"APP", "", {}}};
    env.callout_account = "$G";
    env.system_account = "$SYS";
    env.backends = {"users"};
    const auto p = compile_text(rule("{account: '{{claims.t}}', sub: {allow: [a]}}"), env);
    ASSERT_TRUE(p.policy) << p.messages();
    EXPECT_EQ(p.policy->decide({}, alice(R"({"t":"$G"})"), now, 0).reason_id, "account_forbidden");
    EXPECT_EQ(p.policy->decide({}, alice(R"({"t":"$SYS"})"), now, 0).reason_id, "account_forbidden");
    EXPECT_TRUE(p.policy->decide({}, alice(R"({"t":"APP"})"), now, 0).allow);
}

TEST(decide, encode_makes_any_value_one_token) {
    const auto who = alice(R"({"mail":"a.b@c.>"})");
    auto d = decide(rule("{account: APP, encode: base32, name: '{{claims.mail}}', pub: {allow: ['u.{{claims.mail}}.>']}}"), who);
    ASSERT_TRUE(d.allow) << d.reason;
    EXPECT_THAT(d.grant.pub_allow, ElementsAre(HasSubstr("u.")));
    EXPECT_EQ(std::count(d.grant.pub_allow[0].begin(), d.grant.pub_allow[0].end(), '.'), 2);
    EXPECT_EQ(d.grant.name, "a.b@c.>") << "without a role the name is only shown";
    d = decide(rule("{account: APP, encode: base32, role: reader, name: '{{claims.mail}}'}"), who);
    ASSERT_TRUE(d.allow) << d.reason;
    EXPECT_EQ(d.grant.name.find_first_of(".*> "), std::string::npos);
}

// ---- expiry ------------------------------------------------------------------------------------------
TEST(decide, expiry_is_the_sooner_of_credential_and_ttl_shortened_by_jitter_only) {
    struct row { std::int64_t credential; double jitter; std::int64_t expected; };
    const std::string yaml = "policy: {max_ttl: 30m, jitter: 0.5, rules: [{name: r, when: always, grant: {account: APP, sub: {allow: [a]}, ttl: 1000s}}]}";
    for (const auto& r : {row{0, 0, 1000}, row{0, 1, 500}, row{0, 0.5, 750}, row{now + 100, 0, 100}, row{now + 100, 1, 50}, row{now + 5, 1, 5}, row{now + 6, 1, 5},
                          row{std::numeric_limits<std::int64_t>::max(), 0, 1000}, row{0, 7, 500}, row{0, -3, 1000}}) {
        auto who = alice();
        who.credential_exp = r.credential;
        EXPECT_EQ(decide(yaml, who, r.jitter).grant.exp - now, r.expected) << r.credential << " " << r.jitter;
    }
}

TEST(decide, default_lifetime_is_an_hour_and_jitter_a_tenth) {
    const std::string yaml = "policy: {rules: [{name: r, when: always, grant: {account: APP, sub: {allow: [a]}}}]}";
    EXPECT_EQ(decide(yaml, alice(), 0).grant.exp, now + 3600);
    EXPECT_EQ(decide(yaml, alice(), 0.9999999).grant.exp, now + 3240 + 1);
}

// ---- routes ------------------------------------------------------------------------------------------
TEST(route, first_match_with_its_order_of_credentials) {
    const auto p = compile_text(R"(
routes:
  - name: devices
    when: {connection.kind: mqtt}
    credential: [pass]
    chain: [users]
  - name: people
    when: {connection.has_auth_token: true}
    credential: [auth_token, pass, jwt]
    chain: [users, {backend: corp, on_unavailable: next}]
policy: {rules: [{name: r, when: always, grant: {account: APP, sub: {allow: [a]}}}]}
)");
    ASSERT_TRUE(p.policy) << p.messages();
    connection c;
    EXPECT_EQ(p.policy->find_route(c), nullptr);
    c.has_auth_token = true;
    const auto* people = p.policy->find_route(c);
    ASSERT_NE(people, nullptr);
    EXPECT_EQ(people->name, "people");
    EXPECT_THAT(people->credentials, ElementsAre(credential_source::auth_token, credential_source::pass, credential_source::jwt));
    ASSERT_EQ(people->chain.size(), 2u);
    EXPECT_FALSE(people->chain[0].next_on_unavailable);
    EXPECT_TRUE(people->chain[1].next_on_unavailable);
    c.kind = client_kind::mqtt;
    EXPECT_EQ(p.policy->find_route(c)->name, "devices");
    EXPECT_THAT(p.policy->backends(), ElementsAre("users", "corp"));
}

// ---- admit -------------------------------------------------------------------------------------------
grant empty_grant(std::string account, std::string role = {}, std::string name = {}) {
    grant g;
    g.account = std::move(account);
    g.role = std::move(role);
    g.name = std::move(name);
    return g;
}

struct admit_row {
    std::string what, expected;
    void (*change)(backend_grant&);
};

TEST(admit, judges_what_a_backend_asks) {
    const auto p = compile_text(rule("{account: APP, sub: {allow: [a]}}"));
    ASSERT_TRUE(p.policy) << p.messages();
    const admit_row rows[] = {
        {"as it is", "ok", [](backend_grant&) {}},
        {"unknown account", "account_unknown", [](backend_grant& g) { g.what.account = "NONE"; }},
        {"no account", "account_unknown", [](backend_grant& g) { g.what.account.clear(); }},
        {"callout account", "account_forbidden", [](backend_grant& g) { g.what.account = "AUTH"; }},
        {"callout account's key", "account_forbidden", [](backend_grant& g) { g.what.account = testing::callout_key; }},
        {"system account", "account_forbidden", [](backend_grant& g) { g.what.account = "SYSTEM"; }},
        {"unknown role", "role_unknown", [](backend_grant& g) { g.what = empty_grant("APP", "owner"); }},
        {"role", "ok", [](backend_grant& g) { g.what = empty_grant("APP", "reader"); }},
        {"role with lists", "role_permissions", [](backend_grant& g) { g.what.role = "reader"; }},
        {"role with resp", "role_permissions", [](backend_grant& g) { g.what = empty_grant("APP", "reader"); g.what.resp = response_permission{1, 1}; }},
        {"role and wide name", "unsafe_name", [](backend_grant& g) { g.what = empty_grant("APP", "reader", "a.>"); }},
        {"role and wide tag", "unsafe_name", [](backend_grant& g) { g.what = empty_grant("APP", "reader"); g.what.tags = {"t:*.>"}; }},
        {"empty tag", "unsafe_name", [](backend_grant& g) { g.what.tags = {""}; }},
        {"name not UTF-8", "unsafe_name", [](backend_grant& g) { g.what.name = "\xff"; }},
        {"empty token", "invalid_subject", [](backend_grant& g) { g.what.pub_allow = {"a..b"}; }},
        {"queue under pub", "invalid_subject", [](backend_grant& g) { g.what.pub_deny = {"a q"}; }},
        {"not UTF-8", "invalid_subject", [](backend_grant& g) { g.what.sub_allow = {"a.\xff"}; }},
        {"too long", "invalid_subject", [](backend_grant& g) { g.what.sub_allow = {std::string(1025, 'a')}; }},
        {"unbounded responses", "invalid_subject", [](backend_grant& g) { g.what.resp = response_permission{-1, 1}; }},
        {"too many", "too_many_subjects", [](backend_grant& g) { g.what.sub_allow.assign(1025, "a"); }},
        {"too many tags", "too_many_subjects", [](backend_grant& g) { g.what.tags.assign(65, "a:b"); }},
        {"ended", "credential_expired", [](backend_grant& g) { g.what.exp = now + 1; }},
        {"ended long ago", "credential_expired", [](backend_grant& g) { g.what.exp = std::numeric_limits<std::int64_t>::min(); }},
    };
    for (const auto& r : rows) {
        backend_grant asked{empty_grant("APP")};
        asked.what.pub_allow = {"a.>"};
        asked.what.sub_allow = {"b.* queue"};
        r.change(asked);
        const auto d = p.policy->admit({}, alice(), asked, now, 0);
        EXPECT_EQ(d.reason_id, r.expected) << r.what << ": " << d.reason;
        EXPECT_EQ(d.allow, r.expected == "ok") << r.what;
        if (d.allow) {
            EXPECT_EQ(d.grant.name, "alice") << r.what;
            EXPECT_EQ(d.grant.exp, now + 3600) << r.what;
        }
    }
}

TEST(admit, expiry_is_the_soonest_of_grant_credential_and_policy) {
    const auto p = compile_text(rule("{account: APP, sub: {allow: [a]}}"));
    ASSERT_TRUE(p.policy);
    struct row { std::int64_t grant, credential, expected; };
    for (const auto& r : {row{0, 0, 3600}, row{now + 60, 0, 60}, row{0, now + 50, 50}, row{now + 60, now + 50, 50}, row{now + 60, now + 90, 60}, row{now + 90'000, 0, 3600}}) {
        backend_grant asked{empty_grant("APP")};
        asked.what.exp = r.grant;
        auto who = alice();
        who.credential_exp = r.credential;
        const auto d = p.policy->admit({}, who, asked, now, 0);
        EXPECT_EQ(d.grant.exp - now, r.expected);
        EXPECT_THAT(d.grant.pub_deny, ElementsAre(">")) << "a grant without lists allows nothing";
        EXPECT_THAT(d.grant.sub_deny, ElementsAre(">"));
    }
}

TEST(decide, many_threads_share_one_policy) {
    const auto p = compile_text(rule("{account: APP, pub: {allow: ['a.{{claims.g}}.{{sub}}']}}", "{claims.g: {has: x}}"));
    ASSERT_TRUE(p.policy);
    std::vector<std::thread> threads;
    std::vector<int> good(4, 0);
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            auto who = alice(R"({"g":["x","y)" + std::to_string(t) + "\"]}");
            for (int i = 0; i < 500; ++i) good[t] += p.policy->decide({}, who, now, 0).grant.pub_allow == std::vector<std::string>{"a.x.alice", "a.y" + std::to_string(t) + ".alice"};
        });
    }
    for (auto& t : threads) t.join();
    EXPECT_THAT(good, ::testing::Each(500));
}

}  // namespace
}  // namespace callgate::policy

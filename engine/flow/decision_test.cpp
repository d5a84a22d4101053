// SPDX-License-Identifier: Apache-2.0
// Verdicts: who is let in with what, every reason of a denial, and the truth table of chains.
#include <gtest/gtest.h>

#include "engine/flow/flow_test_world.hpp"

namespace callgate::flow {
namespace {

using observe::drop_reason;
using testing::allow;
using testing::verdict;

struct decision : ::testing::Test, testing::world {
    void expect_denied(std::string_view reason_id) {
        run();
        ASSERT_EQ(links.replies.size(), 1u);
        const auto r = response(0);
        EXPECT_EQ(r.error, "authorization denied") << "the client's side learns no reason";
        EXPECT_EQ(r.jwt, "");
        EXPECT_EQ(r.aud, server.id.public_text());
        EXPECT_EQ(r.iss, config->issuer.nkey);
        EXPECT_FALSE(links.replies[0].cold);
        ASSERT_EQ(audit.records.size(), 1u);
        EXPECT_EQ(audit.records[0].verdict, "deny");
        EXPECT_EQ(audit.records[0].reason_id, reason_id);
        EXPECT_EQ(audit.records[0].account, "");
        EXPECT_EQ(metrics.replied_deny.value(), 1u);
        EXPECT_EQ(metrics.dropped_total.value(), 0u);
        EXPECT_EQ(metrics.verdicts().size(), 1u);
        EXPECT_EQ(links.kicks.size(), 0u);
    }
    void ask() { offer(claims()); }
};

TEST_F(decision, allow_in_config_mode) {
    auto q = claims();
    policy->given.grant.tags = {"t"};
    policy->given.grant.resp = policy::response_permission{2, 7};
    policy->given.grant.sub_deny = {"x"};
    offer(q);
    run();
    ASSERT_EQ(links.replies.size(), 1u);
    EXPECT_EQ(links.replies[0].subject, "$SYS._INBOX.SRVHASH1.rq1");
    const auto r = response(0);
    EXPECT_EQ(r.aud, server.id.public_text());
    EXPECT_EQ(r.sub, q.user_nkey);
    EXPECT_EQ(r.iss, config->issuer.nkey);
    EXPECT_EQ(r.issuer_account, "");
    const auto u = user(0);
    EXPECT_EQ(u.aud, "APP");
    EXPECT_EQ(u.sub, q.user_nkey);
    EXPECT_EQ(u.iss, config->issuer.nkey);
    EXPECT_EQ(u.issuer_account, "");
    EXPECT_EQ(u.name, "alice");
    EXPECT_EQ(u.exp, clock.wall + 3600);
    EXPECT_EQ(u.iat, clock.wall);
    EXPECT_EQ(u.limits.perms.pub.allow, std::vector<std::string>{"a.>"});
    EXPECT_EQ(u.limits.perms.sub.deny, std::vector<std::string>{"x"});
    EXPECT_EQ(u.limits.perms.resp->max, 2);
    EXPECT_EQ(u.tags, std::vector<std::string>{"t"});
    EXPECT_TRUE(nats::validate(nats::any_claims(u), clock.wall).empty()) << "nats-server refuses on any issue";
    EXPECT_TRUE(nats::validate(nats::any_claims(r), clock.wall).empty());
    EXPECT_EQ(metrics.replied_allow.value(), 1u);
    const auto& a = audit.records.at(0);
    EXPECT_EQ(a.verdict, "allow");
    EXPECT_EQ(a.reason_id, "ok");
    EXPECT_EQ(a.identity, "alice");
    EXPECT_EQ(a.backend, "b1");
    EXPECT_EQ(a.route, "main");
    EXPECT_EQ(a.rule, "r1");
    EXPECT_EQ(a.account, "APP");
    EXPECT_EQ(a.client_id, 42u);
    EXPECT_EQ(a.client_host, "10.1.2.3");
    EXPECT_EQ(a.user_nkey, q.user_nkey);
    EXPECT_EQ(a.permissions_hash.size(), 16u);
    EXPECT_EQ(a.exp_unix_s, u.exp);
    EXPECT_EQ(a.correlation_id.size(), 24u);
}

struct operator_mode : decision {
    key_binding auth_key = keys->add(nats::key_pair::generate(nats::key_type::account));
    key_binding auth_signing = keys->add(nats::key_pair::generate(nats::key_type::account));
    key_binding app_key = keys->add(nats::key_pair::generate(nats::key_type::account));
    key_binding app_signing = keys->add(nats::key_pair::generate(nats::key_type::account));
    key_binding app_role = keys->add(nats::key_pair::generate(nats::key_type::account));
    void use(bool signing_keys) {
        reconfigure([&](flow_config& c) {
            c.operator_mode = true;
            c.callout_account = c.request_subject_key = auth_key.nkey;
            c.issuer = signing_keys ? auth_signing : auth_key;
            c.response_issuer_account = signing_keys;
            c.accounts = {{"APP", {app_key.nkey, signing_keys ? app_signing : app_key, signing_keys, {{"reader", app_role}}}}};
        });
    }
};

TEST_F(operator_mode, allow_with_account_keys) {
    use(false);
    ask();
    run();
    EXPECT_EQ(response(0).iss, auth_key.nkey);
    EXPECT_EQ(response(0).issuer_account, "");
    EXPECT_EQ(user(0).iss, app_key.nkey);
    EXPECT_EQ(user(0).issuer_account, "");
    EXPECT_EQ(user(0).aud, "");
}

TEST_F(operator_mode, allow_with_signing_keys) {
    use(true);
    ask();
    run();
    EXPECT_EQ(response(0).iss, auth_signing.nkey);
    EXPECT_EQ(response(0).issuer_account, auth_key.nkey);
    EXPECT_EQ(user(0).iss, app_signing.nkey);
    EXPECT_EQ(user(0).issuer_account, app_key.nkey);
}

TEST_F(operator_mode, a_key_bound_to_the_wrong_account_does_not_choose_the_account) {
    use(false);
    reconfigure([&](flow_config& c) { c.accounts["APP"].signer = auth_key; });
    ask();
    run();
    EXPECT_EQ(user(0).iss, auth_key.nkey);
    EXPECT_EQ(user(0).issuer_account, app_key.nkey) << "the server then refuses the key instead of placing the client into AUTH";
}

TEST_F(operator_mode, role_is_signed_by_the_scoped_key_with_nothing_of_its_own) {
    use(false);
    policy->given.grant.pub_allow.clear();
    policy->given.grant.role = "reader";
    ask();
    run();
    EXPECT_EQ(user(0).iss, app_role.nkey);
    EXPECT_EQ(user(0).issuer_account, app_key.nkey);
    EXPECT_TRUE(user(0).limits.is_zero());
    EXPECT_EQ(user(0).name, "alice");
}

TEST_F(decision, placement_by_name_of_another_account) {
    reconfigure([](flow_config& c) { c.accounts["B"] = {"$G", c.issuer, false, {}}; });
    policy->given.grant.account = "B";
    ask();
    run();
    EXPECT_EQ(user(0).aud, "$G");
    EXPECT_EQ(audit.records[0].account, "B");
}

TEST_F(decision, the_backend_sees_the_whole_request) {
    std::string seen, subject;
    cg_auth_request copy{};
    b1->answer = [&](const cg_auth_request& q) {
        copy = q;
        seen.assign(q.credential.data, q.credential.size);
        subject.assign(q.claims_json.data, q.claims_json.size);
        EXPECT_EQ(std::string(q.tls_chain_pem.items[1].data, q.tls_chain_pem.items[1].size), "ca");
        EXPECT_EQ(std::string(q.server_tags.items[0].data, q.server_tags.items[0].size), "dc:1");
        EXPECT_EQ(std::string(q.user.data, q.user.size), "alice");
        EXPECT_EQ(std::string(q.client_host.data, q.client_host.size), "10.1.2.3");
        return allow("x");
    };
    links.all_pinned = true;
    auto q = claims("the-token");
    q.client.kind = "Client";
    q.client.type = "mqtt";
    q.server.tags = {"dc:1"};
    q.tls = nats::client_tls{"1.3", "C", {}, {{"leaf", "ca"}}};
    offer(q);
    run();
    EXPECT_EQ(copy.struct_size, sizeof(cg_auth_request));
    EXPECT_EQ(copy.trust, CG_TRUST_VERIFIED);
    EXPECT_EQ(copy.flags, CG_REQUEST_SERVER_PINNED);
    EXPECT_EQ(copy.shard, 3u);
    EXPECT_EQ(copy.client_kind, CG_CLIENT_MQTT);
    EXPECT_EQ(copy.tls, CG_TLS_VERIFIED);
    EXPECT_EQ(copy.tls_chain_pem.count, 2u);
    EXPECT_EQ(copy.client_id, 42u);
    EXPECT_EQ(copy.credential_source, CG_CREDENTIAL_AUTH_TOKEN);
    EXPECT_EQ(copy.deadline_ns, clock.mono + 1'850'000'000);
    EXPECT_EQ(seen, "the-token");
    EXPECT_NE(subject.find("nats-authorization-request"), std::string::npos);
}

TEST_F(decision, the_first_credential_of_the_routes_order_is_used) {
    std::vector<std::pair<std::uint32_t, std::string>> seen;
    b1->answer = [&](const cg_auth_request& q) {
        seen.emplace_back(q.credential_source, std::string(q.credential.data, q.credential.size));
        return allow("x");
    };
    using enum policy::credential_source;
    policy->main.credentials = {jwt, pass, user};
    auto q = claims();
    q.connect.pass = "pw";
    offer(q);
    q = claims();
    q.connect.jwt = "jw";
    offer(q);
    q = claims();
    offer(q);
    q = claims();
    q.connect.user = "";
    offer(q);
    run();
    ASSERT_EQ(seen.size(), 4u);
    EXPECT_EQ(seen[0], std::make_pair(CG_CREDENTIAL_PASS, std::string("pw")));
    EXPECT_EQ(seen[1], std::make_pair(CG_CREDENTIAL_JWT, std::string("jw")));
    EXPECT_EQ(seen[2], std::make_pair(CG_CREDENTIAL_USER, std::string("alice")));
    EXPECT_EQ(seen[3], std::make_pair(CG_CREDENTIAL_NONE, std::string()));
}

TEST_F(decision, client_kinds_are_told_apart) {
    const std::vector<std::tuple<std::string, std::string, policy::client_kind>> kinds{
        {"Client", "nats", policy::client_kind::nats},         {"Client", "websocket", policy::client_kind::websocket},
        {"Client", "mqtt", policy::client_kind::mqtt},         {"Leafnode", "", policy::client_kind::leafnode},
        {"Client", "something", policy::client_kind::other},   {"", "", policy::client_kind::other}};
    for (const auto& [kind, type, expected] : kinds) {
        auto q = claims();
        q.client.kind = kind;
        q.client.type = type;
        offer(q);
        run();
        EXPECT_EQ(policy->last_connection_kind, expected) << kind << "/" << type;
    }
}

TEST_F(decision, a_grant_of_the_backend_goes_through_admit) {
    b1->answer = [](const cg_auth_request&) {
        auto r = allow("bob");
        r.grant = policy::backend_grant{};
        r.grant->what.account = "APP";
        r.grant->what.sub_allow = {"only.this"};
        return r;
    };
    ask();
    run();
    EXPECT_EQ(policy->admitted, 1u);
    EXPECT_EQ(user(0).limits.perms.sub.allow, std::vector<std::string>{"only.this"});
}

// ---- denials
TEST_F(decision, deny_no_route) {
    policy->has_route = false;
    ask();
    expect_denied("no_route");
}
TEST_F(decision, deny_without_any_policy) {
    reconfigure([](flow_config& c) { c.policy = nullptr; });
    ask();
    expect_denied("no_route");
}
TEST_F(decision, deny_all_abstained) {
    b1->answer = [](const cg_auth_request&) { return verdict(CG_VERDICT_ABSTAIN); };
    ask();
    expect_denied("all_abstained");
}
TEST_F(decision, deny_empty_chain) {
    policy->main.chain.clear();
    ask();
    expect_denied("all_abstained");
}
TEST_F(decision, deny_by_the_backend_with_its_reason) {
    b1->answer = [](const cg_auth_request&) { return verdict(CG_VERDICT_DENY, "token_expired"); };
    ask();
    expect_denied("token_expired");
}
TEST_F(decision, deny_by_a_backend_without_reason) {
    b1->answer = [](const cg_auth_request&) { return verdict(CG_VERDICT_DENY); };
    ask();
    expect_denied("backend_denies");
}
TEST_F(decision, deny_by_the_policy_with_its_reason) {
    for (const char* reason : {"no_rule", "rule_denies", "placeholder_missing", "placeholder_unsafe", "too_many_subjects", "invalid_subject", "unsafe_name"}) {
        testing::world w;
        w.policy->given = {};
        w.policy->given.reason_id = reason;
        w.offer(w.claims());
        w.run();
        EXPECT_EQ(w.response(0).error, "authorization denied");
        EXPECT_EQ(w.audit.records.at(0).reason_id, reason);
        EXPECT_EQ(w.audit.records.at(0).identity, "alice");
    }
}
TEST_F(decision, deny_account_unknown) {
    policy->given.grant.account = "NOPE";
    ask();
    expect_denied("account_unknown");
}
TEST_F(decision, deny_account_forbidden_callout_account) {
    reconfigure([](flow_config& c) { c.accounts["X"] = {"AUTH", c.issuer, false, {}}; });
    policy->given.grant.account = "X";
    ask();
    expect_denied("account_forbidden");
}
TEST_F(decision, deny_account_forbidden_system_account) {
    reconfigure([](flow_config& c) { c.accounts["X"] = {"SYS", c.issuer, false, {}}; });
    policy->given.grant.account = "X";
    ask();
    expect_denied("account_forbidden");
}
TEST_F(decision, deny_account_forbidden_without_placement) {
    reconfigure([](flow_config& c) { c.accounts["X"] = {"", c.issuer, false, {}}; });
    policy->given.grant.account = "X";
    ask();
    expect_denied("account_forbidden");
}
TEST_F(decision, deny_role_unknown) {
    policy->given.grant.role = "nope";
    ask();
    expect_denied("role_unknown");
}
TEST_F(decision, deny_role_with_permissions_of_its_own) {
    reconfigure([&](flow_config& c) { c.accounts["APP"].roles["r"] = c.issuer; });
    policy->given.grant.role = "r";
    ask();
    expect_denied("role_unknown");
}
TEST_F(decision, deny_credential_expired) {
    policy->given.grant.exp = clock.wall;
    ask();
    expect_denied("credential_expired");
}
TEST_F(decision, allow_without_identity_is_a_defect_and_not_a_login) {
    b1->answer = [](const cg_auth_request&) { return verdict(CG_VERDICT_ALLOW); };
    ask();
    run();
    EXPECT_EQ(links.replies.size(), 0u);
    EXPECT_EQ(dropped(drop_reason::backend_unavailable), 1u);
    EXPECT_EQ(audit.records.at(0).reason_id, "backend_defect");
}
TEST_F(decision, a_route_to_a_backend_that_is_not_there_is_unavailable) {
    policy->main.chain = {{"nowhere", false}};
    ask();
    run();
    EXPECT_EQ(links.replies.size(), 0u);
    EXPECT_EQ(dropped(drop_reason::backend_unavailable), 1u);
}
TEST_F(decision, unknown_verdict_reads_as_unavailable) {
    for (const std::uint32_t v : {0u, 5u, 4'000'000'000u}) {
        b1->answer = [&](const cg_auth_request&) { return verdict(v); };
        ask();
        run();
    }
    EXPECT_EQ(links.replies.size(), 0u);
    EXPECT_EQ(dropped(drop_reason::backend_unavailable), 3u);
}

// ---- chains: every combination of two backends, with and without `on_unavailable: next` on the first, then a third
TEST_F(decision, chain_truth_table) {
    enum outcome { allowed, denied, shed };
    const auto expected = [](std::vector<std::uint32_t> verdicts, std::vector<bool> next) {
        bool unavailable = false;
        for (std::size_t i = 0; i < verdicts.size(); ++i) {
            if (verdicts[i] == CG_VERDICT_ALLOW) return allowed;
            if (verdicts[i] == CG_VERDICT_DENY) return denied;
            if (verdicts[i] == CG_VERDICT_UNAVAILABLE) {
                if (!next[i]) return shed;
                unavailable = true;
            }
        }
        return unavailable ? shed : denied;
    };
    // What the formula says for the rows the design spells out.
    EXPECT_EQ(expected({CG_VERDICT_ABSTAIN, CG_VERDICT_ABSTAIN, CG_VERDICT_ABSTAIN}, {false, false, false}), denied);
    EXPECT_EQ(expected({CG_VERDICT_UNAVAILABLE, CG_VERDICT_ALLOW, CG_VERDICT_ALLOW}, {false, false, false}), shed);
    EXPECT_EQ(expected({CG_VERDICT_UNAVAILABLE, CG_VERDICT_ALLOW, CG_VERDICT_ALLOW}, {true, false, false}), allowed);
    int rows = 0;
    for (std::uint32_t code = 0; code < 4 * 4 * 4 * 8; ++code) {
        const std::vector<std::uint32_t> v{1 + code % 4, 1 + code / 4 % 4, 1 + code / 16 % 4};
        const std::vector<bool> next{(code >> 6 & 1) != 0, (code >> 7 & 1) != 0, (code >> 8 & 1) != 0};
        policy->main.chain = {{"b1", next[0]}, {"b2", next[1]}, {"b3", next[2]}};
        std::size_t i = 0;
        for (auto* b : {b1.get(), b2.get(), b3.get()}) {
            const auto one = v[i++];
            b->answer = [one](const cg_auth_request&) { return one == CG_VERDICT_ALLOW ? allow("alice") : verdict(one); };
        }
        const auto replies = links.replies.size();
        ask();
        run();
        const auto want = expected(v, next);
        ASSERT_EQ(links.replies.size(), replies + (want == shed ? 0 : 1)) << code;
        if (want != shed) {
            ASSERT_EQ(response(replies).error.empty(), want == allowed) << code;
        }
        ++rows;
    }
    EXPECT_EQ(rows, 512);
}

TEST_F(decision, backends_after_the_deciding_one_are_not_asked) {
    policy->main.chain = {{"b1", false}, {"b2", false}};
    ask();
    run();
    EXPECT_EQ(b2->calls, 0u);
}

TEST_F(decision, identities_found_earlier_travel_along_the_chain) {
    policy->main.chain = {{"b1", false}, {"b2", false}};
    b1->answer = [](const cg_auth_request& q) {
        EXPECT_EQ(q.earlier_count, 0u);
        auto r = verdict(CG_VERDICT_ABSTAIN);
        r.who = policy::identity{};
        r.who->subject = "device-1";
        r.who->attributes_json = R"({"a":1})";
        r.who->revocation_handles = {"h1", "h2"};
        return r;
    };
    b2->answer = [](const cg_auth_request& q) {
        EXPECT_EQ(q.earlier_count, 1u);
        if (q.earlier_count == 1) {
            EXPECT_EQ(q.earlier_stride, sizeof(cg_identity));
            EXPECT_EQ(std::string(q.earlier->subject.data, q.earlier->subject.size), "device-1");
            EXPECT_EQ(std::string(q.earlier->attributes_json.data, q.earlier->attributes_json.size), R"({"a":1})");
            EXPECT_EQ(q.earlier->revocation_handles.count, 2u);
        }
        return allow("alice");
    };
    ask();
    run();
    EXPECT_EQ(user(0).name, "alice");
    EXPECT_EQ(audit.records.at(0).backend, "b2");
}

}  // namespace
}  // namespace callgate::flow

// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/assembly.hpp"

#include <callgate/nats/nkey.hpp>
#include <gtest/gtest.h>

#include "engine/runtime/status.hpp"

using namespace callgate;
using namespace callgate::runtime;

namespace {

class no_policy final : public policy::compiled {
  public:
    std::vector<std::string> names{"users"};
    const policy::route* find_route(const policy::connection&) const override { return nullptr; }
    policy::decision decide(const policy::connection&, const policy::identity&, std::int64_t, double) const override { return {}; }
    policy::decision admit(const policy::connection&, const policy::identity&, const policy::backend_grant&, std::int64_t, double) const override { return {}; }
    const std::vector<std::string>& backends() const override { return names; }
};

class idle_backend final : public flow::auth_port {
  public:
    std::string_view name() const override { return "users"; }
    void authenticate(std::uint32_t, const cg_auth_request&, flow::pinned_ptr, std::int64_t, flow::request_tag, flow::completion_sink&) override {}
};

struct stage {
    config c;
    std::map<std::string, provider_view> providers;
    std::map<std::string, std::shared_ptr<flow::auth_port>> backends{{"users", std::make_shared<idle_backend>()}};
    nats::key_pair issuer = nats::key_pair::generate(nats::key_type::account), app = nats::key_pair::generate(nats::key_type::account),
                   auth = nats::key_pair::generate(nats::key_type::account), sys = nats::key_pair::generate(nats::key_type::account),
                   xkey = nats::key_pair::generate(nats::key_type::curve), user = nats::key_pair::generate(nats::key_type::user);

    explicit stage(callout_mode mode) {
        c.file = "callgate.yaml";
        c.callout.mode = mode;
        c.callout.issuer = {"local", "issuer"};
        c.callout.xkeys = {{"local", "xkey"}};
        c.policy = std::make_shared<no_policy>();
        auto& keys = providers["local"].keys;
        keys["issuer"] = {1, CG_KEY_ED25519, issuer.public_text()};
        keys["xkey"] = {2, CG_KEY_X25519, xkey.public_text()};
        keys["app"] = {3, CG_KEY_ED25519, app.public_text()};
        keys["user"] = {4, CG_KEY_ED25519, user.public_text()};
        account_options a;
        a.name = "APP";
        if (mode == callout_mode::operator_) {
            c.callout.account = auth.public_text();
            c.callout.system_account = sys.public_text();
            a.key = app.public_text();
            a.signer = key_ref{"local", "app"};
        } else {
            c.callout.account = "AUTH";
            c.callout.system_account = "SYS";
        }
        c.accounts.push_back(a);
    }
    auto run(std::size_t shards = 1) { return assemble(c, providers, backends, shards); }
};

}  // namespace

TEST(assembly, config_mode_signs_everything_with_the_issuer) {
    stage s(callout_mode::config);
    auto f = s.run();
    ASSERT_TRUE(f) << f.error().message();
    EXPECT_EQ((*f)->request_subject_key, s.issuer.public_text());
    EXPECT_EQ((*f)->accounts.at("APP").placement, "APP");
    EXPECT_EQ((*f)->accounts.at("APP").signer.nkey, s.issuer.public_text());
    EXPECT_FALSE((*f)->accounts.at("APP").set_issuer_account);
    EXPECT_FALSE((*f)->response_issuer_account);
}

TEST(assembly, operator_mode_names_the_account_whenever_a_signing_key_signs) {
    stage s(callout_mode::operator_);
    auto f = s.run();
    ASSERT_TRUE(f) << f.error().message();
    EXPECT_EQ((*f)->request_subject_key, s.auth.public_text());
    EXPECT_TRUE((*f)->response_issuer_account);
    EXPECT_FALSE((*f)->accounts.at("APP").set_issuer_account) << "the account's identity key signs";
    s.c.accounts[0].key = nats::key_pair::generate(nats::key_type::account).public_text();
    f = s.run();
    ASSERT_TRUE(f) << f.error().message();
    EXPECT_TRUE((*f)->accounts.at("APP").set_issuer_account);
}

TEST(assembly, review_4_1_no_account_may_be_the_callout_or_the_system_account) {
    for (const auto mode : {callout_mode::config, callout_mode::operator_}) {
        for (const bool system : {false, true}) {
            stage s(mode);
            const auto& forbidden = system ? s.c.callout.system_account : s.c.callout.account;
            (mode == callout_mode::config ? s.c.accounts[0].name : s.c.accounts[0].key) = forbidden;
            auto f = s.run();
            ASSERT_FALSE(f);
            EXPECT_NE(f.error().message().find("nobody may be placed there"), std::string::npos) << f.error().message();
        }
    }
}

TEST(assembly, review_4_1_the_flow_learns_the_forbidden_placements_too) {
    stage s(callout_mode::config);
    auto f = s.run();
    ASSERT_TRUE(f);
    const auto& p = (*f)->forbidden_placements;
    for (const char* name : {"AUTH", "SYS", "$SYS"}) EXPECT_NE(std::find(p.begin(), p.end(), name), p.end()) << name;
}

TEST(assembly, a_key_that_is_not_there_is_named_with_those_that_are) {
    stage s(callout_mode::config);
    s.c.callout.issuer.label = "isuer";
    auto f = s.run();
    ASSERT_FALSE(f);
    EXPECT_EQ(f.error().message(), "callgate.yaml: callout.issuer: key provider \"local\" has no key \"isuer\"; it has: app, issuer, user, xkey");
}

TEST(assembly, a_key_of_the_wrong_kind_is_refused_where_it_is_used) {
    stage s(callout_mode::config);
    s.c.callout.issuer.label = "user";
    auto f = s.run();
    ASSERT_FALSE(f);
    EXPECT_NE(f.error().message().find("needs a key of kind account"), std::string::npos) << f.error().message();
    s.c.callout.issuer.label = "issuer";
    s.c.callout.xkeys[0].label = "app";
    f = s.run();
    ASSERT_FALSE(f);
    EXPECT_NE(f.error().message().find("callout.xkeys[0]"), std::string::npos);
}

TEST(assembly, kicks_per_second_is_divided_among_the_shards) {
    stage s(callout_mode::config);
    struct row {
        std::uint32_t configured;
        std::size_t shards;
        std::uint32_t each;
    };
    for (const auto& [configured, shards, each] : {row{500, 1, 500}, row{500, 8, 62}, row{3, 8, 1}, row{0, 8, 0}}) {
        s.c.admission.kicks_per_second = configured;
        auto f = s.run(shards);
        ASSERT_TRUE(f) << f.error().message();
        EXPECT_EQ((*f)->kicks_per_second, each) << configured << " among " << shards;
        EXPECT_EQ((*f)->max_in_flight, s.c.admission.max_in_flight) << "is for each shard";
    }
}

TEST(status, is_ready_only_with_a_receiving_link_for_every_cluster) {
    status s;
    s.clusters.push_back({.name = "main", .system_link = false, .system_connected = false, .servers_known = 0, .kicks_sent = 0, .kicks_failed = 0});
    std::string why;
    EXPECT_FALSE(s.ready(&why));
    EXPECT_NE(why.find("\"main\""), std::string::npos);
    link_report cold;
    cold.cluster = "main";
    cold.cold = true;
    cold.status.connected = true;
    s.links.push_back(cold);
    EXPECT_FALSE(s.ready()) << "the cold link receives nothing";
    cold.cold = false;
    s.links.push_back(cold);
    EXPECT_TRUE(s.ready());
    s.links.back().status.last_error = "Permissions Violation for Subscription to \"$SYS.REQ.USER.AUTH\" using queue \"callgate\"";
    EXPECT_FALSE(s.ready(&why)) << "connected, and no request will ever come in";
    EXPECT_NE(why.find("Permissions Violation"), std::string::npos) << why;
    s.links.back().status.last_error.clear();
    instance_report b;
    b.kind = "backend";
    b.state = "down";
    s.instances.push_back(b);
    EXPECT_FALSE(s.ready()) << "every backend is down";
    b.state = "degraded";
    s.instances.push_back(b);
    EXPECT_TRUE(s.ready()) << "one of two backends still serves";
    s.instances.back().in_use = false;
    EXPECT_FALSE(s.ready(&why)) << "no route asks the one that serves";
    EXPECT_NE(why.find("backend"), std::string::npos) << why;
    s.instances.front().in_use = false;
    EXPECT_TRUE(s.ready()) << "no route asks the one that is down";
    s.instances.back().in_use = true;
    s.draining = true;
    EXPECT_FALSE(s.ready());
}

TEST(status, metrics_carry_the_names_of_nats_aws_auth_as_aliases) {
    status s;
    observe::shard_metrics m;
    m.replied_allow.add(3);
    m.dropped_total.add(2);
    s.shards.push_back(&m);
    const auto text = render_metrics(s);
    for (const char* line : {"nats_auth_callout_requests_total{status=\"authorized\"} 3\n", "nats_auth_callout_requests_total{status=\"error\"} 2\n",
                             "nats_auth_service_up 1\n", "callgate_replies_total{verdict=\"allow\"} 3\n", "nats_auth_callout_duration_seconds_count 0\n"})
        EXPECT_NE(text.find(line), std::string::npos) << line;
}

TEST(audit_line, is_one_json_line_whatever_the_wire_put_into_it) {
    flow::audit_record r;
    r.unix_ms = 1'800'000'000'123;
    r.verdict = "deny";
    r.reason_id = "no_rule";
    r.identity = "a\"b\\c\n\x01\xff J\xc3\xb6rg";
    r.client_host = "\xc2\x9b\xe2\x80\xa8\x7f\xc3";
    const auto line = to_json_line(r);
    EXPECT_EQ(line, "{\"ts\":\"2027-01-15T08:00:00.123Z\",\"event\":\"decision\",\"verdict\":\"deny\",\"reason_id\":\"no_rule\","
                    "\"identity\":\"a\\\"b\\\\c\\u000a\\u0001\\u00ff J\xc3\xb6rg\",\"client_host\":\"\\u009b\\u2028\\u007f\\u00c3\",\"cid\":0,\"latency_us\":0}\n");
}

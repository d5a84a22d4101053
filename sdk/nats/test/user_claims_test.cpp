// SPDX-License-Identifier: Apache-2.0
#include <callgate/nats/jwt.hpp>

#include "sdk/nats/test/test_keys.hpp"

using namespace callgate::nats;
using namespace callgate::nats::test;

namespace {

user_claims plain_user() {
    user_claims u;
    u.sub = upstream_user;
    u.iss = upstream_account;
    return u;
}
user_claims decoded(const std::string& body) {
    const auto account = key_pair::generate(key_type::account);
    auto r = decode_as<user_claims>(signed_token(R"({"iss":")" + account.public_text() + R"(","sub":")" + std::string(upstream_user) + R"(","nats":{)" + body + R"("type":"user","version":2}})", account));
    EXPECT_TRUE(r) << r.error().text;
    return r.value();
}

}  // namespace

TEST(user_claims, defaults_are_valid_and_spelled_as_go_does) {
    EXPECT_TRUE(validate(plain_user(), now).empty());
    const auto token = encode(plain_user(), key_pair::generate(key_type::account), now).value();
    EXPECT_NE(payload_of(token).find(R"("nats":{"pub":{},"sub":{},"subs":-1,"data":-1,"payload":-1,"type":"user","version":2})"), std::string::npos) << payload_of(token);
}

TEST(user_claims, everything_round_trips) {
    auto u = plain_user();
    u.limits.perms = {{{"a"}, {"b"}}, {{"c q"}, {"d"}}, response_permission{1, 2}};
    u.limits.src = {"10.0.0.0/8", "fe80::/10"};
    u.limits.times = {{"08:00:00", "17:00:00"}};
    u.limits.times_location = "UTC";
    u.limits.bearer_token = u.limits.proxy_required = true;
    u.limits.allowed_connection_types = {"STANDARD", "IN_PROCESS"};
    u.limits.subs = 1;
    u.issuer_account = fresh_public(key_type::account);
    u.tags = {"a:b"};
    u.nbf = 5;
    EXPECT_TRUE(validate(u, now).empty());
    auto back = decode_as<user_claims>(encode(u, key_pair::generate(key_type::account), now).value()).value();
    back.iss = u.iss;
    back.iat = u.iat;
    back.jti = u.jti;
    EXPECT_EQ(back, u);
}

TEST(user_claims, absent_limits_are_zero) {
    const auto u = decoded("");
    EXPECT_TRUE(u.limits.is_zero());
    EXPECT_EQ(decoded(R"("subs":-1,)").limits.subs, -1);
}

TEST(user_claims, expiry_and_start_are_time_checks) {
    auto u = plain_user();
    u.exp = now;
    EXPECT_TRUE(validate(u, now).empty());
    u.exp = now - 1;
    auto issues = validate(u, now);
    ASSERT_EQ(texts_of(issues), std::vector<std::string>{"claim is expired"});
    EXPECT_EQ(issues[0].level, issue::severity::time_check);
    EXPECT_FALSE(is_blocking(issues, false));
    EXPECT_TRUE(is_blocking(issues, true));
    u.exp = 0;
    u.nbf = now + 1;
    issues = validate(u, now);
    ASSERT_EQ(texts_of(issues), std::vector<std::string>{"claim is not yet valid"});
    EXPECT_FALSE(is_blocking(issues, false));
    u.nbf = now;
    EXPECT_TRUE(validate(u, now).empty());
}

TEST(user_claims, permissions) {
    auto u = plain_user();
    u.limits.perms.sub.allow = {"a.> q.*"};
    EXPECT_TRUE(validate(u, now).empty());
    for (const char* bad : {"", "a q", ".a", "a b c"}) {
        u = plain_user();
        u.limits.perms.pub.deny = {bad};
        EXPECT_FALSE(validate(u, now).empty()) << bad;
    }
    for (const char* bad : {"", "a b c", "a .b", "a..b"}) {
        u = plain_user();
        u.limits.perms.sub.deny = {bad};
        EXPECT_FALSE(validate(u, now).empty()) << bad;
    }
}

TEST(user_claims, source_networks) {
    auto u = plain_user();
    u.limits.src = {"192.0.2.0/24", "1.2.3.4/32", "0.0.0.0/0", "::/0", "2001:db8::1/128"};
    EXPECT_TRUE(validate(u, now).empty());
    for (const char* bad : {"", "1.2.3.4", "1.2.3.4/", "1.2.3.4/33", "1.2.3/24", "1.2.3.4/-1", "1.2.3.4/+1", "::1/129", "x/8", "1.2.3.4/8 ", "01.2.3.4/8"}) {
        u.limits.src = {bad};
        EXPECT_TRUE(mentions(validate(u, now), "CIDR")) << bad;
    }
}

TEST(user_claims, source_networks_as_one_text) {
    EXPECT_EQ(decoded(R"("src":"10.0.0.0/8, FE80::/10,,10.0.0.0/8",)").limits.src, (std::vector<std::string>{"10.0.0.0/8", "fe80::/10"}));
    EXPECT_EQ(decoded(R"("src":["10.0.0.0/8"],)").limits.src, std::vector<std::string>{"10.0.0.0/8"});
    EXPECT_TRUE(decoded(R"("src":"",)").limits.src.empty());
}

TEST(user_claims, times_and_their_location) {
    auto u = plain_user();
    u.limits.times = {{"22:00:00", "06:00:00"}, {"00:00:00", "23:59:59"}};
    EXPECT_TRUE(validate(u, now).empty());
    for (const char* bad : {"", "24:00:00", "12:60:00", "12:00:60", "12:00", "1:00:00", "12-00-00", "aa:00:00", "12:00:00 "}) {
        u.limits.times = {{bad, "10:00:00"}};
        EXPECT_TRUE(mentions(validate(u, now), "start")) << bad;
        u.limits.times = {{"10:00:00", bad}};
        EXPECT_TRUE(mentions(validate(u, now), "end")) << bad;
    }
    u.limits.times = {};
    for (const char* good : {"", "UTC"}) {
        u.limits.times_location = good;
        EXPECT_TRUE(validate(u, now).empty()) << good;
    }
    for (const char* bad : {"Mars/Base", "../passwd", "/etc/passwd", "Europe", "a b"}) {
        u.limits.times_location = bad;
        EXPECT_TRUE(mentions(validate(u, now), "times_location")) << bad;
    }
}

TEST(user_claims, issuer_account_is_an_account) {
    auto u = plain_user();
    u.issuer_account = upstream_account;
    EXPECT_TRUE(validate(u, now).empty());
    u.issuer_account = upstream_user;
    EXPECT_EQ(texts_of(validate(u, now)), std::vector<std::string>{"account_id is not an account public key"});
}

TEST(user_claims, connection_types_are_kept_as_they_are) {
    EXPECT_EQ(decoded(R"("allowed_connection_types":["MQTT","x"],)").limits.allowed_connection_types, (std::vector<std::string>{"MQTT", "x"}));
}

// ---- scoped signing keys

TEST(scoped_signer, users_carry_nothing_of_their_own) {
    const signing_key scope{fresh_public(key_type::account), true, "r", "", {}};
    user_claims u;
    u.sub = upstream_user;
    u.iss = scope.key;
    u.limits = user_limits::zero();
    EXPECT_TRUE(check_scoped_signer(scope, u));
    const std::function<void(user_limits&)> changes[] = {
        [](auto& l) { l.perms.pub.allow = {"a"}; }, [](auto& l) { l.perms.pub.deny = {"a"}; }, [](auto& l) { l.perms.sub.allow = {"a"}; },
        [](auto& l) { l.perms.sub.deny = {"a"}; },  [](auto& l) { l.perms.resp.emplace(); },   [](auto& l) { l.src = {"::/0"}; },
        [](auto& l) { l.times.resize(1); },         [](auto& l) { l.times_location = "UTC"; }, [](auto& l) { l.subs = -1; },
        [](auto& l) { l.data = -1; },               [](auto& l) { l.payload = 5; },            [](auto& l) { l.bearer_token = true; },
        [](auto& l) { l.proxy_required = true; },   [](auto& l) { l.allowed_connection_types = {"MQTT"}; }};
    for (const auto& change : changes) {
        auto limits = user_limits::zero();
        change(limits);
        auto other = u;
        other.limits = limits;
        EXPECT_FALSE(check_scoped_signer(scope, other));
    }
}

TEST(scoped_signer, issuer_and_kind) {
    const signing_key scope{fresh_public(key_type::account), true, "r", "", {}};
    user_claims u;
    u.limits = user_limits::zero();
    u.iss = fresh_public(key_type::account);
    EXPECT_FALSE(check_scoped_signer(scope, u));
    activation_claims a;
    a.iss = scope.key;
    EXPECT_FALSE(check_scoped_signer(scope, a));
}

TEST(scoped_signer, zero_limits_are_written_as_nothing) {
    user_claims u;
    u.sub = upstream_user;
    u.limits = user_limits::zero();
    const auto account = key_pair::generate(key_type::account);
    const auto token = encode(u, account, now).value();
    EXPECT_NE(payload_of(token).find(R"("nats":{"pub":{},"sub":{},"type":"user","version":2})"), std::string::npos) << payload_of(token);
    EXPECT_TRUE(decode_as<user_claims>(token)->limits.is_zero());
}

// ---- revocations

TEST(revocations, compare_with_the_issue_time) {
    std::map<std::string, std::int64_t> r;
    revoke(r, "U1", 100);
    EXPECT_TRUE(is_revoked(r, "U1", 99));
    EXPECT_TRUE(is_revoked(r, "U1", 100));
    EXPECT_FALSE(is_revoked(r, "U1", 101));
    EXPECT_FALSE(is_revoked(r, "U2", 1));
    revoke(r, "U1", 50);
    EXPECT_EQ(r["U1"], 100);
    revoke(r, "U1", 150);
    EXPECT_EQ(r["U1"], 150);
    revoke(r, "*", 120);
    EXPECT_TRUE(is_revoked(r, "U2", 120));
    EXPECT_FALSE(is_revoked(r, "U2", 121));
    EXPECT_TRUE(is_revoked(r, "U1", 121));
}

TEST(revocations, compaction_drops_what_everybody_covers) {
    std::map<std::string, std::int64_t> r{{"U1", 10}, {"U2", 20}, {"U3", 30}};
    compact_revocations(r);
    EXPECT_EQ(r.size(), 3u);
    r["*"] = 20;
    compact_revocations(r);
    EXPECT_EQ(r, (std::map<std::string, std::int64_t>{{"*", 20}, {"U3", 30}}));
}

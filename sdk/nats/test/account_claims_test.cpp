// SPDX-License-Identifier: Apache-2.0
#include <callgate/nats/jwt.hpp>

#include <limits>

#include "sdk/nats/test/test_keys.hpp"

using namespace callgate::nats;
using namespace callgate::nats::test;

namespace {

account_claims plain_account() {
    account_claims a;
    a.sub = fresh_public(key_type::account);
    a.iss = fresh_public(key_type::operator_);
    return a;
}
export_claim service_export(std::string subject) {
    export_claim e;
    e.subject = std::move(subject);
    e.type = "service";
    return e;
}
import_claim stream_import(std::string subject) {
    import_claim i;
    i.subject = std::move(subject);
    i.type = "stream";
    i.account = fresh_public(key_type::account);
    return i;
}
account_claims round_trip(const account_claims& a) {
    auto back = decode_as<account_claims>(encode(a, key_pair::generate(key_type::operator_), now).value());
    EXPECT_TRUE(back) << back.error().text;
    return back.value();
}
std::string body_of(const account_claims& a) { return payload_of(encode(a, key_pair::generate(key_type::operator_), now).value()); }

}  // namespace

TEST(account_claims, defaults_are_valid_and_spelled_as_go_does) {
    const auto a = plain_account();
    EXPECT_TRUE(validate(a, now).empty());
    EXPECT_NE(body_of(a).find(R"("nats":{"limits":{"subs":-1,"data":-1,"payload":-1,"imports":-1,"exports":-1,"wildcards":true,"conn":-1,"leaf":-1},)"
                              R"("default_permissions":{"pub":{},"sub":{}},"authorization":{},"type":"account","version":2})"),
              std::string::npos)
        << body_of(a);
    EXPECT_EQ(a.jetstream, jetstream_limits{});
}

TEST(account_claims, absent_limits_are_zero) {
    const auto op = key_pair::generate(key_type::operator_);
    const auto c = decode_as<account_claims>(signed_token(
        R"({"iss":")" + op.public_text() + R"(","sub":")" + std::string(upstream_account) + R"(","nats":{"type":"account","version":2}})", op));
    ASSERT_TRUE(c) << c.error().text;
    EXPECT_EQ(c->limits.subs, 0);
    EXPECT_EQ(c->limits.conn, 0);
    EXPECT_EQ(c->limits.imports, 0);
    EXPECT_FALSE(c->limits.wildcards);
}

TEST(account_claims, everything_round_trips) {
    auto a = plain_account();
    a.name = "n";
    a.tags = {"t:1"};
    a.imports = {stream_import("a.>")};
    a.imports[0].local_subject = "b.>";
    a.exports = {service_export("q.*")};
    a.exports[0].latency = service_latency{50, "lat"};
    a.exports[0].revocations = {{"*", 5}};
    a.exports[0].response_threshold_ns = 7;
    a.limits.conn = 9;
    a.limits.disallow_bearer = true;
    a.jetstream = {1, 2, 3, 4, 5, 6, 7, true};
    a.signing_keys = {{fresh_public(key_type::account), false, "", "", {}}};
    a.revocations = {{fresh_public(key_type::user), 11}};
    a.default_permissions.pub.deny = {"x"};
    a.default_permissions.resp = response_permission{3, 4};
    a.mappings = {{"m", {{"n", "c1", 40}, {"o", "", 0}}}};
    a.authorization = {{fresh_public(key_type::user)}, {"*"}, fresh_public(key_type::curve)};
    a.trace = trace_claim{"trace.dest", 10};
    a.cluster_traffic = "owner";
    a.description = "d";
    a.info_url = "https://example.org";
    EXPECT_TRUE(validate(a, now).empty()) << validate(a, now)[0].text;
    auto back = round_trip(a);
    back.iss = a.iss;
    back.iat = a.iat;
    back.jti = a.jti;
    EXPECT_EQ(back, a);
}

TEST(account_claims, arrays_are_sorted_when_encoded) {
    auto a = plain_account();
    a.exports = {service_export("z"), service_export("a")};
    a.imports = {stream_import("z"), stream_import("b")};
    std::vector<std::string> keys{fresh_public(key_type::account), fresh_public(key_type::account), fresh_public(key_type::account)};
    for (const auto& k : keys) a.signing_keys.push_back({k, k == keys[1], "", "", {}});
    std::ranges::sort(keys);
    const auto back = round_trip(a);
    EXPECT_EQ(back.exports[0].subject, "a");
    EXPECT_EQ(back.imports[0].subject, "b");
    for (std::size_t i = 0; i < keys.size(); ++i) EXPECT_EQ(back.signing_keys[i].key, keys[i]);
}

TEST(account_claims, import_and_export_counts_are_limited) {
    auto a = plain_account();
    a.exports = {service_export("a"), service_export("b")};
    a.imports = {stream_import("c"), stream_import("d")};
    EXPECT_TRUE(validate(a, now).empty());
    a.limits.imports = a.limits.exports = 2;
    EXPECT_TRUE(validate(a, now).empty());
    a.limits.imports = 1;
    EXPECT_TRUE(mentions(validate(a, now), "more imports"));
    a.limits.imports = 0;
    EXPECT_TRUE(mentions(validate(a, now), "more imports"));
    a.limits.imports = 2;
    a.limits.exports = 1;
    EXPECT_TRUE(mentions(validate(a, now), "more exports"));
}

TEST(account_claims, wildcard_exports_may_be_forbidden) {
    auto a = plain_account();
    a.exports = {service_export("a.*")};
    a.limits.wildcards = false;
    EXPECT_TRUE(validate(a, now).empty());  // judged only where exports are limited
    a.limits.exports = 5;
    EXPECT_TRUE(mentions(validate(a, now), "wildcards"));
    a.exports[0].subject = "a.b";
    EXPECT_TRUE(validate(a, now).empty());
}

TEST(account_claims, jetstream_is_off_by_default_and_flat_or_tiered) {
    auto a = plain_account();
    EXPECT_EQ(round_trip(a).jetstream, jetstream_limits{});
    a.tiered_limits["R1"].disk_storage = 5;
    EXPECT_TRUE(validate(a, now).empty());
    EXPECT_EQ(round_trip(a).tiered_limits, a.tiered_limits);
    a.jetstream.mem_storage = 1;
    EXPECT_TRUE(mentions(validate(a, now), "exclude each other"));
    EXPECT_EQ(round_trip(a).jetstream, jetstream_limits{});  // tiers win on decode
    a.jetstream = {};
    a.tiered_limits[""] = {};
    EXPECT_TRUE(mentions(validate(a, now), "no name"));
}

TEST(account_claims, signing_keys_must_be_account_keys) {
    auto a = plain_account();
    for (auto type : {key_type::operator_, key_type::user, key_type::curve}) {
        a.signing_keys = {{fresh_public(type), false, "", "", {}}};
        EXPECT_TRUE(mentions(validate(a, now), "not an account public key"));
        a.signing_keys[0].scoped = true;
        EXPECT_TRUE(mentions(validate(a, now), "not an account public key"));
    }
    a.signing_keys = {{fresh_public(key_type::account), false, "", "", {}}, {fresh_public(key_type::account), true, "", "", {}}};
    EXPECT_TRUE(validate(a, now).empty());
    a.signing_keys.push_back(a.signing_keys[0]);
    EXPECT_EQ(encode(a, key_pair::generate(key_type::operator_), now).error().code, errc::bad_claims);
}

TEST(account_claims, scopes_round_trip_and_are_spelled_as_go_does) {
    auto a = plain_account();
    signing_key k{fresh_public(key_type::account), true, "admin", "for admins", {}};
    k.scope.perms.pub.allow = {"a.{{name()}}"};
    k.scope.subs = 5;
    k.scope.bearer_token = true;
    a.signing_keys = {k};
    EXPECT_EQ(round_trip(a).signing_keys, a.signing_keys);
    EXPECT_NE(body_of(a).find(R"("signing_keys":[{"kind":"user_scope","key":")" + k.key + R"(","role":"admin","template":{"pub":{"allow":["a.{{name()}}"]},"sub":{},)"
                              R"("subs":5,"data":-1,"payload":-1,"bearer_token":true},"description":"for admins"}])"),
              std::string::npos)
        << body_of(a);
    // What is absent reads as unlimited, so a zero is written, unlike elsewhere.
    a.signing_keys[0].scope.subs = 0;
    EXPECT_EQ(round_trip(a).signing_keys[0].scope.subs, 0);
    EXPECT_NE(body_of(a).find(R"("subs":0,"data":-1)"), std::string::npos);
}

TEST(account_claims, absent_numbers_of_a_scope_are_unlimited) {
    const auto op = key_pair::generate(key_type::operator_);
    const auto c = decode_as<account_claims>(signed_token(
        R"({"iss":")" + op.public_text() + R"(","sub":")" + std::string(upstream_account) +
            R"(","nats":{"signing_keys":[{"kind":"user_scope","key":"A","template":{"payload":0}}],"type":"account","version":2}})", op));
    ASSERT_TRUE(c) << c.error().text;
    EXPECT_EQ(c->signing_keys[0].scope.subs, -1);
    EXPECT_EQ(c->signing_keys[0].scope.data, -1);
    EXPECT_EQ(c->signing_keys[0].scope.payload, 0);
}

TEST(account_claims, scope_numbers_stay_within_what_go_reads_exactly) {
    const auto op = key_pair::generate(key_type::operator_);
    const auto encodes = [&](std::int64_t n) {
        auto a = plain_account();
        a.signing_keys = {{fresh_public(key_type::account), true, "", "", {}}};
        a.signing_keys[0].scope.payload = n;
        return encode(a, op, now).has_value();
    };
    EXPECT_TRUE(encodes(std::int64_t{1} << 53));
    EXPECT_FALSE(encodes((std::int64_t{1} << 53) + 1));
    EXPECT_FALSE(encodes(std::numeric_limits<std::int64_t>::min()));
    EXPECT_FALSE(decode(signed_token(R"({"iss":")" + op.public_text() + R"(","sub":")" + std::string(upstream_account) +
                                         R"(","nats":{"signing_keys":[{"kind":"user_scope","key":"A","template":{"resp":{"max":1,"ttl":9007199254740993}}}],"type":"account","version":2}})", op)));
}

TEST(account_claims, unknown_scope_kinds_fail_the_account) {
    const auto op = key_pair::generate(key_type::operator_);
    for (const char* scope : {R"({"kind":"server_scope","key":"A"})", R"({"key":"A"})", R"({"kind":null,"key":"A"})", "5", "[]", "null"})
        EXPECT_FALSE(decode(signed_token(R"({"iss":")" + op.public_text() + R"(","sub":")" + std::string(upstream_account) + R"(","nats":{"signing_keys":[)" + scope +
                                             R"(],"type":"account","version":2}})", op)))
            << scope;
}

TEST(account_claims, default_permissions_are_checked) {
    auto a = plain_account();
    a.default_permissions.sub.allow = {"a q"};
    a.default_permissions.pub.allow = {"a"};
    EXPECT_TRUE(validate(a, now).empty());
    a.default_permissions.pub.allow = {"a q"};
    EXPECT_TRUE(mentions(validate(a, now), "may not have a queue"));
}

TEST(account_claims, mapping_weights) {
    auto a = plain_account();
    const auto issues = [&](std::vector<weighted_mapping> m) {
        a.mappings = {{"src", std::move(m)}};
        return validate(a, now);
    };
    EXPECT_TRUE(issues({{"a", "", 50}, {"b", "", 50}}).empty());
    EXPECT_TRUE(issues({{"a", "", 0}}).empty());
    EXPECT_TRUE(mentions(issues({{"a", "", 0}, {"b", "", 1}}), "more than 100"));
    EXPECT_TRUE(mentions(issues({{"a", "", 60}, {"b", "", 41}}), "more than 100"));
    // Sums that would be small again in eight bits
    EXPECT_TRUE(mentions(issues({{"a", "", 100}, {"b", "", 100}, {"c", "", 57}}), "more than 100"));
    EXPECT_TRUE(mentions(issues({{"a", "", 101}}), "above 100"));
    EXPECT_TRUE(issues({{"a", "c1", 100}, {"b", "c2", 100}, {"c", "", 100}}).empty());
    EXPECT_TRUE(mentions(issues({{"a", "c1", 60}, {"b", "c1", 60}}), "cluster \"c1\""));
    EXPECT_FALSE(issues({{"a..b", "", 1}}).empty());
    a.mappings = {{"", {}}};
    EXPECT_FALSE(validate(a, now).empty());
}

TEST(account_claims, weights_beyond_eight_bits_are_not_read) {
    const auto op = key_pair::generate(key_type::operator_);
    for (const char* weight : {"256", "-1", "1.5"})
        EXPECT_FALSE(decode(signed_token(R"({"iss":")" + op.public_text() + R"(","sub":")" + std::string(upstream_account) +
                                             R"(","nats":{"mappings":{"a":[{"subject":"b","weight":)" + weight + R"(}]},"type":"account","version":2}})", op)))
            << weight;
}

TEST(account_claims, external_authorization_rules) {
    auto a = plain_account();
    const auto user = fresh_public(key_type::user), other = fresh_public(key_type::account);
    a.authorization = {{user}, {}, ""};
    EXPECT_TRUE(validate(a, now).empty());
    a.authorization = {{user}, {"*"}, fresh_public(key_type::curve)};
    EXPECT_TRUE(validate(a, now).empty());
    a.authorization = {{}, {other}, ""};
    EXPECT_TRUE(mentions(validate(a, now), "accounts without users"));
    a.authorization = {{other}, {}, ""};
    EXPECT_TRUE(mentions(validate(a, now), "not a user public key"));
    a.authorization = {{user}, {"*", other}, ""};
    EXPECT_TRUE(mentions(validate(a, now), "\"*\" alone"));
    a.authorization = {{user}, {user}, ""};
    EXPECT_TRUE(mentions(validate(a, now), "not an account public key"));
    a.authorization = {{user}, {}, user};
    EXPECT_TRUE(mentions(validate(a, now), "not a curve public key"));
}

TEST(account_claims, trace_destination_and_sampling) {
    auto a = plain_account();
    for (auto good : {0, 1, 100}) {
        a.trace = trace_claim{"a.b", good};
        EXPECT_TRUE(validate(a, now).empty());
    }
    for (auto bad : {-1, 101}) {
        a.trace = trace_claim{"a.b", bad};
        EXPECT_TRUE(mentions(validate(a, now), "sampling"));
    }
    for (const char* bad : {"", "a.*", ">", "a..b", "a b"}) {
        a.trace = trace_claim{bad, 1};
        EXPECT_TRUE(mentions(validate(a, now), "trace dest")) << bad;
    }
}

TEST(account_claims, cluster_traffic_is_system_or_owner) {
    auto a = plain_account();
    for (const char* good : {"", "system", "owner"}) {
        a.cluster_traffic = good;
        EXPECT_TRUE(validate(a, now).empty());
    }
    a.cluster_traffic = "other";
    EXPECT_TRUE(mentions(validate(a, now), "cluster_traffic"));
}

TEST(account_claims, description_and_info_url) {
    auto a = plain_account();
    a.description = std::string(8192, 'x');
    a.info_url = "https://example.org/a?b";
    EXPECT_TRUE(validate(a, now).empty());
    a.description += 'x';
    EXPECT_TRUE(mentions(validate(a, now), "description"));
    a.description.clear();
    for (const char* bad : {"example.org", "/path", "https://", "mailto:x", "https://" "\x7f"}) {
        a.info_url = bad;
        EXPECT_TRUE(mentions(validate(a, now), "info_url")) << bad;
    }
    a.info_url = "https://example.org/" + std::string(8192, 'x');
    EXPECT_TRUE(mentions(validate(a, now), "8 KiB"));
}

TEST(account_claims, self_signed_with_limits_is_a_warning) {
    auto a = plain_account();
    a.iss = a.sub;
    auto issues = validate(a, now);
    ASSERT_EQ(issues.size(), 1u);
    EXPECT_EQ(issues[0].level, issue::severity::warning);
    EXPECT_FALSE(is_blocking(issues, true));
    a.limits = {0, 0, 0, 0, 0, 0, 0, false, false};
    EXPECT_TRUE(validate(a, now).empty());
}

TEST(account_claims, a_seed_in_the_wrong_place_is_not_quoted) {
    const auto key = key_pair::generate(key_type::account);
    const auto guarded = key.seed_text();
    const std::string seed(guarded.text());
    auto a = plain_account();
    a.signing_keys = {{seed, false, "", "", {}}};
    a.authorization.auth_users = {seed};
    for (const auto& i : validate(a, now)) EXPECT_EQ(i.text.find(seed.substr(2, 8)), std::string::npos) << i.text;
    a.sub = seed;
    EXPECT_EQ(encode(a, key, now).error().text.find(seed.substr(2, 8)), std::string::npos);
}

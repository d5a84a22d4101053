// SPDX-License-Identifier: Apache-2.0
// What a client that can publish to the callout subject may send. Nothing of it gets a reply, and the next good
// request is served as if nothing had happened.
#include <callgate/crypto/base64url.hpp>
#include <gtest/gtest.h>

#include <random>

#include "engine/flow/flow_test_world.hpp"

namespace callgate::flow {
namespace {

using observe::drop_reason;
namespace b64 = crypto::base64url;

struct hostile : ::testing::Test, testing::world {
    std::uint64_t sent = 0;
    void attack(std::string payload, std::string header = "") {
        ++sent;
        offer(std::move(payload), std::move(header));
        run();
    }
    void expect_unharmed() {
        EXPECT_EQ(links.replies.size(), 0u);
        EXPECT_EQ(links.kicks.size(), 0u);
        EXPECT_EQ(audit.records.size(), 0u);
        EXPECT_EQ(b1->calls, 0u);
        EXPECT_EQ(metrics.dropped_total.value(), sent);
        EXPECT_EQ(shard->pending(), 0u);
        offer(claims());
        run();
        EXPECT_EQ(links.replies.size(), 1u);
    }
    std::string raw_token(std::string_view json, std::string_view header = R"({"typ":"JWT","alg":"ed25519-nkey"})") {
        const auto input = b64::encode(header) + "." + b64::encode(json);
        return input + "." + b64::encode(std::span<const std::uint8_t>(server.id.sign(input).value()));
    }
    std::string payload_of(std::string_view token) {
        const auto dot = token.find('.');
        return b64::decode(token.substr(dot + 1, token.rfind('.') - dot - 1)).value();
    }
};

TEST_F(hostile, garbage) {
    std::mt19937 random(1);
    for (int i = 0; i < 2000; ++i) {
        std::string s(random() % 300, '\0');
        for (auto& c : s) c = static_cast<char>(random());
        attack(s);
    }
    for (const char* s : {".", "..", "...", "eyJ", "xkv1", "{}", "null", "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ..", "\r\n"}) attack(s);
    expect_unharmed();
}

TEST_F(hostile, truncated_at_every_byte) {
    const auto token = sign(claims());
    for (std::size_t n = 0; n < token.size(); ++n) attack(token.substr(0, n));
    expect_unharmed();
}

TEST_F(hostile, sealed_and_truncated_at_every_byte) {
    const auto own = add_xkey();
    auto q = claims();
    q.server.xkey = server.xkey.public_text();
    const auto box = server.seal(sign(q), own.nkey);
    for (std::size_t n = 0; n < box.size(); ++n) attack(box.substr(0, n), server.xkey.public_text());
    for (std::size_t n = 0; n < box.size(); n += 7) {
        auto changed = box;
        changed[n] = static_cast<char>(changed[n] ^ 1);
        attack(changed, server.xkey.public_text());
    }
    EXPECT_EQ(links.replies.size(), 0u);
    EXPECT_EQ(metrics.dropped_total.value(), sent);
    offer(box, server.xkey.public_text());
    run();
    EXPECT_EQ(links.replies.size(), 1u);
}

TEST_F(hostile, oversized) {
    attack(std::string((1u << 20) + 1, 'a'));
    EXPECT_EQ(dropped(drop_reason::oversized), 1u);
    attack(std::string(1u << 20, 'a'));
    attack(std::string(1u << 20, '.'));
    expect_unharmed();
}

TEST_F(hostile, a_well_formed_token_of_nearly_a_megabyte_is_served) {
    offer(claims(std::string(700'000, 't')));
    run();
    EXPECT_EQ(links.replies.size(), 1u);
    offer_sealed(claims(std::string(700'000, 't')), add_xkey());
    run();
    EXPECT_EQ(links.replies.size(), 2u);
}

TEST_F(hostile, invalid_utf8_duplicates_depth_and_type) {
    const auto good = payload_of(sign(claims()));
    const auto with = [&](std::string_view extra) { return good.substr(0, good.size() - 1) + std::string(extra) + "}"; };
    attack(raw_token(with(",\"x\":\"\xff\"")));
    attack(raw_token(with(R"(,"aud":"nats-authorization-request")")));
    attack(raw_token(with(",\"x\":" + std::string(1000, '[') + std::string(1000, ']'))));
    attack(raw_token(with(R"(,"type":"authorization_request")")));
    attack(raw_token("[" + good + "]"));
    attack(raw_token(good + good));
    EXPECT_EQ(dropped(drop_reason::not_decodable), 6u);
    expect_unharmed();
}

TEST_F(hostile, algorithms_of_other_worlds) {
    const auto good = payload_of(sign(claims()));
    for (const char* alg : {"none", "HS256", "RS256", "ed25519", "EdDSA"}) attack(raw_token(good, std::string(R"({"typ":"JWT","alg":")") + alg + "\"}"));
    attack(b64::encode(R"({"typ":"JWT","alg":"none"})") + "." + b64::encode(good) + ".");
    EXPECT_EQ(dropped(drop_reason::not_decodable), 6u);
    expect_unharmed();
}

TEST_F(hostile, forged_issuer) {
    const auto attacker = nats::key_pair::generate(nats::key_type::server);
    // Names the real server and signs with a key of its own.
    auto json = payload_of(sign(claims()));
    const auto input = b64::encode(R"({"typ":"JWT","alg":"ed25519-nkey"})") + "." + b64::encode(json);
    attack(input + "." + b64::encode(std::span<const std::uint8_t>(attacker.sign(input).value())));
    EXPECT_EQ(dropped(drop_reason::bad_signature), 1u);
    // Is its own issuer and claims to be the real server.
    attack(nats::encode(claims(), attacker, clock.wall).value());
    EXPECT_EQ(dropped(drop_reason::issuer_mismatch), 1u);
    expect_unharmed();
}

TEST_F(hostile, times_at_the_ends_of_the_number_line) {
    auto json = payload_of(sign(claims()));
    const auto set = [&](std::string_view name, const char* value) {
        auto out = json;
        const auto at = out.find("\"" + std::string(name) + "\":") + name.size() + 3;
        out.replace(at, out.find(',', at) - at, value);
        return raw_token(out);
    };
    for (const char* name : {"exp", "iat"})
        for (const char* v : {"0", "-1", "-9223372036854775808", "9223372036854775807", "18446744073709551615", "1e300", "1099511627777"}) attack(set(name, v));
    expect_unharmed();
}

TEST_F(hostile, wrong_kinds_of_keys_in_every_place) {
    for (const auto type : {nats::key_type::account, nats::key_type::server, nats::key_type::curve, nats::key_type::operator_}) {
        auto q = claims();
        q.user_nkey = nats::key_pair::generate(type).public_text();
        attack(sign(q));
    }
    for (const char* id : {"", "*", "N", "a.b", "\n"}) {
        auto q = claims();
        q.user_nkey = id;
        attack(sign(q));
    }
    EXPECT_EQ(dropped(drop_reason::bad_user_nkey), 9u);
    auto q = claims();
    q.server.id = "NAAA.>";
    attack(sign(q));
    expect_unharmed();
}

TEST_F(hostile, reply_subjects_of_the_senders_choice) {
    for (const char* s : {"", "x", "$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.A.CLAIMS.UPDATE", "$SYS._INBOX.a.b.c", "$SYS._INBOX.*.b", "_INBOX.a.b",
                          "_GR_.NUmM6c.R5SAEp.$SYS._INBOX.a.b", "_GR_.NUmM6c.R5SAEp.$SYS.REQ.SERVER.PING", "$GR.NUmM.$SYS._INBOX.a.b"}) {
        ++sent;
        shard->offer(testing::make_message(sign(claims()), s, clock.mono));
    }
    run();
    EXPECT_EQ(dropped(drop_reason::bad_reply_subject), 10u);
    expect_unharmed();
}

TEST_F(hostile, a_self_made_server_gets_no_more_than_its_own_answer) {
    // Possession of a self-asserted key is all that a signature shows; with pinning such a request ends here.
    reconfigure([](flow_config& c) { c.servers = pinning::known_only; });
    testing::test_server self_made;
    std::swap(server, self_made);
    attack(sign(claims()));
    std::swap(server, self_made);
    EXPECT_EQ(dropped(drop_reason::server_not_pinned), 1u);
    links.all_pinned = true;
    expect_unharmed();
}

TEST_F(hostile, secrets_reach_neither_audit_nor_reply) {
    policy->has_route = false;
    auto q = claims("planted-token-91");
    q.connect.pass = "planted-pass-92";
    q.connect.jwt = "planted-jwt-93";
    offer(q);
    run();
    const auto& a = audit.records.at(0);
    for (const auto* f : {&a.correlation_id, &a.server_id, &a.server_name, &a.client_host, &a.client_kind, &a.identity, &a.issuer, &a.backend,
                          &a.route, &a.rule, &a.account, &a.verdict, &a.reason_id, &a.reason, &a.user_nkey, &a.permissions_hash})
        EXPECT_EQ(f->find("planted"), std::string::npos) << *f;
    EXPECT_EQ(links.replies.at(0).payload.find("planted"), std::string::npos);
}

}  // namespace
}  // namespace callgate::flow

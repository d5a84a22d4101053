// SPDX-License-Identifier: Apache-2.0
// The machine driven by hand: event in, action out, no shard around it.
#include "engine/flow/callout_fsm.hpp"

#include <gtest/gtest.h>

#include <set>

#include "engine/flow/flow_test_world.hpp"

namespace callgate::flow {
namespace {

using observe::drop_reason;
using kind = action::kind;

struct callout_fsm_test : ::testing::Test, testing::world {
    std::shared_ptr<arena_pool> pool = std::make_shared<arena_pool>(std::size_t{64} << 20);
    flow_context context{3, clock, links, replays};
    callout_fsm fsm{context};

    action begin(std::string payload, std::string header = "") {
        request_memory_ptr memory(new request_memory(pool, std::size_t{4} << 20));
        fsm.begin(testing::make_message(std::move(payload), server.reply_subject(), clock.mono, std::move(header)), config, memory, "id");
        return fsm.resume({.what = event::kind::start});
    }
    action reply(auth_result r) { return fsm.resume({.what = event::kind::backend_replied, .reply = &r}); }
    /// Signs with the key the machine asks for.
    action sign() {
        const auto& r = fsm.data();
        const auto sig = keys->keys.at(r.signer->key).sign(testing::as_text(r.token.signing_input())).value();
        event e{.what = event::kind::signed_};
        e.signature = sig;
        return fsm.resume(e);
    }
    void agree() {
        const auto& r = fsm.data();
        const auto& own = config->xkeys[r.xkey];
        context.shared_keys.insert(own.public_bytes, r.peer, std::move(*crypto::agree(keys->keys.at(own.key).raw_seed().first<32>(), r.peer)));
    }
};

TEST_F(callout_fsm_test, an_allow_goes_through_backend_two_signatures_and_reply) {
    auto a = begin(world::sign(claims()));
    ASSERT_EQ(a.what, kind::authenticate);
    EXPECT_EQ(a.backend, b1.get());
    a = reply(testing::allow("alice"));
    ASSERT_EQ(a.what, kind::sign);
    EXPECT_EQ(a.purpose, CG_SIGN_USER_JWT);
    a = sign();
    ASSERT_EQ(a.what, kind::sign);
    EXPECT_EQ(a.purpose, CG_SIGN_AUTH_RESPONSE);
    a = sign();
    ASSERT_EQ(a.what, kind::reply);
    EXPECT_TRUE(fsm.over());
    EXPECT_EQ(fsm.data().verdict, "allow");
    EXPECT_TRUE(nats::decode_as<nats::authorization_response_claims>(testing::as_text(a.payload)));
}

TEST_F(callout_fsm_test, a_denial_needs_one_signature) {
    begin(world::sign(claims()));
    auto a = reply(testing::verdict(CG_VERDICT_DENY, "no"));
    ASSERT_EQ(a.what, kind::sign);
    EXPECT_EQ(a.purpose, CG_SIGN_AUTH_RESPONSE);
    EXPECT_EQ(sign().what, kind::reply);
    EXPECT_EQ(fsm.data().verdict, "deny");
}

TEST_F(callout_fsm_test, abstain_asks_the_next_backend) {
    policy->main.chain = {{"b1", false}, {"b2", false}};
    begin(world::sign(claims()));
    const auto a = reply(testing::verdict(CG_VERDICT_ABSTAIN));
    ASSERT_EQ(a.what, kind::authenticate);
    EXPECT_EQ(a.backend, b2.get());
}

TEST_F(callout_fsm_test, a_sealed_request_asks_for_each_xkey_in_turn) {
    const auto old_key = add_xkey();
    add_xkey();
    auto q = claims();
    q.server.xkey = server.xkey.public_text();
    auto a = begin(server.seal(world::sign(q), old_key.nkey), server.xkey.public_text());
    ASSERT_EQ(a.what, kind::agree);
    EXPECT_EQ(fsm.data().xkey, 0u) << "current key first";
    agree();
    a = fsm.resume({.what = event::kind::agreed});
    ASSERT_EQ(a.what, kind::agree);
    EXPECT_EQ(fsm.data().xkey, 1u);
    agree();
    EXPECT_EQ(fsm.resume({.what = event::kind::agreed}).what, kind::authenticate);
}

TEST_F(callout_fsm_test, no_agreement_ends_it) {
    const auto own = add_xkey();
    auto q = claims();
    q.server.xkey = server.xkey.public_text();
    begin(server.seal(world::sign(q), own.nkey), server.xkey.public_text());
    const auto a = fsm.resume({.what = event::kind::not_agreed});
    EXPECT_EQ(a.what, kind::drop);
    EXPECT_EQ(a.why, drop_reason::unknown_xkey);
}

TEST_F(callout_fsm_test, out_of_time_drops_before_verification_and_sheds_after) {
    const auto own = add_xkey();
    reconfigure([](flow_config& c) { c.allow_plaintext = true; });
    auto q = claims();
    q.server.xkey = server.xkey.public_text();
    begin(server.seal(world::sign(q), own.nkey), server.xkey.public_text());
    EXPECT_FALSE(fsm.data().verified);
    EXPECT_EQ(fsm.resume({.what = event::kind::out_of_time}).what, kind::drop);
    begin(world::sign(claims()));
    EXPECT_TRUE(fsm.data().verified);
    EXPECT_EQ(fsm.resume({.what = event::kind::out_of_time}).what, kind::shed);
    // In every later state too.
    begin(world::sign(claims()));
    reply(testing::allow("alice"));
    EXPECT_EQ(fsm.resume({.what = event::kind::out_of_time}).what, kind::shed);
    EXPECT_EQ(fsm.data().verdict, "unavailable");
    begin(world::sign(claims()));
    reply(testing::allow("alice"));
    sign();
    EXPECT_EQ(fsm.resume({.what = event::kind::out_of_time}).what, kind::shed);
}

TEST_F(callout_fsm_test, a_failed_signature_sheds_in_both_places) {
    begin(world::sign(claims()));
    reply(testing::allow("alice"));
    auto a = fsm.resume({.what = event::kind::sign_failed});
    EXPECT_EQ(a.what, kind::shed);
    EXPECT_EQ(a.why, drop_reason::sign_failed);
    begin(world::sign(claims()));
    reply(testing::allow("alice"));
    sign();
    a = fsm.resume({.what = event::kind::sign_failed});
    EXPECT_EQ(a.what, kind::shed);
    EXPECT_EQ(fsm.data().decision.reason_id, "sign_failed");
}

TEST_F(callout_fsm_test, an_answer_after_the_deadline_is_not_signed) {
    begin(world::sign(claims()));
    clock.advance_ns(1'900'000'000);
    const auto a = reply(testing::allow("alice"));
    EXPECT_EQ(a.what, kind::shed);
    EXPECT_EQ(a.why, drop_reason::out_of_time);
}

TEST_F(callout_fsm_test, the_deadline_is_what_the_server_grants) {
    auto q = claims();
    q.exp = clock.wall + 5;
    begin(world::sign(q));
    EXPECT_EQ(fsm.data().budget_ns, 5'000'000'000);
    EXPECT_EQ(fsm.data().deadline_ns, clock.mono + 4'850'000'000);
    // Also when the clocks differ: only the difference of its own times counts.
    clock.wall += 20;
    q = claims();
    q.exp = clock.wall + 3;
    const auto token = world::sign(q);
    clock.wall -= 15;
    begin(token);
    EXPECT_EQ(fsm.data().budget_ns, 3'000'000'000);
    // A timeout below a second leaves exp == iat.
    q = claims();
    q.exp = clock.wall;
    begin(world::sign(q));
    EXPECT_EQ(fsm.data().budget_ns, 1'000'000'000);
}

TEST_F(callout_fsm_test, safety_never_eats_more_than_half_of_the_budget) {
    reconfigure([](flow_config& c) { c.safety_ns = 10'000'000'000; });
    begin(world::sign(claims()));
    EXPECT_EQ(fsm.data().deadline_ns, clock.mono + 1'000'000'000);
}

TEST_F(callout_fsm_test, drops_of_unverified_requests_teach_nothing) {
    auto q = claims();
    q.exp = clock.wall + 60;
    q.aud = "x";
    begin(world::sign(q));
    EXPECT_EQ(context.servers.budget(server.hash), 0);
    EXPECT_EQ(context.replays->size(), 0u);
}

TEST_F(callout_fsm_test, an_exhausted_arena_sheds_or_drops_and_never_answers_half) {
    // With every bound on memory the outcome is an orderly one; at some bound the first, then the next stage fails.
    std::set<kind> seen;
    const auto big = claims(std::string(20'000, 't'));
    for (std::size_t bytes = 16 * 1024; bytes <= 400 * 1024; bytes += 4 * 1024) {
        auto q = big;
        q.user_nkey = nats::key_pair::generate(nats::key_type::user).public_text();
        request_memory_ptr memory(new request_memory(pool, bytes));
        fsm.begin(testing::make_message(world::sign(q), server.reply_subject(), clock.mono), config, memory, "id");
        auto a = fsm.resume({.what = event::kind::start});
        if (a.what == kind::authenticate) a = reply(testing::allow(std::string(60'000, 'a')));
        if (a.what == kind::sign) a = sign();
        if (a.what == kind::sign) a = sign();
        ASSERT_TRUE(fsm.over()) << bytes;
        if (a.what != kind::reply) {
            EXPECT_EQ(a.why, drop_reason::slab_full) << bytes << a.detail;
        }
        seen.insert(a.what);
    }
    EXPECT_EQ(seen, (std::set<kind>{kind::drop, kind::shed, kind::reply}));
}

TEST_F(callout_fsm_test, a_machine_used_again_knows_nothing_of_the_request_before) {
    begin(world::sign(claims()));
    reply(testing::verdict(CG_VERDICT_DENY, "no"));
    sign();
    begin("garbage");
    EXPECT_FALSE(fsm.data().verified);
    EXPECT_EQ(fsm.data().verdict, "");
    EXPECT_EQ(fsm.data().claims.user_nkey, "");
    EXPECT_EQ(fsm.data().backend, "");
    EXPECT_EQ(fsm.data().who.subject, "");
}

}  // namespace
}  // namespace callgate::flow

// SPDX-License-Identifier: Apache-2.0
// One test for each reason of having sent nothing, named after it. In none of them is a reply sent; those that
// come before verification must not leave a trace either.
#include <gtest/gtest.h>

#include "engine/flow/flow_test_world.hpp"

namespace callgate::flow {
namespace {

using observe::drop_reason;
using testing::verdict;
constexpr std::int64_t ms = 1'000'000;

struct drop : ::testing::Test, testing::world {
    void expect_only(drop_reason r, bool verified = false) {
        run();
        EXPECT_EQ(links.replies.size(), 0u);
        EXPECT_EQ(dropped(r), 1u) << observe::to_string(r);
        EXPECT_EQ(metrics.dropped_total.value(), 1u);
        EXPECT_EQ(shard->pending(), 0u);
        if (verified) return;
        clock.advance_ns(1900 * ms);
        run();
        EXPECT_EQ(links.kicks.size(), 0u) << "no side effect of an unverified request";
        EXPECT_EQ(audit.records.size(), 0u);
        EXPECT_EQ(b1->calls, 0u);
    }
};

TEST_F(drop, too_old) {
    offer(claims());
    clock.advance_ns(1500 * ms);
    expect_only(drop_reason::too_old);
}

TEST_F(drop, too_old_follows_the_budget_learned_of_the_server) {
    auto q = claims();
    q.exp = clock.wall + 10;
    offer(q);
    run();
    ASSERT_EQ(links.replies.size(), 1u);
    auto late = claims();
    late.exp = clock.wall + 10;
    offer(late);
    clock.advance_ns(7000 * ms);
    run();
    EXPECT_EQ(links.replies.size(), 2u) << "three quarters of ten seconds are not over";
    auto stale = claims();
    offer(stale);
    clock.advance_ns(7500 * ms);
    run();
    EXPECT_EQ(dropped(drop_reason::too_old), 1u);
}

TEST_F(drop, queue_full) {
    reconfigure([](flow_config& c) { c.max_queued = 3; });
    for (int i = 0; i < 4; ++i) offer(claims());
    EXPECT_EQ(dropped(drop_reason::queue_full), 1u);
    run();
    EXPECT_EQ(links.replies.size(), 3u);
}

TEST_F(drop, queue_full_by_bytes) {
    const auto token = sign(claims());
    reconfigure([&](flow_config& c) { c.max_queued_bytes = 2 * token.size(); });
    offer(token);
    offer(sign(claims()));
    EXPECT_EQ(dropped(drop_reason::queue_full), 1u);
}

TEST_F(drop, slab_full) {
    // A plugin that keeps every request for ever: its memory is what runs out, and it is bounded.
    reconfigure([](flow_config& c) { c.max_in_flight = 1; c.max_queued_bytes = 1024; c.max_queued = 10; });
    b1->answer = nullptr;
    for (int i = 0; i < 4; ++i) {
        offer(std::string(sign(claims()).substr(0, 900)));  // does not decode; sized to fit the queue
        run();
    }
    EXPECT_EQ(dropped(drop_reason::not_decodable), 4u);
    reconfigure([](flow_config& c) { c.max_queued_bytes = 8192; });
    for (int i = 0; i < 8; ++i) {
        offer(claims());
        run();
        clock.advance_ns(2000 * ms);
        run();
    }
    EXPECT_GT(b1->open.size(), 0u);
    EXPECT_GT(dropped(drop_reason::slab_full), 0u);
    EXPECT_EQ(links.replies.size(), 0u);
    b1->open.clear();
    b1->answer = [](const cg_auth_request&) { return testing::allow("alice"); };
    offer(claims());
    run();
    EXPECT_EQ(links.replies.size(), 1u) << "memory let go is memory to use";
}

TEST_F(drop, oversized) {
    reconfigure([](flow_config& c) { c.max_request_bytes = 500; });
    offer(std::string(501, 'x'));
    expect_only(drop_reason::oversized);
}

TEST_F(drop, bad_reply_subject) {
    shard->offer(testing::make_message(sign(claims()), "$SYS.REQ.SERVER.PING", clock.mono));
    expect_only(drop_reason::bad_reply_subject);
}

TEST_F(drop, not_decodable) {
    offer("garbage");
    expect_only(drop_reason::not_decodable);
}

TEST_F(drop, not_decodable_empty) {
    offer("");
    expect_only(drop_reason::not_decodable);
}

TEST_F(drop, bad_signature) {
    const auto other = nats::key_pair::generate(nats::key_type::server);
    const auto token = sign(claims()), foreign = nats::encode(claims(), other, clock.wall).value();
    offer(token.substr(0, token.rfind('.')) + foreign.substr(foreign.rfind('.')));
    expect_only(drop_reason::bad_signature);
}

TEST_F(drop, wrong_audience) {
    auto q = claims();
    q.aud = "nats-authorization-response";
    offer(q);
    expect_only(drop_reason::wrong_audience);
}

TEST_F(drop, wrong_subject) {
    auto q = claims();
    q.sub = nats::key_pair::generate(nats::key_type::account).public_text();
    offer(q);
    expect_only(drop_reason::wrong_subject);
}

TEST_F(drop, issuer_mismatch) {
    auto q = claims();
    q.server.id = nats::key_pair::generate(nats::key_type::server).public_text();
    offer(q);
    expect_only(drop_reason::issuer_mismatch);
}

TEST_F(drop, expired) {
    const auto token = sign(claims());
    clock.wall += 33;
    offer(token);
    expect_only(drop_reason::expired);
}

TEST_F(drop, expired_has_leeway) {
    const auto token = sign(claims());
    clock.wall += 32;
    offer(token);
    run();
    EXPECT_EQ(links.replies.size(), 1u) << "clocks that differ by less than the leeway must not cost a login";
}

TEST_F(drop, from_future) {
    const auto token = sign(claims());
    clock.wall -= 31;
    offer(token);
    expect_only(drop_reason::from_future);
}

TEST_F(drop, from_future_when_it_lives_too_long) {
    auto q = claims();
    q.exp = clock.wall + 3600;
    offer(q);
    expect_only(drop_reason::from_future);
}

TEST_F(drop, bad_user_nkey) {
    auto q = claims();
    q.user_nkey = nats::key_pair::generate(nats::key_type::account).public_text();
    offer(q);
    expect_only(drop_reason::bad_user_nkey);
}

TEST_F(drop, replayed) {
    const auto token = sign(claims());
    offer(token);
    run();
    ASSERT_EQ(links.replies.size(), 1u);
    offer(token);
    run();
    EXPECT_EQ(links.replies.size(), 1u);
    EXPECT_EQ(dropped(drop_reason::replayed), 1u);
    EXPECT_EQ(b1->calls, 1u);
    EXPECT_EQ(audit.records.size(), 1u);
}

TEST_F(drop, replayed_to_another_shard) {
    // Each shard has links of its own: what one answered must be known to the others, whichever comes first.
    observe::shard_metrics metrics_of_other;
    const auto other = shard_engine::make(4, clock, links, audit, metrics_of_other, replays);
    other->use(config);
    const auto offer_to_other = [&](const std::string& token) {
        other->offer(testing::make_message(token, server.reply_subject(), clock.mono));
        while (other->run()) {
        }
    };
    const auto token = sign(claims());
    offer(token);
    run();
    ASSERT_EQ(links.replies.size(), 1u);
    offer_to_other(token);
    EXPECT_EQ(links.replies.size(), 1u);
    EXPECT_EQ(metrics_of_other.dropped[static_cast<std::size_t>(drop_reason::replayed)].value(), 1u);
    EXPECT_EQ(dropped(drop_reason::replayed), 0u);
    EXPECT_EQ(b1->calls, 1u);

    const auto second = sign(claims());
    offer_to_other(second);
    ASSERT_EQ(links.replies.size(), 2u);
    offer(second);
    run();
    EXPECT_EQ(links.replies.size(), 2u);
    EXPECT_EQ(dropped(drop_reason::replayed), 1u);
}

TEST_F(drop, replayed_not_by_a_request_that_failed_a_check) {
    // Somebody who copies the key of a pending login into a request that is refused must not block that login.
    auto q = claims();
    auto forged = q;
    forged.aud = "x";
    offer(forged);
    run();
    offer(q);
    run();
    EXPECT_EQ(links.replies.size(), 1u);
}

TEST_F(drop, server_not_pinned) {
    reconfigure([](flow_config& c) { c.servers = pinning::known_only; });
    offer(claims());
    expect_only(drop_reason::server_not_pinned);
    links.all_pinned = true;
    offer(claims());
    run();
    EXPECT_EQ(links.replies.size(), 1u);
}

TEST_F(drop, plaintext_refused) {
    add_xkey();
    offer(claims());
    expect_only(drop_reason::plaintext_refused);
    reconfigure([](flow_config& c) { c.allow_plaintext = true; });
    offer(claims());
    run();
    EXPECT_EQ(links.replies.size(), 1u);
}

TEST_F(drop, unknown_xkey_none_configured) {
    const auto stranger = nats::key_pair::generate(nats::key_type::curve);
    offer(server.seal(sign(claims()), stranger.public_text()), server.xkey.public_text());
    expect_only(drop_reason::unknown_xkey);
}

TEST_F(drop, unknown_xkey_sealed_to_another_key) {
    add_xkey();
    const auto stranger = nats::key_pair::generate(nats::key_type::curve);
    offer(server.seal(sign(claims()), stranger.public_text()), server.xkey.public_text());
    expect_only(drop_reason::unknown_xkey);
}

TEST_F(drop, unknown_xkey_without_header) {
    const auto own = add_xkey();
    offer(server.seal(sign(claims()), own.nkey));
    expect_only(drop_reason::unknown_xkey);
    EXPECT_EQ(keys->agreements, 0u);
}

TEST_F(drop, unknown_xkey_of_low_order) {
    add_xkey();
    const auto low = nats::encode_public({nats::key_type::curve, {}});
    for (int i = 0; i < 5; ++i) offer("xkv1" + std::string(200, 'x'), low);
    run();
    EXPECT_EQ(dropped(drop_reason::unknown_xkey), 5u);
    EXPECT_EQ(keys->agreements, 1u) << "the failure is remembered";
}

TEST_F(drop, unknown_xkey_when_agreements_come_too_fast) {
    add_xkey();
    const auto token = "xkv1" + std::string(200, 'x');
    for (int i = 0; i < 700; ++i) {
        offer(token, nats::key_pair::generate(nats::key_type::curve).public_text());
        run();
    }
    EXPECT_EQ(dropped(drop_reason::unknown_xkey), 700u);
    EXPECT_LE(keys->agreements, 513u);
}

TEST_F(drop, xkey_mismatch) {
    const auto own = add_xkey();
    auto q = claims();
    q.server.xkey = nats::key_pair::generate(nats::key_type::curve).public_text();
    offer(server.seal(sign(q), own.nkey), server.xkey.public_text());
    expect_only(drop_reason::xkey_mismatch);
}

TEST_F(drop, backend_unavailable) {
    b1->answer = [](const cg_auth_request&) { return verdict(CG_VERDICT_UNAVAILABLE, "ldap_down"); };
    offer(claims());
    expect_only(drop_reason::backend_unavailable, true);
    ASSERT_EQ(audit.records.size(), 1u);
    EXPECT_EQ(audit.records[0].verdict, "unavailable");
    EXPECT_EQ(audit.records[0].reason_id, "ldap_down");
}

TEST_F(drop, out_of_time) {
    b1->answer = nullptr;
    offer(claims());
    run();
    EXPECT_EQ(shard->next_deadline_ns(), clock.mono + 1850 * ms);
    clock.advance_ns(1850 * ms);
    expect_only(drop_reason::out_of_time, true);
    EXPECT_EQ(audit.records.at(0).verdict, "unavailable");
    b1->complete(0, testing::allow("alice"));
    run();
    EXPECT_EQ(links.replies.size(), 0u) << "late work is dropped, not sent";
    EXPECT_EQ(metrics.late_completions.value(), 1u);
}

TEST_F(drop, out_of_time_while_agreeing_on_a_key) {
    keys->hold_shared = true;
    offer_sealed(claims(), add_xkey());
    run();
    clock.advance_ns(1850 * ms);
    expect_only(drop_reason::out_of_time);
    keys->complete_shared(0);
    run();
    EXPECT_EQ(metrics.late_completions.value(), 1u);
}

TEST_F(drop, sign_failed) {
    keys->item_status = CG_E_PERMISSION;
    offer(claims());
    expect_only(drop_reason::sign_failed, true);
}

TEST_F(drop, sign_failed_for_the_whole_batch) {
    keys->job_status = CG_E_UNAVAILABLE;
    offer(claims());
    offer(claims());
    run();
    EXPECT_EQ(dropped(drop_reason::sign_failed), 2u);
    EXPECT_EQ(links.replies.size(), 0u);
}

TEST_F(drop, sign_failed_by_a_signature_that_does_not_verify) {
    keys->corrupt = true;
    offer(claims());
    expect_only(drop_reason::sign_failed, true);
}

TEST_F(drop, shutdown) {
    b1->answer = nullptr;
    offer(claims());
    run();
    offer(claims());
    shard.reset();
    EXPECT_EQ(dropped(drop_reason::shutdown), 2u);
    EXPECT_EQ(links.replies.size(), 0u);
}

TEST_F(drop, shutdown_before_the_first_configuration) {
    observe::shard_metrics other;
    const auto fresh = shard_engine::make(0, clock, links, audit, other, replays);
    fresh->offer(testing::make_message("x", "$SYS._INBOX.a.b", clock.mono));
    EXPECT_FALSE(fresh->run());
    EXPECT_EQ(fresh->next_deadline_ns(), INT64_MAX);
    EXPECT_EQ(other.dropped[static_cast<std::size_t>(drop_reason::shutdown)].value(), 1u);
}

TEST_F(drop, audit_full) {
    audit.closed = true;
    audit.room = false;
    offer(claims());
    expect_only(drop_reason::audit_full, true);
    audit.closed = false;
    offer(claims());
    run();
    EXPECT_EQ(links.replies.size(), 1u) << "drop_count lets logins through";
}

TEST_F(drop, send_failed) {
    links.can_send = false;
    offer(claims());
    expect_only(drop_reason::send_failed, true);
    EXPECT_EQ(metrics.replied_allow.value(), 0u);
}

TEST_F(drop, silent_deny) {
    reconfigure([](flow_config& c) { c.silent_deny = true; });
    b1->answer = [](const cg_auth_request&) { return verdict(CG_VERDICT_DENY, "bad_password"); };
    offer(claims());
    expect_only(drop_reason::silent_deny, true);
    EXPECT_EQ(audit.records.at(0).verdict, "deny");
    EXPECT_EQ(audit.records.at(0).reason_id, "bad_password");
    clock.advance_ns(1900 * ms);
    run();
    EXPECT_EQ(links.kicks.size(), 0u);
}

}  // namespace
}  // namespace callgate::flow

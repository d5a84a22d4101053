// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <random>
#include <set>
#include <thread>

#include "engine/flow/flow_test_world.hpp"

namespace callgate::flow {
namespace {

using observe::drop_reason;
using testing::allow;
using testing::verdict;
constexpr std::int64_t ms = 1'000'000;

struct shard_engine_test : ::testing::Test, testing::world {};

// ---- replies
TEST_F(shard_engine_test, at_most_one_reply_under_random_order_duplicates_and_late_completions) {
    for (unsigned seed = 1; seed <= 20; ++seed) {
        testing::world w;
        w.keys->hold = w.keys->hold_shared = true;
        w.keys->in_flight = 3;
        w.b1->answer = w.b2->answer = nullptr;
        w.policy->main.chain = {{"b1", true}, {"b2", false}};
        const auto own = w.add_xkey();
        w.reconfigure([](flow_config& c) { c.allow_plaintext = true; c.max_in_flight = 20; });
        std::mt19937 random(seed);
        std::vector<std::pair<request_tag, completion_sink*>> seen;  // for duplicates
        std::uint64_t offered = 0;
        const auto any_verdict = [&] {
            switch (random() % 5) {
                case 0: return verdict(CG_VERDICT_DENY, "no");
                case 1: return verdict(CG_VERDICT_ABSTAIN);
                case 2: return verdict(CG_VERDICT_UNAVAILABLE);
                default: return allow("alice");
            }
        };
        const auto token = [&] { return w.claims("t" + std::to_string(offered)); };
        for (int step = 0; step < 600; ++step) {
            switch (random() % 9) {
                case 0: ++offered; w.offer(token()); break;
                case 1: ++offered; w.offer_sealed(token(), own); break;
                case 2:
                case 3:
                    for (auto* b : {w.b1.get(), w.b2.get()})
                        if (!b->open.empty()) {
                            const auto i = random() % b->open.size();
                            seen.emplace_back(b->open[i].tag, b->open[i].sink);
                            b->complete(i, any_verdict());
                        }
                    break;
                case 4: if (!w.keys->jobs.empty()) w.keys->complete(random() % w.keys->jobs.size()); break;
                case 5: if (!w.keys->shared.empty()) w.keys->complete_shared(random() % w.keys->shared.size()); break;
                case 6:
                    if (!seen.empty()) {
                        const auto [tag, sink] = seen[random() % seen.size()];
                        sink->on_auth(tag, allow("mallory"));
                    }
                    break;
                case 7: w.clock.advance_ns(static_cast<std::int64_t>(random() % 200) * ms); break;
                default: w.shard->on_auth(random(), allow("mallory")); break;
            }
            if (random() % 2 == 0) w.shard->run();
        }
        for (int i = 0; i < 200 && w.shard->pending() != 0; ++i) {
            w.clock.advance_ns(100 * ms);
            while (!w.keys->jobs.empty()) w.keys->complete(0);
            w.run();
        }
        EXPECT_EQ(w.shard->pending(), 0u);
        std::set<std::string> subjects;
        for (const auto& r : w.links.replies) EXPECT_TRUE(subjects.insert(r.subject).second) << "second reply to " << r.subject;
        EXPECT_EQ(w.links.replies.size() + w.metrics.dropped_total.value(), offered) << "each request ends once, in one of two ways; seed " << seed;
        EXPECT_GT(w.metrics.late_completions.value(), 0u);
        for (const auto& a : w.audit.records) EXPECT_NE(a.identity, "mallory");
    }
}

TEST_F(shard_engine_test, the_sealed_reply_opens_at_the_server_that_asked) {
    const auto own = add_xkey();
    offer_sealed(claims(), own);
    run();
    ASSERT_EQ(links.replies.size(), 1u);
    EXPECT_TRUE(links.replies[0].payload.starts_with("xkv1"));
    const auto plain = server.xkey.open(links.replies[0].payload, own.nkey);
    ASSERT_TRUE(plain) << plain.error().text;
    const auto r = nats::decode_as<nats::authorization_response_claims>(*plain);
    ASSERT_TRUE(r);
    EXPECT_FALSE(r->jwt.empty());
}

TEST_F(shard_engine_test, denials_of_sealed_requests_are_sealed) {
    const auto own = add_xkey();
    policy->has_route = false;
    offer_sealed(claims(), own);
    run();
    EXPECT_TRUE(server.xkey.open(links.replies.at(0).payload, own.nkey));
}

TEST_F(shard_engine_test, one_key_agreement_serves_all_requests_of_a_server) {
    keys->hold_shared = true;
    const auto own = add_xkey();
    for (int i = 0; i < 50; ++i) offer_sealed(claims(), own);
    run();
    EXPECT_EQ(keys->agreements, 1u);
    keys->complete_shared(0);
    run();
    EXPECT_EQ(links.replies.size(), 50u);
    offer_sealed(claims(), own);
    run();
    EXPECT_EQ(keys->agreements, 1u);
}

TEST_F(shard_engine_test, servers_with_old_and_new_xkey_are_served_during_a_rotation) {
    const auto old_key = add_xkey(), new_key = add_xkey();
    testing::test_server updated;
    offer_sealed(claims(), old_key);
    run();
    std::swap(server, updated);
    offer_sealed(claims(), new_key);
    run();
    std::swap(server, updated);
    ASSERT_EQ(links.replies.size(), 2u);
    EXPECT_TRUE(server.xkey.open(links.replies[0].payload, old_key.nkey)) << "sealed with the key the request was sealed to";
    EXPECT_TRUE(updated.xkey.open(links.replies[1].payload, new_key.nkey));
    EXPECT_EQ(keys->agreements, 3u) << "the current key is tried first, the old one only where that fails";
}

TEST_F(shard_engine_test, xkeys_survive_a_reload_that_removes_them_for_requests_under_way) {
    b1->answer = nullptr;
    const auto own = add_xkey();
    offer_sealed(claims(), own);
    run();
    reconfigure([](flow_config& c) { c.xkeys.clear(); });
    b1->complete(0, allow("alice"));
    run();
    EXPECT_TRUE(server.xkey.open(links.replies.at(0).payload, own.nkey));
}

// ---- configuration
TEST_F(shard_engine_test, a_request_keeps_the_configuration_it_started_with) {
    b1->answer = nullptr;
    offer(claims());
    run();
    const auto before = config->issuer.nkey;
    const auto policy2 = std::make_shared<testing::test_policy>();
    policy2->given.grant.account = "B";
    reconfigure([&](flow_config& c) {
        c.issuer = keys->add(nats::key_pair::generate(nats::key_type::account));
        c.request_subject_key = c.issuer.nkey;
        c.accounts = {{"B", {"B", c.issuer, false, {}}}};
        c.policy = policy2;
    });
    offer(claims());
    run();
    ASSERT_EQ(b1->open.size(), 2u);
    b1->complete(1, allow("new"));
    b1->complete(0, allow("old"));
    run();
    ASSERT_EQ(links.replies.size(), 2u);
    const std::size_t old_one = user(0).name == "old" ? 0 : 1;
    EXPECT_EQ(user(old_one).aud, "APP");
    EXPECT_EQ(response(old_one).iss, before);
    EXPECT_EQ(user(1 - old_one).aud, "B");
    EXPECT_EQ(response(1 - old_one).iss, config->issuer.nkey);
}

TEST_F(shard_engine_test, an_old_configuration_is_let_go_with_its_last_request) {
    b1->answer = nullptr;
    offer(claims());
    run();
    const std::weak_ptr<const flow_config> old = config;
    reconfigure([](flow_config&) {});
    EXPECT_FALSE(old.expired());
    b1->complete(0, allow("alice"));
    run();
    EXPECT_TRUE(old.expired());
}

// ---- batches
TEST_F(shard_engine_test, a_batch_is_what_is_queued_when_the_provider_is_free) {
    keys->hold = true;
    keys->batch = 8;
    offer(claims());
    run();
    EXPECT_EQ(keys->sizes, (std::vector<std::size_t>{1})) << "idle: one, at once";
    for (int i = 0; i < 11; ++i) offer(claims());
    run();
    EXPECT_EQ(keys->sizes.size(), 1u) << "one batch at a time is what this provider takes";
    keys->complete(0);
    run();
    ASSERT_EQ(keys->sizes.size(), 2u);
    EXPECT_EQ(keys->sizes[1], 8u);
    EXPECT_EQ(keys->order[1], "oiiiiiii") << "the response ends a request, so it goes first";
    while (!keys->jobs.empty()) {
        keys->complete(0);
        run();
    }
    EXPECT_EQ(links.replies.size(), 12u);
    EXPECT_EQ(metrics.batch_items.value(), 24u);
}

TEST_F(shard_engine_test, providers_are_batched_apart) {
    auto other = std::make_shared<testing::test_keys>("k2");
    other->hold = keys->hold = true;
    reconfigure([&](flow_config& c) {
        c.providers.push_back(other);
        auto signer = other->add(nats::key_pair::generate(nats::key_type::account));
        signer.provider = 1;
        c.accounts["APP"].signer = signer;
    });
    for (int i = 0; i < 3; ++i) offer(claims());
    run();
    EXPECT_EQ(other->sizes, (std::vector<std::size_t>{3}));
    EXPECT_TRUE(keys->sizes.empty());
    other->complete(0);
    run();
    EXPECT_EQ(keys->sizes, (std::vector<std::size_t>{3}));
}

TEST_F(shard_engine_test, requests_that_ended_are_left_out_of_the_batch) {
    keys->hold = true;
    for (int i = 0; i < 5; ++i) offer(claims());
    run();
    clock.advance_ns(1850 * ms);
    run();
    EXPECT_EQ(dropped(drop_reason::out_of_time), 5u);
    offer(claims());
    run();
    keys->complete(0);
    run();
    EXPECT_EQ(keys->order.back(), "i") << "only the live one";
    EXPECT_EQ(links.replies.size(), 0u);
    EXPECT_GT(metrics.late_completions.value(), 0u);
}

TEST_F(shard_engine_test, a_provider_that_hangs_does_not_gather_memory) {
    keys->hold = true;
    // Room for four requests in all.
    reconfigure([](flow_config& c) { c.max_in_flight = 2; c.max_queued_bytes = 16 * 1024; });
    for (int i = 0; i < 50; ++i) {
        offer(claims());
        run();
        clock.advance_ns(2000 * ms);
        run();
    }
    EXPECT_EQ(dropped(drop_reason::out_of_time), 50u);
    EXPECT_EQ(dropped(drop_reason::slab_full), 0u);
    keys->hold = false;
    keys->complete(0);
    offer(claims());
    run();
    EXPECT_EQ(links.replies.size(), 1u);
}

TEST_F(shard_engine_test, a_provider_that_hangs_does_not_hold_up_requests_that_do_not_need_it) {
    auto slow = std::make_shared<testing::test_keys>("slow");
    slow->hold = true;
    reconfigure([&](flow_config& c) {
        c.providers.push_back(slow);
        auto signer = slow->add(nats::key_pair::generate(nats::key_type::account));
        signer.provider = 1;
        c.accounts["SLOW"] = {"SLOW", signer, false, {}};
    });
    policy->given.grant.account = "SLOW";
    for (int i = 0; i < 200; ++i) offer(claims());
    run();
    policy->given.grant.account = "APP";
    offer(claims());
    run();
    EXPECT_EQ(links.replies.size(), 1u);
}

TEST_F(shard_engine_test, one_round_is_bounded_and_says_so) {
    for (int i = 0; i < 200; ++i) offer(claims());
    EXPECT_TRUE(shard->run());
    EXPECT_LT(links.replies.size(), 64u);
    EXPECT_LE(metrics.batch_items.value(), 16u);
    run();
    EXPECT_EQ(links.replies.size(), 200u);
    EXPECT_EQ(shard->pending(), 0u);
}

TEST_F(shard_engine_test, more_than_the_slots_wait_in_the_queue) {
    b1->answer = nullptr;
    reconfigure([](flow_config& c) { c.max_in_flight = 4; });
    for (int i = 0; i < 10; ++i) offer(claims());
    run();
    EXPECT_EQ(b1->open.size(), 4u);
    EXPECT_EQ(shard->pending(), 10u);
    EXPECT_EQ(metrics.in_flight.value(), 4);
    EXPECT_EQ(metrics.queued.value(), 6);
    EXPECT_EQ(shard->next_deadline_ns(), clock.mono + 1500 * ms) << "when the oldest unread one is too old";
    b1->complete(0, allow("a"));
    run();
    EXPECT_EQ(b1->open.size(), 4u);
    EXPECT_EQ(links.replies.size(), 1u);
}

TEST_F(shard_engine_test, requests_are_started_in_the_order_they_came) {
    b1->answer = nullptr;
    for (int i = 0; i < 20; ++i) offer(claims("t" + std::to_string(i)));
    run();
    ASSERT_EQ(b1->open.size(), 20u);
    for (std::size_t i = 0; i < 20; ++i)
        EXPECT_EQ(std::string(b1->open[i].request->credential.data, b1->open[i].request->credential.size), "t" + std::to_string(i));
}

// ---- kicks
TEST_F(shard_engine_test, a_shed_login_is_kicked_late_in_its_budget) {
    b1->answer = [](const cg_auth_request&) { return verdict(CG_VERDICT_UNAVAILABLE); };
    offer(claims());
    run();
    EXPECT_EQ(links.kicks.size(), 0u);
    EXPECT_EQ(shard->next_deadline_ns(), clock.mono + 1600 * ms);
    clock.advance_ns(1599 * ms);
    run();
    EXPECT_EQ(links.kicks.size(), 0u);
    clock.advance_ns(1 * ms);
    run();
    ASSERT_EQ(links.kicks.size(), 1u);
    EXPECT_EQ(links.kicks[0].server_id, server.id.public_text());
    EXPECT_EQ(links.kicks[0].cid, 42u);
    EXPECT_EQ(metrics.kicked.value(), 1u);
    EXPECT_EQ(shard->next_deadline_ns(), INT64_MAX);
}

TEST_F(shard_engine_test, a_login_out_of_time_is_kicked_at_once) {
    b1->answer = nullptr;
    offer(claims());
    run();
    clock.advance_ns(1850 * ms);
    run();
    EXPECT_EQ(links.kicks.size(), 1u);
}

TEST_F(shard_engine_test, no_kick_without_system_credentials) {
    links.system_link = false;
    b1->answer = [](const cg_auth_request&) { return verdict(CG_VERDICT_UNAVAILABLE); };
    offer(claims());
    run();
    clock.advance_ns(1700 * ms);
    run();
    EXPECT_EQ(links.kicks.size(), 0u);
    EXPECT_EQ(shard->next_deadline_ns(), INT64_MAX);
}

TEST_F(shard_engine_test, no_kick_after_the_server_gave_up) {
    b1->answer = [](const cg_auth_request&) { return verdict(CG_VERDICT_UNAVAILABLE); };
    offer(claims());
    run();
    clock.advance_ns(2000 * ms);
    run();
    EXPECT_EQ(links.kicks.size(), 0u);
}

TEST_F(shard_engine_test, kicks_keep_to_their_budget) {
    reconfigure([](flow_config& c) { c.kicks_per_second = 10; });
    b1->answer = [](const cg_auth_request&) { return verdict(CG_VERDICT_UNAVAILABLE); };
    for (int i = 0; i < 100; ++i) offer(claims());
    run();
    clock.advance_ns(1600 * ms);
    run();
    EXPECT_EQ(links.kicks.size(), 10u);
    EXPECT_EQ(dropped(drop_reason::backend_unavailable), 100u);
}

TEST_F(shard_engine_test, nobody_who_got_a_reply_is_kicked) {
    offer(claims());
    policy->has_route = true;
    run();
    clock.advance_ns(1900 * ms);
    run();
    EXPECT_EQ(links.replies.size(), 1u);
    EXPECT_EQ(links.kicks.size(), 0u);
}

// ---- cold pairs
TEST_F(shard_engine_test, first_replies_into_an_account_take_the_cold_link) {
    offer(claims());
    run();
    clock.advance_ns(1000 * ms);
    offer(claims());
    run();
    clock.advance_ns(1000 * ms);
    offer(claims());
    run();
    ASSERT_EQ(links.replies.size(), 3u);
    EXPECT_TRUE(links.replies[0].cold);
    EXPECT_TRUE(links.replies[1].cold);
    EXPECT_FALSE(links.replies[2].cold);
    testing::test_server other;
    other.hash = "OTHER111";
    std::swap(server, other);
    offer(claims());
    run();
    EXPECT_TRUE(links.replies[3].cold) << "another server has not loaded that account yet";
}

TEST_F(shard_engine_test, a_reply_to_a_server_further_away_takes_the_link_its_request_came_on) {
    links.all_near = false;
    offer(claims());
    run();
    ASSERT_EQ(links.replies.size(), 1u);
    EXPECT_FALSE(links.replies[0].cold) << "gateways know the way back for the connection that received the request only";
    links.all_near = true;
    offer(claims());
    run();
    EXPECT_TRUE(links.replies.at(1).cold);
}

TEST_F(shard_engine_test, an_unsent_reply_warms_nothing) {
    links.can_send = false;
    offer(claims());
    run();
    clock.advance_ns(3000 * ms);
    links.can_send = true;
    offer(claims());
    run();
    EXPECT_TRUE(links.replies.at(0).cold);
}

// ---- memory
TEST_F(shard_engine_test, a_plugin_that_never_completes_keeps_its_memory_and_not_the_slot) {
    b1->answer = nullptr;
    reconfigure([](flow_config& c) { c.max_in_flight = 1; });
    offer(claims("secret-token"));
    run();
    clock.advance_ns(1900 * ms);
    run();
    EXPECT_EQ(shard->pending(), 0u);
    offer(claims());
    run();
    ASSERT_EQ(b1->open.size(), 2u) << "the slot serves the next request";
    const auto& first = *b1->open[0].request;
    EXPECT_EQ(std::string(first.credential.data, first.credential.size), "secret-token") << "and what the plugin reads is untouched";
    auto held = std::move(b1->open[0].memory);
    b1->open.clear();
    shard.reset();
    std::thread([&] { held.reset(); }).join();  // the plugin lets go last, elsewhere, after the shard is gone
}

TEST_F(shard_engine_test, messages_are_let_go_once_decoded) {
    b1->answer = nullptr;
    auto m = testing::make_message(sign(claims()), server.reply_subject(), clock.mono);
    struct probe final : pinned {
        explicit probe(bool& g, pinned_ptr i) : gone(g), inner(std::move(i)) {}
        ~probe() override { gone = true; }
        bool& gone;
        pinned_ptr inner;
    };
    bool gone = false;
    m.memory = pinned_ptr(new probe(gone, m.memory));
    shard->offer(std::move(m));
    EXPECT_FALSE(gone);
    run();
    EXPECT_EQ(b1->open.size(), 1u);
    EXPECT_TRUE(gone) << "a slow backend must not hold the link's buffers";
}

TEST_F(shard_engine_test, the_same_request_object_is_never_handed_to_two_backends) {
    policy->main.chain = {{"b1", true}, {"b2", false}};
    b1->answer = b2->answer = nullptr;
    offer(claims());
    run();
    const auto* first = b1->open.at(0).request;
    b1->complete(0, verdict(CG_VERDICT_ABSTAIN));
    run();
    EXPECT_NE(b2->open.at(0).request, first);
}

TEST_F(shard_engine_test, stages_are_measured) {
    b1->answer = nullptr;
    offer_sealed(claims(), add_xkey());
    clock.advance_ns(5 * ms);
    run();
    clock.advance_ns(70 * ms);
    b1->complete(0, allow("alice"));
    run();
    const auto sum = [&](observe::stage s) { return metrics.stages[static_cast<std::size_t>(s)].sum_ns(); };
    EXPECT_EQ(sum(observe::stage::queue), 5u * ms);
    EXPECT_EQ(sum(observe::stage::authenticate), 70u * ms);
    EXPECT_EQ(sum(observe::stage::total), 75u * ms);
    for (const auto& h : metrics.stages) EXPECT_EQ(h.count(), 1u);
    EXPECT_EQ(audit.records.at(0).latency_us, 75'000);
}

}  // namespace
}  // namespace callgate::flow

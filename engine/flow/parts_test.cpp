// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "engine/flow/admission.hpp"
#include "engine/flow/audit.hpp"
#include "engine/flow/deadline_heap.hpp"
#include "engine/flow/flow_test_world.hpp"
#include "engine/flow/kick_schedule.hpp"
#include "engine/flow/replay_set.hpp"
#include "engine/flow/reply_subject.hpp"
#include "engine/flow/ring_queue.hpp"
#include "engine/flow/server_book.hpp"
#include "engine/flow/shared_key_cache.hpp"

namespace callgate::flow {
namespace {

using testing::make_message;

constexpr std::int64_t s = 1'000'000'000;

TEST(reply_subject, only_the_inbox_of_a_server_is_one) {
    EXPECT_TRUE(is_reply_subject("$SYS._INBOX.SRVHASH1.abcDEF12"));
    EXPECT_TRUE(is_reply_subject("$SYS._INBOX.a.b"));
    EXPECT_EQ(server_hash("$SYS._INBOX.SRVHASH1.abcDEF12"), "SRVHASH1");
    for (const char* bad : {"", "$SYS._INBOX.", "$SYS._INBOX.a", "$SYS._INBOX.a.", "$SYS._INBOX..b", "$SYS._INBOX.a.b.c", "$SYS._INBOX.a.*",
                            "$SYS._INBOX.a.>", "$SYS._INBOX.>", "_INBOX.a.b", "$SYS.REQ.USER.AUTH", "$SYS._INBOX.a.b ", "$SYS._INBOX.a.b\r\nPUB x",
                            "$SYS._INBOX.\xc3\xbc.b", "$sys._INBOX.a.b"})
        EXPECT_FALSE(is_reply_subject(bad)) << bad;
    EXPECT_TRUE(is_reply_subject("$SYS._INBOX." + std::string(64, 'a') + "." + std::string(64, 'b')));
    EXPECT_FALSE(is_reply_subject("$SYS._INBOX." + std::string(65, 'a') + ".b"));
    EXPECT_FALSE(is_reply_subject("$SYS._INBOX.a." + std::string(65, 'b')));
}

TEST(reply_subject, what_gateways_say_to_each_other_is_none) {
    // nats-server 2.10.27 and 2.15.1 take this prefix off before a client sees it and refuse it from clients (README).
    for (const char* bad : {"_GR_.NUmM6c.R5SAEp.$SYS._INBOX.NUmM6cRx.wcv9NPr1", "_GR_.NUmM6c.R5SAEp.$SYS.REQ.SERVER.PING", "_GR_.NUmM6c.R5SAEp.x",
                            "_GR_.NUmM6c.$SYS._INBOX.NUmM6cRx.wcv9NPr1", "_GR_.$SYS._INBOX.NUmM6cRx.wcv9NPr1", "_GR_.*.*.$SYS._INBOX.a.b", "_GR_.",
                            "$GR.NUmM.$SYS._INBOX.NUmM6cRx.wcv9NPr1", "$SYS._INBOX._GR_.b", "_R_.NUmM6c.R5SAEp"})
        EXPECT_FALSE(is_reply_subject(bad)) << bad;
}

TEST(ring_queue, keeps_the_order_while_it_turns_and_grows) {
    ring_queue<std::unique_ptr<int>> q;
    int in = 0, out = 0;
    // Up and down by 3 net up: every place of the ring is first once, also when it grows.
    for (int round = 0; round < 500; ++round) {
        for (int i = 0; i < 7; ++i) q.push_back(std::make_unique<int>(in++));
        for (int i = 0; i < 4; ++i, ++out) {
            ASSERT_EQ(*q.front(), out);
            q.pop_front();
        }
        ASSERT_EQ(q.size(), static_cast<std::size_t>(in - out));
    }
    for (; !q.empty(); ++out, q.pop_front()) ASSERT_EQ(*q.front(), out);
    EXPECT_EQ(out, in);
    q.push_back(std::make_unique<int>(1));
    EXPECT_EQ(*q.front(), 1) << "usable after its room was given back";
}

TEST(ring_queue, what_was_popped_is_gone) {
    ring_queue<std::shared_ptr<int>> q;
    const auto held = std::make_shared<int>(1);
    q.push_back(std::shared_ptr<int>(held));
    q.pop_front();
    EXPECT_EQ(held.use_count(), 1) << "requests hold secrets: their memory must not wait for the next one";
}

TEST(replay_set, refuses_a_key_until_it_has_expired) {
    replay_set set;
    EXPECT_TRUE(set.insert("U1", 0, 10 * s));
    EXPECT_FALSE(set.insert("U1", 0, 10 * s));
    EXPECT_FALSE(set.insert("U1", 9 * s, 19 * s));
    // Turn over twice: the first generation may go only when its last entry is over.
    EXPECT_TRUE(set.insert("U2", 9 * s, 19 * s));
    EXPECT_FALSE(set.insert("U1", 9 * s, 19 * s));
    EXPECT_TRUE(set.insert("U3", 20 * s, 30 * s));
    EXPECT_TRUE(set.insert("U4", 31 * s, 41 * s));
    EXPECT_TRUE(set.insert("U1", 31 * s, 41 * s)) << "forgotten once it could not be replayed any more";
}

TEST(replay_set, never_forgets_an_unexpired_key_below_its_bound) {
    replay_set set(100'000);
    std::mt19937 random(7);
    std::int64_t now = 0;
    std::vector<std::pair<std::string, std::int64_t>> live;
    for (int i = 0; i < 20'000; ++i) {
        now += static_cast<std::int64_t>(random() % 3'000'000);
        const auto until = now + static_cast<std::int64_t>(random() % 4) * s;
        const std::string key = "U" + std::to_string(i);
        ASSERT_TRUE(set.insert(key, now, until)) << i;
        live.emplace_back(key, until);
        const auto& old = live[random() % live.size()];
        if (old.second > now) {
            ASSERT_FALSE(set.insert(old.first, now, old.second)) << old.first;
        }
    }
    EXPECT_LT(set.size(), 20'000u) << "and it does forget";
}

TEST(replay_set, is_bounded) {
    replay_set set(1000);
    for (int i = 0; i < 10'000; ++i) EXPECT_TRUE(set.insert("U" + std::to_string(i), 0, 100 * s));
    EXPECT_LE(set.size(), 2000u);
    EXPECT_FALSE(set.insert("U9999", 0, 100 * s)) << "the newest are kept";
}

TEST(replay_set, one_of_many_threads_gets_a_key) {
    replay_set set;
    constexpr int keys = 2000, threads = 4;
    std::array<std::atomic<int>, keys> taken{};
    std::vector<std::thread> all;
    for (int t = 0; t < threads; ++t)
        all.emplace_back([&] {
            for (std::size_t i = 0; i < keys; ++i)
                if (set.insert("U" + std::to_string(i), 0, 100 * s)) ++taken[i];
        });
    for (auto& t : all) t.join();
    for (const auto& n : taken) EXPECT_EQ(n, 1);
    EXPECT_EQ(set.size(), static_cast<std::size_t>(keys));
}

crypto::key_bytes key(int n) {
    crypto::key_bytes k{};
    k[0] = static_cast<std::uint8_t>(n);
    k[1] = static_cast<std::uint8_t>(n >> 8);
    return k;
}

TEST(shared_key_cache, keeps_pairs_apart_and_remembers_failures_for_a_while) {
    shared_key_cache cache;
    EXPECT_FALSE(cache.find(key(1), key(2), 0).known);
    cache.insert(key(1), key(2), crypto::secret::copy_of("0123456789abcdef0123456789abcdef"));
    const auto found = cache.find(key(1), key(2), 0);
    ASSERT_TRUE(found.known && found.key);
    EXPECT_EQ(found.key->text(), "0123456789abcdef0123456789abcdef");
    EXPECT_FALSE(cache.find(key(2), key(1), 0).known);
    cache.insert_failure(key(3), key(4), 10 * s);
    EXPECT_TRUE(cache.find(key(3), key(4), 9 * s).known);
    EXPECT_FALSE(cache.find(key(3), key(4), 9 * s).key);
    EXPECT_FALSE(cache.find(key(3), key(4), 10 * s).known);
}

TEST(shared_key_cache, a_flood_of_unproven_keys_does_not_evict_proven_ones) {
    shared_key_cache cache(4, 8);
    for (int i = 0; i < 4; ++i) {
        cache.insert(key(1), key(1000 + i), crypto::secret(32));
        cache.mark_proven(key(1), key(1000 + i));
    }
    for (int i = 0; i < 500; ++i) cache.insert(key(1), key(i), crypto::secret(32));
    EXPECT_EQ(cache.size(), 12u);
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(cache.find(key(1), key(1000 + i), 0).known) << i;
    cache.insert(key(1), key(2000), crypto::secret(32));
    cache.mark_proven(key(1), key(2000));
    EXPECT_FALSE(cache.find(key(1), key(1000), 0).known) << "least recently used goes";
    EXPECT_TRUE(cache.find(key(1), key(1003), 0).known);
}

TEST(server_book, learns_the_budget_of_each_server) {
    server_book book;
    EXPECT_EQ(book.budget("H1"), 0);
    book.learn_budget("H1", "N1", 2 * s);
    book.learn_budget("H2", "N2", 5 * s);
    EXPECT_EQ(book.budget("H1"), 2 * s);
    EXPECT_EQ(book.budget("H2"), 5 * s);
    book.learn_budget("H1", "N1", 1 * s);
    EXPECT_EQ(book.budget("H1"), 1 * s) << "its own timeout was changed";
}

TEST(server_book, somebody_else_cannot_shorten_a_servers_budget) {
    server_book book;
    book.learn_budget("H1", "N1", 4 * s);
    book.learn_budget("H1", "Nforged", 1 * s);
    EXPECT_EQ(book.budget("H1"), 4 * s);
}

TEST(server_book, is_bounded) {
    server_book book(100, 100);
    for (int i = 0; i < 10'000; ++i) {
        book.learn_budget("H" + std::to_string(i), "N", s);
        book.replied("N", std::to_string(i), 0);
    }
    int known = 0, warm = 0;
    for (int i = 0; i < 10'000; ++i) {
        known += book.budget("H" + std::to_string(i)) != 0;
        warm += !book.is_cold("N", std::to_string(i), 10 * s);
    }
    EXPECT_LE(known, 104);
    EXPECT_LE(warm, 104);
}

TEST(server_book, a_pair_is_cold_until_two_seconds_after_its_first_reply) {
    server_book book;
    EXPECT_TRUE(book.is_cold("N1", "A", 0));
    book.replied("N1", "A", 0);
    EXPECT_TRUE(book.is_cold("N1", "A", 2 * s - 1));
    book.replied("N1", "A", s);
    EXPECT_FALSE(book.is_cold("N1", "A", 2 * s));
    EXPECT_TRUE(book.is_cold("N1", "B", 2 * s));
    EXPECT_TRUE(book.is_cold("N2", "A", 2 * s));
}

TEST(deadline_heap, gives_the_soonest_through_random_changes) {
    deadline_heap heap;
    std::map<std::uint32_t, std::int64_t> model;
    std::mt19937 random(3);
    for (int i = 0; i < 20'000; ++i) {
        const std::uint32_t slot = random() % 200;
        if (random() % 3 == 0) {
            heap.remove(slot);
            model.erase(slot);
        } else {
            const std::int64_t at = static_cast<std::int64_t>(random() % 1000);
            heap.set(slot, at);
            model[slot] = at;
        }
        ASSERT_EQ(heap.size(), model.size());
        std::int64_t soonest = INT64_MAX;
        for (const auto& [k, v] : model) soonest = std::min(soonest, v);
        ASSERT_EQ(heap.next_ns(), soonest);
        if (!model.empty()) {
            ASSERT_EQ(model.at(heap.next_slot()), soonest);
        }
    }
}

TEST(token_bucket, bounds_rate_and_burst) {
    token_bucket b(10, 5);
    int n = 0;
    while (b.take(s)) ++n;
    EXPECT_EQ(n, 5);
    EXPECT_FALSE(b.take(s + s / 20));
    EXPECT_TRUE(b.take(s + s / 10));
    n = 0;
    while (b.take(100 * s)) ++n;
    EXPECT_EQ(n, 5);
    EXPECT_FALSE(b.take(0)) << "a clock that steps back gives nothing";
}

TEST(admission_queue, is_first_in_first_out_and_bounded_in_count_and_bytes) {
    admission_queue q;
    const auto size = std::string("$SYS._INBOX.a.b").size();
    EXPECT_TRUE(q.push(make_message("11", "$SYS._INBOX.a.b", 1), 2, 1000));
    EXPECT_TRUE(q.push(make_message("22", "$SYS._INBOX.a.b", 2), 2, 1000));
    EXPECT_FALSE(q.push(make_message("33", "$SYS._INBOX.a.b", 3), 2, 1000));
    EXPECT_EQ(q.bytes(), 2 * (size + 2));
    EXPECT_FALSE(q.push(make_message("33", "$SYS._INBOX.a.b", 3), 9, 2 * (size + 2) + 1));
    EXPECT_FALSE(q.push(make_message(std::string(2000, 'x'), "$SYS._INBOX.a.b", 3), 9, 1000));
    EXPECT_EQ(q.pop().arrival_ns, 1);
    EXPECT_EQ(q.pop().arrival_ns, 2);
    EXPECT_EQ(q.bytes(), 0u);
}

TEST(kick_schedule, waits_until_due_and_never_kicks_after_the_server_gave_up) {
    testing::test_links links;
    kick_schedule k;
    const std::string id(56, 'N');
    EXPECT_TRUE(k.add(1, id, 7, 5 * s, 6 * s));
    EXPECT_TRUE(k.add(1, id, 8, 3 * s, 4 * s));
    EXPECT_EQ(k.next_ns(), 3 * s);
    EXPECT_EQ(k.run(2 * s, links), 0u);
    EXPECT_EQ(k.run(5 * s, links), 1u) << "8 is too late by now";
    ASSERT_EQ(links.kicks.size(), 1u);
    EXPECT_EQ(links.kicks[0].cid, 7u);
    EXPECT_EQ(links.kicks[0].server_id, id);
    EXPECT_FALSE(k.add(1, "not-an-id", 9, 5 * s, 6 * s));
}

TEST(kick_schedule, keeps_to_its_budget) {
    testing::test_links links;
    kick_schedule k;
    k.set_rate(10);
    for (std::uint64_t i = 0; i < 100; ++i) EXPECT_TRUE(k.add(1, std::string(56, 'N'), i, s, 100 * s));
    EXPECT_EQ(k.run(s, links), 10u);
    EXPECT_EQ(k.size(), 0u) << "the rest is left to the server's timeout";
}

TEST(permissions_hash, depends_on_content_and_not_on_order) {
    policy::grant a, b;
    a.pub_allow = {"x", "y"};
    b.pub_allow = {"y", "x", "x"};
    EXPECT_EQ(permissions_hash(a), permissions_hash(b));
    EXPECT_EQ(permissions_hash(a).size(), 16u);
    b.pub_allow = {"y"};
    EXPECT_NE(permissions_hash(a), permissions_hash(b));
    policy::grant c;
    c.sub_allow = a.pub_allow;
    EXPECT_NE(permissions_hash(a), permissions_hash(c));
    policy::grant d = a;
    d.resp = policy::response_permission{};
    EXPECT_NE(permissions_hash(a), permissions_hash(d));
    d = a;
    d.role = "r";
    EXPECT_NE(permissions_hash(a), permissions_hash(d));
}

}  // namespace
}  // namespace callgate::flow

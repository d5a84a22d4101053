// SPDX-License-Identifier: Apache-2.0
#include "engine/flow/key_tables.hpp"

#include <callgate/crypto/random.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <string_view>
#include <thread>

#include "sdk/crypto/src/known_key_access.hpp"

using namespace callgate;
using namespace callgate::flow;

namespace {

constexpr std::int64_t second_ns = 1'000'000'000;

std::vector<crypto::signing_key> signers(std::size_t n) {
    std::vector<crypto::signing_key> out;
    for (std::size_t i = 0; i < n; ++i) out.push_back(crypto::signing_key::generate());
    return out;
}

constexpr std::uint32_t proofs = 16;  // fewer than by default, so that tests need not sign so often

struct rig {
    explicit rig(std::size_t max_process = 8, std::size_t max_shard = 4)
        : tables(std::make_shared<key_tables>(max_process)), ranking(tables, max_shard, proofs) {}
    void prove(const crypto::signing_key& k, std::size_t times, std::int64_t at = second_ns) {
        while (times-- > 0) ranking.proven(k.public_key(), at);
    }
    bool accepts(const crypto::signing_key& k, bool tampered = false) {
        std::array<std::uint8_t, 3> text{1, 2, 3};
        crypto::signature_bytes s;
        k.sign(text, s);
        text[0] ^= tampered ? 1 : 0;
        return ranking.verify(text, s, k.public_key());
    }
    std::shared_ptr<key_tables> tables;
    key_ranking ranking;
};

}  // namespace

TEST(key_ranking, a_key_gets_its_table_with_its_last_proof_and_not_before) {
    rig r;
    const auto k = crypto::signing_key::generate();
    r.prove(k, proofs - 1);
    EXPECT_FALSE(r.ranking.has_table(k.public_key()));
    EXPECT_TRUE(r.accepts(k));
    EXPECT_EQ(r.ranking.take_by_table(), 0u);
    r.prove(k, 1);
    ASSERT_TRUE(r.ranking.has_table(k.public_key()));
    EXPECT_TRUE(r.accepts(k));
    EXPECT_FALSE(r.accepts(k, true));
    EXPECT_EQ(r.ranking.take_by_table(), 1u);
    EXPECT_EQ(r.ranking.take_by_table(), 0u);
    EXPECT_EQ(r.ranking.take_misjudged(), 0u);
}

// Verifying alone proves nothing: the request may still fail every other check.
TEST(key_ranking, signatures_without_proof_earn_nothing) {
    rig r;
    const auto k = crypto::signing_key::generate();
    for (int i = 0; i < 100; ++i) EXPECT_TRUE(r.accepts(k));
    EXPECT_EQ(r.ranking.tables(), 0u);
    EXPECT_EQ(r.tables->built(), 0u);
}

TEST(key_ranking, a_flood_of_invented_keys_builds_no_table_and_costs_no_server_its_own) {
    rig r;
    const auto servers = signers(4);
    for (const auto& s : servers) r.prove(s, 100);
    ASSERT_EQ(r.ranking.tables(), 4u);
    const auto built = r.tables->built();
    crypto::key_bytes invented{};
    for (std::uint32_t i = 0; i < 100'000; ++i) {
        crypto::random_bytes(invented);
        r.ranking.proven(invented, second_ns + i);
    }
    EXPECT_EQ(r.tables->built(), built);
    for (const auto& s : servers) EXPECT_TRUE(r.ranking.has_table(s.public_key()));
}

TEST(key_ranking, a_server_earns_its_table_in_the_middle_of_a_flood) {
    rig r;
    const auto server = crypto::signing_key::generate();
    crypto::key_bytes invented{};
    for (std::uint32_t i = 0; i < 2000; ++i) {
        crypto::random_bytes(invented);
        r.ranking.proven(invented, second_ns);
        if (i % 50 == 0) r.prove(server, 1);
    }
    EXPECT_TRUE(r.ranking.has_table(server.public_key()));
    EXPECT_EQ(r.tables->built(), 1u);
}

TEST(key_ranking, who_comes_twice_as_often_takes_the_place_of_who_comes_least) {
    rig r(8, 2);
    const auto k = signers(3);
    r.prove(k[0], 100);
    r.prove(k[1], 40);
    r.prove(k[2], 79);
    EXPECT_FALSE(r.ranking.has_table(k[2].public_key()));
    r.prove(k[2], 1);
    EXPECT_TRUE(r.ranking.has_table(k[2].public_key()));
    EXPECT_FALSE(r.ranking.has_table(k[1].public_key()));
    EXPECT_EQ(r.tables->size(), 2u);
}

TEST(key_ranking, an_unused_table_is_let_go) {
    rig r;
    const auto k = signers(2);
    r.prove(k[0], 16);
    r.prove(k[1], 16);
    for (int i = 1; i < 8; ++i) r.prove(k[0], 16, second_ns + i * key_ranking::halving_ns);
    EXPECT_TRUE(r.ranking.has_table(k[0].public_key()));
    EXPECT_FALSE(r.ranking.has_table(k[1].public_key()));
    EXPECT_EQ(r.tables->size(), 1u);
}

TEST(key_ranking, nobody_loses_a_table_to_a_key_that_gets_none) {
    rig r(2, 2);
    const auto k = signers(3);
    r.prove(k[0], 20);
    r.prove(k[1], 20);
    // The process holds as many as it may.
    r.prove(k[2], 500);
    EXPECT_TRUE(r.ranking.has_table(k[0].public_key()));
    EXPECT_TRUE(r.ranking.has_table(k[1].public_key()));
}

TEST(key_ranking, a_damaged_table_costs_no_login_and_is_thrown_away) {
    rig r;
    const auto k = crypto::signing_key::generate();
    r.prove(k, 16);
    const auto table = r.tables->get(k.public_key(), second_ns);
    ASSERT_TRUE(table);
    for (auto& a : crypto::known_key_access::multiples(*table)) a.sum.limb[1] ^= 1;
    EXPECT_TRUE(r.accepts(k));
    EXPECT_EQ(r.ranking.take_misjudged(), 1u);
    EXPECT_FALSE(r.ranking.has_table(k.public_key()));
    r.prove(k, 16);
    EXPECT_TRUE(r.accepts(k));
    EXPECT_EQ(r.ranking.take_misjudged(), 0u);
    EXPECT_EQ(r.ranking.take_by_table(), 1u);
}

TEST(key_ranking, small_order_keys_get_no_table_however_often_they_come) {
    rig r;
    const crypto::key_bytes identity{1};
    for (int i = 0; i < 100; ++i) r.ranking.proven(identity, second_ns);
    EXPECT_EQ(r.ranking.tables(), 0u);
    EXPECT_EQ(r.tables->size(), 0u);
}

TEST(key_tables, tables_built_in_a_second_are_bounded) {
    key_tables tables(10'000);
    std::vector<key_table> held;
    crypto::key_bytes last{};
    std::int64_t now = second_ns;
    const auto ask = [&](int times) {
        for (int i = 0; i < times; ++i) {
            last = crypto::signing_key::generate().public_key();
            if (auto t = tables.get(last, now)) held.push_back(t);
        }
    };
    ask(60);
    EXPECT_EQ(held.size(), static_cast<std::size_t>(key_tables::build_burst));
    now += second_ns;
    ask(60);
    // A second fills the burst again, and no more than that.
    EXPECT_EQ(held.size(), static_cast<std::size_t>(2 * key_tables::build_burst));
    EXPECT_EQ(tables.get(last, now), nullptr);
    EXPECT_EQ(tables.size(), held.size());
}

TEST(key_tables, shards_share_one_table_and_the_last_one_lets_it_go) {
    key_tables tables;
    const auto key = crypto::signing_key::generate().public_key();
    auto a = tables.get(key, second_ns), b = tables.get(key, second_ns);
    ASSERT_TRUE(a);
    EXPECT_EQ(a, b);
    EXPECT_EQ(tables.built(), 1u);
    a.reset();
    EXPECT_EQ(tables.size(), 1u);
    b.reset();
    EXPECT_EQ(tables.size(), 0u);
}

TEST(key_tables, a_discarded_table_is_given_to_nobody_else) {
    key_tables tables;
    const auto key = crypto::signing_key::generate().public_key();
    const auto bad = tables.get(key, second_ns);
    tables.discard(bad);
    const auto fresh = tables.get(key, second_ns);
    ASSERT_TRUE(fresh);
    EXPECT_NE(fresh, bad);
    // Another shard finds the same fault later: the fresh one stays.
    tables.discard(bad);
    EXPECT_EQ(tables.get(key, second_ns), fresh);
}

// Under ThreadSanitizer this is the proof that shards may share a table while others build, drop and discard.
TEST(key_tables, shards_verify_build_and_discard_at_the_same_time) {
    constexpr std::size_t threads = 4, keys = 6;
    const auto tables = std::make_shared<key_tables>(4);
    const auto k = signers(keys);
    const std::string_view text = "the same for all";
    const std::span<const std::uint8_t> message{reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
    std::vector<crypto::signature_bytes> signatures(keys);
    for (std::size_t i = 0; i < keys; ++i) k[i].sign(message, signatures[i]);
    std::atomic<std::uint64_t> good{0}, by_table{0}, misjudged{0};
    std::barrier together(threads);
    std::vector<std::thread> shards;
    for (std::size_t t = 0; t < threads; ++t)
        shards.emplace_back([&, t] {
            key_ranking ranking(tables, 2, proofs);
            together.arrive_and_wait();
            for (std::size_t i = 0; i < 1200; ++i) {
                const auto n = (i / 40 + t) % keys;
                good += ranking.verify(message, signatures[n], k[n].public_key());
                ranking.proven(k[n].public_key(), second_ns + static_cast<std::int64_t>(i) * (second_ns / 4));
                if (i % 400 == 399)
                    if (auto table = tables->get(k[n].public_key(), second_ns * 1000)) tables->discard(table);
            }
            by_table += ranking.take_by_table();
            misjudged += ranking.take_misjudged();
        });
    for (auto& s : shards) s.join();
    EXPECT_EQ(good.load(), threads * 1200);
    EXPECT_GT(by_table.load(), threads * 100);
    EXPECT_EQ(misjudged.load(), 0u);
    EXPECT_EQ(tables->size(), 0u);
}

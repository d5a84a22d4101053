// SPDX-License-Identifier: Apache-2.0
#include "engine/base/arena.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <thread>

namespace callgate {
namespace {

TEST(arena, bound_is_kept_and_exhaustion_sticks) {
    auto pool = std::make_shared<arena_pool>(std::size_t{1} << 20);
    arena a(pool, 2 * arena_pool::block_bytes);
    EXPECT_NE(a.allocate(10'000, 1), nullptr);
    EXPECT_NE(a.allocate(10'000, 1), nullptr);
    EXPECT_FALSE(a.exhausted());
    EXPECT_EQ(a.allocate(10'000, 1), nullptr);
    EXPECT_TRUE(a.exhausted());
    EXPECT_TRUE(a.copy("x").size() == 1 || a.exhausted());
    EXPECT_TRUE(a.exhausted()) << "small pieces that still fit do not make it whole again";
    EXPECT_LE(a.reserved(), 2 * arena_pool::block_bytes);
}

TEST(arena, large_objects_leave_the_current_block_in_use) {
    auto pool = std::make_shared<arena_pool>(std::size_t{8} << 20);
    arena a(pool, std::size_t{4} << 20);
    auto* first = static_cast<char*>(a.allocate(8, 8));
    ASSERT_NE(a.allocate(1 << 20, 1), nullptr);
    auto* second = static_cast<char*>(a.allocate(8, 8));
    EXPECT_EQ(second - first, 8);
}

TEST(arena, alignment_holds) {
    auto pool = std::make_shared<arena_pool>(std::size_t{1} << 20);
    arena a(pool, std::size_t{1} << 20);
    (void)a.make_text(3);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(a.allocate(16, 16)) % 16, 0u);
    (void)a.make_text(1);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(a.make<std::uint64_t>()) % 8, 0u);
}

TEST(arena, sizes_near_the_maximum_do_not_wrap) {
    auto pool = std::make_shared<arena_pool>(std::size_t{1} << 20);
    arena a(pool, SIZE_MAX);
    EXPECT_EQ(a.allocate(SIZE_MAX - 8, 1), nullptr);
    EXPECT_TRUE(a.make_array<std::uint64_t>(SIZE_MAX / 4).empty());
    EXPECT_EQ(pool->outstanding(), 0u);
}

TEST(arena, blocks_come_back_wiped) {
    auto pool = std::make_shared<arena_pool>(std::size_t{1} << 20);
    const std::string planted = "planted-credential-planted-credential";
    {
        arena a(pool, std::size_t{1} << 20);
        (void)a.copy(planted);
    }
    auto* block = static_cast<char*>(pool->take(arena_pool::block_bytes));
    const std::string_view kept(block, 1024);
    EXPECT_EQ(kept.find("planted"), kept.npos);
    EXPECT_EQ(kept.substr(0, 64), std::string(64, '\0'));
    pool->give_back(block, arena_pool::block_bytes);
    EXPECT_EQ(pool->outstanding(), 0u);
}

TEST(arena, pool_refuses_beyond_its_bound_and_recovers) {
    auto pool = std::make_shared<arena_pool>(2 * arena_pool::block_bytes);
    void* a = pool->take(arena_pool::block_bytes);
    void* b = pool->take(arena_pool::block_bytes);
    EXPECT_EQ(pool->take(1), nullptr);
    pool->give_back(a, arena_pool::block_bytes);
    void* c = pool->take(arena_pool::block_bytes);
    EXPECT_EQ(c, a) << "returned blocks are reused";
    pool->give_back(b, arena_pool::block_bytes);
    pool->give_back(c, arena_pool::block_bytes);
}

TEST(arena, memory_may_be_released_on_another_thread) {
    auto pool = std::make_shared<arena_pool>(std::size_t{64} << 20);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([pool] {
            for (int i = 0; i < 500; ++i) {
                auto a = std::make_unique<arena>(pool, std::size_t{1} << 20);
                (void)a->copy("text");
                std::thread([a = std::move(a)]() mutable { a.reset(); }).join();
            }
        });
    for (auto& t : threads) t.join();
    EXPECT_EQ(pool->outstanding(), 0u);
}

}  // namespace
}  // namespace callgate

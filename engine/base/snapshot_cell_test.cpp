// SPDX-License-Identifier: Apache-2.0
#include "engine/base/snapshot_cell.hpp"

#include <gtest/gtest.h>

#include <latch>
#include <thread>

namespace callgate {
namespace {

// Spots a read after destruction: the destructor breaks the invariant that readers check.
struct payload {
    explicit payload(std::uint64_t n) : a(n), b(~n) { ++alive; }
    ~payload() {
        a = 1;
        b = 1;
        --alive;
    }
    std::uint64_t a, b;
    static inline std::atomic<int> alive{0};
};

TEST(snapshot_cell, empty_cell_reads_as_nothing) {
    snapshot_cell<payload> cell;
    EXPECT_FALSE(cell.read());
    EXPECT_EQ(cell.publish(std::make_unique<payload>(1u)), 0u);
    EXPECT_EQ(cell.read()->a, 1u);
    EXPECT_EQ(cell.publish(nullptr), 0u);
    EXPECT_FALSE(cell.read());
    EXPECT_EQ(payload::alive, 0);
}

TEST(snapshot_cell, replaced_object_lives_while_it_is_pinned) {
    snapshot_cell<payload> cell;
    cell.publish(std::make_unique<payload>(1u));
    auto held = cell.read();
    EXPECT_EQ(cell.publish(std::make_unique<payload>(2u)), 1u);
    EXPECT_EQ(held->a, 1u);
    EXPECT_EQ(cell.read()->a, 2u);
    EXPECT_EQ(cell.collect(), 1u);
    held = {};
    EXPECT_EQ(cell.collect(), 0u);
    EXPECT_EQ(payload::alive, 1);
}

TEST(snapshot_cell, the_pin_of_another_thread_counts) {
    snapshot_cell<payload> cell;
    cell.publish(std::make_unique<payload>(1u));
    std::latch pinned(1), done(1);
    std::thread reader([&] {
        auto held = cell.read();
        pinned.count_down();
        done.wait();
        EXPECT_EQ(held->b, ~std::uint64_t{1});
    });
    pinned.wait();
    EXPECT_EQ(cell.publish(std::make_unique<payload>(2u)), 1u);
    done.count_down();
    reader.join();
    EXPECT_EQ(cell.collect(), 0u);
}

TEST(snapshot_cell, pins_nest_eight_deep_and_the_ninth_is_refused) {
    snapshot_cell<payload> cell;
    cell.publish(std::make_unique<payload>(1u));
    std::vector<snapshot_cell<payload>::pin> pins;
    for (std::uint32_t i = 0; i < snapshot_core::pin_depth; ++i) {
        pins.push_back(cell.read());
        EXPECT_TRUE(pins.back());
    }
    EXPECT_EQ(snapshot_core::pins_held(), snapshot_core::pin_depth);
    EXPECT_FALSE(cell.read());
    pins.erase(pins.begin() + 3);  // not the newest: pins need not be released in order
    EXPECT_TRUE(cell.read());
    pins.clear();
    EXPECT_EQ(snapshot_core::pins_held(), 0u);
}

TEST(snapshot_cell, destroys_everything_at_the_end) {
    {
        snapshot_cell<payload> cell;
        for (std::uint64_t i = 0; i < 100; ++i) cell.publish(std::make_unique<payload>(i));
        EXPECT_EQ(payload::alive, 1);
    }
    EXPECT_EQ(payload::alive, 0);
}

TEST(snapshot_cell, stress_no_reader_sees_a_destroyed_object) {
    snapshot_cell<payload> cell, other;
    cell.publish(std::make_unique<payload>(0u));
    other.publish(std::make_unique<payload>(0u));
    constexpr int readers = 4, writers = 2;
    constexpr std::uint64_t publications = 3'000;
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> reads{0}, broken{0};
    std::vector<std::thread> threads;
    std::latch ready(readers);
    for (int r = 0; r < readers; ++r)
        threads.emplace_back([&] {
            bool first = true;
            std::uint64_t n = 0;
            while (!stop.load(std::memory_order_relaxed) || n == 0) {
                auto p = cell.read();
                auto q = other.read();
                if (p->b != ~p->a || q->b != ~q->a) ++broken;
                ++n;
                if (first) ready.count_down();
                first = false;
            }
            reads += n;
        });
    // Short-lived readers too: claiming and giving back of slots races with the writers' scan.
    threads.emplace_back([&] {
        while (!stop.load(std::memory_order_relaxed))
            std::thread([&] {
                auto p = cell.read();
                if (p->b != ~p->a) ++broken;
            }).join();
    });
    ready.wait();
    std::vector<std::thread> publishers;
    for (int w = 0; w < writers; ++w)
        publishers.emplace_back([&] {
            for (std::uint64_t i = 1; i <= publications; ++i) {
                cell.publish(std::make_unique<payload>(i));
                other.publish(std::make_unique<payload>(i));
            }
        });
    for (auto& t : publishers) t.join();
    stop = true;
    for (auto& t : threads) t.join();
    EXPECT_EQ(broken, 0u);
    EXPECT_GT(reads, 0u);
    EXPECT_EQ(cell.collect(), 0u);
    EXPECT_EQ(other.collect(), 0u);
    EXPECT_EQ(payload::alive, 2) << "garbage is bounded and goes away";
}

}  // namespace
}  // namespace callgate

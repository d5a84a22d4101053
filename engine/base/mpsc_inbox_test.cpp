// SPDX-License-Identifier: Apache-2.0
#include "engine/base/mpsc_inbox.hpp"

#include <gtest/gtest.h>

#include <semaphore>
#include <thread>
#include <vector>

namespace callgate {
namespace {

struct item : inbox_node {
    int producer = 0;
    int number = 0;
};

TEST(mpsc_inbox, keeps_the_order_of_pushes) {
    mpsc_inbox box;
    std::vector<item> items(5);
    for (int i = 0; i < 5; ++i) {
        items[static_cast<std::size_t>(i)].number = i;
        EXPECT_EQ(box.push(items[static_cast<std::size_t>(i)]), i == 0) << "only the first push wakes";
    }
    int expected = 0;
    for (auto* n = box.take_all(); n != nullptr; n = n->next_in_inbox) EXPECT_EQ(static_cast<item*>(n)->number, expected++);
    EXPECT_EQ(expected, 5);
    EXPECT_EQ(box.take_all(), nullptr);
    EXPECT_TRUE(box.push(items[0])) << "empty again: wakes again";
}

TEST(mpsc_inbox, loses_nothing_and_no_wake_up_under_contention) {
    constexpr int producers = 4, each = 20'000;
    mpsc_inbox box;
    std::counting_semaphore<> wake(0);
    std::vector<std::vector<item>> items(producers, std::vector<item>(each));
    std::vector<std::thread> threads;
    for (int p = 0; p < producers; ++p)
        threads.emplace_back([&, p] {
            for (int i = 0; i < each; ++i) {
                auto& it = items[static_cast<std::size_t>(p)][static_cast<std::size_t>(i)];
                it.producer = p;
                it.number = i;
                if (box.push(it)) wake.release();
            }
        });
    std::vector<int> next(producers, 0);
    int seen = 0;
    while (seen < producers * each) {
        wake.acquire();  // hangs here, and the test with it, when a wake-up was lost
        for (auto* n = box.take_all(); n != nullptr; n = n->next_in_inbox) {
            auto* it = static_cast<item*>(n);
            ASSERT_EQ(it->number, next[static_cast<std::size_t>(it->producer)]++) << "order within a producer";
            ++seen;
        }
    }
    for (auto& t : threads) t.join();
    EXPECT_EQ(box.take_all(), nullptr);
}

}  // namespace
}  // namespace callgate

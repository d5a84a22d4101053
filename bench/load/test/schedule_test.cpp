// SPDX-License-Identifier: Apache-2.0
#include "bench/load/schedule.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <stdexcept>

using callgate::load::backlog_ms;
using callgate::load::schedule;

constexpr std::int64_t second_ns = 1'000'000'000;

TEST(schedule, a_constant_rate_is_evenly_spaced_from_zero) {
    const schedule s(1000, 1000, 5 * second_ns);
    EXPECT_EQ(s.count(), 5000u);
    EXPECT_EQ(s.intended_ns(0), 0);
    for (std::uint64_t i = 0; i < s.count(); ++i) ASSERT_NEAR(static_cast<double>(s.intended_ns(i)), static_cast<double>(i) * 1e6, 2) << i;
    EXPECT_LT(s.intended_ns(s.count() - 1), s.duration_ns());
    EXPECT_DOUBLE_EQ(s.rate_at(3 * second_ns), 1000);
}

TEST(schedule, a_ramp_offers_the_area_under_its_line_and_each_second_its_part) {
    const schedule s(100, 900, 4 * second_ns);
    EXPECT_EQ(s.count(), 2000u);
    std::uint64_t within[4] = {};
    std::int64_t before = -1;
    for (std::uint64_t i = 0; i < s.count(); ++i) {
        const auto at = s.intended_ns(i);
        ASSERT_GT(at, before);
        ASSERT_LT(at, 4 * second_ns);
        before = at;
        ++within[at / second_ns];
    }
    // 100 + 200t, integrated over each second.
    for (int i = 0; i < 4; ++i) EXPECT_NEAR(static_cast<double>(within[i]), 200 + 200 * i, 1) << i;
    EXPECT_DOUBLE_EQ(s.rate_at(2 * second_ns), 500);
    EXPECT_DOUBLE_EQ(s.rate_at(99 * second_ns), 900);
}

TEST(schedule, a_falling_ramp_mirrors_a_rising_one) {
    const schedule down(900, 100, 4 * second_ns), up(100, 900, 4 * second_ns);
    ASSERT_EQ(down.count(), up.count());
    for (std::uint64_t i = 1; i < down.count(); i += 97)
        EXPECT_NEAR(static_cast<double>(down.intended_ns(i)), static_cast<double>(4 * second_ns - up.intended_ns(up.count() - i)), 1e4) << i;
}

TEST(schedule, rates_and_durations_without_meaning_are_refused) {
    for (const double bad : {0.0, -1.0, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
        EXPECT_THROW(schedule(bad, 1, second_ns), std::invalid_argument);
        EXPECT_THROW(schedule(1, bad, second_ns), std::invalid_argument);
    }
    EXPECT_THROW(schedule(1, 1, 0), std::invalid_argument);
    EXPECT_EQ(schedule(0.1, 0.1, second_ns).count(), 1u) << "at least one request";
}

TEST(schedule, backlog_is_the_time_of_offered_load_that_waits) {
    EXPECT_DOUBLE_EQ(backlog_ms(500, 1000), 500);
    EXPECT_DOUBLE_EQ(backlog_ms(0, 1000), 0);
    EXPECT_DOUBLE_EQ(backlog_ms(500, 0), 0);
}

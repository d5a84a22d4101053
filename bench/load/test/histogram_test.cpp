// SPDX-License-Identifier: Apache-2.0
#include "bench/load/histogram.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

using callgate::load::histogram;

TEST(histogram, empty_one_has_no_percentile) {
    const histogram h;
    EXPECT_EQ(h.count(), 0u);
    EXPECT_EQ(h.quantile_ns(0.99), 0);
    EXPECT_EQ(h.max_ns(), 0);
    EXPECT_EQ(h.min_ns(), 0);
    EXPECT_EQ(h.mean_ns(), 0);
}

TEST(histogram, small_values_and_extremes_are_exact) {
    histogram h;
    for (int i = 1; i <= 100; ++i) h.record(i);
    EXPECT_EQ(h.quantile_ns(0.5), 50);
    EXPECT_EQ(h.quantile_ns(0.99), 99);
    EXPECT_EQ(h.quantile_ns(1), 100);
    EXPECT_EQ(h.quantile_ns(0), 1);
    EXPECT_EQ(h.min_ns(), 1);
    EXPECT_DOUBLE_EQ(h.mean_ns(), 50.5);
    h.record(1'234'567'891);
    EXPECT_EQ(h.max_ns(), 1'234'567'891);
    EXPECT_EQ(h.quantile_ns(1), 1'234'567'891) << "the largest is told as it was, not as its bucket's end";
}

TEST(histogram, every_percentile_is_at_most_one_in_128_above_the_sorted_values_and_never_below) {
    std::mt19937_64 random(7);
    std::lognormal_distribution<double> latency(13, 2.5);
    histogram h;
    std::vector<std::int64_t> values;
    for (int i = 0; i < 200'000; ++i) {
        values.push_back(std::min(static_cast<std::int64_t>(latency(random)), histogram::max_value_ns));
        h.record(values.back());
    }
    std::sort(values.begin(), values.end());
    for (const double share : {0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0}) {
        const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(values.size()) - 1e-9));
        const auto exact = values[std::max<std::size_t>(rank, 1) - 1];
        EXPECT_GE(h.quantile_ns(share), exact) << share;
        EXPECT_LE(h.quantile_ns(share), exact + exact / 128 + 1) << share;
    }
}

TEST(histogram, out_of_range_values_are_kept_at_the_ends) {
    histogram h;
    h.record(-5);
    h.record(histogram::max_value_ns * 4);
    EXPECT_EQ(h.min_ns(), 0);
    EXPECT_EQ(h.max_ns(), histogram::max_value_ns);
    EXPECT_EQ(h.quantile_ns(1), histogram::max_value_ns);
    EXPECT_EQ(h.count(), 2u);
}

TEST(histogram, sum_of_two_is_one_of_both) {
    histogram a, b, both;
    for (int i = 0; i < 1000; ++i) {
        a.record(i * 977);
        b.record(i * 65'537);
        both.record(i * 977);
        both.record(i * 65'537);
    }
    a.add(b);
    EXPECT_EQ(a.count(), both.count());
    EXPECT_EQ(a.max_ns(), both.max_ns());
    EXPECT_DOUBLE_EQ(a.mean_ns(), both.mean_ns());
    for (const double share : {0.1, 0.5, 0.99}) EXPECT_EQ(a.quantile_ns(share), both.quantile_ns(share));
}

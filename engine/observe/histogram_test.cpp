// SPDX-License-Identifier: Apache-2.0
#include "engine/observe/histogram.hpp"

#include <gtest/gtest.h>

#include "engine/observe/shard_metrics.hpp"

using callgate::observe::histogram;

TEST(histogram, every_value_falls_below_the_upper_bound_of_its_bucket_and_not_below_the_one_before) {
    for (std::int64_t v = 1; v < (std::int64_t{1} << 40); v += 1 + v / 97) {
        const auto i = histogram::index(v);
        ASSERT_LT(i, histogram::buckets);
        EXPECT_LT(v, histogram::upper_ns(i)) << v;
        if (i > 0) {
            EXPECT_GE(v, histogram::upper_ns(i - 1)) << v;
        }
    }
}

TEST(histogram, bounds_rise) {
    for (std::size_t i = 1; i < histogram::buckets; ++i) EXPECT_GT(histogram::upper_ns(i), histogram::upper_ns(i - 1));
}

TEST(histogram, negative_and_huge_durations_are_counted_at_the_ends) {
    histogram h;
    h.record_ns(-5);
    h.record_ns(INT64_MAX);
    EXPECT_EQ(h.cell(0), 1u);
    EXPECT_EQ(h.cell(histogram::buckets - 1), 1u);
    EXPECT_EQ(h.count(), 2u);
}

TEST(shard_metrics, every_reason_and_stage_has_a_name_of_its_own) {
    using namespace callgate::observe;
    std::map<std::string_view, int> seen;
    for (std::size_t i = 0; i < drop_reason_count; ++i) ++seen[to_string(static_cast<drop_reason>(i))];
    for (std::size_t i = 0; i < stage_count; ++i) ++seen[to_string(static_cast<stage>(i))];
    for (const auto& [name, n] : seen) {
        EXPECT_FALSE(name.empty());
        EXPECT_EQ(n, 1) << name;
    }
}

TEST(shard_metrics, labels_are_bounded) {
    callgate::observe::shard_metrics m;
    for (int i = 0; i < 5000; ++i) m.count_verdict("deny", "r" + std::to_string(i), "b");
    const auto v = m.verdicts();
    EXPECT_LE(v.size(), 1025u);
    std::uint64_t sum = 0;
    for (const auto& [k, n] : v) sum += n;
    EXPECT_EQ(sum, 5000u);
}

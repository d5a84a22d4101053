// SPDX-License-Identifier: Apache-2.0
#include "engine/observe/prometheus.hpp"

#include <gtest/gtest.h>

using namespace callgate::observe;

TEST(exposition, escapes_label_values) {
    exposition e;
    e.family("x_total", "counter", "help");
    e.sample("x_total", {{"a", "q\"b\\c\nd"}}, std::uint64_t{3});
    EXPECT_EQ(e.take(), "# HELP x_total help\n# TYPE x_total counter\nx_total{a=\"q\\\"b\\\\c\\nd\"} 3\n");
}

TEST(exposition, histogram_is_cumulative_and_sums_shards) {
    histogram a, b;
    a.record_ns(1'000);
    a.record_ns(3'000'000);
    b.record_ns(3'000'000);
    b.record_ns(INT64_MAX / 4);
    const histogram* both[] = {&a, &b};
    exposition e;
    e.histogram_samples("h_seconds", {"stage", "sign"}, both, 2);
    const auto text = e.take();
    EXPECT_NE(text.find("h_seconds_bucket{stage=\"sign\",le=\"+Inf\"} 4\n"), std::string::npos) << text;
    EXPECT_NE(text.find("h_seconds_count{stage=\"sign\"} 4\n"), std::string::npos);
    EXPECT_NE(text.find("le=\"0.004194304\"} 3\n"), std::string::npos) << text;
    EXPECT_NE(text.find("le=\"2.048e-06\"} 1\n"), std::string::npos) << text;
}

// SPDX-License-Identifier: Apache-2.0
#include "engine/host/breaker.hpp"

#include <gtest/gtest.h>

namespace callgate::host {
namespace {

constexpr std::int64_t s = 1'000'000'000;

TEST(circuit_breaker, opens_after_failures_in_a_row_only) {
    circuit_breaker b({.failures = 3, .open_ns = s, .longest_open_ns = 3 * s});
    b.failed(0);
    b.failed(0);
    b.succeeded();
    b.failed(0);
    b.failed(0);
    EXPECT_TRUE(b.admit(0));
    EXPECT_EQ(b.state(), breaker_state::closed);
    b.failed(0);
    EXPECT_EQ(b.state(), breaker_state::open);
    EXPECT_FALSE(b.admit(s - 1));
}

TEST(circuit_breaker, lets_one_probe_through_and_pauses_longer_after_a_failed_one) {
    circuit_breaker b({.failures = 1, .open_ns = s, .longest_open_ns = 3 * s});
    b.failed(0);
    EXPECT_TRUE(b.admit(s));
    EXPECT_EQ(b.state(), breaker_state::half_open);
    EXPECT_FALSE(b.admit(s)) << "one probe at a time";
    b.failed(s);
    EXPECT_FALSE(b.admit(3 * s - 1)) << "two seconds now";
    EXPECT_TRUE(b.admit(3 * s));
    b.failed(3 * s);
    EXPECT_FALSE(b.admit(6 * s - 1)) << "three, the longest";
    EXPECT_TRUE(b.admit(6 * s));
    b.succeeded();
    EXPECT_EQ(b.state(), breaker_state::closed);
    EXPECT_TRUE(b.admit(6 * s));
    b.failed(6 * s);
    EXPECT_TRUE(b.admit(7 * s)) << "back to the first pause";
}

TEST(circuit_breaker, probe_that_was_not_started_is_given_back) {
    circuit_breaker b({.failures = 1, .open_ns = s, .longest_open_ns = s});
    b.failed(0);
    EXPECT_TRUE(b.admit(s));
    b.not_started();
    EXPECT_TRUE(b.admit(s));
}

TEST(circuit_breaker, trip_opens_at_once_and_a_probe_closes_it) {
    circuit_breaker b({.failures = 0, .open_ns = s, .longest_open_ns = 4 * s});
    b.trip(0);
    b.trip(s / 2);
    EXPECT_FALSE(b.admit(s - 1));
    EXPECT_EQ(b.opened(), 1u);
    EXPECT_TRUE(b.admit(s));
    b.failed(s);
    EXPECT_EQ(b.state(), breaker_state::open) << "a failed probe counts where failures alone would not open it";
    EXPECT_EQ(b.opened(), 2u);
    EXPECT_FALSE(b.admit(3 * s - 1));
    EXPECT_TRUE(b.admit(3 * s));
    b.succeeded();
    EXPECT_EQ(b.state(), breaker_state::closed);
}

TEST(circuit_breaker, zero_failures_means_never) {
    circuit_breaker b({.failures = 0, .open_ns = s, .longest_open_ns = s});
    for (int i = 0; i < 1000; ++i) b.failed(0);
    EXPECT_TRUE(b.admit(0));
}

}  // namespace
}  // namespace callgate::host

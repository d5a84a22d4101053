// SPDX-License-Identifier: Apache-2.0
#include "bench/load/fleet.hpp"

#include <gtest/gtest.h>

#include <set>
#include <stdexcept>
#include <utility>

using callgate::load::client_library;
using callgate::load::find_library;
using callgate::load::fleet;

namespace {

constexpr std::int64_t ms = 1'000'000, second = 1000 * ms;

client_library library(std::string_view name) { return find_library(name).value(); }

// Takes the next client, whenever it is due; gives back the time.
std::int64_t next(fleet& f, std::size_t& client) {
    const auto due = f.next_due();
    if (!due) throw std::runtime_error("nobody waits");
    EXPECT_FALSE(f.pop_due(*due - 1)) << "nobody tries early";
    client = f.pop_due(*due).value();
    return *due;
}

}  // namespace

TEST(fleet, knows_three_libraries) {
    EXPECT_FALSE(find_library("nats.py"));
    EXPECT_FALSE(library("nats.go").waits_from_attempt);
    EXPECT_FALSE(library("libnats").waits_from_attempt);
    EXPECT_TRUE(library("nats.js").waits_from_attempt);
    EXPECT_EQ(library("nats.js").timeout_ns, 20 * second);
    EXPECT_EQ(library("nats.go").closed_after, 2u);
}

TEST(fleet, a_storm_of_nats_go_is_spread_over_its_jitter_and_one_of_nats_js_is_not) {
    fleet go(1000, library("nats.go"), 1), js(1000, library("nats.js"), 1);
    go.begin(5 * second);
    js.begin(5 * second);
    std::set<std::int64_t> moments;
    for (std::size_t i = 0; i < 1000; ++i) {
        EXPECT_GE(go.due_of(i), 5 * second);
        EXPECT_LT(go.due_of(i), 5 * second + 100 * ms);
        moments.insert(go.due_of(i) / (10 * ms));
        EXPECT_EQ(js.due_of(i), 5 * second);
    }
    EXPECT_EQ(moments.size(), 10u) << "every tenth of the jitter has clients";
}

TEST(fleet, nats_go_waits_after_the_failure_and_nats_js_after_the_beginning_of_the_attempt) {
    std::size_t client = 0;
    fleet go(1, library("nats.go"), 3);
    go.begin_at(0, 0);
    next(go, client);
    go.failed(client, 1500 * ms);
    EXPECT_GE(go.due_of(0), 3500 * ms);
    EXPECT_LT(go.due_of(0), 3600 * ms);

    fleet js(1, library("nats.js"), 3);
    js.begin(0);
    next(js, client);
    js.failed(client, 1500 * ms);
    EXPECT_GE(js.due_of(0), 2000 * ms);
    EXPECT_LT(js.due_of(0), 2100 * ms);
    next(js, client);
    js.failed(client, 9 * second);
    EXPECT_EQ(js.due_of(0), 9 * second) << "an attempt longer than the wait is followed at once";
}

TEST(fleet, the_second_authorization_error_in_a_row_closes_a_client_for_good) {
    fleet f(2, library("nats.go"), 3);
    f.begin(0);
    std::size_t a = 0, b = 0, again = 0;
    next(f, a);
    next(f, b);
    EXPECT_EQ(f.trying(), 2u);
    EXPECT_FALSE(f.refused(a, second));
    f.entered(b);
    next(f, again);
    ASSERT_EQ(again, a);
    EXPECT_TRUE(f.refused(a, 5 * second));
    EXPECT_EQ(f.state_of(a), fleet::state::closed);
    EXPECT_EQ(f.closed(), 1u);
    EXPECT_EQ(f.in(), 1u);
    EXPECT_FALSE(f.next_due());
    EXPECT_EQ(f.attempts(), 3u);
}

TEST(fleet, other_failures_neither_count_nor_forgive) {
    fleet f(1, library("nats.go"), 3);
    f.begin(0);
    std::size_t c = 0;
    auto now = next(f, c);
    EXPECT_FALSE(f.refused(c, now));
    for (int i = 0; i < 5; ++i) {
        now = next(f, c);
        f.failed(c, now);
    }
    now = next(f, c);
    EXPECT_TRUE(f.refused(c, now)) << "nats.go keeps the last authorization error over a timeout";
}

TEST(fleet, being_in_forgives_and_a_lost_connection_starts_again) {
    fleet f(1, library("nats.go"), 3);
    f.begin(0);
    std::size_t c = 0;
    auto now = next(f, c);
    EXPECT_FALSE(f.refused(c, now));
    now = next(f, c);
    f.entered(c);
    f.lost(c, 60 * second);
    EXPECT_EQ(f.in(), 0u);
    EXPECT_GE(f.due_of(c), 62 * second);
    EXPECT_LT(f.due_of(c), 62 * second + 100 * ms);
    now = next(f, c);
    EXPECT_FALSE(f.refused(c, now)) << "the error before it was in counts no more";

    fleet js(1, library("nats.js"), 3);
    js.begin(0);
    next(js, c);
    js.entered(c);
    js.lost(c, 60 * second);
    EXPECT_EQ(js.due_of(c), 60 * second) << "nats.js dials at once when its last attempt is long ago";
}

TEST(fleet, attempts_that_only_time_out_end_too) {
    for (const auto& [name, attempts] : {std::pair{"nats.js", 10}, std::pair{"nats.go", 60}, std::pair{"libnats", 60}}) {
        fleet f(1, library(name), 3);
        f.begin(0);
        std::size_t c = 0;
        for (int i = 1; i <= attempts; ++i) {
            const auto now = next(f, c);
            EXPECT_EQ(f.failed(c, now), i == attempts) << name << " " << i;
        }
        EXPECT_EQ(f.closed(), 1u) << name;
    }
}

TEST(fleet, without_an_abort_rule_nobody_is_ever_closed) {
    auto endless = library("nats.go");
    endless.closed_after = endless.max_attempts = 0;
    fleet f(1, endless, 3);
    f.begin(0);
    std::size_t c = 0;
    for (int i = 0; i < 100; ++i) {
        const auto now = next(f, c);
        EXPECT_FALSE(f.refused(c, now));
    }
    EXPECT_EQ(f.closed(), 0u);
}

TEST(fleet, ends_of_attempts_that_were_none_are_errors) {
    fleet f(1, library("nats.go"), 3);
    EXPECT_THROW(f.entered(0), std::logic_error);
    EXPECT_THROW(f.failed(0, 0), std::logic_error);
    EXPECT_THROW(f.refused(0, 0), std::logic_error);
    f.begin(0);
    EXPECT_THROW(f.begin_at(0, 0), std::logic_error);
    EXPECT_THROW(f.lost(0, 0), std::logic_error);
    EXPECT_THROW(f.entered(1), std::out_of_range);
}

// SPDX-License-Identifier: Apache-2.0
// Grants from a claim store: found, missing, unavailable, late.
#include <gtest/gtest.h>

#include "engine/flow/flow_test_world.hpp"

namespace callgate::flow {
namespace {

using observe::drop_reason;

struct stored_grants : ::testing::Test, testing::world {
    stored_grants() {
        policy->given.allow = false;
        policy->given.reason_id.clear();
        policy->given.stored = {"main", "grants/alice"};
        store->documents["grants/alice"] = "{}";
    }
    void ask() {
        offer(claims());
        run();
    }
    void expect_denied(std::string_view reason) {
        ASSERT_EQ(links.replies.size(), 1u);
        EXPECT_EQ(response(0).error, "authorization denied");
        ASSERT_EQ(audit.records.size(), 1u);
        EXPECT_EQ(audit.records[0].verdict, "deny");
        EXPECT_EQ(audit.records[0].reason_id, reason);
    }
    void expect_shed(drop_reason why, std::string_view reason) {
        EXPECT_EQ(links.replies.size(), 0u) << "an outage is never a denial";
        EXPECT_EQ(dropped(why), 1u);
        ASSERT_EQ(audit.records.size(), 1u);
        EXPECT_EQ(audit.records[0].verdict, "unavailable");
        EXPECT_EQ(audit.records[0].reason_id, reason);
        clock.advance_ns(1'900'000'000);
        run();
        EXPECT_EQ(links.kicks.size(), 1u);
    }
};

TEST_F(stored_grants, found_document_is_judged_and_granted) {
    ask();
    EXPECT_EQ(store->last_key, "grants/alice");
    EXPECT_EQ(policy->last_document, "{}");
    ASSERT_EQ(links.replies.size(), 1u);
    EXPECT_EQ(user(0).limits.perms.pub.allow, std::vector<std::string>{"a.>"});
    EXPECT_LE(store->last_deadline_ns, clock.mono + 2'000'000'000);
}

TEST_F(stored_grants, missing_document_is_a_denial) {
    store->documents.clear();
    ask();
    expect_denied("no_stored_grant");
}

TEST_F(stored_grants, unusable_document_is_a_denial) {
    store->documents["grants/alice"] = "refuse";
    ask();
    expect_denied("stored_grant_invalid");
}

TEST_F(stored_grants, store_that_is_down_sheds) {
    store->down = true;
    ask();
    expect_shed(drop_reason::backend_unavailable, "store_unavailable");
    EXPECT_NE(audit.records[0].reason.find("store is down"), std::string::npos);
}

TEST_F(stored_grants, store_that_is_not_loaded_sheds) {
    reconfigure([](flow_config& c) { c.stores.clear(); });
    ask();
    expect_shed(drop_reason::backend_unavailable, "store_unavailable");
}

TEST_F(stored_grants, late_answer_finds_nobody) {
    store->hold = true;
    ask();
    ASSERT_EQ(store->open.size(), 1u);
    EXPECT_EQ(links.replies.size(), 0u);
    clock.advance_ns(store->last_deadline_ns - clock.mono + 1);
    run();
    EXPECT_EQ(dropped(drop_reason::out_of_time), 1u);
    store->open[0].second->on_stored(store->open[0].first, store->answer("grants/alice"));
    run();
    EXPECT_EQ(links.replies.size(), 0u);
    EXPECT_EQ(metrics.late_completions.value(), 1u);
}

TEST_F(stored_grants, second_answer_is_counted_and_does_nothing) {
    store->hold = true;
    ask();
    const auto [tag, sink] = store->open[0];
    sink->on_stored(tag, store->answer("grants/alice"));
    sink->on_stored(tag, store->answer("none"));
    run();
    EXPECT_EQ(links.replies.size(), 1u);
    EXPECT_EQ(metrics.late_completions.value(), 1u);
}

TEST_F(stored_grants, grant_into_the_callout_account_is_refused_here_too) {
    policy->given.grant.account = "AUTH";
    reconfigure([&](flow_config& c) { c.accounts["AUTH"] = {"AUTH", c.issuer, false, {}}; });
    ask();
    expect_denied("account_forbidden");
}

}  // namespace
}  // namespace callgate::flow

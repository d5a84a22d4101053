// SPDX-License-Identifier: Apache-2.0
#include "engine/host/audit_sink.hpp"

#include "engine/host/host_fixture.hpp"
#include "engine/host/test_plugins/sink.h"

namespace callgate::host::test {
namespace {

// test_plugins/sink.c behind its queue. The clock stands still until a test moves it.
class audit_sink_test : public host_test {
  protected:
    std::shared_ptr<instance> plugin;
    std::shared_ptr<audit_sink> sink_under_test;
    const test_sink_api* steering = nullptr;
    bool left_behind = false;

    void make(audit_sink::options o = {}) {
        plugin = started(CG_KIND_AUDIT_SINK, "sink");
        ASSERT_TRUE(plugin);
        steering = static_cast<const test_sink_api*>(plugin->plugin()->query(plugin->plugin(), {"test.sink", 9}));
        ASSERT_NE(steering, nullptr);
        auto opened = audit_sink::open(plugin, o);
        ASSERT_TRUE(opened) << opened.error().message();
        sink_under_test = *opened;
    }
    void mode(int m) { steering->set_mode(plugin->plugin(), m); }
    std::shared_ptr<test_sink> look() {
        auto out = std::make_shared<test_sink>();
        steering->look(plugin->plugin(), out.get());
        return out;
    }
    static audit_event_ptr event(const std::string& text) {
        auto e = std::make_shared<audit_event>();
        e->line = text + "\n";
        return e;
    }
    bool offer(const std::string& text, bool strict = false) {
        auto e = event(text);
        if (!sink_under_test->reserve(e->bytes(), strict)) return false;
        sink_under_test->push(std::move(e));
        return true;
    }
    /// Moves the clock, so that what waits for a time gets it.
    bool until(const std::function<bool()>& done, std::int64_t step_ns = 0) {
        return run_until([&] {
            clock.mono += step_ns;
            return done();
        });
    }
    std::optional<bool> close(std::int64_t limit_ns = second_ns, std::int64_t step_ns = 0) {
        std::optional<bool> ended;
        sink_under_test->close(limit_ns, [&](bool e) { ended = e; });
        EXPECT_TRUE(until([&] { return ended.has_value(); }, step_ns));
        return ended;
    }
    void TearDown() override {
        if (!sink_under_test || left_behind) return;
        EXPECT_EQ(close(), true);
        sink_under_test.reset();
        const auto r = retire(plugin);
        EXPECT_TRUE(r) << r.error().message();
    }
};

TEST_F(audit_sink_test, records_arrive_in_order_and_what_it_took_is_counted) {
    make();
    std::string expected;
    for (int i = 0; i < 1000; ++i) {
        expected += std::to_string(i) + "\n";
        ASSERT_TRUE(offer(std::to_string(i)));
    }
    ASSERT_TRUE(until([&] { return look()->events == 1000; }));
    const auto seen = look();
    EXPECT_EQ(std::string(seen->text, seen->size), expected);
    EXPECT_GE(seen->writes, 4) << "no batch above 256";
    EXPECT_EQ(seen->kind, CG_AUDIT_DECISION);
    ASSERT_TRUE(until([&] { return sink_under_test->state().waiting == 0; }));
    const auto s = sink_under_test->state();
    EXPECT_EQ(s.written, 1000u);
    EXPECT_EQ(s.lost, 0u);
    EXPECT_EQ(s.waiting_bytes, 0u);
    EXPECT_EQ(plugin->metrics().faults, 0u);
}

TEST_F(audit_sink_test, what_was_not_taken_is_offered_again_in_order) {
    make();
    mode(TEST_SINK_HOLD);
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(offer(std::to_string(i)));
    // The first write has whatever was there when the thread looked.
    ASSERT_TRUE(until([&] { return look()->writes == 1; }));
    mode(TEST_SINK_HALF);
    steering->let_go(plugin->plugin(), 1);
    ASSERT_TRUE(until([&] { return look()->events >= 9; }, second_ns / 100));
    mode(TEST_SINK_TAKE);
    ASSERT_TRUE(until([&] { return look()->events == 10; }, second_ns / 100));
    const auto seen = look();
    EXPECT_EQ(std::string(seen->text, seen->size), "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n");
}

TEST_F(audit_sink_test, a_full_queue_loses_records_counts_them_and_the_sink_is_told) {
    audit_sink::options o;
    o.queue_bytes = 3 * event("x")->bytes();
    make(o);
    mode(TEST_SINK_HOLD);
    ASSERT_TRUE(offer("x"));
    ASSERT_TRUE(until([&] { return look()->writes == 1; }));
    ASSERT_TRUE(offer("x"));
    ASSERT_TRUE(offer("x"));
    EXPECT_FALSE(offer("x"));
    EXPECT_FALSE(offer("x"));
    EXPECT_EQ(sink_under_test->state().lost, 2u);
    mode(TEST_SINK_TAKE);
    steering->let_go(plugin->plugin(), 1);
    ASSERT_TRUE(until([&] { return look()->events == 3; }));
    ASSERT_TRUE(offer("y"));
    ASSERT_TRUE(until([&] { return look()->events == 4; }));
    EXPECT_EQ(look()->lost, 2u);
}

TEST_F(audit_sink_test, a_failure_keeps_the_records_and_shows_until_it_is_over) {
    make();
    mode(TEST_SINK_FAIL);
    ASSERT_TRUE(offer("a"));
    ASSERT_TRUE(until([&] { return !sink_under_test->state().fault.empty(); }));
    EXPECT_NE(sink_under_test->state().fault.find("disk full"), std::string::npos);
    EXPECT_TRUE(offer("b")) << "there is room to wait in";
    EXPECT_FALSE(offer("c", true)) << "strict: not while it takes nothing";
    mode(TEST_SINK_TAKE);
    ASSERT_TRUE(until([&] { return look()->events == 2; }, second_ns / 1000));
    ASSERT_TRUE(until([&] { return sink_under_test->state().fault.empty(); }));
    const auto seen = look();
    EXPECT_EQ(std::string(seen->text, seen->size), "a\nb\n");
    EXPECT_TRUE(offer("d", true));
}

TEST_F(audit_sink_test, a_stalled_write_is_cancelled_and_shown_and_offering_never_waits) {
    make();
    mode(TEST_SINK_HOLD);
    ASSERT_TRUE(offer("a"));
    ASSERT_TRUE(until([&] { return look()->writes == 1; }));
    EXPECT_TRUE(sink_under_test->state().fault.empty());
    ASSERT_TRUE(until([&] { return look()->cancels == 1; }, second_ns / 5));
    EXPECT_EQ(look()->cancel_reason, CG_CANCEL_DEADLINE);
    ASSERT_TRUE(until([&] { return look()->writes == 2; }, second_ns / 100)) << "it is offered again";
    EXPECT_NE(sink_under_test->state().fault.find("stalled"), std::string::npos) << "a new write does not make it well";
    EXPECT_TRUE(offer("b"));
    mode(TEST_SINK_TAKE);
    steering->let_go(plugin->plugin(), 1);
    ASSERT_TRUE(until([&] { return look()->events == 2; }, second_ns / 100));
    ASSERT_TRUE(until([&] { return sink_under_test->state().fault.empty(); }));
}

TEST_F(audit_sink_test, a_call_that_never_returns_costs_its_thread_and_nothing_else) {
    make();
    mode(TEST_SINK_BLOCK);
    ASSERT_TRUE(offer("a"));
    ASSERT_TRUE(until([&] { return look()->writes == 1; }));
    EXPECT_TRUE(offer("b"));
    clock.mono += 3 * second_ns;
    EXPECT_NE(sink_under_test->state().fault.find("stalled"), std::string::npos) << "seen from outside";
    sink_under_test->announce();
    // close() measures with the real clock what no manual one can.
    EXPECT_EQ(close(second_ns / 100), false);
    EXPECT_EQ(sink_under_test->state().lost, 2u);
    left_behind = true;
    mode(TEST_SINK_TAKE);  // the thread comes back after all
    ASSERT_TRUE(until([&] { return sink_under_test.use_count() == 1; }, second_ns / 10));
    EXPECT_TRUE(retire(plugin));
}

TEST_F(audit_sink_test, more_taken_than_offered_is_a_fault_and_nothing_is_dropped) {
    make();
    mode(TEST_SINK_LIE);
    ASSERT_TRUE(offer("a"));
    ASSERT_TRUE(until([&] { return plugin->metrics().faults >= 1; }));
    mode(TEST_SINK_TAKE);
    ASSERT_TRUE(until([&] { return look()->events == 1; }, second_ns / 5));
}

TEST_F(audit_sink_test, a_refused_write_is_tried_again) {
    make();
    mode(TEST_SINK_REFUSE);
    ASSERT_TRUE(offer("a"));
    ASSERT_TRUE(until([&] { return !sink_under_test->state().fault.empty(); }));
    EXPECT_NE(sink_under_test->state().fault.find("CG_E_BUSY"), std::string::npos);
    mode(TEST_SINK_TAKE);
    ASSERT_TRUE(until([&] { return look()->events == 1; }, second_ns / 5));
}

TEST_F(audit_sink_test, reopen_reaches_the_sink_and_its_failure_comes_back) {
    make();
    const auto ok = await([&](auto then) { sink_under_test->reopen(then); });
    EXPECT_TRUE(ok);
    EXPECT_EQ(look()->reopens, 1);
    mode(TEST_SINK_NO_REOPEN);
    const auto failed = await([&](auto then) { sink_under_test->reopen(then); });
    ASSERT_FALSE(failed);
    EXPECT_NE(failed.error().message().find("the folder is gone"), std::string::npos);
    mode(TEST_SINK_HOLD);
    ASSERT_TRUE(offer("a"));
    ASSERT_TRUE(until([&] { return look()->cancels == 1; }, second_ns / 5));
    ASSERT_TRUE(until([&] { return look()->writes == 2; }, second_ns / 100));
    EXPECT_TRUE(await([&](auto then) { sink_under_test->reopen(then); })) << "a stalled sink does not hold up a reload";
    mode(TEST_SINK_TAKE);
    steering->let_go(plugin->plugin(), 1);
    // The clock may have run past the patience with the second write too, so that it is offered a third time.
    ASSERT_TRUE(until([&] { return look()->reopens == 3 && look()->events == 1; }, second_ns / 100)) << "but it is told";
}

TEST_F(audit_sink_test, close_hands_over_what_waits_and_flushes) {
    make();
    mode(TEST_SINK_HOLD);
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(offer(std::to_string(i)));
    ASSERT_TRUE(until([&] { return look()->writes == 1; }));
    std::optional<bool> ended;
    sink_under_test->close(second_ns, [&](bool e) { ended = e; });
    EXPECT_FALSE(offer("late"));
    mode(TEST_SINK_TAKE);
    steering->let_go(plugin->plugin(), 0);
    ASSERT_TRUE(until([&] { return ended.has_value(); }, second_ns / 100));
    EXPECT_EQ(ended, true);
    EXPECT_EQ(look()->events, 5u);
    EXPECT_EQ(look()->flushes, 1);
    EXPECT_EQ(sink_under_test->state().lost, 1u);
    left_behind = true;
    EXPECT_TRUE(retire(plugin));
}

TEST_F(audit_sink_test, close_gives_up_at_its_limit_and_counts_what_is_left) {
    make();
    mode(TEST_SINK_HOLD);
    ASSERT_TRUE(offer("a"));
    ASSERT_TRUE(offer("b"));
    ASSERT_TRUE(until([&] { return look()->writes == 1; }));
    EXPECT_EQ(close(second_ns, second_ns / 10), true);
    EXPECT_EQ(look()->cancel_reason, CG_CANCEL_SHUTDOWN);
    EXPECT_EQ(sink_under_test->state().lost, 2u);
    left_behind = true;
    EXPECT_TRUE(retire(plugin));
}

TEST_F(audit_sink_test, what_is_no_audit_sink_is_refused) {
    auto store = started(CG_KIND_CLAIM_STORE, "store");
    ASSERT_TRUE(store);
    const auto r = audit_sink::open(store);
    ASSERT_FALSE(r);
    EXPECT_NE(r.error().message().find("it is no audit sink"), std::string::npos);
    EXPECT_TRUE(retire(store));
}

TEST_F(audit_sink_test, there_are_as_many_as_there_are_lanes_and_a_lane_comes_back) {
    auto i = started(CG_KIND_AUDIT_SINK, "sink");
    std::vector<std::uint32_t> lanes;
    for (;;) {
        auto lane = i->loop()->open_lane([] {});
        if (!lane) {
            EXPECT_EQ(lane.error().code, errc::busy);
            break;
        }
        lanes.push_back(*lane);
    }
    EXPECT_EQ(lanes.size(), operation_table::max_lanes);
    EXPECT_FALSE(audit_sink::open(i));
    for (const auto lane : lanes) i->loop()->close_lane(lane);
    EXPECT_TRUE(retire(i));
}

}  // namespace
}  // namespace callgate::host::test

// SPDX-License-Identifier: Apache-2.0
#include "engine/host/event_service.hpp"

#include <thread>

#include "engine/host/services_fixture.hpp"

namespace callgate::host::test {
namespace {

class event_service_test : public capability_test {
  protected:
    const cg_events_api& events = api<cg_events_api>(CG_EXT_EVENTS);
    struct seen {
        std::vector<std::string> all;
        std::uint64_t lost = 0;
        event_service_test* test = nullptr;
        std::uint64_t drop = 0;
        static void fn(void* p, const cg_event* e) {
            auto& s = *static_cast<seen*>(p);
            s.all.push_back(std::to_string(e->kind) + ":" + std::string(view(e->subject)) + ":" + std::string(view(e->text)) + ":" +
                            std::to_string(e->number));
            s.lost += e->lost;
            EXPECT_EQ(e->at_unix_s, 1'800'000'000);
            if (s.drop != 0) {
                EXPECT_EQ(s.test->events.unsubscribe(s.test->host, std::exchange(s.drop, 0)), CG_OK);
            }
        }
    };
};

TEST_F(event_service_test, those_who_asked_are_told_in_order_and_never_inside) {
    seen s, other;
    std::uint64_t id = 0, other_id = 0;
    ASSERT_EQ(events.subscribe(host, CG_EVENTS_BIT(CG_EVENT_CONFIG_RELOADED) | CG_EVENTS_BIT(CG_EVENT_KEY_ROTATED), &seen::fn, &s, &id), CG_OK);
    ASSERT_EQ(events.subscribe(host, CG_EVENTS_BIT(CG_EVENT_SHUTTING_DOWN), &seen::fn, &other, &other_id), CG_OK);
    shared->events->publish({CG_EVENT_CONFIG_RELOADED, "", "", 2});
    shared->events->publish({CG_EVENT_KEY_ROTATED, "local/issuer", "ABC", 2});
    shared->events->publish({CG_EVENT_BACKEND_DEGRADED, "users", "stale", CG_HEALTH_DEGRADED});
    shared->events->publish({31, "", "", 0});
    shared->events->publish({32, "", "", 0});
    EXPECT_TRUE(s.all.empty());
    ASSERT_TRUE(run_until([&] { return s.all.size() == 2; }));
    EXPECT_EQ(s.all, (std::vector<std::string>{"1:::2", "2:local/issuer:ABC:2"}));
    EXPECT_TRUE(other.all.empty());
}

TEST_F(event_service_test, too_many_waiting_are_dropped_counted_and_told) {
    seen s;
    std::uint64_t id = 0;
    ASSERT_EQ(events.subscribe(host, CG_EVENTS_BIT(CG_EVENT_CONFIG_RELOADED), &seen::fn, &s, &id), CG_OK);
    for (std::uint64_t i = 0; i < 70; ++i) shared->events->publish({CG_EVENT_CONFIG_RELOADED, "", "", i});
    ASSERT_TRUE(run_until([&] { return s.all.size() == 64; }));
    EXPECT_EQ(s.lost, 0u);
    EXPECT_EQ(under_test.events().lost(), 6u);
    shared->events->publish({CG_EVENT_CONFIG_RELOADED, "", "", 70});
    ASSERT_TRUE(run_until([&] { return s.all.size() == 65; }));
    EXPECT_EQ(s.lost, 6u) << "the next one says so";
}

TEST_F(event_service_test, nothing_after_unsubscribe_or_stop) {
    seen a, b;
    std::uint64_t first = 0, second = 0;
    a.test = b.test = this;
    ASSERT_EQ(events.subscribe(host, 2, &seen::fn, &a, &first), CG_OK);
    ASSERT_EQ(events.subscribe(host, 2, &seen::fn, &b, &second), CG_OK);
    a.drop = second;
    shared->events->publish({CG_EVENT_CONFIG_RELOADED, "", "", 1});
    ASSERT_TRUE(run_until([&] { return a.all.size() == 1; }));
    EXPECT_TRUE(b.all.empty()) << "taken away by the one before it, of the same event";
    EXPECT_EQ(events.unsubscribe(host, second), CG_E_NOT_FOUND);
    a.drop = first;
    shared->events->publish({CG_EVENT_CONFIG_RELOADED, "", "", 2});
    ASSERT_TRUE(run_until([&] { return a.all.size() == 2; }));
    ASSERT_EQ(events.subscribe(host, 2, &seen::fn, &b, &second), CG_OK);
    shared->events->publish({CG_EVENT_CONFIG_RELOADED, "", "", 3});
    under_test.close();
    for (int i = 0; i < 20; ++i) io.poll_one();
    EXPECT_EQ(a.all.size(), 2u);
    EXPECT_TRUE(b.all.empty());
    EXPECT_EQ(events.subscribe(host, 2, &seen::fn, &b, &second), CG_E_CANCELLED);
}

TEST_F(event_service_test, wrong_subscriptions_are_refused_and_their_number_is_bounded) {
    seen s;
    std::uint64_t id = 0;
    EXPECT_EQ(events.subscribe(host, 0, &seen::fn, &s, &id), CG_E_INVALID);
    EXPECT_EQ(events.subscribe(host, 2, nullptr, &s, &id), CG_E_INVALID);
    EXPECT_EQ(events.subscribe(host, 2, &seen::fn, &s, nullptr), CG_E_INVALID);
    for (int i = 0; i < 8; ++i) ASSERT_EQ(events.subscribe(host, 2, &seen::fn, &s, &id), CG_OK);
    EXPECT_EQ(events.subscribe(host, 2, &seen::fn, &s, &id), CG_E_BUSY);
}

TEST_F(event_service_test, published_by_any_thread_while_instances_come_and_go) {
    seen s;
    std::uint64_t id = 0;
    ASSERT_EQ(events.subscribe(host, 2, &seen::fn, &s, &id), CG_OK);
    auto guard = boost::asio::make_work_guard(io);
    std::thread publisher([&] {
        for (std::uint64_t i = 0; i < 2000; ++i) shared->events->publish({CG_EVENT_CONFIG_RELOADED, "x", "", i});
    });
    for (int i = 0; i < 50; ++i) {
        services other(loop, owner, "other", 0, shared);
        seen t;
        ASSERT_EQ(events.subscribe(other.host(), 2, &seen::fn, &t, &id), CG_OK);
        io.poll_one();
    }
    publisher.join();
    io.restart();
    io.poll();
    EXPECT_EQ(s.all.size() + under_test.events().lost(), 2000u);
}

}  // namespace
}  // namespace callgate::host::test

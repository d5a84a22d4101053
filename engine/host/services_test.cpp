// SPDX-License-Identifier: Apache-2.0
#include "engine/host/services.hpp"

#include <callgate/abi/ext/draft/http_client.h>
#include <callgate/abi/ext/timer.h>

#include <boost/asio/executor_work_guard.hpp>

#include <latch>
#include <thread>

#include "engine/host/services_fixture.hpp"

namespace callgate::host::test {
namespace {

using services_test = capability_test;

TEST_F(services_test, host_says_who_it_is) {
    EXPECT_EQ(host->abi_major, CG_ABI_MAJOR);
    EXPECT_EQ(host->shard_count, 2u);
    EXPECT_EQ(view(host->instance_name), "unit");
    EXPECT_EQ(host->core->now_ns(host), clock.mono);
    EXPECT_EQ(host->core->wall_unix_s(host), 1'800'000'000);
    EXPECT_EQ(host->query(host, to_c("callgate.unknown/1")), nullptr);
    EXPECT_EQ(host->query(host, to_c("callgate.timer/2")), nullptr);
    EXPECT_EQ(host->query(host, cg_str{nullptr, 0}), nullptr);
}

TEST_F(services_test, timers_fire_once_in_order_and_not_after_cancel) {
    const auto& timer = api<cg_timer_api>(CG_EXT_TIMER);
    static std::string fired;
    fired.clear();
    std::uint64_t a = 0, b = 0, c = 0;
    ASSERT_EQ(timer.start(host, 2'000'000, [](void* x) { fired += static_cast<const char*>(x); }, const_cast<char*>("b"), &b), CG_OK);
    ASSERT_EQ(timer.start(host, 0, [](void* x) { fired += static_cast<const char*>(x); }, const_cast<char*>("a"), &a), CG_OK);
    ASSERT_EQ(timer.start(host, 1'000'000, [](void* x) { fired += static_cast<const char*>(x); }, const_cast<char*>("c"), &c), CG_OK);
    EXPECT_EQ(timer.cancel(host, c), CG_OK);
    EXPECT_EQ(timer.cancel(host, c), CG_E_NOT_FOUND);
    ASSERT_TRUE(run_until([] { return fired.size() == 2; }));
    EXPECT_EQ(fired, "ab");
    EXPECT_EQ(timer.cancel(host, a), CG_E_NOT_FOUND);
    EXPECT_EQ(timer.start(host, -1, [](void*) {}, nullptr, &a), CG_E_INVALID);
    EXPECT_EQ(timer.start(host, 1, nullptr, nullptr, &a), CG_E_INVALID);
}

TEST_F(services_test, timers_are_bounded_and_end_with_the_instance) {
    const auto& timer = api<cg_timer_api>(CG_EXT_TIMER);
    std::uint64_t id = 0;
    for (int n = 0; n < 256; ++n) ASSERT_EQ(timer.start(host, INT64_MAX, [](void*) {}, nullptr, &id), CG_OK);
    EXPECT_EQ(timer.start(host, INT64_MAX, [](void*) {}, nullptr, &id), CG_E_BUSY);
    EXPECT_EQ(under_test.close(), 256u);
    EXPECT_EQ(timer.start(host, 0, [](void*) {}, nullptr, &id), CG_E_CANCELLED);
}

TEST_F(services_test, timer_started_by_another_thread_fires_on_control) {
    const auto& timer = api<cg_timer_api>(CG_EXT_TIMER);
    static std::atomic<bool> right_thread;
    static std::atomic<int> fired;
    static std::thread::id control;
    control = std::this_thread::get_id();
    right_thread = true;
    fired = 0;
    auto guard = boost::asio::make_work_guard(io);
    std::thread other([&] {
        for (int n = 0; n < 500; ++n) {
            std::uint64_t id = 0;
            const auto status = timer.start(host, n % 3 * 100'000, [](void*) {
                right_thread = right_thread && std::this_thread::get_id() == control;
                ++fired;
            }, nullptr, &id);
            if (status == CG_E_BUSY) {
                --n;
                std::this_thread::yield();
            } else if (n % 2 == 1 && timer.cancel(host, id) == CG_OK) {
                ++fired;
            }
        }
    });
    ASSERT_TRUE(run_until([] { return fired == 500; }));
    other.join();
    EXPECT_TRUE(right_thread);
}

TEST_F(services_test, snapshot_is_destroyed_when_its_last_reader_left) {
    const auto& snapshot = api<cg_snapshot_api>(CG_EXT_SNAPSHOT);
    static std::atomic<int> destroyed;
    destroyed = 0;
    cg_snapshot_cell* cell = nullptr;
    ASSERT_EQ(snapshot.create(host, [](void* p) { delete static_cast<int*>(p); ++destroyed; }, &cell), CG_OK);
    std::uint32_t pin = 0;
    EXPECT_EQ(snapshot.acquire(cell, &pin), nullptr);
    snapshot.release(cell, pin);
    snapshot.publish(cell, new int(1));
    const auto* one = static_cast<const int*>(snapshot.acquire(cell, &pin));
    EXPECT_EQ(*one, 1);
    snapshot.publish(cell, new int(2));
    EXPECT_EQ(destroyed, 0);
    EXPECT_EQ(*one, 1);
    snapshot.release(cell, pin);
    ASSERT_TRUE(run_until([] { return destroyed == 1; })) << "without another publication";
    snapshot.destroy(cell);
    EXPECT_EQ(destroyed, 2);
    EXPECT_EQ(snapshot.create(host, nullptr, &cell), CG_E_INVALID);
}

TEST_F(services_test, cells_a_plugin_forgot_go_with_the_instance) {
    static std::atomic<int> destroyed;
    destroyed = 0;
    {
        services other(loop, owner, "other", 0);
        const auto& snapshot = api<cg_snapshot_api>(CG_EXT_SNAPSHOT);
        cg_snapshot_cell* cell = nullptr;
        ASSERT_EQ(snapshot.create(other.host(), [](void* p) { delete static_cast<int*>(p); ++destroyed; }, &cell), CG_OK);
        snapshot.publish(cell, new int(1));
    }
    EXPECT_EQ(destroyed, 1);
}

TEST(log_limiter, holds_back_what_is_too_much_and_says_how_much) {
    log_limiter l(3, 10);
    std::uint64_t held = 0;
    for (int n = 0; n < 3; ++n) EXPECT_TRUE(l.admit(1'000'000'000, held));
    for (int n = 0; n < 5; ++n) EXPECT_FALSE(l.admit(1'000'000'000, held));
    EXPECT_TRUE(l.admit(1'100'000'000, held));
    EXPECT_EQ(held, 5u);
    EXPECT_FALSE(l.admit(1'100'000'000, held));
}

TEST_F(services_test, log_lines_cannot_be_forged_by_a_plugin) {
    log::configure(log::level::info, log::format::text);
    testing::internal::CaptureStderr();
    const cg_log_field fields[] = {{to_c("user id=1 x"), to_c("a\nERROR forged")}};
    host->core->log(host, CG_LOG_INFO, to_c("line one\nline two"), fields, 1, sizeof(cg_log_field));
    host->core->log(host, CG_LOG_DEBUG, to_c("below the level"), nullptr, 5, 0);
    const auto out = testing::internal::GetCapturedStderr();
    EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 1);
    EXPECT_NE(out.find("instance=unit"), std::string::npos);
    EXPECT_NE(out.find("user_id_1_x=\"a\\u000aERROR forged\""), std::string::npos) << out;
    EXPECT_EQ(host->core->log_enabled(host, CG_LOG_DEBUG), 0);
    EXPECT_EQ(host->core->log_enabled(host, CG_LOG_WARN), 1);
}

}  // namespace
}  // namespace callgate::host::test

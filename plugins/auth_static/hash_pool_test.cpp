// SPDX-License-Identifier: Apache-2.0
#include "plugins/auth_static/hash_pool.hpp"

#include <callgate/sdk/testing/driver.hpp>
#include <cstring>
#include <future>
#include <gtest/gtest.h>
#include <map>
#include <mutex>
#include <sched.h>

namespace {

using namespace callgate;
using namespace callgate::auth_static;
using namespace std::chrono_literals;
using sdk::test::fake_host;
using sdk::test::result_kind;

struct hash_pool_test : ::testing::Test {
    fake_host host;
    std::promise<void> gate;
    std::shared_future<void> open = gate.get_future().share();
    std::promise<void> entered;
    bool gated = false;
    int policy = -1;
    hash_options options;
    std::unique_ptr<hash_pool> pool;
    std::vector<std::unique_ptr<sdk::test::test_request>> requests;
    password_hash hash;

    void SetUp() override {
        crypto::init();
        // Idle threads may not run at all while the machine is busy.
        options.sched = priority::normal;
        std::string why;
        hash = parse_password_hash(hash_password("right", 8, 1), why).value();
    }
    /// The first job holds its thread until release().
    void start() {
        gated = true;
        pool = std::make_unique<hash_pool>(sdk::host_ref{host.get()}, options, [this](hash_job& job, bool matches) {
            if (gated) {
                gated = false;
                policy = ::sched_getscheduler(0);
                entered.set_value();
                open.wait();
            }
            if (matches)
                sdk::reply_builder{}.allow("u").send(job.op);
            else
                sdk::reply_builder{}.deny("bad_credentials").send(job.op);
        });
        pool->start();
    }
    void release() { gate.set_value(); }
    cg_op submit(const std::string& user, const std::string& client = "192.0.2.1", const char* password = "right",
                 std::chrono::nanoseconds left = 60s) {
        auto& r = *requests.emplace_back(std::make_unique<sdk::test::test_request>());
        r.user = user;
        r.client_host = client;
        const cg_op op = host.begin(result_kind::auth_reply, left);
        pool->submit({sdk::op_handle{host.get(), op}, sdk::request_view{r.fill(host)}, password, hash, nullptr});
        return op;
    }
    cg_op occupy() {
        const cg_op op = submit("first");
        entered.get_future().wait();
        return op;
    }
    std::string outcome(cg_op op) {
        const auto c = host.wait(op).value();
        return c.verdict == CG_VERDICT_ALLOW ? "allow" : (c.verdict == CG_VERDICT_UNAVAILABLE ? "unavailable " : "deny ") + c.reason_id;
    }
};

TEST_F(hash_pool_test, runs_below_everything_else) {
    options.sched = priority::idle;
    start();
    const auto op = occupy();
    release();
    // On a busy machine it takes what it takes.
    while (!host.wait(op)) {}
    EXPECT_EQ(outcome(op), "allow");
    EXPECT_EQ(policy, SCHED_IDLE);
}

TEST_F(hash_pool_test, full_queue_is_unavailable_and_never_a_denial) {
    options.queue = 2;
    start();
    const auto first = occupy();
    const auto a = submit("a"), b = submit("b", "192.0.2.1", "wrong");
    const auto c = submit("c");
    ASSERT_TRUE(host.done(c));
    EXPECT_EQ(outcome(c), "unavailable hash_queue_full");
    release();
    EXPECT_EQ(outcome(first), "allow");
    EXPECT_EQ(outcome(a), "allow");
    EXPECT_EQ(outcome(b), "deny bad_credentials");
}

TEST_F(hash_pool_test, one_user_cannot_take_the_queue) {
    options.per_user = 2;
    start();
    occupy();
    submit("mallory");
    submit("mallory", "192.0.2.2");
    EXPECT_EQ(outcome(submit("mallory", "192.0.2.3")), "unavailable hash_share_of_user");
    const auto alice = submit("alice");
    release();
    EXPECT_EQ(outcome(alice), "allow");
    EXPECT_EQ(outcome(submit("mallory")), "allow") << "the share is given back";
}

TEST_F(hash_pool_test, one_address_cannot_take_the_queue) {
    options.per_host = 3;
    start();
    occupy();
    submit("a");
    submit("b");
    EXPECT_EQ(outcome(submit("c")), "unavailable hash_share_of_host");
    const auto other = submit("c", "198.51.100.9");
    release();
    EXPECT_EQ(outcome(other), "allow");
}

TEST_F(hash_pool_test, waiting_too_long_or_past_the_deadline_is_not_hashed) {
    start();
    occupy();
    const auto late = submit("a", "192.0.2.1", "wrong", 500ms);
    const auto waits = submit("b", "192.0.2.1", "wrong");
    host.advance(700ms);
    const auto fresh = submit("c");
    host.advance(400ms);
    release();
    // Both carry a wrong password: a verdict would be a denial.
    EXPECT_EQ(outcome(late), "unavailable cancelled");
    EXPECT_EQ(outcome(waits), "unavailable hash_wait_too_long");
    EXPECT_EQ(outcome(fresh), "allow");
}

TEST_F(hash_pool_test, deadline_nearer_than_one_hash_is_not_tried_but_not_for_ever) {
    start();
    const auto first = occupy();
    release();
    EXPECT_EQ(outcome(first), "allow");
    EXPECT_EQ(outcome(submit("a", "192.0.2.1", "wrong", 1us)), "unavailable out_of_time");
    int refused = 0;
    while (outcome(submit("a", "192.0.2.1", "right", 1us)) != "allow") ASSERT_LT(++refused, 1000) << "one slow hash turned everybody away";
}

TEST_F(hash_pool_test, cancelled_job_leaves_the_queue_at_once) {
    options.queue = 1;
    start();
    occupy();
    const auto op = submit("a");
    EXPECT_EQ(pool->waiting(), 1u);
    pool->cancel(op);
    ASSERT_TRUE(host.done(op));
    EXPECT_EQ(outcome(op), "unavailable cancelled");
    EXPECT_EQ(pool->waiting(), 0u);
    const auto next = submit("b");
    pool->cancel(12345);
    release();
    EXPECT_EQ(outcome(next), "allow");
}

TEST_F(hash_pool_test, drain_waits_for_what_is_in_flight) {
    start();
    occupy();
    const auto a = submit("a");
    const cg_op drain = host.begin(result_kind::none);
    pool->drain(sdk::op_handle{host.get(), drain});
    EXPECT_FALSE(host.done(drain));
    release();
    EXPECT_EQ(host.wait(drain).value().status, CG_OK);
    EXPECT_TRUE(host.done(a));
    const cg_op again = host.begin(result_kind::none);
    pool->drain(sdk::op_handle{host.get(), again});
    EXPECT_TRUE(host.done(again));
    pool->stop();
    EXPECT_EQ(outcome(submit("late")), "unavailable shutting_down");
}

// Seen from the hash itself: which memory it gets.
TEST_F(hash_pool_test, hashes_in_memory_that_was_there_before) {
    std::mutex mutex;
    std::map<std::string, std::pair<std::uint8_t*, std::size_t>> seen;  // by password
    options.sched = priority::low;
    options.reserve = 2;
    pool = std::make_unique<hash_pool>(
        sdk::host_ref{host.get()}, options, [](hash_job& job, bool) { sdk::reply_builder{}.deny("bad_credentials").send(job.op); },
        [&](const password_hash&, std::string_view password, hash_memory& memory) {
            {
                const std::lock_guard lock(mutex);
                seen[std::string(password)] = {memory.data(), memory.size()};
            }
            if (password == "held") {
                entered.set_value();
                open.wait();
            }
            return false;
        });
    pool->provide_memory(100'000);
    pool->start();
    const auto run = [&](const char* password) {
        EXPECT_EQ(outcome(submit("u", "192.0.2.1", password)), "deny bad_credentials");
        const std::lock_guard lock(mutex);
        return seen.at(password);
    };
    const auto first = run("first");
    EXPECT_GE(first.second, 100'000u);
    pool->provide_memory(50'000);
    EXPECT_EQ(run("second"), first) << "smaller hashes need no other memory";
    const auto held = submit("u", "192.0.2.1", "held");
    entered.get_future().wait();
    // Larger memory comes while a hash works in the old.
    pool->provide_memory(300'000);
    {
        const std::lock_guard lock(mutex);
        std::memset(seen.at("held").first, 1, seen.at("held").second);
    }
    release();
    EXPECT_EQ(outcome(held), "deny bad_credentials");
    EXPECT_GE(run("third").second, 300'000u);
    pool->unmap_outgrown();
    EXPECT_GE(run("fourth").second, 300'000u);
}

}  // namespace

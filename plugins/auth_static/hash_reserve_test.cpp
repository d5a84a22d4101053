// SPDX-License-Identifier: Apache-2.0
// Hashing threads that are never run: they stand still inside the hash, where a scheduler would stop them. The
// clock is the test's, so nothing becomes due by itself. Their priority is low, not idle: on a busy machine the
// tests would otherwise wait for the very fault they are about.
#include <atomic>
#include <callgate/sdk/testing/driver.hpp>
#include <future>
#include <gtest/gtest.h>
#include <map>
#include <pthread.h>
#include <sched.h>

#include "plugins/auth_static/hash_pool.hpp"

namespace {

using namespace callgate;
using namespace callgate::auth_static;
using namespace std::chrono_literals;
using sdk::test::fake_host;
using sdk::test::result_kind;

std::atomic<int> looks{0};  // at the clock, by reserve threads
std::int64_t (*clock_of_host)(const cg_host*) = nullptr;

std::int64_t watched_now_ns(const cg_host* h) noexcept {
    const auto now = clock_of_host(h);
    char name[16] = {};
    ::pthread_getname_np(::pthread_self(), name, sizeof name);
    if (std::string_view(name) == "cg-hash-reserve") {
        ++looks;
        looks.notify_all();
    }
    return now;
}

struct hash_reserve_test : ::testing::Test {
    fake_host host;
    cg_core core = *host.get()->core;
    cg_host watched = *host.get();
    hash_options options;
    password_hash hash;
    std::atomic<bool> starved{true};      // hashing threads stand still in their next hash
    std::atomic<int> standing{0};
    std::chrono::nanoseconds cost{0};     // processor time that a hash of the reserve takes besides its own
    std::mutex mutex;
    std::map<std::string, int> finished, policy;  // by user
    std::vector<std::unique_ptr<sdk::test::test_request>> requests;
    std::unique_ptr<hash_pool> pool;

    void SetUp() override {
        crypto::init();
        std::string why;
        hash = parse_password_hash(hash_password("right", 8, 1), why).value();
        clock_of_host = core.now_ns;
        core.now_ns = watched_now_ns;
        watched.core = &core;
        looks = 0;
        options.sched = priority::low;
    }
    void TearDown() override {
        feed();
        pool.reset();
        EXPECT_EQ(host.faults(), 0);
    }
    void start() {
        pool = std::make_unique<hash_pool>(
            sdk::host_ref{&watched}, options,
            [this](hash_job& job, bool matches) {
                {
                    const std::lock_guard lock(mutex);
                    ++finished[std::string(job.request.user())];
                    policy[std::string(job.request.user())] = ::sched_getscheduler(0);
                }
                if (matches)
                    sdk::reply_builder{}.allow("u").send(job.op);
                else
                    sdk::reply_builder{}.deny("bad_credentials").send(job.op);
            },
            [this](const password_hash& h, std::string_view password, hash_memory& memory) {
                if (starved && ::sched_getscheduler(0) == SCHED_BATCH) {
                    ++standing;
                    standing.notify_all();
                    starved.wait(true);
                }
                if (::sched_getscheduler(0) == SCHED_OTHER) spend(cost);
                return verify_password(h, password, memory);
            });
        pool->start();
    }
    static void spend(std::chrono::nanoseconds processor_time) {
        const auto used = [] {
            timespec t{};
            ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
            return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
        };
        const auto until = used() + processor_time;
        while (processor_time > 0ns && used() < until) {}
    }
    /// The hashing threads run again.
    void feed() {
        starved = false;
        starved.notify_all();
    }
    cg_op submit(const std::string& user, const char* password = "right", std::chrono::nanoseconds left = 60s) {
        auto& r = *requests.emplace_back(std::make_unique<sdk::test::test_request>());
        r.user = user;
        const cg_op op = host.begin(result_kind::auth_reply, left);
        // As the host's memory does, the password goes when the operation is over; here it goes at once.
        std::string text(password);
        pool->submit({sdk::op_handle{host.get(), op}, sdk::request_view{r.fill(host)}, text, hash, nullptr});
        std::fill(text.begin(), text.end(), 'x');
        return op;
    }
    /// A login that a hashing thread has begun to hash and will not end before feed().
    cg_op hold(const std::string& user, const char* password = "right") {
        const int before = standing;
        const cg_op op = submit(user, password);
        standing.wait(before);
        return op;
    }
    std::string outcome(cg_op op) {
        const auto c = host.wait(op).value();
        return c.verdict == CG_VERDICT_ALLOW ? "allow" : (c.verdict == CG_VERDICT_UNAVAILABLE ? "unavailable " : "deny ") + c.reason_id;
    }
    /// Until the reserve has looked at what there is and left it: one look for its report, one to decide, and
    /// the next shows that it has decided.
    static void let_reserve_look() {
        const int until = looks + 3;
        for (int seen = looks; seen < until; seen = looks) looks.wait(seen);
    }
    int policy_of(const std::string& user) {
        const std::lock_guard lock(mutex);
        return policy[user];
    }
};

TEST_F(hash_reserve_test, logins_are_answered_though_no_hashing_thread_runs) {
    options.threads = 2;
    start();
    const auto held = hold("held"), held_too = hold("held too", "wrong");
    const auto waits = submit("waits"), waits_too = submit("waits too", "wrong");
    host.advance(201ms);
    EXPECT_EQ(outcome(held), "allow") << "given up to the reserve while a hashing thread has it";
    EXPECT_EQ(outcome(held_too), "deny bad_credentials");
    EXPECT_EQ(outcome(waits), "allow");
    EXPECT_EQ(outcome(waits_too), "deny bad_credentials");
    for (const auto* user : {"held", "held too", "waits", "waits too"}) EXPECT_EQ(policy_of(user), SCHED_OTHER) << user;
    EXPECT_EQ(pool->taken_by_reserve(), 4u);
    feed();
    pool->stop();
    for (const auto* user : {"held", "held too", "waits", "waits too"}) EXPECT_EQ(finished[user], 1) << user << ": a second verdict is thrown away";
}

TEST_F(hash_reserve_test, without_a_reserve_they_are_not) {
    options.reserve = 0;
    start();
    const auto held = hold("held"), waits = submit("waits");
    host.advance(1100ms);
    EXPECT_FALSE(host.done(held));
    EXPECT_FALSE(host.done(waits));
    feed();
    EXPECT_EQ(outcome(held), "allow");
    EXPECT_EQ(outcome(waits), "unavailable hash_wait_too_long");
}

TEST_F(hash_reserve_test, login_younger_than_the_threshold_is_left_to_the_hashing_threads) {
    start();
    const auto held = hold("held");
    host.advance(100ms);
    const auto fresh = submit("fresh");
    host.advance(100ms);
    EXPECT_EQ(outcome(held), "allow");
    let_reserve_look();
    EXPECT_FALSE(host.done(fresh));
    feed();
    EXPECT_EQ(outcome(fresh), "allow");
    EXPECT_EQ(policy_of("fresh"), SCHED_BATCH);
    EXPECT_EQ(pool->taken_by_reserve(), 1u);
}

TEST_F(hash_reserve_test, login_is_not_hashed_twice_before_twice_the_time_of_a_hash) {
    options.threads = 2;
    cost = 150ms;
    start();
    const auto sample = hold("sample");
    host.advance(201ms);
    EXPECT_EQ(outcome(sample), "allow");
    const auto held = hold("held");
    host.advance(250ms);
    let_reserve_look();
    EXPECT_FALSE(host.done(held));
    // A hash costs 150 ms and what the machine adds.
    host.advance(10s);
    EXPECT_EQ(outcome(held), "allow");
    EXPECT_EQ(policy_of("held"), SCHED_OTHER);
}

TEST_F(hash_reserve_test, every_reserve_thread_stands_by_again_after_its_first_login) {
    options.reserve = 3;
    options.per_user = options.per_host = 256;
    start();
    const auto held = hold("held");
    for (int round = 0; round < 20; ++round) {
        std::vector<cg_op> ops;
        for (int i = 0; i < 5; ++i) ops.push_back(submit("a", i % 2 == 0 ? "right" : "wrong"));
        host.advance(201ms);
        for (int i = 0; i < 5; ++i) EXPECT_EQ(outcome(ops[static_cast<std::size_t>(i)]), i % 2 == 0 ? "allow" : "deny bad_credentials");
    }
    EXPECT_EQ(outcome(held), "allow");
    EXPECT_EQ(pool->taken_by_reserve(), 101u);
}

TEST_F(hash_reserve_test, reserve_hashes_nothing_past_its_deadline_or_max_wait) {
    start();
    const auto held = hold("held", "wrong");
    const auto late = submit("late", "wrong", 100ms), waits = submit("waits", "wrong");
    host.advance(1001ms);
    EXPECT_EQ(outcome(late), "unavailable cancelled");
    EXPECT_EQ(outcome(waits), "unavailable hash_wait_too_long");
    EXPECT_EQ(outcome(held), "deny bad_credentials") << "its turn had come in time";
}

TEST_F(hash_reserve_test, cancelled_login_is_answered_while_its_hash_runs_on) {
    options.per_user = 1;
    start();
    const auto held = hold("alice");
    pool->cancel(held);
    ASSERT_TRUE(host.done(held));
    EXPECT_EQ(outcome(held), "unavailable cancelled");
    const auto again = submit("alice");
    host.advance(201ms);
    EXPECT_EQ(outcome(again), "allow") << "its share is free again";
    feed();
    pool->stop();
    EXPECT_EQ(finished["alice"], 1);
}

TEST_F(hash_reserve_test, drain_ends_when_all_are_answered) {
    start();
    const auto held = hold("held");
    const cg_op drain = host.begin(result_kind::none);
    pool->drain(sdk::op_handle{host.get(), drain});
    EXPECT_FALSE(host.done(drain));
    host.advance(201ms);
    EXPECT_EQ(host.wait(drain).value().status, CG_OK);
    EXPECT_TRUE(host.done(held));
}

TEST_F(hash_reserve_test, says_so_once_a_minute) {
    start();
    hold("held");
    // When a login is answered, the report about the one before it is out.
    const auto two_logins = [&] {
        const auto a = submit("a"), b = submit("b");
        host.advance(201ms);
        EXPECT_EQ(outcome(a) + outcome(b), "allowallow");
    };
    two_logins();
    host.advance(61s);
    two_logins();
    feed();
    pool->stop();
    std::vector<std::string> said;
    for (const auto& l : host.logs())
        if (l.level == sdk::log_level::warn) said.push_back(l.text());
    ASSERT_EQ(said.size(), 2u);
    EXPECT_NE(said[0].find("the reserve hashes at normal priority"), std::string::npos);
    EXPECT_TRUE(said[0].ends_with(" logins=1")) << said[0];
}

}  // namespace

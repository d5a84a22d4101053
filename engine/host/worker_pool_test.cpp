// SPDX-License-Identifier: Apache-2.0
#include "engine/host/worker_pool.hpp"

#include <latch>

#include "engine/host/services_fixture.hpp"

namespace callgate::host::test {
namespace {

class worker_service_test : public capability_test {
  protected:
    const cg_worker_api& worker = api<cg_worker_api>(CG_EXT_WORKER);
    worker_service_test() {
        under_test.workers().begin(false);
        under_test.workers().open();
    }
};

struct record {
    std::atomic<int> ran{0}, done{0};
    std::atomic<std::thread::id> ran_on{};  // one record may serve many jobs
    std::thread::id done_on;
    std::atomic<std::latch*> begun = nullptr;
    std::latch* go = nullptr;
    static void fn(void* p) {
        auto& r = *static_cast<record*>(p);
        r.ran_on = std::this_thread::get_id();
        if (auto* const b = r.begun.load()) b->count_down();
        if (r.go != nullptr) r.go->wait();
        ++r.ran;
    }
    static void finished(void* p) {
        auto& r = *static_cast<record*>(p);
        r.done_on = std::this_thread::get_id();
        ++r.done;
    }
};

TEST_F(worker_service_test, job_runs_elsewhere_and_its_end_is_told_on_control) {
    record r;
    auto guard = boost::asio::make_work_guard(io);
    ASSERT_EQ(worker.run(host, &record::fn, &record::finished, &r), CG_OK);
    ASSERT_TRUE(run_until([&] { return r.done == 1; }));
    EXPECT_EQ(r.ran, 1);
    EXPECT_NE(r.ran_on.load(), std::this_thread::get_id());
    EXPECT_EQ(r.done_on, std::this_thread::get_id());
    EXPECT_EQ(worker.run(host, nullptr, nullptr, nullptr), CG_E_INVALID);
    EXPECT_EQ(under_test.close(), 0u);
    EXPECT_EQ(worker.run(host, &record::fn, nullptr, &r), CG_E_CANCELLED);
}

TEST_F(worker_service_test, jobs_are_bounded_and_a_hanging_instance_leaves_threads_to_others) {
    std::latch begun(8), go(1);
    record stuck;
    stuck.begun = &begun;
    stuck.go = &go;
    for (std::size_t i = 0; i < worker_service::max_jobs; ++i) {
        ASSERT_EQ(worker.run(host, &record::fn, nullptr, &stuck), CG_OK);
        if (i == 7) {
            begun.wait();
            stuck.begun = nullptr;
        }
    }
    EXPECT_EQ(worker.run(host, &record::fn, nullptr, &stuck), CG_E_BUSY);
    services other(loop, owner, "other", 0, shared);
    other.workers().begin(false);
    EXPECT_EQ(worker.run(other.host(), &record::fn, nullptr, &stuck), CG_E_PERMISSION) << "before start";
    other.workers().open();
    record r;
    auto guard = boost::asio::make_work_guard(io);
    ASSERT_EQ(worker.run(other.host(), &record::fn, &record::finished, &r), CG_OK);
    EXPECT_TRUE(run_until([&] { return r.done == 1; })) << "while 8 jobs of another instance hang";
    EXPECT_EQ(stuck.ran, 0);
    std::optional<bool> idle;
    under_test.workers().when_idle(1'000'000, [&](bool i) { idle = i; });
    ASSERT_TRUE(run_until([&] { return idle.has_value(); }));
    EXPECT_FALSE(*idle);
    go.count_down();
    ASSERT_TRUE(run_until([&] { return stuck.ran == 256; }));
    idle.reset();
    under_test.workers().when_idle(20 * second_ns, [&](bool i) { idle = i; });
    ASSERT_TRUE(run_until([&] { return idle.has_value(); }));
    EXPECT_TRUE(*idle);
}

TEST_F(worker_service_test, jobs_left_at_the_end_are_dropped_and_counted) {
    std::latch begun(8), go(1);
    record stuck, never;
    stuck.begun = &begun;
    stuck.go = &go;
    for (int i = 0; i < 8; ++i) ASSERT_EQ(worker.run(host, &record::fn, &record::finished, &stuck), CG_OK);
    begun.wait();
    for (int i = 0; i < 5; ++i) ASSERT_EQ(worker.run(host, &record::fn, &record::finished, &never), CG_OK);
    EXPECT_EQ(under_test.close(), 13u);
    std::optional<bool> idle;
    under_test.workers().when_idle(20 * second_ns, [&](bool i) { idle = i; });
    go.count_down();
    ASSERT_TRUE(run_until([&] { return idle.has_value(); }));
    io.poll();
    EXPECT_EQ(never.ran, 0);
    EXPECT_EQ(stuck.ran, 8);
    EXPECT_EQ(stuck.done, 0) << "nothing of a stopped plugin is called";
}

TEST(worker_queue, urgent_jobs_overtake_where_they_may) {
    auto pool = std::make_shared<worker_pool>();
    auto queue = std::make_shared<worker_queue>(pool, 1, true), serial = std::make_shared<worker_queue>(pool, 1, false);
    std::latch go(1), begun(2), overtaken(1);
    std::atomic<bool> first_over{false}, early{false};
    ASSERT_TRUE(queue->push({[&] { begun.count_down(); go.wait(); }}));
    ASSERT_TRUE(serial->push({[&] { begun.count_down(); go.wait(); first_over = true; }}));
    begun.wait();
    ASSERT_TRUE(queue->push({[&] { overtaken.count_down(); }}, true));
    ASSERT_TRUE(serial->push({[&] { early = !first_over; }}, true));
    overtaken.wait();
    go.count_down();
    std::latch idle(2);
    for (auto& q : {queue, serial}) q->when_idle([&] { idle.count_down(); });
    idle.wait();
    std::latch last(1);
    ASSERT_TRUE(serial->push({[&] { last.count_down(); }}));
    last.wait();
    EXPECT_FALSE(early);
    queue->close();
    EXPECT_FALSE(queue->push({[] {}}));
}

class blocking_plugin_test : public host_test {};

TEST_F(blocking_plugin_test, is_called_on_a_worker_without_a_shard_state) {
    auto i = started(CG_KIND_AUTH_BACKEND, "may_block");
    ASSERT_TRUE(i);
    EXPECT_EQ(answer(*i, "where").reason_id, "on_worker");
    EXPECT_EQ(answer(*i, "refuse").reason_id, "backend_error");
    EXPECT_TRUE(retire(i));
    EXPECT_EQ(pinned_request::alive, 0);
}

TEST_F(blocking_plugin_test, overlaps_unless_it_is_serial) {
    auto i = started(CG_KIND_AUTH_BACKEND, "may_block");
    ASSERT_TRUE(i);
    ask(*i, "meet", 1);
    ask(*i, "meet", 2);
    ASSERT_TRUE(run_until([&] { return sink.answers == 2; }));
    EXPECT_EQ(sink.results[1].reason_id, "met");
    EXPECT_TRUE(retire(i));

    auto s = started(CG_KIND_AUTH_BACKEND, "serial");
    ASSERT_TRUE(s);
    for (flow::request_tag t = 10; t < 60; ++t) ask(*s, "alone", t, 100 * second_ns);
    ASSERT_TRUE(run_until([&] { return sink.answers == 52; }));
    for (flow::request_tag t = 10; t < 60; ++t) EXPECT_EQ(sink.results[t].reason_id, "alone");
    EXPECT_EQ(answer(*s, "where").reason_id, "on_worker");
    EXPECT_TRUE(retire(s));
}

TEST_F(blocking_plugin_test, that_hangs_costs_deadlines_and_not_the_shard) {
    auto i = started(CG_KIND_AUTH_BACKEND, "may_block");
    ASSERT_TRUE(i);
    // Eight hang, the ninth waits for a thread.
    for (flow::request_tag t = 1; t <= 9; ++t) ask(*i, "block", t);
    EXPECT_EQ(sink.answers, 0) << "authenticate came back at once";
    clock.mono += 2 * second_ns;
    host->expire(0, clock.mono);
    EXPECT_EQ(sink.answers, 9);
    for (flow::request_tag t = 1; t <= 9; ++t) EXPECT_EQ(sink.results[t].reason_id, "backend_timeout");
    // expire() has told the plugin, which unblocks; what waited is never handed over.
    ASSERT_TRUE(run_until([&] { return i->metrics().in_flight == 0; }));
    EXPECT_EQ(i->metrics().late, 9u);
    EXPECT_EQ(i->metrics().faults, 0u);
    EXPECT_EQ(pinned_request::alive, 0);
    EXPECT_TRUE(retire(i));
}

TEST_F(blocking_plugin_test, calls_that_wait_when_it_stops_are_ended_and_those_inside_are_waited_for) {
    auto i = started(CG_KIND_AUTH_BACKEND, "serial");
    ASSERT_TRUE(i);
    ask(*i, "block", 1, 100 * second_ns);
    ask(*i, "block", 2, 100 * second_ns);
    // Its drain says at once that all is done, which is wrong; stop waits behind the first call until the cancel comes.
    std::optional<result<void>> gone;
    host->retire(i, 5 * second_ns, [this](std::uint32_t, std::function<void()> f) { boost::asio::post(io, std::move(f)); },
                 [&](result<void> r) { gone = std::move(r); });
    ASSERT_TRUE(run_until([&] { return sink.results.count(2) == 1; }));
    EXPECT_EQ(sink.results[2].reason_id, "backend_error");
    EXPECT_FALSE(gone);
    host->expire(0, clock.mono + 101 * second_ns);  // the clock of stop's own deadline stands still
    ASSERT_TRUE(run_until([&] { return gone.has_value(); }));
    EXPECT_TRUE(*gone);
}

TEST_F(blocking_plugin_test, unknown_flags_and_thread_models_are_refused) {
    for (const auto* plugin : {"odd_flags", "odd_threads"}) {
        folder.add(plugin);
        const auto i = host->make_instance(CG_KIND_AUTH_BACKEND, {.name = "x", .plugin = plugin});
        ASSERT_FALSE(i);
        EXPECT_NE(i.error().message().find("thread model or flags that this callgate does not know"), std::string::npos) << i.error().message();
    }
}

}  // namespace
}  // namespace callgate::host::test

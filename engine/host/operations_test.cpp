// SPDX-License-Identifier: Apache-2.0
#include "engine/host/operations.hpp"

#include <condition_variable>
#include <latch>
#include <thread>

#include "engine/host/host_fixture.hpp"

namespace callgate::host::test {
namespace {

class operations_test : public host_test {};

TEST_F(operations_test, inline_completion_is_delivered_inside_authenticate) {
    auto i = started(CG_KIND_AUTH_BACKEND, "good");
    ASSERT_TRUE(i);
    ask(*i, "sync", 7);
    ASSERT_EQ(sink.results.count(7), 1u) << "before anything else ran";
    const auto& r = sink.results[7];
    EXPECT_EQ(r.verdict, CG_VERDICT_ALLOW);
    EXPECT_EQ(r.reason_id, "ok");
    EXPECT_EQ(r.cache_ttl_s, 30u);
    ASSERT_TRUE(r.who);
    EXPECT_EQ(r.who->backend, "under_test");
    EXPECT_EQ(r.who->issuer, "test");
    EXPECT_EQ(r.who->subject, "sync");
    EXPECT_EQ(r.who->attributes_json, "{\"team\":\"blue\"}");
    EXPECT_EQ(r.who->credential_exp, 1900000000);
    EXPECT_EQ(r.who->revocation_handles, (std::vector<std::string>{"h1", "h2"}));
    EXPECT_FALSE(r.grant);
    ASSERT_EQ(r.explain.size(), 2u);
    EXPECT_EQ(r.explain[1].first, "check");
    EXPECT_EQ(r.explain[1].second, "right");
    EXPECT_EQ(pinned_request::alive, 0) << "the request's memory is not held longer than the operation";
    EXPECT_TRUE(retire(i));
}

TEST_F(operations_test, completion_from_another_thread_arrives_on_the_shard) {
    auto i = started(CG_KIND_AUTH_BACKEND, "good");
    ASSERT_TRUE(i);
    ask(*i, "async", 7);
    EXPECT_EQ(sink.results.count(7), 0u) << "only by drain";
    EXPECT_EQ(pinned_request::alive, 1);
    ASSERT_TRUE(run_until([&] { return sink.results.count(7) == 1; }));
    EXPECT_EQ(sink.results[7].who->subject, "async");
    EXPECT_EQ(pinned_request::alive, 0);
    EXPECT_EQ(i->metrics().in_flight, 0u);
    EXPECT_EQ(i->metrics().completed, 2u) << "start and this one";
    EXPECT_TRUE(retire(i));
}

TEST_F(operations_test, every_verdict_and_failure_reads_as_it_should) {
    auto i = started(CG_KIND_AUTH_BACKEND, "good");
    ASSERT_TRUE(i);
    auto r = answer(*i, "deny");
    EXPECT_EQ(r.verdict, CG_VERDICT_DENY);
    EXPECT_EQ(r.reason_id, "wrong_password");
    EXPECT_EQ(r.reason, "because the test says so");
    EXPECT_EQ(answer(*i, "something else").verdict, CG_VERDICT_ABSTAIN);
    r = answer(*i, "error");
    EXPECT_EQ(r.verdict, CG_VERDICT_UNAVAILABLE);
    EXPECT_EQ(r.reason_id, "backend_error");
    EXPECT_EQ(r.reason, "CG_E_UNAVAILABLE: directory is down");
    r = answer(*i, "refuse");
    EXPECT_EQ(r.verdict, CG_VERDICT_UNAVAILABLE);
    EXPECT_EQ(r.reason_id, "backend_refused");
    r = answer(*i, "grant");
    ASSERT_TRUE(r.grant);
    EXPECT_EQ(r.grant->what.account, "APP");
    EXPECT_EQ(r.grant->what.pub_allow, (std::vector<std::string>{"a.>", "b"}));
    ASSERT_TRUE(r.grant->what.resp);
    EXPECT_EQ(r.grant->what.resp->max, 3);
    EXPECT_EQ(answer(*i, "scratch").who->subject, "from scratch");
    EXPECT_EQ(answer(*i, "release").reason_id, "released");
    EXPECT_EQ(answer(*i, "time").reason_id, "in_time");
    EXPECT_EQ(i->metrics().faults, 0u);
    EXPECT_TRUE(retire(i));
}

TEST_F(operations_test, unusable_replies_are_faults_and_read_as_unavailable) {
    auto i = started(CG_KIND_AUTH_BACKEND, "good");
    ASSERT_TRUE(i);
    std::uint64_t faults = 0;
    for (const char* bad : {"no_identity", "bad_reason", "no_result", "huge"}) {
        const auto r = answer(*i, bad);
        EXPECT_EQ(r.verdict, CG_VERDICT_UNAVAILABLE) << bad;
        EXPECT_EQ(r.reason_id, "backend_contract") << bad;
        EXPECT_FALSE(r.who) << bad;
        EXPECT_EQ(i->metrics().faults, ++faults) << bad;
    }
    EXPECT_TRUE(retire(i));
}

TEST_F(operations_test, second_completion_is_counted_and_does_nothing) {
    auto i = started(CG_KIND_AUTH_BACKEND, "good");
    ASSERT_TRUE(i);
    EXPECT_EQ(answer(*i, "twice").who->subject, "first");
    EXPECT_EQ(i->metrics().faults, 1u);
    EXPECT_EQ(answer(*i, "twice_async").verdict, CG_VERDICT_ALLOW);
    ASSERT_TRUE(run_until([&] { return i->metrics().faults == 2; }));
    EXPECT_EQ(answer(*i, "complete_and_refuse").who->subject, "first") << "the completion stands";
    EXPECT_EQ(sink.answers, 3);
    EXPECT_EQ(i->metrics().in_flight, 0u);
    EXPECT_TRUE(retire(i));
}

TEST_F(operations_test, overdue_request_is_answered_at_its_deadline_and_stays_pinned) {
    auto i = started(CG_KIND_AUTH_BACKEND, "good");
    ASSERT_TRUE(i);
    const auto before = clock.mono.load();
    ask(*i, "never", 7, second_ns);
    EXPECT_EQ(host->next_deadline(0), before + second_ns);
    host->expire(0, before + second_ns - 1);
    EXPECT_EQ(sink.answers, 0);
    clock.mono = before + second_ns;
    host->expire(0, clock.mono);
    ASSERT_EQ(sink.results.count(7), 1u);
    EXPECT_EQ(sink.results[7].verdict, CG_VERDICT_UNAVAILABLE);
    EXPECT_EQ(sink.results[7].reason_id, "backend_timeout");
    EXPECT_EQ(host->next_deadline(0), clock.mono + 10 * second_ns) << "the watchdog's";
    EXPECT_EQ(i->metrics().overdue, 1u);
    EXPECT_EQ(i->metrics().in_flight, 1u) << "the plugin still owes an answer";
    EXPECT_EQ(pinned_request::alive, 1) << "and may still read the request";
    EXPECT_TRUE(retire(i));
    EXPECT_EQ(pinned_request::alive, 0) << "stop ended it";
    EXPECT_EQ(sink.answers, 1);
}

TEST_F(operations_test, late_completion_after_cancel_is_counted_and_dropped) {
    auto i = started(CG_KIND_AUTH_BACKEND, "good");
    ASSERT_TRUE(i);
    ask(*i, "late", 7, second_ns);
    clock.mono += second_ns;
    host->expire(0, clock.mono);
    EXPECT_EQ(sink.results[7].reason_id, "backend_timeout");
    ASSERT_TRUE(run_until([&] { return i->metrics().late == 1 && i->metrics().in_flight == 0; })) << "cancel made the plugin complete";
    EXPECT_EQ(sink.answers, 1);
    EXPECT_EQ(i->metrics().faults, 0u);
    EXPECT_EQ(pinned_request::alive, 0);
    EXPECT_TRUE(retire(i));
}

TEST_F(operations_test, instance_timeout_shortens_the_deadline) {
    auto i = started(CG_KIND_AUTH_BACKEND, "good", {.timeout_ns = second_ns / 10});
    ASSERT_TRUE(i);
    ask(*i, "never", 7, second_ns);
    EXPECT_EQ(host->next_deadline(0), clock.mono + second_ns / 10);
    ask(*i, "sync", 8, 0);
    EXPECT_EQ(sink.results[8].reason_id, "backend_timeout") << "no time left at all";
    EXPECT_TRUE(retire(i));
}

TEST_F(operations_test, cap_on_requests_in_flight_holds_until_the_plugin_completes) {
    auto i = started(CG_KIND_AUTH_BACKEND, "good", {.max_in_flight = 3, .watchdog = {.max_owed = 3}});
    ASSERT_TRUE(i);
    for (flow::request_tag t = 1; t <= 3; ++t) ask(*i, "never", t);
    ask(*i, "sync", 4);
    EXPECT_EQ(sink.results[4].reason_id, "backend_busy");
    EXPECT_EQ(sink.results[4].verdict, CG_VERDICT_UNAVAILABLE);
    clock.mono += second_ns;
    host->expire(0, clock.mono);
    EXPECT_EQ(sink.answers, 4);
    ask(*i, "sync", 5);
    EXPECT_EQ(sink.results[5].reason_id, "backend_busy") << "overdue operations still count";
    const auto healthy = await([&](auto then) { i->health(second_ns, [then](result<health_report> h) { then(h ? result<void>() : h.error()); }); });
    EXPECT_TRUE(healthy) << "life cycle calls are not held up";
    EXPECT_TRUE(retire(i));
}

TEST_F(operations_test, breaker_refuses_at_once_and_recovers_by_a_probe) {
    instance_options o;
    o.breaker = {.failures = 3, .open_ns = second_ns, .longest_open_ns = second_ns};
    auto i = started(CG_KIND_AUTH_BACKEND, "good", o);
    ASSERT_TRUE(i);
    for (int n = 0; n < 3; ++n) EXPECT_EQ(answer(*i, "error").reason_id, "backend_error");
    EXPECT_EQ(i->breaker().state(), breaker_state::open);
    EXPECT_EQ(answer(*i, "sync").reason_id, "backend_unavailable");
    clock.mono += second_ns;
    EXPECT_EQ(answer(*i, "refuse").reason_id, "backend_refused") << "the probe";
    EXPECT_EQ(answer(*i, "sync").reason_id, "backend_unavailable");
    clock.mono += second_ns;
    EXPECT_EQ(answer(*i, "sync").verdict, CG_VERDICT_ALLOW);
    EXPECT_EQ(i->breaker().state(), breaker_state::closed);
    EXPECT_EQ(i->metrics().refused(refusal::breaker_open), 2u);
    EXPECT_EQ(i->metrics().refused(), 2u);
    EXPECT_TRUE(retire(i));
}

TEST_F(operations_test, more_overdue_operations_than_allowed_open_the_breaker) {
    instance_options o;
    o.max_in_flight = 8;
    o.breaker = {.failures = 100, .open_ns = second_ns, .longest_open_ns = second_ns};
    o.watchdog = {.max_owed = 2};
    auto i = started(CG_KIND_AUTH_BACKEND, "good", o);
    ASSERT_TRUE(i);
    for (flow::request_tag t = 1; t <= 3; ++t) ask(*i, "never", t, static_cast<std::int64_t>(t) * second_ns / 10);
    for (int n = 0; n < 2; ++n) {
        clock.mono += second_ns / 10;
        host->expire(0, clock.mono);
    }
    EXPECT_EQ(i->metrics().owed, 2u);
    EXPECT_EQ(i->breaker().state(), breaker_state::closed);
    EXPECT_EQ(i->seen().state, CG_HEALTH_OK);
    EXPECT_EQ(answer(*i, "sync").verdict, CG_VERDICT_ALLOW);
    clock.mono += second_ns / 10;
    host->expire(0, clock.mono);
    EXPECT_EQ(i->breaker().state(), breaker_state::open) << "the third, though the failures were no 100 in a row";
    EXPECT_EQ(i->seen().state, CG_HEALTH_DOWN);
    EXPECT_EQ(i->seen().text, "owes 3 overdue completions; its breaker is open: one request in a while is tried");
    EXPECT_EQ(answer(*i, "sync").reason_id, "backend_unavailable");
    clock.mono += second_ns;
    EXPECT_EQ(answer(*i, "sync").verdict, CG_VERDICT_ALLOW) << "the probe";
    EXPECT_EQ(i->breaker().state(), breaker_state::closed);
    EXPECT_EQ(i->seen().state, CG_HEALTH_DEGRADED) << "it serves, and still owes";
    EXPECT_TRUE(retire(i));
    EXPECT_EQ(i->metrics().owed, 0u);
}

TEST_F(operations_test, operation_that_is_overdue_for_too_long_opens_the_breaker_once) {
    instance_options o;
    o.breaker = {.failures = 100, .open_ns = second_ns, .longest_open_ns = second_ns};
    o.watchdog = {.max_age_ns = 5 * second_ns};
    auto i = started(CG_KIND_AUTH_BACKEND, "good", o);
    ASSERT_TRUE(i);
    ask(*i, "never", 1);
    clock.mono += second_ns;
    host->expire(0, clock.mono);
    EXPECT_EQ(host->next_deadline(0), clock.mono + 5 * second_ns) << "somebody looks again then";
    EXPECT_EQ(i->seen().state, CG_HEALTH_OK);
    clock.mono += 5 * second_ns;
    host->expire(0, clock.mono);
    EXPECT_EQ(i->metrics().stuck, 1u);
    EXPECT_EQ(i->breaker().state(), breaker_state::open);
    EXPECT_EQ(i->seen().text, "owes 1 overdue completion, 1 of them for longer than 5000 ms; its breaker is open: one request in a while is tried");
    EXPECT_EQ(host->next_deadline(0), INT64_MAX);
    clock.mono += second_ns;
    EXPECT_EQ(answer(*i, "sync").verdict, CG_VERDICT_ALLOW);
    clock.mono += 60 * second_ns;
    host->expire(0, clock.mono);
    EXPECT_EQ(i->breaker().state(), breaker_state::closed) << "one operation trips it once";
    EXPECT_EQ(i->breaker().opened(), 1u);
    EXPECT_EQ(i->seen().state, CG_HEALTH_DEGRADED);
    EXPECT_EQ(sink.answers, 2) << "and is answered once";
    EXPECT_TRUE(retire(i));
    EXPECT_EQ(i->metrics().stuck, 0u);
}

TEST_F(operations_test, late_completion_pays_what_was_owed) {
    auto i = started(CG_KIND_AUTH_BACKEND, "good");
    ASSERT_TRUE(i);
    ask(*i, "late", 7);
    clock.mono += second_ns;
    host->expire(0, clock.mono);
    ASSERT_TRUE(run_until([&] { return i->metrics().in_flight == 0; }));
    EXPECT_EQ(i->metrics().owed, 0u);
    clock.mono += 60 * second_ns;
    host->expire(0, clock.mono);
    EXPECT_EQ(i->metrics().stuck, 0u);
    EXPECT_EQ(host->next_deadline(0), INT64_MAX);
    EXPECT_EQ(i->seen().state, CG_HEALTH_OK);
    EXPECT_TRUE(retire(i));
}

TEST_F(operations_test, instance_whose_cap_is_full_of_overdue_operations_is_down) {
    instance_options o;
    o.max_in_flight = 1;
    o.breaker.failures = 0;
    auto i = started(CG_KIND_AUTH_BACKEND, "good", o);
    ASSERT_TRUE(i);
    ask(*i, "never", 1);
    clock.mono += second_ns;
    host->expire(0, clock.mono);
    EXPECT_EQ(i->seen().state, CG_HEALTH_DOWN);
    EXPECT_EQ(answer(*i, "sync").reason_id, "backend_busy");
    EXPECT_EQ(i->metrics().refused(refusal::busy), 1u);
    EXPECT_TRUE(retire(i));
}

TEST_F(operations_test, exception_is_the_error_of_its_request_only) {
    auto raw = started(CG_KIND_AUTH_BACKEND, "throws_raw");
    ASSERT_TRUE(raw);
    const auto refused = answer(*raw, "throw");
    EXPECT_EQ(refused.verdict, CG_VERDICT_UNAVAILABLE);
    EXPECT_EQ(refused.reason, "the backend refused the request: CG_E_INTERNAL");
    EXPECT_EQ(answer(*raw, "other").reason_id, "not_thrown");
    EXPECT_EQ(raw->metrics().faults, 1u);
    EXPECT_EQ(raw->metrics().in_flight, 0u);
    EXPECT_TRUE(retire(raw));
}

TEST_F(operations_test, exception_in_create_or_start_is_an_error) {
    folder.add("throws_raw");
    const auto refused = host->make_instance(CG_KIND_AUTH_BACKEND, {.name = "raw", .plugin = "throws_raw", .config_json = R"({"throw":"create"})"});
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message().find("configuration: failed with CG_E_INTERNAL"), std::string::npos) << refused.error().message();
    auto i = made(CG_KIND_AUTH_BACKEND, "throws_raw", {.name = "raw", .config_json = R"({"throw":"start"})"});
    ASSERT_TRUE(i);
    const auto r = await([&](auto then) { i->start(second_ns, then); });
    ASSERT_FALSE(r);
    EXPECT_NE(r.error().message().find("start: was refused by the plugin with CG_E_INTERNAL"), std::string::npos) << r.error().message();
    EXPECT_TRUE(retire(i));
}

TEST_F(operations_test, forgotten_shard_gets_no_answers_any_more) {
    auto i = started(CG_KIND_AUTH_BACKEND, "good");
    ASSERT_TRUE(i);
    ask(*i, "never", 1);
    ask(*i, "async", 2);
    host->forget(0);
    ASSERT_TRUE(run_until([&] { return i->metrics().late + i->metrics().completed == 2; }));
    EXPECT_TRUE(retire(i));
    EXPECT_EQ(sink.answers, 0);
}

TEST_F(operations_test, handles_of_finished_operations_stay_harmless) {
    operation_table table(1, clock, [](std::uint32_t) {});
    operation_owner owner({}, 10), other({}, 10);
    struct body final : operation_body {
        taken take(const cg_completion&) override { return taken::ok; }
        void deliver() override {}
        void fail(cg_status) override {}
    };
    cg_op kept = 0;
    ASSERT_TRUE(table.run(0, owner, INT64_MAX, operation_table::weight::counts, std::make_unique<body>(), [&](cg_op op) {
        kept = op;
        EXPECT_EQ(table.time_left_ns(owner, op), INT64_MAX);
        EXPECT_FALSE(table.is_cancelled(owner, op));
        EXPECT_EQ(table.time_left_ns(other, op), 0) << "of another instance";
        EXPECT_EQ(table.scratch(other, op, 1, 1), nullptr);
        EXPECT_EQ(table.scratch(owner, op, 1, 3), nullptr) << "no power of two";
        EXPECT_EQ(table.scratch(owner, op, 1, 128), nullptr);
        return CG_OK;
    }));
    cg_completion c{};
    c.struct_size = sizeof c;
    EXPECT_EQ(table.complete(other, kept, &c), CG_E_NOT_FOUND);
    EXPECT_EQ(table.complete(owner, kept, &c), CG_OK);
    table.drain(0);
    for (const cg_op op : {kept, cg_op{0}, ~cg_op{0}, kept + 1, kept ^ (cg_op{1} << 24), kept + (cg_op{1} << 40)}) {
        EXPECT_EQ(table.complete(owner, op, &c), CG_E_NOT_FOUND) << op;
        EXPECT_EQ(table.time_left_ns(owner, op), 0);
        EXPECT_TRUE(table.is_cancelled(owner, op));
        EXPECT_EQ(table.scratch(owner, op, 1, 1), nullptr);
    }
    EXPECT_EQ(owner.metrics.in_flight, 0u);
}

// Shards, a plugin thread that completes, and deadlines all at once. Under ThreadSanitizer this is the proof.
TEST(operations_stress, every_request_is_answered_once_on_its_own_thread) {
    constexpr std::uint32_t shards = 3;
    constexpr int each = 3000;
    boost::asio::io_context io;
    test_clock clock;
    plugin_folder folder;
    folder.add("good");
    struct wake_flag {
        std::mutex mutex;
        std::condition_variable changed;
        bool set = false;
        void raise() {
            const std::lock_guard lock(mutex);
            set = true;
            changed.notify_one();
        }
        void wait() {
            std::unique_lock lock(mutex);
            changed.wait(lock, [&] { return set; });
            set = false;
        }
    };
    std::vector<wake_flag> wakes(shards);
    plugin_host::options o;
    o.shards = shards;
    o.libraries.directories = {folder.path()};
    o.libraries.probe.command = {TEST_PROBE, "plugin-probe"};
    o.wake = [&](std::uint32_t s) { wakes[s].raise(); };
    plugin_host host(io, clock, std::move(o));
    instance_options io_options;
    io_options.name = "stress";
    io_options.plugin = "good";
    io_options.max_in_flight = 100'000;
    io_options.breaker.failures = 0;
    auto made = host.make_instance(CG_KIND_AUTH_BACKEND, io_options);
    ASSERT_TRUE(made) << made.error().message();
    auto i = *made;
    bool up = false;
    i->start(second_ns, [&](result<void> r) { up = static_cast<bool>(r); });
    while (!up) io.run_one();

    struct counting_sink final : flow::completion_sink {
        std::thread::id mine = std::this_thread::get_id();
        std::vector<int> answers = std::vector<int>(each, 0);
        int total = 0, timeouts = 0;
        bool foreign = false;
        void on_auth(flow::request_tag tag, flow::auth_result&& r) override {
            foreign = foreign || std::this_thread::get_id() != mine;
            ++answers[tag];
            ++total;
            timeouts += r.reason_id == "backend_timeout";
        }
        void on_signed(std::unique_ptr<flow::sign_job>) override {}
        void on_shared(flow::request_tag, result<crypto::secret>) override {}
    };
    std::atomic<int> timeouts{0};
    std::latch drained(shards);
    std::vector<std::thread> threads;
    for (std::uint32_t s = 0; s < shards; ++s)
        threads.emplace_back([&, s] {
            counting_sink sink;
            EXPECT_TRUE(i->attach(s));
            for (int n = 0; n < each; ++n) {
                static constexpr const char* tokens[] = {"async", "sync", "late", "twice_async"};
                boost::intrusive_ptr<const pinned_request> memory(new pinned_request(s == 0 ? tokens[n % 4] : tokens[n % 2]));
                i->auth()->authenticate(s, memory->request, memory, clock.mono + 1000, static_cast<flow::request_tag>(n), sink);
                host.drain(s);
                if (n % 64 == 0) {
                    clock.mono += 400;
                    host.expire(s, clock.mono);
                }
            }
            while (sink.total < each) {
                clock.mono += 2000;
                host.expire(s, clock.mono);
                host.drain(s);
                if (sink.total < each) wakes[s].wait();
            }
            EXPECT_FALSE(sink.foreign);
            EXPECT_EQ(std::count(sink.answers.begin(), sink.answers.end(), 1), each);
            timeouts += sink.timeouts;
            drained.count_down();
            // The shard lives on while late completions come in.
            while (i->metrics().in_flight != 0) {
                host.drain(s);
                std::this_thread::yield();
            }
        });
    for (auto& t : threads) t.join();
    EXPECT_EQ(static_cast<std::uint64_t>(timeouts), i->metrics().overdue + i->metrics().refused())
        << "rejected: another shard moved the clock past the deadline before the plugin was called";
    EXPECT_EQ(i->metrics().late, i->metrics().overdue);
    EXPECT_EQ(pinned_request::alive, 0);
    std::optional<result<void>> gone;
    host.retire(i, second_ns, [&](std::uint32_t, std::function<void()> f) { boost::asio::post(io, f); }, [&](result<void> r) { gone = r; });
    while (!gone) {
        io.restart();
        io.run_one();
    }
    EXPECT_TRUE(*gone);
}

}  // namespace
}  // namespace callgate::host::test

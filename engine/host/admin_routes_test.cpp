// SPDX-License-Identifier: Apache-2.0
// Modules: routes of the admin listener, streamed bodies, the look at the engine.
#include "engine/host/admin_routes.hpp"

#include <callgate/abi/draft/kinds.h>

#include "engine/host/host_fixture.hpp"

namespace callgate::host::test {
namespace {

class admin_routes_test : public host_test {
  protected:
    bool ready = true;
    std::vector<std::string> reloads;
    std::shared_ptr<instance> module;
    std::shared_ptr<const admin_routes> routes;

    void SetUp() override {
        auto port = std::make_shared<engine_port>();
        port->read = [this](std::uint32_t, const std::function<void(engine_port::report)>& then) { then({ready, ready ? "ok" : "no link"}); };
        port->reload = [this](std::string who) { reloads.push_back(std::move(who)); };
        host = make_host(port);
        module = started(CG_KIND_MODULE, "module", {.name = "m", .timeout_ns = 200'000'000});
        ASSERT_TRUE(module);
        auto made = admin_routes::of({module});
        ASSERT_TRUE(made);
        routes = *made;
    }
    void TearDown() override {
        end_module();
        EXPECT_EQ(module->metrics().faults, expected_faults);
    }
    void end_module() {
        if (std::exchange(ended, true)) return;
        routes.reset();
        const auto r = retire(module);
        EXPECT_TRUE(r) << (r ? "" : r.error().message());
    }
    bool ended = false;
    std::unique_ptr<plugin_host> make_host(std::shared_ptr<const engine_port> port) {
        plugin_host::options o;
        o.shards = 1;
        o.libraries.directories = {folder.path()};
        o.libraries.probe.command = {TEST_PROBE, "plugin-probe"};
        o.wake = [this](std::uint32_t shard) { boost::asio::post(io, [this, shard] { host->drain(shard); }); };
        o.engine = std::move(port);
        return std::make_unique<plugin_host>(io, clock, std::move(o));
    }
    std::uint64_t expected_faults = 0;

    static admin_call call(std::string method, std::string path, std::string query = {}) { return {.method = std::move(method), .path = std::move(path), .query = std::move(query)}; }
    static admin_call as_operator(admin_call c) {
        c.caller = {.how = CG_CALLER_UNIX_PEER, .may = CG_MAY_OPERATE, .uid = 7, .gid = 8, .pid = 9};
        return c;
    }
    admin_answer ask(admin_call c) {
        std::optional<admin_answer> got;
        routes->serve(std::move(c), [&](admin_answer a) {
            EXPECT_FALSE(got) << "two answers";
            got = std::move(a);
        });
        EXPECT_TRUE(run_until([&] { return got.has_value(); }));
        return got.value_or(admin_answer{});
    }
    // All that a stream brings until its end.
    byte_stream::taken_bytes read(const std::shared_ptr<byte_stream>& s) {
        byte_stream::taken_bytes all;
        s->listen([&] { boost::asio::post(io, [] {}); });
        EXPECT_TRUE(run_until([&] {
            auto now = s->take();
            for (auto& c : now.chunks) all.chunks.push_back(std::move(c));
            all.ended = now.ended;
            all.status = now.status;
            all.error = now.error;
            return all.ended;
        }));
        s->cancel(CG_CANCEL_REQUESTER);
        return all;
    }
};

TEST_F(admin_routes_test, a_request_reaches_its_module_whole_and_as_whom_it_was_authorised) {
    auto c = as_operator(call("GET", "/echo", "a=1&b"));
    c.headers = {{"accept", "text/plain"}, {"x-y", ""}};
    c.body = "body";
    auto a = ask(std::move(c));
    EXPECT_EQ(a.status, 200u);
    EXPECT_EQ(a.body, "GET /echo?a=1&b body accept=text/plain x-y= how=2 may=2 uid=7");
    EXPECT_EQ(a.content_type, "text/plain; charset=utf-8");
    EXPECT_EQ(ask(call("HEAD", "/echo")).body.substr(0, 10), "GET /echo?");
}

TEST_F(admin_routes_test, exact_paths_win_over_prefixes_and_methods_are_told) {
    EXPECT_EQ(ask(call("GET", "/tree/any/thing")).body.substr(0, 20), "GET /tree/any/thing?");
    EXPECT_EQ(ask(call("POST", "/tree/leaf")).body.substr(0, 16), "POST /tree/leaf?");
    auto a = ask(call("GET", "/tree/leaf"));
    EXPECT_EQ(a.status, 405u) << "the exact path is the route, whatever a prefix takes";
    EXPECT_EQ(a.body, "POST\n");
    a = ask(call("GET", "/tree"));
    EXPECT_EQ(a.status, 404u);
    EXPECT_EQ(a.body, "/livez /echo /hang /fail /odd /stream /engine\n");
    EXPECT_EQ(ask(call("GET", "/echo/../operate")).status, 404u);
    EXPECT_EQ(ask(call("PUT", "/nothing")).status, 405u);
}

TEST_F(admin_routes_test, who_may_only_read_does_not_reach_what_changes_something) {
    for (const auto* method : {"POST", "GET", "PUT"}) {
        const auto a = ask(call(method, "/operate"));
        EXPECT_EQ(a.status, 403u) << method;
        EXPECT_EQ(a.body, "operate is taken on the Unix socket only\n");
    }
    EXPECT_TRUE(reloads.empty());
    EXPECT_EQ(ask(as_operator(call("GET", "/operate"))).status, 405u);
    EXPECT_EQ(ask(as_operator(call("POST", "/operate"))).status, 202u);
    EXPECT_EQ(reloads, std::vector<std::string>{"module m, unix peer uid 7 pid 9"});
}

TEST_F(admin_routes_test, a_module_that_hangs_is_a_503_at_its_deadline_and_told_to_give_up) {
    std::optional<admin_answer> got;
    routes->serve(call("GET", "/hang"), [&](admin_answer a) { got = std::move(a); });
    EXPECT_FALSE(got);
    clock.mono += module->options().timeout_ns + 1;
    ASSERT_TRUE(run_until([&] { return got.has_value(); }));
    EXPECT_EQ(got->status, 503u);
    EXPECT_EQ(got->body, "module \"m\" did not answer in time\n");
    EXPECT_TRUE(run_until([&] { return module->metrics().late == 1; }));
}

TEST_F(admin_routes_test, failures_are_a_500_without_the_plugins_words) {
    auto a = ask(call("GET", "/fail"));
    EXPECT_EQ(a.status, 500u);
    EXPECT_EQ(a.body, "module \"m\" failed; the log says why\n");
    EXPECT_EQ(ask(call("GET", "/odd")).status, 500u);
    expected_faults = 1;
}

TEST_F(admin_routes_test, a_streamed_body_comes_in_order_with_credits) {
    for (int round = 0; round < 3; ++round) {
        const auto a = ask(call("GET", "/stream"));
        EXPECT_EQ(a.status, 200u);
        ASSERT_TRUE(a.stream);
        const auto all = read(a.stream);
        ASSERT_EQ(all.chunks.size(), 20u);
        for (int i = 0; i < 20; ++i) EXPECT_EQ(all.chunks[static_cast<std::size_t>(i)], std::to_string(i) + "\n");
        EXPECT_EQ(all.status, CG_OK);
    }
}

TEST_F(admin_routes_test, a_stream_says_why_it_ended_early) {
    const auto all = read(ask(call("GET", "/stream", "fail")).stream);
    EXPECT_EQ(all.chunks.size(), 10u);
    EXPECT_EQ(all.status, CG_E_UNAVAILABLE);
    EXPECT_EQ(all.error, "half way");
}

TEST_F(admin_routes_test, events_without_credit_end_the_stream_as_a_fault) {
    const auto a = ask(call("GET", "/stream", "greedy"));
    ASSERT_TRUE(run_until([&] { return module->metrics().faults != 0; }));
    const auto all = read(a.stream);
    EXPECT_EQ(all.status, CG_E_INTERNAL);
    EXPECT_EQ(all.chunks.size(), byte_stream::window);
    // Each of the events beyond is one.
    end_module();
    expected_faults = module->metrics().faults;
    EXPECT_GE(expected_faults, 1u);
}

TEST_F(admin_routes_test, a_reader_that_leaves_cancels_the_stream) {
    const auto a = ask(call("GET", "/stream"));
    ASSERT_TRUE(a.stream);
    a.stream->cancel(CG_CANCEL_REQUESTER);
    // The next one waits for the thread of this one, which ends only when it was cancelled.
    EXPECT_TRUE(run_until([&] { return a.stream->take().ended; }));
    EXPECT_EQ(a.stream->take().status, CG_E_CANCELLED);
}

TEST_F(admin_routes_test, a_stream_that_is_open_when_the_module_stops_ends_for_its_reader) {
    const auto a = ask(call("GET", "/stream"));
    ASSERT_TRUE(a.stream);
    end_module();
    const auto end = a.stream->take();
    EXPECT_TRUE(end.ended);
    EXPECT_EQ(end.status, CG_E_CANCELLED);
}

TEST_F(admin_routes_test, modules_read_the_engine) {
    EXPECT_EQ(ask(call("GET", "/engine")).body, "ok");
    ready = false;
    const auto a = ask(call("GET", "/engine"));
    EXPECT_EQ(a.status, 503u);
    EXPECT_EQ(a.body, "no link");
}

TEST_F(admin_routes_test, two_modules_with_one_route_are_an_error_with_both_names) {
    const auto other = started(CG_KIND_MODULE, "module", {.name = "other"});
    const auto both = admin_routes::of({module, other});
    ASSERT_FALSE(both);
    EXPECT_EQ(both.error().text, "modules \"m\" and \"other\" both serve GET /echo on the admin listener; leave one of them out");
    EXPECT_TRUE(retire(other));
}

TEST_F(admin_routes_test, a_refused_route_fails_the_start) {
    const auto bad = made(CG_KIND_MODULE, "module", {.name = "bad", .config_json = R"({"bad":true})"});
    ASSERT_TRUE(bad);
    const auto r = await([&](auto then) { bad->start(second_ns, then); });
    ASSERT_FALSE(r);
    EXPECT_NE(r.error().text.find("a route was refused"), std::string::npos) << r.error().text;
    EXPECT_TRUE(retire(bad));
}

TEST_F(admin_routes_test, without_an_engine_or_for_another_kind_there_are_no_such_capabilities) {
    const auto tool = host_test::make_host();
    const auto alone = tool->make_instance(CG_KIND_MODULE, {.name = "alone", .plugin = "module"});
    ASSERT_TRUE(alone);
    EXPECT_TRUE(await([&](auto then) { (*alone)->start(second_ns, then); }));
    EXPECT_TRUE((*alone)->modules().routes().empty());
    EXPECT_TRUE(await([&](auto then) {
        tool->retire(*alone, second_ns, [this](std::uint32_t, std::function<void()> f) { boost::asio::post(io, std::move(f)); }, then);
    }));
    services plain(control_loop::make(io, 1, clock, [](std::uint32_t) {}), module->owner(), "backend", 0);
    EXPECT_EQ(plain.host()->query(plain.host(), {CG_EXT_ADMIN_HTTP, sizeof(CG_EXT_ADMIN_HTTP) - 1}), nullptr);
    EXPECT_EQ(plain.host()->query(plain.host(), {CG_EXT_ENGINE, sizeof(CG_EXT_ENGINE) - 1}), nullptr);
}

}  // namespace
}  // namespace callgate::host::test

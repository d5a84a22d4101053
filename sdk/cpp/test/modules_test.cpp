// SPDX-License-Identifier: Apache-2.0
// The base of modules: routes, methods, streams of bytes, a look at the engine.
#include <callgate/sdk/module.hpp>
#include <callgate/sdk/testing/fake_module_host.hpp>
#include <gtest/gtest.h>

namespace {

using namespace callgate::sdk;

class sample : public module {
  public:
    static constexpr std::string_view type = "sample", summary = "for tests", config_schema = "{}";
    static std::unique_ptr<module> create(host_ref host, const create_args&) { return std::make_unique<sample>(host); }
    explicit sample(host_ref host) : module(host) {
        add_method({"count", "counts", "{}", "{}", CG_RPC_READ_ONLY | CG_RPC_STREAMS}, [](rpc_call&& c) {
            const auto n = c.request() == "{}" ? 3 : std::stoi(std::string(c.request()));
            const auto out = c.stream();
            for (int i = 0; i < n; ++i) out->write(std::to_string(i));
            out->end();
        });
        add_method({"drop", "drops its answer", "{}", "{}", 0}, [](rpc_call&&) {});
        add_method({"half", "drops its stream", "{}", "{}", 0}, [](rpc_call&& c) { c.stream()->write("half"); });
        add_method({"keep", "keeps its stream", "{}", "{}", 0}, [this](rpc_call&& c) { kept = c.stream(); });
        add_method({"throw", "throws", "{}", "{}", 0}, [](rpc_call&&) { throw status_error(CG_E_INVALID, "no such account"); });
    }
    void start(op_handle&& op) override {
        add_route("GET", "/echo", CG_MAY_READ, [](admin_exchange&& x) {
            x.respond(201, std::string(x.method()) + " " + std::string(x.path()) + "?" + std::string(x.query()) + " " + std::string(x.body()) + " " + std::string(x.header("accept")),
                      "text/x");
        });
        add_route("GET", "/big/", CG_MAY_READ, [](admin_exchange&& x) {
            const auto out = x.stream(200, "text/plain");
            out->write(std::string(150'000, 'b'));
            out->end();
        }, true);
        add_route("GET", "/throws", CG_MAY_READ, [](admin_exchange&&) { throw status_error(CG_E_UNAVAILABLE, "later"); });
        serve_methods_over_http();
        op.succeed();
    }
    static inline std::shared_ptr<byte_producer> kept;
};

struct modules_test : ::testing::Test {
    test::fake_module_host host;
    test::driver module{host, factory_of<sample>, "{}"};
    test::rpc_client rpc{host, module.get()};
    void SetUp() override { ASSERT_EQ(module.start().status, CG_OK); }
    void TearDown() override {
        sample::kept.reset();
        EXPECT_EQ(host.faults(), 0);
    }
};

TEST_F(modules_test, a_route_sees_the_request_and_answers_once) {
    const auto c = host.admin({.path = "/echo", .query = "q=1", .body = "b", .headers = {{"host", "x"}, {"accept", "text/plain"}}});
    EXPECT_EQ(c.http_status, 201u);
    EXPECT_EQ(c.body, "GET /echo?q=1 b text/plain");
    EXPECT_EQ(c.content_type, "text/x");
    EXPECT_EQ(host.admin({.path = "/throws"}).status, CG_E_UNAVAILABLE);
    EXPECT_EQ(host.admin({.path = "/throws"}).error, "later");
}

TEST_F(modules_test, a_streamed_body_outlives_its_handler_and_waits_for_credit) {
    test::captured_bytes out(1, 2);
    const auto c = host.admin({.path = "/big/one"}, &out);
    EXPECT_TRUE(c.streamed);
    EXPECT_EQ(out.chunks().size(), 2u);
    rpc.give(out, 1);
    EXPECT_EQ(out.wait_end(), CG_OK);
    EXPECT_EQ(out.text().size(), 150'000u);
    EXPECT_EQ(out.faults(), 0);
}

TEST_F(modules_test, without_a_sink_a_stream_is_an_error) { EXPECT_EQ(host.admin({.path = "/big/one"}).status, CG_E_UNSUPPORTED); }

TEST_F(modules_test, methods_answer_over_both_ways_alike) {
    test::captured_bytes native(1, 10), http(2, 10);
    EXPECT_EQ(host.wait(rpc.call_op("count", "4", native))->status, CG_OK);
    EXPECT_EQ(native.wait_end(), CG_OK);
    EXPECT_EQ(native.chunks(), (std::vector<std::string>{"0", "1", "2", "3"}));
    const auto c = host.admin({.method = "POST", .path = "/rpc/count"}, &http);
    EXPECT_EQ(c.content_type, "application/x-ndjson");
    EXPECT_EQ(http.wait_end(), CG_OK);
    EXPECT_EQ(http.text(), "012");
}

TEST_F(modules_test, answers_that_are_dropped_are_failures) {
    test::captured_bytes out(1, 1);
    EXPECT_EQ(host.wait(rpc.call_op("drop", "", out))->status, CG_E_ABANDONED);
    test::captured_bytes half(2, 5);
    EXPECT_EQ(host.wait(rpc.call_op("half", "", half))->status, CG_OK);
    EXPECT_EQ(half.wait_end(), CG_E_ABANDONED);
    EXPECT_EQ(half.text(), "half");
    test::captured_bytes thrown(3, 5);
    const auto c = host.wait(rpc.call_op("throw", "", thrown));
    EXPECT_EQ(c->status, CG_E_INVALID);
    EXPECT_EQ(c->error, "no such account");
    const auto over_http = host.admin({.method = "POST", .path = "/rpc/throw", .may = CG_MAY_OPERATE});
    EXPECT_EQ(over_http.http_status, 400u);
    EXPECT_EQ(over_http.body, "{\"error\":\"no such account\"}\n");
}

TEST_F(modules_test, stop_ends_open_streams_as_cancelled) {
    test::captured_bytes out(1, 1);
    EXPECT_EQ(host.wait(rpc.call_op("keep", "", out))->status, CG_OK);
    sample::kept->write("a");
    sample::kept->write("b");
    EXPECT_EQ(module.stop().status, CG_OK);
    EXPECT_EQ(out.wait_end(), CG_E_CANCELLED);
    EXPECT_EQ(out.text(), "a");
    sample::kept->write("c");
    EXPECT_EQ(out.faults(), 0);
}

TEST_F(modules_test, a_table_of_the_engine_that_is_missing_is_named) {
    host.withhold(CG_EXT_ADMIN_HTTP);
    test::driver other(host, factory_of<sample>, "{}");
    const auto c = other.start();
    EXPECT_EQ(c.status, CG_E_UNSUPPORTED);
    EXPECT_NE(c.error.find("callgate.admin-http/1"), std::string::npos) << c.error;
}

}  // namespace

// SPDX-License-Identifier: Apache-2.0
#include "plugins/module_admin/module_admin.hpp"

#include <gtest/gtest.h>

#include <callgate/sdk/testing/fake_module_host.hpp>

namespace {

using namespace callgate::sdk;
using callgate::module_admin::admin;
using strings = std::vector<std::string>;

struct module_admin_test : ::testing::Test {
    test::fake_module_host host{"admin"};
    test::driver module{host, factory_of<admin>, "{}"};
    void SetUp() override { ASSERT_EQ(module.start().status, CG_OK); }
    void TearDown() override { EXPECT_EQ(host.faults(), 0); }
};

TEST_F(module_admin_test, registers_what_the_listener_had_and_the_methods) {
    EXPECT_EQ(host.routes(), (strings{"GET /readyz", "GET /health", "GET /metrics", "POST /reload operate", "POST /rpc/*"}));
}

TEST_F(module_admin_test, readiness_and_health_turn_503_with_their_text) {
    auto r = host.admin({.path = "/readyz"});
    EXPECT_EQ(r.http_status, 200u);
    EXPECT_EQ(r.body, "ok\n");
    EXPECT_EQ(r.content_type, "text/plain; charset=utf-8");
    host.ready = false;
    host.readiness = "nats cluster \"main\": no link";
    host.health_json = "{\"ready\":false}\n";
    r = host.admin({.path = "/readyz"});
    EXPECT_EQ(r.http_status, 503u);
    EXPECT_EQ(r.body, "nats cluster \"main\": no link\n");
    r = host.admin({.path = "/health"});
    EXPECT_EQ(r.http_status, 503u);
    EXPECT_EQ(r.body, "{\"ready\":false}\n");
    EXPECT_EQ(r.content_type, "application/json");
    r = host.admin({.path = "/metrics"});
    EXPECT_EQ(r.http_status, 200u) << "metrics are read most when something is wrong";
    EXPECT_EQ(r.body, "# metrics\n");
    EXPECT_EQ(r.content_type, "text/plain; version=0.0.4; charset=utf-8");
}

TEST_F(module_admin_test, reload_says_who_asked) {
    const auto r = host.admin({.method = "POST", .path = "/reload", .may = CG_MAY_OPERATE});
    EXPECT_EQ(r.http_status, 202u);
    EXPECT_EQ(host.reloads, std::vector<std::uint32_t>{CG_MAY_OPERATE});
    host.reload_status = CG_E_PERMISSION;
    EXPECT_EQ(host.admin({.method = "POST", .path = "/reload"}).status, CG_E_PERMISSION);
    EXPECT_EQ(host.audited(), (strings{"reload asked unix peer uid 0", "reload refused loopback "}));
}

TEST_F(module_admin_test, methods_over_http_check_who_may_call_them) {
    auto r = host.admin({.method = "POST", .path = "/rpc/status"});
    EXPECT_EQ(r.http_status, 200u);
    EXPECT_EQ(r.body, "{\"ready\":true,\"why\":\"ok\"}\n");
    r = host.admin({.method = "POST", .path = "/rpc/reload"});
    EXPECT_EQ(r.http_status, 403u);
    EXPECT_TRUE(host.reloads.empty());
    r = host.admin({.method = "POST", .path = "/rpc/reload", .may = CG_MAY_OPERATE});
    EXPECT_EQ(r.body, "{\"accepted\":true}\n");
    r = host.admin({.method = "POST", .path = "/rpc/\"x\""});
    EXPECT_EQ(r.http_status, 404u);
    EXPECT_EQ(r.body, "{\"error\":\"no method \\\"\\\"x\\\"\\\"\"}\n");
    host.reload_status = CG_E_CANCELLED;
    EXPECT_EQ(host.admin({.method = "POST", .path = "/rpc/reload", .may = CG_MAY_OPERATE}).http_status, 503u);
}

TEST_F(module_admin_test, methods_over_the_c_interface_answer_in_one_stream_with_one_end) {
    test::rpc_client rpc(host, module.get());
    ASSERT_TRUE(rpc);
    EXPECT_EQ(rpc.methods(), (strings{"health", "reload", "status"}));
    host.health_json = "{\"x\":\"" + std::string(150'000, 'y') + "\"}\n";
    test::captured_bytes out(1, 1);
    const auto op = rpc.call_op("health", "", out);
    EXPECT_FALSE(host.done(op));
    host.answer_reports();
    EXPECT_EQ(host.wait(op)->status, CG_OK);
    EXPECT_EQ(out.chunks().size(), 1u) << "more came than there was credit for";
    rpc.give(out, 10);
    EXPECT_EQ(out.wait_end(), CG_OK);
    EXPECT_TRUE(out.text() + "\n" == host.health_json);
    for (const auto& c : out.chunks()) EXPECT_LE(c.size(), CG_RPC_MAX_CHUNK_BYTES);
    EXPECT_EQ(out.faults(), 0);

    test::captured_bytes none(2, 1);
    EXPECT_EQ(host.wait(rpc.call_op("nonsense", "{}", none))->status, CG_E_NOT_FOUND);
}

TEST_F(module_admin_test, a_cancelled_stream_ends_as_cancelled) {
    test::rpc_client rpc(host, module.get());
    host.health_json = std::string(200'000, 'y');
    test::captured_bytes out(7, 1);
    const auto op = rpc.call_op("health", "{}", out);
    host.answer_reports();
    EXPECT_EQ(host.wait(op)->status, CG_OK);
    rpc.cancel(out);
    EXPECT_EQ(out.wait_end(), CG_E_CANCELLED);
    rpc.give(out, 5);
    EXPECT_EQ(out.chunks().size(), 1u);
    EXPECT_EQ(out.faults(), 0);
}

TEST_F(module_admin_test, stop_waits_for_the_reports_the_engine_owes) {
    const auto op = host.admin_op({.path = "/metrics"});
    const auto drain = host.begin(test::result_kind::none);
    module.get()->life->drain(module.get(), drain);
    EXPECT_FALSE(host.done(drain));
    host.answer_reports();
    EXPECT_TRUE(host.done(op));
    EXPECT_TRUE(host.done(drain));
}

TEST(module_admin, offline_it_has_methods_and_no_routes) {
    test::fake_module_host host("admin");
    host.withhold(CG_EXT_ENGINE);
    host.withhold(CG_EXT_ADMIN_HTTP);
    test::driver module(host, factory_of<admin>, "{}");
    ASSERT_EQ(module.start().status, CG_OK);
    EXPECT_TRUE(host.routes().empty());
    test::rpc_client rpc(host, module.get());
    ASSERT_TRUE(rpc);
    test::captured_bytes out(1, 1);
    const auto c = host.wait(rpc.call_op("status", "{}", out, CG_RPC_OFFLINE));
    EXPECT_EQ(c->status, CG_E_UNSUPPORTED);
    EXPECT_NE(c->error.find("callgate.engine/1"), std::string::npos) << c->error;
}

}  // namespace

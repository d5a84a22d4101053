// SPDX-License-Identifier: Apache-2.0
// Methods of plugins, called from the host's side.
#include "engine/host/rpc_port.hpp"

#include <callgate/abi/draft/kinds.h>

#include "engine/host/host_fixture.hpp"

namespace callgate::host::test {
namespace {

class rpc_port_test : public host_test {
  protected:
    std::shared_ptr<instance> module;
    std::shared_ptr<rpc_port> port;

    void SetUp() override {
        module = started(CG_KIND_MODULE, "module", {.name = "m"});
        ASSERT_TRUE(module);
        auto made = rpc_port::of(module);
        ASSERT_TRUE(made) << made.error().message();
        port = *made;
    }
    void TearDown() override {
        EXPECT_TRUE(retire(module));
        EXPECT_EQ(module->metrics().faults, 0u);
    }
    static caller_identity reader() { return {}; }
    static caller_identity operator_() { return {.how = CG_CALLER_LOCAL_CLI, .may = CG_MAY_OPERATE}; }

    result<std::shared_ptr<byte_stream>> call(const std::string& method, const std::string& request, caller_identity who, bool offline = false) {
        std::optional<result<std::shared_ptr<byte_stream>>> got;
        port->call(method, request, std::move(who), offline, second_ns, [&](auto r) { got = std::move(r); });
        EXPECT_TRUE(run_until([&] { return got.has_value(); }));
        return *got;
    }
    static errc code(const result<std::shared_ptr<byte_stream>>& r) { return r ? errc::internal : r.error().code; }
    byte_stream::taken_bytes read(byte_stream& s) {
        byte_stream::taken_bytes all;
        EXPECT_TRUE(run_until([&] {
            auto now = s.take();
            for (auto& c : now.chunks) all.chunks.push_back(std::move(c));
            all.status = now.status;
            all.error = now.error;
            boost::asio::post(io, [] {});
            return now.ended;
        }));
        return all;
    }
};

TEST_F(rpc_port_test, lists_methods_with_their_schemas) {
    ASSERT_EQ(port->methods().size(), 3u);
    EXPECT_EQ(port->methods()[0].name, "count");
    EXPECT_EQ(port->methods()[0].response_schema, R"({"type":"integer"})");
    EXPECT_EQ(port->methods()[0].flags, CG_RPC_READ_ONLY | CG_RPC_STREAMS | CG_RPC_OFFLINE_TOO);
}

TEST_F(rpc_port_test, a_call_streams_its_answer_and_ends_with_one_status) {
    const auto s = call("count", "{}", reader());
    ASSERT_TRUE(s);
    auto all = read(**s);
    ASSERT_EQ(all.chunks.size(), 20u);
    EXPECT_EQ(all.chunks[19], "19\n");
    EXPECT_EQ(all.status, CG_OK);
    const auto failing = call("count", "fail", reader());
    ASSERT_TRUE(failing);
    all = read(**failing);
    EXPECT_EQ(all.chunks.size(), 10u);
    EXPECT_EQ(all.status, CG_E_UNAVAILABLE);
    EXPECT_EQ(all.error, "half way");
}

TEST_F(rpc_port_test, refuses_what_the_caller_may_not_and_what_there_is_not) {
    EXPECT_EQ(code(call("change", "{}", reader())), errc::permission);
    EXPECT_EQ(code(call("nothing", "{}", operator_())), errc::not_found);
    EXPECT_EQ(code(call("change", "{}", operator_(), true)), errc::unsupported) << "it needs the daemon";
    EXPECT_EQ(code(call("count", std::string(CG_RPC_MAX_REQUEST_BYTES + 1, ' '), reader())), errc::invalid);
    const auto refused = call("change", "refuse", operator_());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, errc::invalid);
    EXPECT_EQ(refused.error().text, "a route was refused");
    EXPECT_EQ(module->metrics().started, 2u) << "start and the one that reached it";
    const auto offline = call("count", "{}", operator_(), true);
    ASSERT_TRUE(offline);
    EXPECT_EQ(read(**offline).status, CG_OK);
}

TEST_F(rpc_port_test, a_reader_that_leaves_ends_the_stream_of_the_plugin) {
    const auto s = call("count", "{}", reader());
    ASSERT_TRUE(s);
    (*s)->cancel(CG_CANCEL_REQUESTER);
    EXPECT_EQ(read(**s).status, CG_E_CANCELLED);
}

TEST_F(rpc_port_test, a_stream_that_opens_after_the_deadline_harms_nobody_and_is_told_to_end) {
    std::optional<result<std::shared_ptr<byte_stream>>> got;
    port->call("late", "{}", reader(), false, second_ns, [&](auto r) { got = std::move(r); });
    clock.mono += 2 * second_ns;
    ASSERT_TRUE(run_until([&] { return got.has_value(); }));
    EXPECT_EQ(code(*got), errc::deadline);
    EXPECT_TRUE(run_until([&] { return module->metrics().late == 1; }));
}

TEST_F(rpc_port_test, an_instance_without_methods_says_so) {
    const auto other = started(CG_KIND_MODULE, "other_module", {.name = "o"});
    const auto none = rpc_port::of(other);
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().code, errc::not_found);
    EXPECT_EQ(none.error().text, "plugin instance \"o\" (org.callgate.test.other_kind): it offers no methods (callgate.rpc/1)");
    EXPECT_TRUE(retire(other));
}

}  // namespace
}  // namespace callgate::host::test

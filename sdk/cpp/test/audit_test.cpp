// SPDX-License-Identifier: Apache-2.0
// The audit sink's base class, seen through its C table, and the audit trail of other plugins.
#include <callgate/sdk/audit_sink.hpp>
#include <callgate/sdk/extensions_audit.hpp>
#include <callgate/sdk/plugin.hpp>
#include <callgate/sdk/testing/audit_client.hpp>
#include <gtest/gtest.h>

namespace {

using namespace callgate::sdk;
using strings = std::vector<std::string>;

class memory_sink final : public audit_sink {
  public:
    static constexpr std::string_view type = "memory", summary = "m", config_schema = "{}";
    static inline strings lines;
    static inline std::size_t room = 100;
    static inline std::string throws;
    static std::unique_ptr<audit_sink> create(host_ref host, const create_args&) {
        lines.clear();
        room = 100;
        throws.clear();
        return std::make_unique<memory_sink>(host);
    }
    explicit memory_sink(host_ref h) : audit_sink(h) {}
    void write(op_handle&& op, const audit_batch& batch) override {
        if (!throws.empty()) throw status_error(CG_E_UNAVAILABLE, throws, "path");
        std::size_t n = 0;
        for (; n < batch.size() && room != 0; ++n, --room) lines.emplace_back(batch.line(n));
        took(std::move(op), n);
    }
};

struct audit_sink_test : ::testing::Test {
    test::fake_host host;
    test::driver sink{host, factory_of<memory_sink>, "{}"};
    test::audit_client client{host, sink.get()};
    void SetUp() override { ASSERT_EQ(sink.start().status, CG_OK); }
    void TearDown() override { EXPECT_EQ(host.faults(), 0); }
};

TEST_F(audit_sink_test, is_of_its_kind_and_gets_whole_lines_in_their_order) {
    EXPECT_EQ(sink.get()->kind, CG_KIND_AUDIT_SINK);
    const auto c = client.write({"{\"a\":1}", "{\"a\":2}"});
    EXPECT_EQ(c.status, CG_OK);
    EXPECT_EQ(c.taken, 2u);
    EXPECT_EQ(memory_sink::lines, (strings{"{\"a\":1}\n", "{\"a\":2}\n"}));
    EXPECT_EQ(client.flush().status, CG_OK);
    EXPECT_EQ(client.reopen().status, CG_OK);
}

TEST_F(audit_sink_test, says_how_many_it_took) {
    memory_sink::room = 1;
    EXPECT_EQ(client.write({"a", "b", "c"}).taken, 1u);
    EXPECT_EQ(client.write({"b", "c"}).taken, 0u);
}

TEST_F(audit_sink_test, an_exception_is_the_failure_of_that_write) {
    memory_sink::throws = "disk full";
    const auto c = client.write({"a"});
    EXPECT_EQ(c.status, CG_E_UNAVAILABLE);
    EXPECT_EQ(c.error, "disk full");
    EXPECT_EQ(c.where, "path");
}

TEST_F(audit_sink_test, events_of_another_size_are_read_by_their_stride) {
    // A newer host's events: longer, with a tail this version does not know.
    struct longer {
        cg_audit_event event;
        char tail[24];
    };
    longer events[3];
    std::memset(events, 0xee, sizeof events);
    const std::string text[] = {"one\n", "two\n", "three\n"};
    for (int i = 0; i < 3; ++i) {
        events[i].event = make<cg_audit_event>();
        events[i].event.struct_size = sizeof(longer);
        events[i].event.line = to_c(text[i]);
        events[i].event.latency_us = 40 + i;
    }
    auto b = make<cg_audit_batch>();
    b.stride = sizeof(longer);
    b.events = &events[0].event;
    b.count = 3;
    const audit_batch batch(&b);
    ASSERT_EQ(batch.size(), 3u);
    EXPECT_EQ(batch.line(2), "three\n");
    EXPECT_EQ(batch[1].latency_us, 41);
    // An older host's: it ends before the latency.
    events[0].event.struct_size = offsetof(cg_audit_event, latency_us);
    EXPECT_EQ(batch[0].latency_us, 0);
    EXPECT_EQ(batch.line(0), "one\n");
}

TEST(audit_trail, a_note_reaches_the_host_bounded_and_without_the_capability_nothing_fails) {
    test::fake_host host;
    const audit_trail trail(host_ref(host.get()));
    EXPECT_TRUE(trail);
    EXPECT_EQ(trail.record({.action = "account.add", .outcome = "ok", .identity = "uid 0"}, {{"account", "APP"}, {"long", std::string(5000, 'x')}}), CG_OK);
    ASSERT_EQ(host.audited().size(), 1u);
    EXPECT_EQ(host.audited()[0], "account.add ok uid 0 account=APP long=" + std::string(CG_AUDIT_MAX_TEXT_BYTES, 'x'));
    EXPECT_EQ(trail.record({.action = ""}), CG_E_INVALID);
    host.withhold(CG_EXT_AUDIT);
    const audit_trail none(host_ref(host.get()));
    EXPECT_FALSE(none);
    EXPECT_EQ(none.record({.action = "reload"}), CG_OK);
    EXPECT_EQ(host.audited().size(), 1u);
}

}  // namespace

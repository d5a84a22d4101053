// SPDX-License-Identifier: Apache-2.0
#include "engine/host/store_adapter.hpp"

#include <callgate/abi/draft/kinds.h>

#include "engine/host/host_fixture.hpp"

namespace callgate::host::test {
namespace {

using state = flow::stored_result::state;

// test_plugins/store.c: every key has its own name as value and revision 7.
class store_adapter_test : public host_test {
  protected:
    std::shared_ptr<instance> plugin;
    std::shared_ptr<store_lookup> port;
    flow::request_tag last = 0;

    void make(lookup_cache_options cache = {}, instance_options o = {}) {
        plugin = started(CG_KIND_CLAIM_STORE, "store", std::move(o));
        auto made_port = make_store_port(plugin, cache);
        ASSERT_TRUE(made_port) << made_port.error().message();
        port = *made_port;
    }
    flow::request_tag ask(const std::string& key, std::int64_t time_ns = second_ns) {
        port->get(0, key, clock.mono + time_ns, ++last, sink);
        return last;
    }
    flow::stored_result answer(const std::string& key) {
        const auto tag = ask(key);
        EXPECT_TRUE(run_until([&] { return sink.stored.count(tag) == 1; })) << key;
        return sink.stored[tag];
    }
    void TearDown() override {
        port.reset();
        if (plugin) EXPECT_TRUE(retire(plugin));
    }
};

TEST_F(store_adapter_test, document_arrives_whole_and_is_kept_for_its_time) {
    make();
    const auto first = answer("grants/alice");
    ASSERT_EQ(first.what, state::found) << first.reason;
    EXPECT_EQ(*first.document, "grants/alice");
    EXPECT_EQ(first.revision, 7u);
    const auto again = answer("grants/alice");
    EXPECT_EQ(again.document, first.document) << "the same memory";
    EXPECT_EQ(port->lookups().hits, 1u);
    EXPECT_EQ(port->lookups().found, 1u);
    EXPECT_EQ(plugin->metrics().started, 1u) << "one get for both";
    clock.mono += second_ns + 1;
    EXPECT_EQ(answer("grants/alice").what, state::found);
    EXPECT_EQ(port->lookups().found, 2u);
}

TEST_F(store_adapter_test, cache_is_bounded_and_can_be_off) {
    make({.ttl_ns = 60 * second_ns, .max_entries = 2});
    for (const char* k : {"a", "b", "c"}) answer(k);
    answer("b");
    answer("c");
    EXPECT_EQ(port->lookups().hits, 2u);
    answer("a");
    EXPECT_EQ(port->lookups().found, 4u) << "the oldest went";
    port.reset();
    EXPECT_TRUE(retire(plugin));
    make({.ttl_ns = 0});
    answer("a");
    answer("a");
    EXPECT_EQ(port->lookups().hits, 0u);
}

TEST_F(store_adapter_test, failure_and_odd_results_are_unavailable) {
    make();
    const auto down = answer("down");
    EXPECT_EQ(down.what, state::unavailable);
    EXPECT_EQ(down.reason, "CG_E_UNAVAILABLE: disk full");
    const auto odd = answer("odd");
    EXPECT_EQ(odd.what, state::unavailable);
    EXPECT_EQ(plugin->metrics().faults, 1u);
}

TEST_F(store_adapter_test, deadline_and_limits_are_unavailable) {
    instance_options o;
    o.max_in_flight = 1;
    make({}, o);
    const auto late = ask("never", 50'000'000);
    EXPECT_EQ(sink.stored.count(late), 0u);
    const auto full = ask("x");
    ASSERT_EQ(sink.stored.count(full), 1u);
    EXPECT_EQ(sink.stored[full].what, state::unavailable);
    EXPECT_NE(sink.stored[full].reason.find("in flight"), std::string::npos);
    clock.mono += 50'000'001;
    host->expire(0, clock.mono);
    ASSERT_EQ(sink.stored.count(late), 1u);
    EXPECT_EQ(sink.stored[late].what, state::unavailable);
    const auto past = ask("x", -1);
    EXPECT_EQ(sink.stored[past].what, state::unavailable);
    EXPECT_EQ(port->lookups().unavailable, 3u);
}

TEST_F(store_adapter_test, instance_of_another_kind_has_no_port) {
    auto i = started(CG_KIND_MODULE, "other_module");
    EXPECT_FALSE(make_store_port(i));
    EXPECT_TRUE(retire(i));
}

}  // namespace
}  // namespace callgate::host::test

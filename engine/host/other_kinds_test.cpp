// SPDX-License-Identifier: Apache-2.0
// Kinds the host carries without knowing their table: claim store, module, audit sink.
#include <callgate/abi/draft/kinds.h>

#include "engine/host/abi_read.hpp"
#include "engine/host/host_fixture.hpp"

namespace callgate::host::test {
namespace {

class other_kinds_test : public host_test {};

struct ping_api {
    std::uint32_t struct_size, answer;
    cg_status (*ping)(cg_instance*, cg_op);
};

struct ping_body final : operation_body {
    explicit ping_body(int& n) : delivered(n) {}
    taken take(const cg_completion& c) override { return c.status == CG_OK ? taken::ok : taken::failed; }
    void deliver() override { ++delivered; }
    void fail(cg_status) override {}
    int& delivered;
};

TEST_F(other_kinds_test, have_the_life_cycle_and_hand_their_table_to_an_adapter) {
    const std::pair<std::uint32_t, const char*> kinds[] = {
        {CG_KIND_CLAIM_STORE, "other_store"}, {CG_KIND_MODULE, "other_module"}, {CG_KIND_AUDIT_SINK, "other_sink"}};
    for (const auto& [kind, plugin] : kinds) {
        auto i = started(kind, plugin);
        ASSERT_TRUE(i);
        EXPECT_EQ(i->kind(), kind);
        EXPECT_FALSE(i->auth());
        EXPECT_FALSE(i->keys_port());
        ping_api api{};
        ASSERT_TRUE(read_struct(static_cast<const ping_api*>(i->api()), api));
        EXPECT_EQ(api.answer, 4711u);
        int delivered = 0;
        EXPECT_TRUE(i->table().run(0, i->owner(), INT64_MAX, operation_table::weight::counts, std::make_unique<ping_body>(delivered),
                                   [&](cg_op op) { return api.ping(i->plugin(), op); }));
        EXPECT_EQ(delivered, 1);
        EXPECT_TRUE(retire(i));
    }
}

TEST_F(other_kinds_test, instance_without_a_table_is_refused) {
    folder.add("other_no_table");
    const auto i = host->make_instance(CG_KIND_MODULE, {.name = "m", .plugin = "other_no_table"});
    ASSERT_FALSE(i);
    EXPECT_EQ(i.error().text, "plugin instance \"m\" (org.callgate.test.other_kind): create: the instance has no table of its kind");
}

TEST_F(other_kinds_test, are_called_by_their_names) {
    folder.add("other_store");
    const auto i = host->make_instance(CG_KIND_AUDIT_SINK, {.name = "m", .plugin = "other_store"});
    ASSERT_FALSE(i);
    EXPECT_EQ(i.error().text, "plugin \"other_store\" (org.callgate.test.other_kind) has no audit sink");
    EXPECT_EQ(kind_name(CG_KIND_CLAIM_STORE), "claim store");
    EXPECT_EQ(kind_name(CG_KIND_MODULE), "module");
    EXPECT_EQ(kind_name(6), "kind 6");
}

}  // namespace
}  // namespace callgate::host::test

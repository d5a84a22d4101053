// SPDX-License-Identifier: Apache-2.0
#include "engine/host/audit_service.hpp"

#include <callgate/abi/draft/kinds.h>

#include "engine/host/services_fixture.hpp"

namespace callgate::host::test {
namespace {

class audit_service_test : public ::testing::Test {
  protected:
    boost::asio::io_context io;
    test_clock clock;
    std::vector<audit_note> notes;
    bool room = true;
    std::shared_ptr<control_loop> loop = control_loop::make(io, 1, clock, [](std::uint32_t) {});
    std::shared_ptr<shared_services> shared = [this] {
        auto s = std::make_shared<shared_services>();
        s->audit = std::make_shared<const audit_port>(audit_port{[this](audit_note&& n) {
            notes.push_back(std::move(n));
            return room;
        }});
        return s;
    }();
    operation_owner owner{{}, 10};
    services under_test{loop, owner, "admin", 0, shared};

    const cg_audit_api* table() {
        const auto* host = under_test.host();
        return static_cast<const cg_audit_api*>(host->query(host, to_c(CG_EXT_AUDIT)));
    }
    cg_status record(std::string_view action, std::string_view outcome = {}, std::string_view identity = {}, std::vector<cg_audit_field> fields = {}) {
        cg_audit_note n{};
        n.struct_size = sizeof n;
        n.fields_stride = sizeof(cg_audit_field);
        n.action = to_c(action);
        n.outcome = to_c(outcome);
        n.identity = to_c(identity);
        n.fields = fields.data();
        n.field_count = fields.size();
        return table()->record(under_test.host(), &n);
    }
};

TEST_F(audit_service_test, the_source_is_the_hosts_word) {
    under_test.audit().enable(CG_KIND_MODULE);
    const cg_audit_field fields[] = {{to_c("account"), to_c("APP")}, {to_c("empty"), {}}};
    ASSERT_EQ(record("account.add", "ok", "unix peer uid 0", {fields[0], fields[1]}), CG_OK);
    ASSERT_EQ(notes.size(), 1u);
    EXPECT_EQ(notes[0].source, "module/admin");
    EXPECT_EQ(notes[0].action, "account.add");
    EXPECT_EQ(notes[0].outcome, "ok");
    EXPECT_EQ(notes[0].identity, "unix peer uid 0");
    EXPECT_EQ(notes[0].fields, (std::vector<std::pair<std::string, std::string>>{{"account", "APP"}, {"empty", ""}}));
}

TEST_F(audit_service_test, what_is_out_of_bounds_is_refused_and_not_recorded) {
    under_test.audit().enable(CG_KIND_AUTH_BACKEND);
    for (const auto* bad : {"", "Reload", "1a", "a b", "a\"b", "a\n"}) EXPECT_EQ(record(bad), CG_E_INVALID) << bad;
    EXPECT_EQ(record(std::string(CG_AUDIT_MAX_WORD_BYTES + 1, 'a')), CG_E_INVALID);
    EXPECT_EQ(record("a", "Not Ok"), CG_E_INVALID);
    EXPECT_EQ(record("a", "", std::string(CG_AUDIT_MAX_TEXT_BYTES + 1, 'x')), CG_E_INVALID);
    const std::string long_value(CG_AUDIT_MAX_TEXT_BYTES + 1, 'x');
    EXPECT_EQ(record("a", "", "", {{to_c("v"), to_c(long_value)}}), CG_E_INVALID);
    EXPECT_EQ(record("a", "", "", {{to_c("dot.ted"), {}}}), CG_E_INVALID);
    EXPECT_EQ(record("a", "", "", {{to_c("twice"), {}}, {to_c("twice"), {}}}), CG_E_INVALID);
    EXPECT_EQ(record("a", "", "", std::vector<cg_audit_field>(CG_AUDIT_MAX_FIELDS + 1, {to_c("n"), {}})), CG_E_INVALID);
    EXPECT_EQ(table()->record(under_test.host(), nullptr), CG_E_INVALID);
    EXPECT_TRUE(notes.empty());
}

TEST_F(audit_service_test, the_rate_is_bounded_and_recovers) {
    under_test.audit().enable(CG_KIND_MODULE);
    for (unsigned i = 0; i < CG_AUDIT_NOTES_BURST; ++i) ASSERT_EQ(record("a"), CG_OK);
    EXPECT_EQ(record("a"), CG_E_BUSY);
    clock.mono += second_ns;
    for (unsigned i = 0; i < CG_AUDIT_NOTES_PER_SECOND; ++i) ASSERT_EQ(record("a"), CG_OK);
    EXPECT_EQ(record("a"), CG_E_BUSY);
    EXPECT_EQ(notes.size(), CG_AUDIT_NOTES_BURST + CG_AUDIT_NOTES_PER_SECOND);
}

TEST_F(audit_service_test, a_sink_without_room_is_told_and_after_the_end_nothing_goes_out) {
    under_test.audit().enable(CG_KIND_MODULE);
    room = false;
    EXPECT_EQ(record("a"), CG_E_BUSY);
    const auto* kept = table();
    under_test.close();
    cg_audit_note n{};
    n.struct_size = sizeof n;
    n.action = to_c("a");
    EXPECT_EQ(kept->record(under_test.host(), &n), CG_E_CANCELLED);
    EXPECT_EQ(notes.size(), 1u);
}

TEST_F(audit_service_test, is_not_for_audit_sinks_nor_where_nobody_keeps_records) {
    EXPECT_EQ(table(), nullptr) << "instance::create enables it for every kind but audit sinks";
    services offline(loop, owner, "x", 0);
    offline.audit().enable(CG_KIND_MODULE);
    EXPECT_EQ(offline.host()->query(offline.host(), to_c(CG_EXT_AUDIT)), nullptr);
}

}  // namespace
}  // namespace callgate::host::test

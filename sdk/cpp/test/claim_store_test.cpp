// SPDX-License-Identifier: Apache-2.0
// The claim store's base class over a store in memory, seen through its C table.
#include <callgate/sdk/claim_store.hpp>
#include <callgate/sdk/plugin.hpp>
#include <callgate/sdk/testing/claim_store_client.hpp>
#include <callgate/sdk/testing/driver.hpp>
#include <gtest/gtest.h>

namespace {

using namespace callgate::sdk;
using test::captured_stream;
using test::claim_store_client;
using test::driver;
using test::fake_host;

constexpr cg_claim_limits tight = {sizeof(cg_claim_limits), 64, 64, 64, 16, 0, 100, 1000, 1u << 20};

// Answers at once; a watch sends "k1", "k2", ... as credits allow.
class memory_store : public claim_store {
  public:
    static constexpr std::string_view type = "memory", summary = "m", config_schema = "{}";
    static std::unique_ptr<claim_store> create(host_ref host, const create_args&) {
        auto s = std::make_unique<memory_store>(host);
        last = s.get();
        return s;
    }
    explicit memory_store(host_ref h) : claim_store(h, tight) {}

    void get(shard_state*, op_handle&& op, const claim_get_view& r) override {
        claim_entries out;
        for (const auto& k : r.keys) {
            const auto i = rows_.find(std::string(view(k)));
            if (i == rows_.end()) out.add(view(k), {}, 0);
            else out.add(i->first, i->second.first, i->second.second);
        }
        out.send_values(op, revision_);
    }
    void scan(shard_state*, op_handle&& op, const claim_scan_view& r) override {
        claim_entries out;
        const std::string after(r.cursor.begin(), r.cursor.end());
        for (auto i = rows_.upper_bound(after); i != rows_.end() && out.size() < r.limit; ++i)
            if (i->first.starts_with(r.prefix)) out.add(i->first, i->second.first, i->second.second);
        out.send_page(op, revision_, out.size() == r.limit ? out.last_key() : "");
    }
    void commit(shard_state*, op_handle&& op, const claim_commit_view& r) override {
        for (std::size_t i = 0; i < r.preconditions.size(); ++i) {
            const auto p = r.preconditions[i];
            const auto at = rows_.find(std::string(view(p.key)));
            const auto has = at == rows_.end() ? 0 : at->second.second;
            if (has != p.revision) return send_conflict(op, revision_, view(p.key), has);
        }
        ++revision_;
        for (std::size_t i = 0; i < r.puts.size(); ++i) {
            const auto p = r.puts[i];
            const auto v = view(p.value);
            rows_[std::string(view(p.key))] = {std::string(v.begin(), v.end()), revision_};
        }
        for (const auto& d : r.deletes) rows_.erase(std::string(view(d)));
        send_committed(op, revision_, false);
    }
    void watch(shard_state*, op_handle&& op, const claim_watch_view& r, std::shared_ptr<stream_source> stream) override {
        if (r.prefix == "gone") return op.fail(CG_E_COMPACTED, "history is gone");
        if (r.prefix == "drop") {
            send_watching(op, *stream, revision_);
            return;
        }
        stream_ = std::move(stream);
        send_watching(op, *stream_, revision_);
        pump();
    }
    void stream_changed(cg_stream id) override {
        if (stream_ && stream_->id() == id) pump();
    }
    void pump() {
        if (stream_->cancelled()) {
            stream_->end(CG_E_CANCELLED);
            return;
        }
        while (stream_->credits() != 0) {
            const std::string key = "k" + std::to_string(++sent_);
            const std::uint8_t token[] = {static_cast<std::uint8_t>(sent_)};
            if (!send_change(*stream_, CG_CLAIM_CHANGE_PUT, key, "v", sent_, token)) break;
        }
    }
    static inline memory_store* last = nullptr;
    std::map<std::string, std::pair<std::string, std::uint64_t>> rows_;
    std::uint64_t revision_ = 0, sent_ = 0;
    std::shared_ptr<stream_source> stream_;
};

struct claim_store_test : ::testing::Test {
    fake_host host;
    driver plugin{host, factory_of<memory_store>, "{}"};
    claim_store_client store{host, plugin.get()};
};

TEST_F(claim_store_test, values_come_back_in_the_order_asked) {
    EXPECT_EQ(store.put("a/b", "1").revision, 1u);
    EXPECT_EQ(store.put("a/c", std::string("\0x", 2)).revision, 2u);
    const auto r = store.get({"a/c", "none", "a/b"});
    ASSERT_EQ(r.status, CG_OK);
    const std::vector<test::captured_entry> expected{{"a/c", std::string("\0x", 2), 2}, {"none", "", 0}, {"a/b", "1", 1}};
    EXPECT_EQ(r.entries, expected);
    EXPECT_EQ(r.revision, 2u);
}

TEST_F(claim_store_test, pages_go_on_where_they_ended) {
    for (const char* k : {"a", "b", "c"}) store.put(k, "v");
    const auto first = store.scan("", "", 2);
    EXPECT_EQ(first.entries.size(), 2u);
    EXPECT_EQ(first.next, "b");
    EXPECT_EQ(store.scan("", first.next, 2).entries.at(0).key, "c");
}

TEST_F(claim_store_test, conflict_is_an_answer_and_names_the_key) {
    store.put("a", "1");
    const auto c = store.commit({.puts = {{"a", "2"}}, .preconditions = {{CG_CLAIM_KEY_ABSENT, "b"}, {CG_CLAIM_KEY_AT, "a", 7}}});
    EXPECT_EQ(c.status, CG_OK);
    EXPECT_EQ(c.outcome, CG_E_CONFLICT);
    EXPECT_EQ(c.conflict_key, "a");
    EXPECT_EQ(c.conflict_revision, 1u);
    EXPECT_EQ(store.commit({.puts = {{"a", "2"}}, .preconditions = {{CG_CLAIM_KEY_AT, "a", 1}}}).outcome, CG_OK);
}

TEST_F(claim_store_test, what_breaks_a_limit_never_reaches_the_store) {
    const auto refused = [&](const test::claim_commit& c) {
        const auto r = store.commit(c);
        EXPECT_EQ(r.status, CG_E_INVALID);
        return r.error;
    };
    EXPECT_NE(refused({}).find("needs a put or a delete"), std::string::npos);
    EXPECT_NE(refused({.puts = {{"a", std::string(101, 'x')}}}).find("\"a\" has 101 bytes; at most 100"), std::string::npos);
    EXPECT_NE(refused({.puts = {{"a", "1"}}, .deletes = {"a"}}).find("twice"), std::string::npos);
    EXPECT_NE(refused({.puts = {{"a", "1"}}, .preconditions = {{9, "a"}}}).find("unknown kind 9"), std::string::npos);
    EXPECT_NE(refused({.puts = {{"a", "1"}}, .preconditions = {{CG_CLAIM_KEY_AT, "a", 0}}}).find("KEY_ABSENT"), std::string::npos);
    EXPECT_NE(refused({.puts = {{"a", "1"}}, .idempotency = std::string(65, 't')}).find("64 bytes"), std::string::npos);
    test::claim_commit many, heavy;
    for (int i = 0; i < 65; ++i) many.deletes.push_back("k" + std::to_string(i));
    EXPECT_NE(refused(many).find("at most 64"), std::string::npos);
    for (int i = 0; i < 11; ++i) heavy.puts.emplace_back("k" + std::to_string(i), std::string(100, 'x'));
    EXPECT_NE(refused(heavy).find("at most 1000"), std::string::npos);
    EXPECT_EQ(store.get({}).status, CG_E_INVALID);
    EXPECT_EQ(store.scan("", std::string(1025, 'c')).status, CG_E_INVALID);
    EXPECT_EQ(memory_store::last->revision_, 0u);
}

TEST(claim_key, form_is_checked) {
    for (const char* good : {"a", "a/b", "grants/alice@example.com", "auth0|12", "x/...", "a.b/-"}) EXPECT_EQ(claim_key_fault(good), "") << good;
    for (const char* bad : {"", "/", "/a", "a/", "a//b", ".", "a/..", "../a", "a b", "a\n", "\x7f", "\xc3\xa4"}) EXPECT_NE(claim_key_fault(bad), "") << bad;
    EXPECT_EQ(claim_key_fault(std::string(512, 'a')), "");
    EXPECT_NE(claim_key_fault(std::string(513, 'a')), "");
    EXPECT_EQ(claim_prefix_fault("a/"), "");
}

TEST_F(claim_store_test, events_need_credit_and_the_end_comes_once) {
    captured_stream s(5, 2);
    ASSERT_EQ(store.watch(s, "", 0).status, CG_OK);
    EXPECT_EQ(s.count(), 2u);
    store.request(s, 3);
    EXPECT_EQ(s.count(), 5u);
    EXPECT_EQ(s.resume(), "\x05");
    store.cancel(s);
    store.cancel(s);
    store.request(s, 10);
    EXPECT_EQ(s.wait_end(), CG_E_CANCELLED);
    EXPECT_EQ(s.resume(), "\x05");
    EXPECT_EQ(s.count(), 5u);
    EXPECT_EQ(s.faults(), 0);
    memory_store::last->stream_.reset();
    store.cancel(s);  // of a stream that is gone: nothing
    EXPECT_EQ(s.faults(), 0);
}

TEST_F(claim_store_test, refused_watch_has_no_stream) {
    captured_stream s(6, 1);
    EXPECT_EQ(store.watch(s, "gone", 3).status, CG_E_COMPACTED);
    EXPECT_EQ(s.count(), 0u);
    EXPECT_EQ(s.faults(), 0);
    const std::string token(CG_STREAM_TOKEN_MAX + 1, 'x');
    EXPECT_EQ(store.watch(s, "", 3, token).status, CG_E_INVALID);
}

TEST_F(claim_store_test, dropped_stream_ends_as_abandoned) {
    captured_stream s(7, 0);
    EXPECT_EQ(store.watch(s, "drop", 0).status, CG_OK);
    EXPECT_EQ(s.wait_end(), CG_E_ABANDONED);
}

TEST_F(claim_store_test, handle_in_use_is_refused_and_the_first_stream_goes_on) {
    captured_stream first(8, 1), second(8, 1);
    ASSERT_EQ(store.watch(first, "", 0).status, CG_OK);
    EXPECT_EQ(store.watch(second, "", 0).status, CG_E_INVALID);
    store.request(first, 1);
    EXPECT_EQ(first.count(), 2u);
    EXPECT_EQ(second.count(), 0u);
    store.cancel(first);
    EXPECT_EQ(first.wait_end(), CG_E_CANCELLED);
}

TEST_F(claim_store_test, sink_without_functions_is_refused) {
    auto sink = make<cg_stream_sink>();
    sink.stream = 9;
    auto r = make<cg_claim_watch>();
    const cg_op op = host.begin(test::result_kind::claim_watching);
    store.api().watch(plugin.get(), nullptr, op, &r, &sink);
    EXPECT_EQ(host.wait(op)->status, CG_E_ABI);
}

TEST(stream_source, credits_saturate) {
    captured_stream s(1, 0xfffffff0u);
    stream_source source(s.sink());
    source.add_credits(100);
    EXPECT_EQ(source.credits(), 0xffffffffu);
    source.end(CG_OK);
    EXPECT_FALSE(s.wait(0).size());
}

TEST(strided_view, wider_elements_are_read) {
    struct wide {
        cg_claim_put p;
        char newer[16];
    } items[2]{};
    items[1].p.key = to_c("b");
    const strided_view<cg_claim_put> v(&items[0].p, 2, sizeof(wide));
    EXPECT_EQ(view(v[1].key), "b");
}

}  // namespace

// SPDX-License-Identifier: Apache-2.0
#include <callgate/nats/nkey.hpp>

#include "engine/host/host_fixture.hpp"

namespace callgate::host::test {
namespace {

struct message final : flow::pinned {
    explicit message(std::string t) : text(std::move(t)) { ++alive; }
    ~message() override { --alive; }
    std::string text;
    static inline std::atomic<int> alive{0};
};

class key_adapter_test : public host_test {
  protected:
    std::string account = nats::key_pair::generate(nats::key_type::account).public_text();
    std::string app = nats::key_pair::generate(nats::key_type::account).public_text();
    std::string curve = nats::key_pair::generate(nats::key_type::curve).public_text();

    std::string config(const std::string& a, const std::string& b, const std::string& c, const char* tail = "") {
        return "\"" + a + b + c + tail + "\"";
    }
    std::shared_ptr<instance> provider() { return started(CG_KIND_KEY_PROVIDER, "keys", {.name = "local", .config_json = config(account, app, curve)}); }
    std::string start_error(const std::string& configuration) {
        auto i = made(CG_KIND_KEY_PROVIDER, "keys", {.name = "local", .config_json = configuration});
        const auto r = await([&](auto then) { i->start(second_ns, then); });
        EXPECT_TRUE(retire(i));
        return r ? "it started" : r.error().text;
    }
    static std::unique_ptr<flow::sign_job> job(std::initializer_list<std::pair<cg_key, std::string>> items) {
        auto j = std::make_unique<flow::sign_job>();
        for (const auto& [key, text] : items) {
            auto& item = j->items.emplace_back();
            boost::intrusive_ptr<const message> m(new message(text));
            item.key = key;
            item.purpose = CG_SIGN_USER_JWT;
            item.message = {reinterpret_cast<const std::uint8_t*>(m->text.data()), m->text.size()};
            item.hold = m;
        }
        return j;
    }
};

TEST_F(key_adapter_test, keys_are_listed_page_by_page) {
    auto i = provider();
    ASSERT_TRUE(i);
    ASSERT_EQ(i->keys().size(), 3u);
    EXPECT_EQ(i->keys().at("issuer").nkey, account);
    EXPECT_EQ(i->keys().at("issuer").key, 1u);
    EXPECT_EQ(i->keys().at("app").max_message_bytes, 16u);
    EXPECT_EQ(i->keys().at("curve").algorithm, CG_KEY_X25519);
    EXPECT_EQ(i->keys_port()->max_batch(), 4u);
    EXPECT_EQ(i->keys_port()->max_in_flight(), 2u);
    EXPECT_EQ(i->auth(), nullptr);
    EXPECT_TRUE(retire(i));
}

TEST_F(key_adapter_test, keys_that_make_no_sense_stop_the_start) {
    const std::string head = "plugin instance \"local\" (org.callgate.test.keys): ";
    EXPECT_EQ(start_error(config(account, app, curve, "!")), head + "list_keys: two keys are labelled \"issuer\"");
    EXPECT_EQ(start_error(config(account, curve, curve)), head + "list_keys: key \"app\" has no public nkey that fits its algorithm");
    auto damaged = account;
    damaged[20] = damaged[20] == 'A' ? 'B' : 'A';
    EXPECT_EQ(start_error(config(damaged, app, curve)), head + "list_keys: key \"issuer\" has no public nkey that fits its algorithm");
}

TEST_F(key_adapter_test, provider_that_may_block_lists_and_signs_on_a_worker) {
    auto i = started(CG_KIND_KEY_PROVIDER, "blocking_keys", {.name = "local", .config_json = config(account, app, curve)});
    ASSERT_TRUE(i);
    EXPECT_EQ(i->keys().size(), 3u);
    i->keys_port()->sign(0, job({{1, "alpha"}}), clock.mono + second_ns, sink);
    EXPECT_TRUE(sink.jobs.empty()) << "not in place";
    ASSERT_TRUE(run_until([&] { return sink.jobs.size() == 1; }));
    EXPECT_EQ(sink.jobs[0]->items[0].status, CG_OK);
    EXPECT_EQ(sink.jobs[0]->items[0].signature[63], 'a');
    EXPECT_TRUE(retire(i));
}

TEST_F(key_adapter_test, batch_comes_back_whole_with_each_items_status) {
    auto i = provider();
    ASSERT_TRUE(i);
    i->keys_port()->sign(0, job({{1, "alpha"}, {9, "unknown key"}, {2, "short enough"}, {2, "longer than sixteen bytes"}}), clock.mono + second_ns, sink);
    ASSERT_TRUE(run_until([&] { return sink.jobs.size() == 1; }));
    const auto& j = *sink.jobs[0];
    EXPECT_EQ(j.status, CG_OK);
    EXPECT_EQ(j.items[0].status, CG_OK);
    EXPECT_EQ(j.items[0].signature[63], 'a');
    EXPECT_EQ(j.items[1].status, CG_E_NOT_FOUND);
    EXPECT_EQ(j.items[2].status, CG_OK);
    EXPECT_EQ(j.items[2].signature[0], 's');
    EXPECT_EQ(j.items[3].status, CG_E_INVALID) << "above that key's max_message_bytes: never sent";
    sink.jobs.clear();
    EXPECT_EQ(message::alive, 0);
    EXPECT_TRUE(retire(i));
}

TEST_F(key_adapter_test, limits_of_the_provider_are_kept) {
    auto i = provider();
    ASSERT_TRUE(i);
    auto port = i->keys_port();
    port->sign(0, job({{1, "a"}, {1, "b"}, {1, "c"}, {1, "d"}, {1, "e"}}), clock.mono + second_ns, sink);
    ASSERT_EQ(sink.jobs.size(), 1u);
    EXPECT_EQ(sink.jobs[0]->status, CG_E_INVALID) << "five in a batch of at most four";
    for (const char* m : {"x", "y", "z"}) port->sign(0, job({{1, m}}), clock.mono + second_ns, sink);
    ASSERT_EQ(sink.jobs.size(), 2u) << "the third is refused at once, the others are on their way until the loop turns";
    EXPECT_EQ(sink.jobs[1]->status, CG_E_BUSY);
    EXPECT_EQ(sink.jobs[1]->items[0].status, CG_E_BUSY);
    ASSERT_TRUE(run_until([&] { return sink.jobs.size() == 4; }));
    port->sign(0, job({{1, "again"}}), clock.mono + second_ns, sink);
    ASSERT_TRUE(run_until([&] { return sink.jobs.size() == 5; }));
    EXPECT_EQ(sink.jobs[4]->items[0].status, CG_OK);
    EXPECT_TRUE(retire(i));
}

TEST_F(key_adapter_test, overdue_batch_returns_at_its_deadline_and_its_memory_stays_valid) {
    auto i = provider();
    ASSERT_TRUE(i);
    i->keys_port()->sign(0, job({{1, "slow"}}), clock.mono + second_ns, sink);
    clock.mono += second_ns;
    host->expire(0, clock.mono);  // before the loop turned: the provider's answer is at best in the inbox
    ASSERT_TRUE(run_until([&] { return sink.jobs.size() == 1 && i->metrics().in_flight == 0; }));
    const auto& j = *sink.jobs[0];
    EXPECT_TRUE(j.items[0].status == CG_E_DEADLINE || j.items[0].status == CG_OK);
    EXPECT_EQ(j.items[0].status == CG_E_DEADLINE, i->metrics().overdue == 1);
    EXPECT_EQ(i->metrics().overdue, i->metrics().late);
    EXPECT_TRUE(retire(i));
}

TEST_F(key_adapter_test, signs_for_the_control_thread_too) {
    auto i = provider();
    ASSERT_TRUE(i);
    i->keys_port()->sign(host->control_shard(), job({{1, "nonce"}}), clock.mono + second_ns, sink);
    ASSERT_TRUE(run_until([&] { return sink.jobs.size() == 1; }));
    EXPECT_EQ(sink.jobs[0]->items[0].status, CG_OK);
    EXPECT_TRUE(retire(i));
}

TEST_F(key_adapter_test, shared_keys_arrive_in_guarded_memory) {
    auto i = provider();
    ASSERT_TRUE(i);
    crypto::key_bytes peer;
    peer.fill(7);
    i->keys_port()->export_shared(0, 3, peer, clock.mono + second_ns, 1, sink);
    ASSERT_EQ(sink.shared.size(), 1u);
    ASSERT_TRUE(sink.shared[0]);
    EXPECT_TRUE(sink.shared[0]->equals(peer));
    i->keys_port()->export_shared(0, 1, peer, clock.mono + second_ns, 2, sink);
    ASSERT_EQ(sink.shared.size(), 2u);
    ASSERT_FALSE(sink.shared[1]);
    EXPECT_EQ(sink.shared[1].error().text, "the key provider refused: CG_E_NOT_FOUND");
    EXPECT_TRUE(retire(i));
}

TEST_F(key_adapter_test, peer_keys_of_strangers_do_not_open_the_breaker) {
    auto i = provider();
    ASSERT_TRUE(i);
    const auto in_a_row = 2 * breaker_options{}.failures;
    for (std::uint32_t n = 1; n <= in_a_row; ++n) i->keys_port()->export_shared(0, 3, crypto::key_bytes{}, clock.mono + second_ns, n, sink);
    ASSERT_EQ(sink.shared.size(), in_a_row);
    for (const auto& s : sink.shared) {
        ASSERT_FALSE(s);
        EXPECT_EQ(s.error().code, errc::invalid);
    }
    EXPECT_EQ(i->breaker().state(), breaker_state::closed);
    i->keys_port()->sign(0, job({{1, "login"}}), clock.mono + second_ns, sink);
    ASSERT_TRUE(run_until([&] { return sink.jobs.size() == 1; }));
    EXPECT_EQ(sink.jobs[0]->items[0].status, CG_OK);
    EXPECT_TRUE(retire(i));
}

TEST_F(key_adapter_test, instance_that_was_never_started_is_retired_without_asking_the_plugin) {
    auto i = made(CG_KIND_KEY_PROVIDER, "keys", {.name = "local", .config_json = config(account, app, curve)});
    ASSERT_TRUE(i);
    EXPECT_TRUE(retire(i)) << "this plugin's stop waits for a thread that start makes";
    EXPECT_EQ(i->metrics().started, 0u);
}

TEST_F(key_adapter_test, health_is_not_asked_again_while_the_plugin_owes_an_answer) {
    auto i = started(CG_KIND_KEY_PROVIDER, "keys", {.name = "local", .config_json = config(account, app, curve, "?")});
    ASSERT_TRUE(i);
    const auto before = i->metrics().started.load();
    for (int n = 0; n < 3; ++n) {
        std::optional<result<health_report>> h;
        i->health(1'000'000, [&](result<health_report> r) { h = std::move(r); });
        clock.mono += 2 * second_ns;
        ASSERT_TRUE(run_until([&] { return h.has_value(); }));
        ASSERT_FALSE(*h);
        EXPECT_EQ(h->error().code, n == 0 ? errc::deadline : errc::busy) << h->error().text;
    }
    EXPECT_EQ(i->metrics().started, before + 1) << "operations that are never completed must not pile up";
    EXPECT_TRUE(retire(i));
}

}  // namespace
}  // namespace callgate::host::test

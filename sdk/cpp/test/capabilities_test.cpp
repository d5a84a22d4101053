// SPDX-License-Identifier: Apache-2.0
// Owners of the draft capabilities, against the fake host.
#include <callgate/sdk/extensions_events.hpp>
#include <callgate/sdk/extensions_fd.hpp>
#include <callgate/sdk/extensions_instance.hpp>
#include <callgate/sdk/extensions_metrics.hpp>
#include <callgate/sdk/extensions_nats.hpp>
#include <callgate/sdk/extensions_secrets.hpp>
#include <callgate/sdk/extensions_worker.hpp>
#include <callgate/sdk/testing/fake_host.hpp>
#include <gtest/gtest.h>

namespace {

using namespace callgate::sdk;
using test::fake_host;

template <class F>
cg_status thrown(F&& f) {
    try {
        f();
    } catch (const status_error& e) {
        return e.code();
    }
    return CG_OK;
}

TEST(capabilities, metrics_count_and_are_defined_before_the_end_of_start) {
    fake_host fake;
    const host_ref host(fake.get());
    const metric_counter hits(host, "lookups_total", "Lookups.", {{"outcome", "hit"}});
    const metric_gauge keys(host, "keys", "Keys.");
    const std::int64_t bounds[] = {1, 2};
    const metric_histogram sizes(host, "sizes", "Sizes.", bounds);
    hits.add(0);
    hits.add(CG_METRIC_NO_SHARD, 4);
    keys.set(7);
    keys.set(5, 0);
    keys.change(-2);
    keys.set(1, 0);
    sizes.observe(9);
    EXPECT_EQ(fake.metric("lookups_total", "outcome=hit"), 5);
    EXPECT_EQ(fake.metric("keys"), 6);
    EXPECT_EQ(fake.metric("sizes"), 1);
    EXPECT_FALSE(fake.metric("lookups_total"));
    EXPECT_EQ(thrown([&] { metric_counter other(host, "keys", "Keys."); }), CG_E_INVALID);
    const metric_gauge next_instance(host, "keys", "Keys.");
    EXPECT_EQ(fake.metric("keys"), 0);
    fake.freeze_metrics();
    EXPECT_EQ(thrown([&] { metric_gauge late(host, "late", "Late."); }), CG_E_PERMISSION);
    fake_host older;
    older.withhold(CG_EXT_METRICS);
    const metric_counter silent(host_ref(older.get()), "x_total", "X.");
    silent.add();
    metric_counter().add();
}

TEST(capabilities, worker_jobs_tell_when_none_is_left) {
    fake_host fake;
    worker_jobs jobs{host_ref(fake.get())};
    std::string order;
    bool idle = false;
    jobs.run([&] { order += "a"; }, [&] { order += "A"; });
    jobs.run([&] { throw std::runtime_error("broken"); }, [&] { order += "B"; });
    jobs.run([&] { order += "c"; });
    jobs.when_idle([&] { idle = true; });
    EXPECT_FALSE(idle);
    EXPECT_EQ(jobs.open(), 3u);
    EXPECT_EQ(fake.run_jobs(), 3u);
    EXPECT_EQ(order, "aABc");
    EXPECT_TRUE(idle);
    EXPECT_TRUE(fake.logged("broken"));
    idle = false;
    jobs.when_idle([&] { idle = true; });
    EXPECT_TRUE(idle);
    for (int i = 0; i < 256; ++i) jobs.run([] {});
    EXPECT_EQ(thrown([&] { jobs.run([] {}); }), CG_E_BUSY);
    EXPECT_EQ(jobs.open(), 256u);
    fake.run_jobs();
    EXPECT_EQ(jobs.open(), 0u);
}

TEST(capabilities, fd_watch_ends_with_its_owner_also_from_inside) {
    fake_host fake;
    const host_ref host(fake.get());
    auto watch = std::make_unique<fd_watch>(host);
    int events = 0;
    watch->start(5, CG_FD_READ, [&](std::uint32_t e) { events += static_cast<int>(e); });
    EXPECT_EQ(fake.ready(5, CG_FD_WRITE), 0u);
    EXPECT_EQ(fake.ready(5, CG_FD_READ), 1u);
    EXPECT_EQ(events, 1);
    watch->start(5, CG_FD_WRITE, [&](std::uint32_t) { watch.reset(); });
    EXPECT_EQ(fake.watch_count(), 1u);
    EXPECT_EQ(fake.ready(5, CG_FD_WRITE), 1u);
    EXPECT_EQ(fake.watch_count(), 0u);
    fd_watch other(host);
    EXPECT_EQ(thrown([&] { other.start(-1, CG_FD_READ, [](std::uint32_t) {}); }), CG_E_INVALID);
    EXPECT_FALSE(other.active());
}

TEST(capabilities, secrets_are_read_by_handle_of_any_length_and_changes_are_told) {
    fake_host fake;
    const host_ref host(fake.get());
    const auto handle = fake.add_secret("short"), large = fake.add_secret(std::string(3000, 'x'));
    EXPECT_EQ(read_secret(host, handle).text(), "short");
    EXPECT_EQ(read_secret(host, large).text(), std::string(3000, 'x'));
    EXPECT_EQ(thrown([&] { (void)read_secret(host, "the password itself"); }), CG_E_NOT_FOUND);
    std::string told;
    {
        const secret_changes changes(host, [&](std::string_view h) { told += std::string(h) + "=" + std::string(read_secret(host, h).text()); });
        fake.change_secret(handle, "new");
    }
    fake.change_secret(handle, "newer");
    EXPECT_EQ(told, handle + "=new");
}

TEST(capabilities, events_reach_those_who_asked_while_they_live) {
    fake_host fake;
    const host_ref host(fake.get());
    std::string seen;
    {
        const event_subscription s(host, {CG_EVENT_CONFIG_RELOADED, CG_EVENT_KEY_ROTATED},
                                   [&](const host_event& e) { seen += std::to_string(e.kind) + std::string(e.subject) + std::to_string(e.number); });
        EXPECT_EQ(fake.publish({CG_EVENT_KEY_ROTATED, "local/issuer", "A", 3}), 1u);
        EXPECT_EQ(fake.publish({CG_EVENT_SHUTTING_DOWN}), 0u);
    }
    EXPECT_EQ(fake.publish({CG_EVENT_KEY_ROTATED, "local/issuer", "A", 4}), 0u);
    EXPECT_EQ(seen, "2local/issuer3");
}

TEST(capabilities, verdicts_are_withdrawn) {
    fake_host fake;
    const verdict_cache cache{host_ref(fake.get())};
    cache.forget_subject("i", "alice");
    cache.forget_credential("c");
    cache.forget_all();
    EXPECT_EQ(fake.invalidated(), (std::vector<std::string>{"subject i alice", "credential c", "all"}));
    fake_host older;
    older.withhold(CG_EXT_CACHE_INVALIDATE);
    verdict_cache{host_ref(older.get())}.forget_all();
}

TEST(capabilities, other_instances_are_called_when_the_configuration_lists_them) {
    fake_host fake;
    const host_ref host(fake.get());
    EXPECT_EQ(thrown([&] { store_user{host, "main"}; }), CG_E_PERMISSION);
    fake.allow("store/main");
    fake.allow("keys/local");
    const store_user store(host, "main");
    const key_user keys(host, "local");
    std::string got;
    store.get({"users/alice", "users/bob"}, [&](const call_answer<cg_claim_values>& a) { got = a.result == nullptr ? std::string(a.error) : std::to_string(a.result->revision); });
    auto calls = fake.calls();
    ASSERT_EQ(calls.size(), 1u);
    EXPECT_EQ(calls[0].to, "store/main");
    EXPECT_EQ(calls[0].keys, (std::vector<std::string>{"users/alice", "users/bob"}));
    auto values = make<cg_claim_values>();
    values.revision = 17;
    EXPECT_TRUE(fake.answer_call(calls[0].id, CG_OK, &values));
    EXPECT_FALSE(fake.answer_call(calls[0].id, CG_OK, &values)) << "once";
    EXPECT_EQ(got, "17");

    const std::uint8_t message[] = {'m', 's', 'g'};
    cg_status status = CG_OK;
    keys.sign("issuer", CG_SIGN_GENERIC, message, [&](const call_answer<cg_instance_signature>& a) {
        status = a.status;
        got = a.error;
    }, std::chrono::seconds(2));
    calls = fake.calls();
    ASSERT_EQ(calls.size(), 1u);
    EXPECT_EQ(calls[0].keys[0] + calls[0].message, "issuermsg");
    EXPECT_EQ(calls[0].timeout_ns, 2'000'000'000);
    fake.answer_call(calls[0].id, CG_E_DEADLINE, nullptr, "too slow");
    EXPECT_EQ(status, CG_E_DEADLINE);
    EXPECT_EQ(got, "too slow");

    store.scan("users/", "cursor", 10, 5, [](const call_answer<cg_claim_page>&) { throw std::runtime_error("in the callback"); });
    calls = fake.calls();
    EXPECT_EQ(calls[0].prefix + calls[0].cursor, "users/cursor");
    const auto page = make<cg_claim_page>();
    fake.answer_call(calls[0].id, CG_OK, &page);
    EXPECT_TRUE(fake.logged("in the callback"));

    const cg_claim_put put{to_c("users/alice"), {message, 3}};
    auto commit = make<cg_claim_commit>();
    commit.puts = &put;
    commit.put_count = 1;
    commit.put_stride = sizeof put;
    store.commit(commit, [&](const call_answer<cg_claim_committed>& a) { status = a.status; });
    calls = fake.calls();
    EXPECT_EQ(calls[0].puts.at(0).second, "msg");
    const auto committed = make<cg_claim_committed>();
    fake.answer_call(calls[0].id, CG_OK, &committed);
    EXPECT_EQ(status, CG_OK);
}

TEST(capabilities, nats_publishes_subscribes_and_requests_as_far_as_the_configuration_allows) {
    fake_host fake;
    const host_ref host(fake.get());
    EXPECT_EQ(thrown([&] { nats_client other(host, "main"); }), CG_E_PERMISSION);
    fake.nats().allow("main");
    std::string seen;
    cg_status last = CG_OK;
    {
        nats_client nats(host, "main");
        const std::uint8_t body[] = {'h', 'i'};
        EXPECT_EQ(nats.publish({"a.b", body, {{"Trace", "1"}}}), CG_OK);
        ASSERT_EQ(fake.nats().published().size(), 1u);
        EXPECT_EQ(fake.nats().published()[0].payload, "hi");
        EXPECT_EQ(fake.nats().published()[0].headers, (std::vector<std::pair<std::string, std::string>>{{"Trace", "1"}}));
        std::uint64_t once = 0;
        once = nats.subscribe("feed.*", [&](const nats_incoming& m) {
            seen += std::string(m.subject()) + "=" + std::string(m.text()) + "/" + std::string(m.header("K")) + std::to_string(m.lost()) + " ";
            nats.unsubscribe(once);
        }, "group");
        EXPECT_EQ(fake.nats().subscribed(), std::vector<std::string>{"feed.* group"});
        EXPECT_EQ(fake.nats().deliver({"feed.a.b", "x"}), 0u);
        EXPECT_EQ(fake.nats().deliver({"feed.a", "x", {}, {{"K", "v"}}}, 3), 1u);
        EXPECT_EQ(fake.nats().deliver({"feed.a", "x"}), 0u);
        EXPECT_EQ(seen, "feed.a=x/v3 ");
        nats.subscribe("bad.>", [](const nats_incoming&) { throw std::runtime_error("broken"); });
        EXPECT_EQ(fake.nats().deliver({"bad.x"}), 1u);
        EXPECT_TRUE(fake.logged("broken"));
        std::uint64_t id = 0;
        const auto keep = [&](cg_status s, const nats_incoming* m) { last = s, seen = m == nullptr ? "none" : m->text(); };
        EXPECT_EQ(nats.request({"svc"}, keep, std::chrono::seconds(2), 7, &id), CG_OK);
        ASSERT_EQ(fake.nats().requests().size(), 1u);
        EXPECT_EQ(fake.nats().requests()[0].timeout_ns, 2'000'000'000);
        EXPECT_EQ(fake.nats().requests()[0].op, 7u);
        nats.cancel(id);
        EXPECT_EQ(fake.nats().cancelled(), std::vector<std::uint64_t>{id});
        EXPECT_TRUE(fake.nats().answer(id, CG_OK, {"", "yes"}));
        EXPECT_EQ(seen, "yes");
        EXPECT_EQ(nats.request({"svc"}, keep, {}, 0, &id), CG_OK);
        EXPECT_TRUE(fake.nats().answer(id, CG_E_NOT_FOUND));
        EXPECT_EQ(last, CG_E_NOT_FOUND);
        EXPECT_EQ(seen, "none");
        fake.nats().connected(false);
        EXPECT_EQ(nats.status().connected, 0);
        EXPECT_EQ(nats.publish({"a"}), CG_E_UNAVAILABLE);
        EXPECT_EQ(nats.request({"svc"}, keep), CG_E_UNAVAILABLE);
    }
    EXPECT_TRUE(fake.nats().subscribed().empty());
    EXPECT_EQ(thrown([&] {
        fake.withhold(CG_EXT_NATS);
        nats_client none(host, "main");
    }), CG_E_UNSUPPORTED);
}

}  // namespace

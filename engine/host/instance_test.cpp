// SPDX-License-Identifier: Apache-2.0
#include "engine/host/instance.hpp"

#include "engine/host/host_fixture.hpp"

namespace callgate::host::test {
namespace {

class instance_test : public host_test {};

TEST_F(instance_test, refused_configuration_names_the_instance_and_the_key) {
    folder.add("good");
    const auto i = host->make_instance(CG_KIND_AUTH_BACKEND, {.name = "users", .plugin = "good", .config_json = "{\"wrong\":1}"});
    ASSERT_FALSE(i);
    EXPECT_EQ(i.error().code, errc::invalid);
    EXPECT_EQ(i.error().message(), "plugin instance \"users\" (org.callgate.test.backend): configuration: config.wrong: is not known");
}

TEST_F(instance_test, factory_of_another_kind_or_type_is_named) {
    folder.add("good");
    const auto a = host->make_instance(CG_KIND_KEY_PROVIDER, {.name = "k", .plugin = "good"});
    ASSERT_FALSE(a);
    EXPECT_EQ(a.error().text, "plugin \"good\" (org.callgate.test.backend) has no key provider");
    const auto b = host->make_instance(CG_KIND_AUTH_BACKEND, {.name = "k", .plugin = "good", .type = "ldap"});
    ASSERT_FALSE(b);
    EXPECT_EQ(b.error().text, "plugin \"good\" has no auth backend of type \"ldap\"; it has test");
}

TEST_F(instance_test, failure_to_start_carries_the_plugins_words) {
    auto i = made(CG_KIND_AUTH_BACKEND, "good", {.name = "users", .config_json = "{\"fail\":1}"});
    ASSERT_TRUE(i);
    const auto r = await([&](auto then) { i->start(second_ns, then); });
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().message(), "/etc/users: plugin instance \"users\" (org.callgate.test.backend): start: the user file is missing");
    EXPECT_EQ(r.error().code, errc::not_found);
    EXPECT_TRUE(retire(i)) << "an instance that did not start can be taken away";
}

TEST_F(instance_test, health_is_copied) {
    auto i = started(CG_KIND_AUTH_BACKEND, "good");
    ASSERT_TRUE(i);
    std::optional<result<health_report>> h;
    i->health(second_ns, [&](result<health_report> r) { h = std::move(r); });
    ASSERT_TRUE(run_until([&] { return h.has_value(); }));
    ASSERT_TRUE(*h);
    EXPECT_EQ((**h).state, CG_HEALTH_DEGRADED);
    EXPECT_EQ((**h).text, "stale since yesterday");
    EXPECT_TRUE(retire(i));
}

TEST_F(instance_test, life_cycle_calls_have_deadlines_and_a_hanging_instance_is_kept) {
    auto i = started(CG_KIND_AUTH_BACKEND, "good", {.name = "stuck", .config_json = "{\"hang\":1}"});
    ASSERT_TRUE(i);
    ask(*i, "never", 1, 100 * second_ns);
    std::optional<result<void>> r;
    host->retire(i, second_ns, [this](std::uint32_t, std::function<void()> f) { boost::asio::post(io, std::move(f)); },
                 [&](result<void> got) { r = std::move(got); });
    // The clock stands still, so each deadline comes when the test says so; the loop looks every millisecond.
    ASSERT_TRUE(run_until([&] {
        clock.mono += second_ns / 2;
        return r.has_value();
    }));
    ASSERT_FALSE(*r);
    EXPECT_EQ(r->error().message(), "plugin instance \"stuck\" (org.callgate.test.backend): stop: did not answer within 1000 ms");
    EXPECT_FALSE(i->destroy()) << "its threads may still run";
    EXPECT_EQ(pinned_request::alive, 1);
    // What is kept on purpose must not look like a leak of the test.
    static auto* kept = new std::vector<std::shared_ptr<instance>>;
    kept->push_back(i);
    host->expire(0, INT64_MAX - 1);
    EXPECT_EQ(sink.results[1].reason_id, "backend_timeout");
    pinned_request::alive = 0;
}

TEST_F(instance_test, created_but_never_started_goes_away_by_itself) {
    auto i = made(CG_KIND_AUTH_BACKEND, "good");
    ASSERT_TRUE(i);
    i->auth()->authenticate(0, boost::intrusive_ptr<const pinned_request>(new pinned_request("sync"))->request, nullptr, INT64_MAX, 5, sink);
    EXPECT_EQ(sink.results[5].reason_id, "backend_unavailable") << "not attached";
    i.reset();
}

TEST_F(instance_test, plugin_of_an_earlier_minor_has_shorter_structs) {
    auto i = started(CG_KIND_AUTH_BACKEND, "older");
    ASSERT_TRUE(i);
    const auto r = answer(*i, "sync");
    EXPECT_EQ(r.verdict, CG_VERDICT_ALLOW);
    EXPECT_EQ(r.who->subject, "sync");
    EXPECT_EQ(r.who->attributes_json, "{}") << "absent, not garbage";
    EXPECT_EQ(r.who->credential_exp, 0);
    EXPECT_FALSE(r.grant);
    EXPECT_EQ(r.cache_ttl_s, 0u);
    EXPECT_TRUE(r.explain.empty());
    ask(*i, "never", 1);
    clock.mono += second_ns;
    host->expire(0, clock.mono);
    EXPECT_EQ(sink.results[1].reason_id, "backend_timeout") << "it has no cancel function to call";
    EXPECT_TRUE(retire(i));
}

TEST_F(instance_test, plugin_of_a_later_minor_has_longer_structs) {
    auto i = started(CG_KIND_AUTH_BACKEND, "newer");
    ASSERT_TRUE(i);
    EXPECT_EQ(i->library().abi_minor_built, 9u);
    EXPECT_EQ(i->library().abi_minor, 0u) << "the smaller one counts";
    const auto r = answer(*i, "sync");
    EXPECT_EQ(r.verdict, CG_VERDICT_ALLOW);
    EXPECT_EQ(r.who->attributes_json, "{\"team\":\"blue\"}");
    EXPECT_EQ(r.explain.size(), 2u);
    EXPECT_TRUE(retire(i));
}

TEST_F(instance_test, two_instances_of_one_plugin_are_apart) {
    auto a = started(CG_KIND_AUTH_BACKEND, "good", {.name = "a"});
    auto b = started(CG_KIND_AUTH_BACKEND, "good", {.name = "b"});
    ASSERT_TRUE(a && b);
    EXPECT_EQ(answer(*a, "sync").who->backend, "a");
    EXPECT_EQ(answer(*b, "sync").who->backend, "b");
    EXPECT_TRUE(retire(a));
    EXPECT_EQ(answer(*b, "async").who->backend, "b");
    EXPECT_TRUE(retire(b));
}

TEST_F(instance_test, a_thousand_lives_leave_nothing_in_flight) {
    folder.add("good");
    for (int n = 0; n < 1000; ++n) {
        auto i = host->make_instance(CG_KIND_AUTH_BACKEND, {.name = "x", .plugin = "good"});
        ASSERT_TRUE(i);
        if (n % 100 == 0) {
            ASSERT_TRUE(await([&](auto then) { (*i)->start(second_ns, then); }));
            ASSERT_TRUE((*i)->attach(0));
            EXPECT_EQ(answer(**i, "async").verdict, CG_VERDICT_ALLOW);
            ASSERT_TRUE(retire(*i));
        }
    }
    EXPECT_EQ(pinned_request::alive, 0);
}

}  // namespace
}  // namespace callgate::host::test

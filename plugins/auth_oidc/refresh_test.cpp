// SPDX-License-Identifier: Apache-2.0
// How keys come, stay fresh, rotate and go stale, on a manual clock.
#include <callgate/sdk/testing/driver.hpp>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>

#include "plugins/auth_oidc/auth_oidc.hpp"
#include "plugins/auth_oidc/test_issuer.hpp"

namespace {

using namespace callgate;
using namespace std::chrono_literals;
using auth_oidc::test::jwks;
using auth_oidc::test::signer;
using sdk::test::driver;
using sdk::test::fake_host;
using sdk::test::fake_request;
using sdk::test::fake_response;
using sdk::test::test_request;

const std::string keys_url = "https://idp/keys";

struct refresh_test : ::testing::Test {
    fake_host host{"idp"};
    std::unique_ptr<driver> plugin;
    std::string top;  // configuration beside the issuers
    signer one = signer::ed25519(), two = signer::ed25519();
    test_request request;

    void TearDown() override {
        plugin.reset();
        EXPECT_EQ(host.faults(), 0);
        EXPECT_EQ(host.live_cells(), 0);
        EXPECT_EQ(host.timer_count(), 0u);
        EXPECT_TRUE(host.pending_http().empty());
    }
    void make(const std::string& origin = R"("jwks_url": "https://idp/keys")") {
        plugin = std::make_unique<driver>(host, sdk::factory_of<auth_oidc::backend>,
                                          R"({"issuers": [{"issuer": "https://idp", "audiences": ["nats"], )" + origin + "}]" + top + "}");
    }
    void start(const std::string& origin = R"("jwks_url": "https://idp/keys")") {
        make(origin);
        ASSERT_EQ(plugin->start().status, CG_OK);
    }
    void serve(const std::string& keys) {
        host.on_http(keys_url, [keys](const fake_request&) { return fake_response{.body = jwks(keys)}; });
    }
    void fail() {
        host.on_http(keys_url, [](const fake_request&) { return fake_response{.status = CG_E_UNAVAILABLE, .code = 0, .error = "connection refused"}; });
    }
    std::string token(const signer& s, const std::string& kid, std::int64_t exp_in = 360'000) const {
        return s.token("EdDSA", R"({"alg":"EdDSA","kid":")" + kid + "\"}",
                       R"({"iss":"https://idp","sub":"alice","aud":"nats","exp":)" + std::to_string(host.wall_unix_s() + exp_in) + "}");
    }
    std::string dated_token(const signer& s, const std::string& kid, std::int64_t iat) const {
        return s.token("EdDSA", R"({"alg":"EdDSA","kid":")" + kid + "\"}",
                       R"({"iss":"https://idp","sub":"alice","aud":"nats","iat":)" + std::to_string(iat) + R"(,"exp":)" +
                           std::to_string(host.wall_unix_s() + 360'000) + "}");
    }
    cg_op ask_op(const std::string& t, std::chrono::nanoseconds left = 2s) {
        request.auth_token = request.credential = t;
        request.credential_source = CG_CREDENTIAL_AUTH_TOKEN;
        return plugin->authenticate_op(request, left);
    }
    std::string outcome(cg_op op) {
        const auto c = host.take(op);
        if (!c) return "waits";
        const char* verdict = c->verdict == CG_VERDICT_ALLOW ? "allow" : c->verdict == CG_VERDICT_DENY ? "deny " : c->verdict == CG_VERDICT_ABSTAIN ? "abstain " : "unavailable ";
        return verdict + c->reason_id;
    }
    std::string ask(const std::string& t, std::chrono::nanoseconds left = 2s) { return outcome(ask_op(t, left)); }
};

TEST_F(refresh_test, start_completes_when_the_keys_are_there) {
    make();
    const auto op = plugin->start_op();
    EXPECT_FALSE(host.done(op));
    const auto asked = host.pending_http();
    ASSERT_EQ(asked.size(), 1u);
    EXPECT_EQ(asked[0].url, keys_url);
    EXPECT_EQ(asked[0].flags, 0u) << "no redirects, no plain text";
    EXPECT_EQ(asked[0].max_body_bytes, 1024u * 1024);
    host.answer_http(asked[0].id, {.body = jwks(one.jwk("a"))});
    ASSERT_EQ(host.take(op).value().status, CG_OK);
    plugin->attach();
    EXPECT_EQ(ask(token(one, "a")), "allow");
    EXPECT_EQ(plugin->health().health_state, static_cast<std::uint32_t>(CG_HEALTH_OK));
}

TEST_F(refresh_test, unreachable_issuer_starts_down_and_recovers_by_itself) {
    fail();
    start();
    EXPECT_EQ(ask(token(one, "a")), "unavailable keys_unavailable");
    EXPECT_EQ(plugin->health().health_state, static_cast<std::uint32_t>(CG_HEALTH_DOWN));
    EXPECT_TRUE(host.logged("connection refused"));
    EXPECT_GE(host.metric("issuer_key_fetches_total", "issuer=https://idp,outcome=failed").value_or(0), 1);
    EXPECT_EQ(host.metric("issuer_keys", "issuer=https://idp"), 0);
    EXPECT_EQ(ask("opaque"), "abstain not_a_token");
    serve(one.jwk("a"));
    host.advance(12s);
    EXPECT_EQ(ask(token(one, "a")), "allow");
    EXPECT_EQ(plugin->health().health_state, static_cast<std::uint32_t>(CG_HEALTH_OK));
    EXPECT_EQ(host.metric("issuer_keys", "issuer=https://idp"), 1);
    EXPECT_EQ(host.metric("issuer_key_fetches_total", "issuer=https://idp,outcome=ok"), 1);
}

TEST_F(refresh_test, retries_back_off) {
    fail();
    start();
    host.advance(10min);
    EXPECT_LE(host.http_count(), 9u);
    EXPECT_GE(host.http_count(), 5u);
}

TEST_F(refresh_test, keys_are_refreshed_on_time_with_the_etag) {
    std::vector<std::string> tags;
    host.on_http(keys_url, [&](const fake_request& r) {
        tags.push_back(r.header("If-None-Match"));
        if (!tags.back().empty()) return fake_response{.code = 304};
        return fake_response{.body = jwks(one.jwk("a")), .headers = {{"etag", "\"v1\""}}};
    });
    start();
    host.advance(3h + 30min);
    EXPECT_GE(tags.size(), 4u);
    EXPECT_LE(tags.size(), 5u);
    EXPECT_EQ(tags[0], "");
    EXPECT_EQ(tags[1], "\"v1\"");
    host.advance(48h);
    EXPECT_EQ(ask(token(one, "a")), "allow") << "304 keeps keys fresh";
}

struct cache_control_refresh_test : refresh_test {
    /// So many after the first one, from an issuer that answers with these fields.
    std::size_t fetches(const std::vector<std::pair<std::string, std::string>>& fields, std::chrono::nanoseconds during) {
        host.on_http(keys_url, [this, fields](const fake_request&) { return fake_response{.body = jwks(one.jwk("a")), .headers = fields}; });
        start();
        const auto before = host.http_count();
        host.advance(during);
        const auto n = host.http_count() - before;
        plugin.reset();
        return n;
    }
    static void expect_near(std::size_t n, std::size_t least, std::size_t most, const char* what) {
        EXPECT_GE(n, least) << what;
        EXPECT_LE(n, most) << what;
    }
};

TEST_F(cache_control_refresh_test, max_age_sets_the_interval_within_its_bounds) {
    // A tenth up or down each time.
    expect_near(fetches({}, 10h), 9, 11, "silence: refresh");
    expect_near(fetches({{"Cache-Control", "public"}}, 10h), 9, 11, "nothing said of time: refresh");
    expect_near(fetches({{"Cache-Control", "max-age=600"}}, 10h), 54, 67, "10 minutes");
    expect_near(fetches({{"Cache-Control", "max-age=1200"}, {"Age", "600"}}, 10h), 54, 67, "20 minutes, half of them over");
    expect_near(fetches({{"Cache-Control", "max-age=1"}}, 1h), 54, 67, "not below refresh_min, by default a minute");
    expect_near(fetches({{"Cache-Control", "no-store"}}, 1h), 54, 67, "no-store");
    expect_near(fetches({{"Cache-Control", "no-cache, max-age=600"}}, 1h), 54, 67, "no-cache");
    expect_near(fetches({{"Cache-Control", "max-age=99999999999999999999"}}, 10h), 9, 11, "not above refresh_max, by default refresh");
    expect_near(fetches({{"Cache-Control", "max-age=\"600"}}, 1h), 54, 67, "out of form: stale");
}

TEST_F(cache_control_refresh_test, bounds_can_be_set) {
    top = R"(, "refresh_min": "5m", "refresh_max": "6h")";
    expect_near(fetches({{"Cache-Control", "no-store"}}, 10h), 108, 134, "refresh_min");
    expect_near(fetches({{"Cache-Control", "max-age=86400"}}, 60h), 9, 12, "refresh_max");
    expect_near(fetches({{"Cache-Control", "max-age=10800"}}, 60h), 18, 23, "three hours, between them");
    expect_near(fetches({}, 10h), 9, 11, "silence: refresh");
}

TEST_F(cache_control_refresh_test, unchanged_set_keeps_or_renews_what_was_said) {
    std::vector<std::pair<std::string, std::string>> later;
    host.on_http(keys_url, [&](const fake_request& r) {
        if (!r.header("If-None-Match").empty()) return fake_response{.code = 304, .headers = later};
        return fake_response{.body = jwks(one.jwk("a")), .headers = {{"ETag", "\"v1\""}, {"Cache-Control", "max-age=600"}}};
    });
    start();
    auto before = host.http_count();
    host.advance(10h);
    expect_near(host.http_count() - before, 54, 67, "a 304 without Cache-Control");
    later = {{"Cache-Control", "max-age=1800"}};
    host.advance(15min);
    before = host.http_count();
    host.advance(10h);
    expect_near(host.http_count() - before, 18, 23, "a 304 with another");
}

TEST_F(cache_control_refresh_test, failure_is_retried_as_ever_and_keys_stay_until_max_stale) {
    host.on_http(keys_url, [this](const fake_request&) { return fake_response{.body = jwks(one.jwk("a")), .headers = {{"Cache-Control", "no-store, must-revalidate"}}}; });
    start();
    host.on_http(keys_url, [](const fake_request&) { return fake_response{.code = 500, .headers = {{"Cache-Control", "max-age=3600"}}}; });
    host.advance(70s);
    const auto before = host.http_count();
    host.advance(22s);
    EXPECT_GE(host.http_count() - before, 1u) << "the lifetime of an error is not the keys'";
    host.advance(20h);
    EXPECT_EQ(ask(token(one, "a")), "allow");
}

TEST_F(refresh_test, removed_key_stops_opening_after_a_refresh) {
    serve(one.jwk("a") + "," + two.jwk("b"));
    start();
    EXPECT_EQ(ask(token(two, "b")), "allow");
    serve(one.jwk("a"));
    host.advance(70min);
    ASSERT_EQ(ask(token(one, "a")), "allow");
    const auto op = ask_op(token(two, "b"));
    host.run();
    EXPECT_EQ(outcome(op), "deny unknown_kid");
}

TEST_F(refresh_test, last_good_keys_serve_until_max_stale) {
    serve(one.jwk("a"));
    start();
    host.on_http(keys_url, [](const fake_request&) { return fake_response{.body = "{\"keys\":[]}"}; });
    host.advance(23h);
    EXPECT_EQ(ask(token(one, "a")), "allow");
    const auto h = plugin->health();
    EXPECT_EQ(h.health_state, static_cast<std::uint32_t>(CG_HEALTH_DEGRADED));
    EXPECT_NE(h.health_text.find("https://idp/keys: no key of the set"), std::string::npos) << h.health_text;
    host.advance(2h);
    EXPECT_EQ(ask(token(one, "a")), "unavailable keys_unavailable");
    EXPECT_EQ(plugin->health().health_state, static_cast<std::uint32_t>(CG_HEALTH_DOWN));
}

TEST_F(refresh_test, unknown_kid_waits_for_one_fetch_and_known_kids_do_not) {
    serve(one.jwk("a"));
    start();
    host.advance(20s);
    serve(one.jwk("a") + "," + two.jwk("b"));
    const auto before = host.http_count();
    const auto first = ask_op(token(two, "b"));
    test_request second_request;
    second_request.auth_token = second_request.credential = token(two, "b");
    second_request.credential_source = CG_CREDENTIAL_AUTH_TOKEN;
    const auto second = plugin->authenticate_op(second_request);
    EXPECT_EQ(outcome(first), "waits");
    EXPECT_EQ(outcome(second), "waits");
    test_request known;
    known.auth_token = known.credential = token(one, "a");
    known.credential_source = CG_CREDENTIAL_AUTH_TOKEN;
    EXPECT_EQ(outcome(plugin->authenticate_op(known)), "allow") << "answered inline";
    host.run();
    EXPECT_EQ(outcome(first), "allow");
    EXPECT_EQ(outcome(second), "allow");
    EXPECT_EQ(host.http_count(), before + 1);
}

TEST_F(refresh_test, made_up_kids_cost_one_fetch_in_ten_seconds) {
    serve(one.jwk("a"));
    start();
    host.advance(20s);
    const auto before = host.http_count();
    const auto op = ask_op(token(two, "x0"));
    host.run();
    EXPECT_EQ(outcome(op), "deny unknown_kid");
    for (int i = 1; i < 50; ++i) EXPECT_EQ(ask(token(two, "x" + std::to_string(i))), "deny unknown_kid") << "throttled";
    host.run();
    EXPECT_EQ(host.http_count(), before + 1);
    host.advance(10s);
    const auto again = ask_op(token(two, "y"));
    EXPECT_EQ(outcome(again), "waits");
    host.run();
    EXPECT_EQ(host.http_count(), before + 2);
}

TEST_F(refresh_test, made_up_kids_do_not_get_tokens_of_a_rotated_key_denied) {
    serve(one.jwk("a"));
    start(R"("leeway": "2s", "jwks_url": "https://idp/keys")");
    host.advance(20s);
    const auto fetched = host.wall_unix_s();
    const auto before = host.http_count();
    const auto op = ask_op(token(two, "made up"));
    host.run();
    EXPECT_EQ(outcome(op), "deny unknown_kid");
    serve(one.jwk("a") + "," + two.jwk("b"));
    host.advance(5s);
    EXPECT_EQ(ask(dated_token(two, "b", host.wall_unix_s())), "unavailable unknown_kid_throttled") << "signed after the fetch, with a key of after the fetch";
    EXPECT_EQ(ask(dated_token(two, "b", fetched)), "unavailable unknown_kid_throttled");
    EXPECT_EQ(ask(dated_token(two, "b", fetched - 2)), "unavailable unknown_kid_throttled") << "clocks differ by up to leeway";
    EXPECT_EQ(ask(dated_token(two, "b", fetched - 3)), "deny unknown_kid") << "older than the set, which has no such key";
    EXPECT_EQ(ask(dated_token(two, "b", INT64_MIN)), "deny unknown_kid");
    EXPECT_EQ(ask(token(two, "b")), "deny unknown_kid") << "no iat, nothing to compare";
    EXPECT_EQ(ask(dated_token(two, "b", host.wall_unix_s() + 3600)), "deny iat_in_future");
    EXPECT_EQ(ask(dated_token(one, "a", host.wall_unix_s())), "allow");
    EXPECT_EQ(host.http_count(), before + 1) << "still throttled";
    host.advance(5s);
    const auto late = ask_op(dated_token(two, "b", host.wall_unix_s()));
    host.run();
    EXPECT_EQ(outcome(late), "allow");
}

TEST_F(refresh_test, unknown_kid_of_a_token_that_fails_anyway_costs_nothing) {
    serve(one.jwk("a"));
    start();
    host.advance(20s);
    const auto before = host.http_count();
    EXPECT_EQ(ask(token(two, "b", -3600)), "deny token_expired");
    host.run();
    EXPECT_EQ(host.http_count(), before);
}

TEST_F(refresh_test, unknown_kid_is_unavailable_when_the_fetch_fails_or_is_late) {
    serve(one.jwk("a"));
    start();
    host.advance(20s);
    EXPECT_EQ(ask(token(two, "b"), 100us), "unavailable keys_being_fetched");
    host.run();
    host.advance(20s);
    fail();
    const auto op = ask_op(token(two, "b"));
    host.run();
    EXPECT_EQ(outcome(op), "unavailable keys_unavailable");
    EXPECT_EQ(ask(token(two, "b")), "unavailable keys_unavailable") << "throttled, and nobody knows whether the kid is new";
    EXPECT_EQ(ask(token(one, "a")), "allow");
}

TEST_F(refresh_test, cancelled_wait_is_answered_once) {
    serve(one.jwk("a"));
    start();
    host.advance(20s);
    const auto op = ask_op(token(two, "b"));
    EXPECT_EQ(outcome(op), "waits");
    plugin->cancel(op);
    EXPECT_EQ(outcome(op), "unavailable keys_not_in_time");
    host.run();
}

TEST_F(refresh_test, simulation_talks_to_nobody) {
    serve(one.jwk("a"));
    start();
    host.advance(20s);
    const auto before = host.http_count();
    request.flags = CG_REQUEST_SIMULATE;
    EXPECT_EQ(ask(token(two, "b")), "deny unknown_kid");
    host.run();
    EXPECT_EQ(host.http_count(), before);
}

TEST_F(refresh_test, discovery_leads_to_the_keys) {
    host.on_http("https://idp/.well-known/openid-configuration",
                 [](const fake_request&) { return fake_response{.body = R"({"issuer":"https://idp","jwks_uri":"https://idp/keys"})"}; });
    serve(one.jwk("a"));
    start(R"("discovery": true)");
    EXPECT_EQ(ask(token(one, "a")), "allow");
}

TEST_F(refresh_test, discovery_cannot_lead_astray) {
    const auto with = [&](const std::string& document, const std::string& extra = {}) {
        host.on_http("https://idp/.well-known/openid-configuration", [document](const fake_request&) { return fake_response{.body = document}; });
        host.on_http("https://keys.example/k", [this](const fake_request&) { return fake_response{.body = jwks(one.jwk("a"))}; });
        serve(one.jwk("a"));
        start(R"("discovery": true)" + extra);
        const auto text = plugin->health().health_text;
        const auto got = ask(token(one, "a"));
        plugin.reset();
        return got + " " + text;
    };
    EXPECT_NE(with(R"({"issuer":"https://evil","jwks_uri":"https://idp/keys"})").find("of another issuer"), std::string::npos);
    EXPECT_NE(with(R"({"issuer":"https://idp","jwks_uri":"https://keys.example/k"})").find("neither the issuer's origin nor in jwks_origins"), std::string::npos);
    EXPECT_NE(with(R"({"issuer":"https://idp","jwks_uri":"http://idp/keys"})").find("must be https"), std::string::npos);
    EXPECT_NE(with(R"({"issuer":"https://idp"})").find("jwks_uri must be a URL"), std::string::npos);
    EXPECT_NE(with("nonsense").find("not a JSON object"), std::string::npos);
    EXPECT_TRUE(with(R"({"issuer":"https://idp","jwks_uri":"https://keys.example/k"})", R"(, "jwks_origins": ["https://KEYS.example:443"])").starts_with("allow"));
}

TEST_F(refresh_test, bad_answers_keep_the_keys) {
    serve(one.jwk("a"));
    start();
    const fake_response answers[] = {{.code = 500}, {.code = 302}, {.code = 304}, {.code = 200, .body = "<html>"}, {.status = CG_E_NOSPC, .code = 200, .error = "too large"}};
    for (const auto& a : answers) {
        host.on_http(keys_url, [a](const fake_request&) { return a; });
        host.advance(70min);
        EXPECT_EQ(plugin->health().health_state, static_cast<std::uint32_t>(CG_HEALTH_DEGRADED)) << a.code;
        EXPECT_EQ(ask(token(one, "a")), "allow");
    }
}

TEST_F(refresh_test, changed_key_file_is_read_again_and_a_broken_one_is_not_taken) {
    namespace fs = std::filesystem;
    std::string dir = (fs::temp_directory_path() / "callgate_oidc_file_XXXXXX").string();
    ASSERT_NE(::mkdtemp(dir.data()), nullptr);
    const auto file = dir + "/jwks.json";
    std::ofstream(file) << jwks(one.jwk("a"));
    start(R"("jwks_file": ")" + file + "\"");
    host.advance(20s);
    std::ofstream(file) << jwks(two.jwk("b"));
    const auto op = ask_op(token(two, "b"));
    host.run();
    EXPECT_EQ(outcome(op), "allow");
    std::ofstream(file) << "{";
    host.advance(3h);
    EXPECT_EQ(plugin->health().health_state, static_cast<std::uint32_t>(CG_HEALTH_DEGRADED)) << "also at the second look";
    EXPECT_EQ(ask(token(two, "b")), "allow");
    plugin.reset();
    make(R"("jwks_file": ")" + file + "\"");
    const auto c = plugin->start();
    EXPECT_EQ(c.status, CG_E_INVALID);
    EXPECT_NE(c.error.find(file), std::string::npos);
    plugin.reset();
    fs::remove_all(dir);
}

TEST_F(refresh_test, stop_waits_for_the_exchange_it_cancels) {
    make();
    const auto started = plugin->start_op();
    ASSERT_EQ(host.pending_http().size(), 1u);
    const auto stop = host.begin(sdk::test::result_kind::none);
    plugin->get()->life->stop(plugin->get(), stop);
    EXPECT_TRUE(host.done(started));
    EXPECT_FALSE(host.done(stop));
    host.run();
    EXPECT_TRUE(host.done(stop));
}

TEST_F(refresh_test, instance_may_go_while_an_exchange_is_under_way) {
    make();
    const auto started = plugin->start_op();
    plugin->cancel(started);
    EXPECT_EQ(host.take(started).value().status, CG_E_CANCELLED);
    plugin.reset();
    host.run();
}

}  // namespace

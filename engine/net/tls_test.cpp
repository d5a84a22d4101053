// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "engine/net/link_test_rig.hpp"
#include "tests/support/certificates.hpp"
#include "tests/support/nats_server.hpp"
#include "tests/support/tcp_relay.hpp"

namespace callgate::net::test {
namespace {

using callgate::test::certificate_authority;
using callgate::test::nats_server;
using callgate::test::server_version;
using callgate::test::tcp_relay;
using callgate::test::temp_dir;

constexpr const char* config = R"(
tls { cert_file: "{dir}/server.pem", key_file: "{dir}/server.key", ca_file: "{dir}/ca.pem", verify: %VERIFY%, timeout: 5 }
)";

/// A server with a certificate for localhost and 127.0.0.1; a client certificate where wanted.
struct tls_rig {
    certificate_authority ca;
    temp_dir dir;
    nats_server server;

    explicit tls_rig(server_version v, bool verify = false) : server(v, text(verify), files(ca)) {}
    [[nodiscard]] link_options options(std::vector<subscription_request> subscriptions = {}) const {
        auto o = to("tls://127.0.0.1:" + std::to_string(server.port()), std::move(subscriptions));
        o.tls = tls_options{dir.write("ca.pem", ca.cert_pem()), {}, {}, {}};
        o.reconnect_wait_max_ns = 50'000'000;
        return o;
    }

  private:
    static std::map<std::string, std::string> files(const certificate_authority& ca) {
        const auto own = ca.issue("nats", "DNS:localhost,DNS:nats.test,IP:127.0.0.1");
        return {{"server.pem", own.cert_pem}, {"server.key", own.key_pem}, {"ca.pem", ca.cert_pem()}};
    }
    static std::string text(bool verify) {
        std::string t = config;
        t.replace(t.find("%VERIFY%"), 8, verify ? "true" : "false");
        return t;
    }
};

class tls_link_on : public testing::TestWithParam<server_version> {};
INSTANTIATE_TEST_SUITE_P(servers, tls_link_on, testing::Values(server_version::v2_10, server_version::v2_15),
                         [](const auto& i) { return i.param == server_version::v2_10 ? "v2_10_27" : "v2_15_1"; });

/// A second link is the other party, as ordinary clients of the tests speak no TLS.
bool exchange(rig& r, const std::string& subject, std::size_t n) {
    const auto before = r.handler.messages.size();
    for (std::size_t i = 0; i < n; ++i) r.link->publish(subject, bytes("payload"));
    r.link->flush();
    return r.until_messages(before + n);
}

TEST_P(tls_link_on, carries_messages_in_batches_with_the_ca_checked) {
    tls_rig t(GetParam());
    rig r(t.options({{"a", "q"}}), 7);
    ASSERT_TRUE(r.until_connected()) << r.link->status().last_error;
    EXPECT_EQ(r.link->status().url, "tls://127.0.0.1:" + std::to_string(t.server.port()));
    ASSERT_TRUE(exchange(r, "a", 5000));
    EXPECT_LT(r.handler.batches, 2500u);  // one post for each batch, not for each message
    EXPECT_EQ(r.link->counters().messages_in, 5000u);
    EXPECT_EQ(r.link->counters().messages_out, 5000u);
    ASSERT_TRUE(exchange(r, "a", 1));
    bool done = false;
    r.link->stop_receiving(5'000'000'000, [&] { done = true; });
    ASSERT_TRUE(run_until(r.loop, [&] { return done; }));
    EXPECT_TRUE(r.close());
    EXPECT_FALSE(r.link->publish("a", bytes("late")));
}

TEST_P(tls_link_on, a_foreign_ca_a_wrong_name_and_a_server_without_tls_are_refused) {
    tls_rig t(GetParam());
    const certificate_authority stranger;
    auto foreign = t.options();
    foreign.tls->ca_file = t.dir.write("stranger.pem", stranger.cert_pem());
    rig a(foreign);
    EXPECT_TRUE(a.until_error("SSL handshake error: 7:certificate signature failure")) << a.link->status().last_error;
    auto wrong_name = t.options();
    wrong_name.tls->server_name = "other.test";
    rig b(wrong_name);
    EXPECT_TRUE(b.until_error("mismatch")) << b.link->status().last_error;
    nats_server plain(GetParam());
    auto no_tls = t.options();
    no_tls.urls = {"tls://127.0.0.1:" + std::to_string(plain.port())};
    rig c(no_tls);
    EXPECT_TRUE(c.until_error("offers no TLS")) << c.link->status().last_error;
    rig d(to("nats://127.0.0.1:" + std::to_string(t.server.port())));
    EXPECT_TRUE(d.until_error("requires TLS")) << d.link->status().last_error;
    auto right_name = t.options();
    right_name.tls->server_name = "nats.test";
    rig e(right_name);
    EXPECT_TRUE(e.until_connected()) << e.link->status().last_error;
    for (auto* r : {&a, &b, &c, &d}) EXPECT_FALSE(r->link->status().connected);
}

TEST_P(tls_link_on, client_certificate_is_read_again_at_reconnect_and_its_key_must_be_private) {
    tls_rig t(GetParam(), true);
    const certificate_authority stranger;
    const auto good = t.ca.issue("engine", ""), bad = stranger.issue("engine", "");
    auto o = t.options({{"a", {}}});
    rig without(o);
    EXPECT_TRUE(run_until(without.loop, [&] { return !without.link->status().last_error.empty(); }));
    o.tls->cert_file = t.dir.write("client.pem", bad.cert_pem);
    o.tls->key_file = t.dir.write("client.key", bad.key_pem, 0644);
    rig r(o);
    ASSERT_TRUE(r.until_error("chmod 600")) << r.link->status().last_error;
    t.dir.write("client.key", bad.key_pem, 0600);
    ASSERT_TRUE(run_until(r.loop, [&] { return r.link->status().last_error.find("chmod") == std::string::npos; }));
    EXPECT_FALSE(r.link->status().connected);
    t.dir.write("client.pem", good.cert_pem);
    t.dir.write("client.key", good.key_pem, 0600);
    ASSERT_TRUE(r.until_connected()) << r.link->status().last_error;
    EXPECT_TRUE(exchange(r, "a", 1));
    EXPECT_FALSE(without.link->status().connected);
}

TEST_P(tls_link_on, comes_back_after_kill_9) {
    tls_rig t(GetParam());
    rig r(t.options({{"a", {}}}));
    ASSERT_TRUE(r.until_connected()) << r.link->status().last_error;
    for (int i = 1; i <= 3; ++i) {
        t.server.kill9();
        ASSERT_TRUE(r.until_down());
        EXPECT_FALSE(r.link->publish("a", bytes("x")));
        t.server.start();
        ASSERT_TRUE(r.until_connected());
        ASSERT_TRUE(exchange(r, "a", 10));
        EXPECT_EQ(r.link->status().reconnects, static_cast<std::uint64_t>(i));
    }
}

// cnats 3.4.1 waits inside SSL_read for the rest of a record; the shard must not notice.
TEST_P(tls_link_on, half_a_record_does_not_stall_the_shard) {
    tls_rig t(GetParam());
    tcp_relay relay(t.server.port());
    auto o = t.options({{"a", {}}});
    o.urls = {"tls://127.0.0.1:" + std::to_string(relay.port())};
    rig r(o);
    ASSERT_TRUE(r.until_connected()) << r.link->status().last_error;
    ASSERT_TRUE(exchange(r, "a", 1));
    rig other(t.options());
    ASSERT_TRUE(other.until_connected());
    relay.hold_half();
    other.link->publish("a", bytes(std::string(1000, 'x')));
    other.link->flush();
    ASSERT_TRUE(run_until(r.loop, [&] { return relay.holding(); }));
    const auto before = r.handler.messages.size();
    auto worst = std::chrono::steady_clock::duration::zero();
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(1);
    for (auto last = std::chrono::steady_clock::now(); last < until;) {
        r.loop.restart();
        r.loop.run_one_for(std::chrono::milliseconds(1));
        r.link->publish("b", bytes("while it hangs"));
        r.link->flush();
        const auto now = std::chrono::steady_clock::now();
        worst = std::max(worst, now - last);
        last = now;
    }
    EXPECT_LT(worst, std::chrono::milliseconds(250));
    EXPECT_EQ(r.handler.messages.size(), before);
    EXPECT_TRUE(r.link->status().connected);
    relay.release();
    ASSERT_TRUE(r.until_messages(before + 1));
    EXPECT_EQ(r.handler.messages.back().payload.size(), 1000u);
    EXPECT_EQ(r.link->status().reconnects, 0u);
}

TEST_P(tls_link_on, a_record_that_never_ends_costs_the_connection_and_not_the_link) {
    tls_rig t(GetParam());
    tcp_relay relay(t.server.port());
    auto o = t.options({{"a", {}}});
    o.urls = {"tls://127.0.0.1:" + std::to_string(relay.port()), "tls://127.0.0.1:" + std::to_string(t.server.port())};
    o.ping_interval_ns = 100'000'000;
    o.ping_limit_ns = 500'000'000;
    o.connect_timeout_ns = 1'000'000'000;
    rig r(o);
    ASSERT_TRUE(r.until_connected()) << r.link->status().last_error;
    relay.hold_half();
    r.link->publish("a", bytes("x"));
    r.link->flush();
    ASSERT_TRUE(run_until(r.loop, [&] { return relay.holding(); }));
    ASSERT_TRUE(run_until(r.loop, [&] { return r.link->status().connected && r.link->status().reconnects == 1; })) << r.link->status().last_error;
    // And a link in that state can be closed.
    relay.release();
    EXPECT_TRUE(r.close());
}

TEST_P(tls_link_on, can_be_destroyed_while_half_a_record_is_held) {
    tls_rig t(GetParam());
    tcp_relay relay(t.server.port());
    auto o = t.options({{"a", {}}});
    o.urls = {"tls://127.0.0.1:" + std::to_string(relay.port())};
    rig r(o);
    ASSERT_TRUE(r.until_connected()) << r.link->status().last_error;
    relay.hold_half();
    r.link->publish("a", bytes(std::string(1000, 'x')));
    r.link->flush();
    ASSERT_TRUE(run_until(r.loop, [&] { return relay.holding(); }));
    const auto start = std::chrono::steady_clock::now();
    r.link.reset();
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(3));
}

}  // namespace
}  // namespace callgate::net::test

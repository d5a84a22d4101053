// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <callgate/nats/nkey.hpp>
#include <optional>

#include "engine/net/link_test_rig.hpp"
#include "engine/net/system_client.hpp"
#include "tests/support/nats_server.hpp"

namespace callgate::net::test {
namespace {

using callgate::test::free_port;
using callgate::test::nats_server;
using callgate::test::server_version;
using callgate::test::temp_dir;

// What `callgate init` gives the system user: KICK, PING and CONNZ and nothing else.
constexpr const char* config = R"(
accounts {
  SYS { users = [ { user: sys, password: sp, permissions: {
    publish: ["$SYS.REQ.SERVER.*.KICK", "$SYS.REQ.SERVER.PING.IDZ", "$SYS.REQ.SERVER.*.CONNZ"],
    subscribe: ["_INBOX.>", "$SYS.SERVER.*.STATSZ", "$SYS.SERVER.*.SHUTDOWN"] } } ] }
  A { users = [ { user: a, password: ap } ] }
}
system_account: SYS
)";

struct system_rig {
    boost::asio::io_context loop{1};
    temp_dir dir;
    std::unique_ptr<system_client> client;

    explicit system_rig(const std::string& url) {
        auto options = to(url);
        options.name = "system";
        options.login = password_file{"sys", dir.write("password", "sp\n")};
        auto made = make_system_client(loop, std::move(options));
        if (!made) throw std::runtime_error(made.error().message());
        client = std::move(*made);
        client->start();
    }
    bool until_servers(std::size_t n) {
        return run_until(loop, [&] { return client->servers().size() == n; });
    }
    std::string kick(const std::string& server, std::uint64_t cid) {
        std::optional<std::string> outcome;
        client->kick(server, cid, [&](std::string_view text) { outcome = text; });
        return run_until(loop, [&] { return outcome.has_value(); }) ? *outcome : "the callback never came";
    }
};

class system_client_on : public testing::TestWithParam<server_version> {};
INSTANTIATE_TEST_SUITE_P(servers, system_client_on, testing::Values(server_version::v2_10, server_version::v2_15),
                         [](const auto& i) { return i.param == server_version::v2_10 ? "v2_10_27" : "v2_15_1"; });

TEST_P(system_client_on, learns_the_server_and_kicks_a_client_off_it) {
    nats_server server(GetParam(), "server_name: east\n" + std::string(config));
    system_rig r(server.url());
    std::size_t changes = 0;
    r.client->on_servers([&] { ++changes; });
    ASSERT_TRUE(r.until_servers(1));
    EXPECT_EQ(changes, 1u);
    EXPECT_EQ(r.client->servers()[0].name, "east");
    const auto id = r.client->servers()[0].id;
    peer victim("nats://a:ap@127.0.0.1:" + std::to_string(server.port()));
    const auto cid = victim.client_id();
    EXPECT_EQ(r.kick(id, cid), "");
    ASSERT_TRUE(run_until(r.loop, [&] { return victim.closed() || victim.client_id() != cid; }));
    EXPECT_NE(r.kick(id, 999'999).find("no such client"), std::string::npos);
}

TEST_P(system_client_on, asks_for_connections) {
    nats_server server(GetParam(), config);
    system_rig r(server.url());
    ASSERT_TRUE(r.until_servers(1));
    peer someone("nats://a:ap@127.0.0.1:" + std::to_string(server.port()));
    ASSERT_TRUE(someone.flush());
    std::optional<result<std::string>> answer;
    r.client->connz(r.client->servers()[0].id, R"({"auth":true,"acc":"A"})", [&](result<std::string> x) { answer = std::move(x); });
    ASSERT_TRUE(run_until(r.loop, [&] { return answer.has_value(); }));
    ASSERT_TRUE(answer->has_value()) << answer->error().message();
    const auto body = boost::json::parse(**answer).as_object();
    const auto& rows = body.at("data").as_object().at("connections").as_array();
    ASSERT_EQ(rows.size(), 1u);
    EXPECT_EQ(rows[0].as_object().at("authorized_user").as_string(), "a");
    EXPECT_EQ(rows[0].as_object().at("cid").to_number<std::uint64_t>(), someone.client_id());
}

TEST_P(system_client_on, knows_both_servers_of_a_cluster_and_drops_the_one_that_shuts_down) {
    const auto p1 = std::to_string(free_port()), p2 = std::to_string(free_port());
    const auto clustered = [](const std::string& name, const std::string& own, const std::string& other) {
        return "server_name: " + name + "\ncluster { name: c, listen: \"127.0.0.1:" + own + "\", routes: [\"nats-route://127.0.0.1:" + other + "\"] }\n" + config;
    };
    nats_server one(GetParam(), clustered("one", p1, p2)), two(GetParam(), clustered("two", p2, p1));
    system_rig r(one.url());
    // The second becomes known by its STATSZ event or by the next round of PING.IDZ, as the route comes up.
    ASSERT_TRUE(r.until_servers(2));
    two.terminate();
    ASSERT_TRUE(r.until_servers(1));
    EXPECT_EQ(r.client->servers()[0].name, "one");
}

TEST_P(system_client_on, an_unknown_server_is_late_and_a_forged_id_is_refused) {
    nats_server server(GetParam(), config);
    system_rig r(server.url());
    EXPECT_NE(r.kick(nats::key_pair::generate(nats::key_type::server).public_text(), 1).find("down"), std::string::npos);
    ASSERT_TRUE(r.until_servers(1));
    EXPECT_NE(r.kick("*", 1).find("not a public server key"), std::string::npos);
    EXPECT_NE(r.kick(nats::key_pair::generate(nats::key_type::user).public_text(), 1).find("not a public server key"), std::string::npos);
    EXPECT_NE(r.kick(nats::key_pair::generate(nats::key_type::server).public_text(), 1).find("no answer to KICK in time"), std::string::npos);
}

TEST_P(system_client_on, holds_at_most_1024_requests_and_fails_them_when_the_connection_goes) {
    nats_server server(GetParam(), config);
    system_rig r(server.url());
    ASSERT_TRUE(r.until_servers(1));
    const auto nobody = nats::key_pair::generate(nats::key_type::server).public_text();
    std::size_t busy = 0, lost = 0, other = 0;
    const auto count = [&](std::string_view text) {
        if (text.find("1024 requests") != std::string_view::npos) ++busy;
        else if (text.find("connection was lost") != std::string_view::npos) ++lost;
        else ++other;
    };
    for (int i = 0; i < 1030; ++i) r.client->kick(nobody, 1, count);
    ASSERT_TRUE(run_until(r.loop, [&] { return busy == 6; }));
    server.kill9();
    ASSERT_TRUE(run_until(r.loop, [&] { return busy + lost + other == 1030; }));
    EXPECT_EQ(lost, 1024u);
    EXPECT_EQ(other, 0u);
    server.start();
    ASSERT_TRUE(run_until(r.loop, [&] { return r.client->connected(); }));
    bool done = false;
    r.client->close(1'000'000'000, [&] { done = true; });
    EXPECT_TRUE(run_until(r.loop, [&] { return done; }));
}

}  // namespace
}  // namespace callgate::net::test

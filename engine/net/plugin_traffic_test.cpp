// SPDX-License-Identifier: Apache-2.0
// What plugin connections need of a link: subscriptions that come and go, headers, the word that nobody listens; on a thread of its own.
#include <gtest/gtest.h>

#include "engine/net/link_test_rig.hpp"
#include "tests/support/nats_server.hpp"

namespace callgate::net::test {
namespace {

using callgate::test::nats_server;
using callgate::test::server_version;

struct seen {
    std::string subject, reply, payload;
    std::uint64_t subscription;
    std::vector<message_header> headers;
    bool nobody;
};

struct listener : link_handler {
    std::vector<seen> messages;
    void on_messages(std::span<inbound_message> batch) override {
        for (const auto& m : batch)
            messages.push_back({std::string(m.subject), std::string(m.reply), std::string(reinterpret_cast<const char*>(m.payload.data()), m.payload.size()),
                                m.subscription, headers_of(m), says_no_responders(m)});
    }
    void on_status(std::uint32_t, const link_status&) override {}
};

struct shape {
    server_version version;
    bool own_thread;
};

class plugin_traffic_on : public testing::TestWithParam<shape> {
  protected:
    boost::asio::io_context loop{1};
    listener handler;
    std::unique_ptr<nats_link> open(const nats_server& server) {
        auto o = to(server.url());
        o.name = "plugin";
        o.own_thread = GetParam().own_thread;
        o.no_responders = true;
        auto made = make_link(loop, std::move(o), 0, handler);
        EXPECT_TRUE(made);
        (*made)->start();
        EXPECT_TRUE(run_until(loop, [&] { return (*made)->status().connected; }));
        return std::move(*made);
    }
    bool until_messages(std::size_t n) {
        return run_until(loop, [&] { return handler.messages.size() >= n; });
    }
};
INSTANTIATE_TEST_SUITE_P(servers, plugin_traffic_on,
                         testing::Values(shape{server_version::v2_10, false}, shape{server_version::v2_10, true}, shape{server_version::v2_15, false},
                                         shape{server_version::v2_15, true}),
                         [](const auto& i) {
                             return std::string(i.param.version == server_version::v2_10 ? "v2_10_27" : "v2_15_1") + (i.param.own_thread ? "_own_thread" : "_on_the_loop");
                         });

TEST_P(plugin_traffic_on, headers_cross_in_both_directions) {
    nats_server server(GetParam().version);
    const auto link = open(server);
    link->subscribe(7, {"echo.*", {}});
    link->flush();
    const std::vector<message_header> headers{{"Trace", "a b"}, {"Other", "c"}};
    ASSERT_TRUE(link->publish("echo.a", bytes("body"), "back.here", flat_headers(headers)));
    ASSERT_TRUE(link->publish("echo.b", bytes("plain")));
    link->flush();
    ASSERT_TRUE(until_messages(2));
    const auto& m = handler.messages[0];
    EXPECT_EQ(m.subscription, 7u);
    EXPECT_EQ(m.reply, "back.here");
    EXPECT_EQ(m.payload, "body");
    std::map<std::string, std::string> got;
    for (const auto& h : m.headers) got[h.name] = h.value;
    EXPECT_EQ(got, (std::map<std::string, std::string>{{"Trace", "a b"}, {"Other", "c"}}));
    EXPECT_TRUE(handler.messages[1].headers.empty());
    EXPECT_FALSE(m.nobody);
}

TEST_P(plugin_traffic_on, subscriptions_come_and_go_and_survive_a_reconnect) {
    nats_server server(GetParam().version);
    const auto link = open(server);
    link->subscribe(1, {"a", {}});
    link->subscribe(2, {"b", "group"});
    link->unsubscribe(1);
    link->publish("a", bytes("1"));
    link->publish("b", bytes("2"));
    link->flush();
    ASSERT_TRUE(until_messages(1));
    EXPECT_EQ(handler.messages[0].subject, "b");
    server.kill9();
    ASSERT_TRUE(run_until(loop, [&] { return !link->status().connected; }));
    link->subscribe(3, {"c", {}});
    server.start();
    ASSERT_TRUE(run_until(loop, [&] { return link->status().connected; }));
    for (const char* subject : {"a", "b", "c"}) ASSERT_TRUE(link->publish(subject, bytes("again")));
    link->flush();
    ASSERT_TRUE(until_messages(3));
    EXPECT_EQ(handler.messages[1].subscription, 2u);
    EXPECT_EQ(handler.messages[2].subscription, 3u);
}

TEST_P(plugin_traffic_on, a_request_that_nobody_listens_for_is_answered_so) {
    nats_server server(GetParam().version);
    const auto link = open(server);
    link->subscribe(4, {"_INBOX.x.4", {}});
    link->subscribe(5, {"_INBOX.x.5", {}});
    ASSERT_TRUE(link->publish("nobody.here", bytes("question"), "_INBOX.x.5"));
    link->flush();
    ASSERT_TRUE(until_messages(1));
    EXPECT_TRUE(handler.messages[0].nobody);
    EXPECT_EQ(handler.messages[0].subscription, 5u);
}

}  // namespace
}  // namespace callgate::net::test

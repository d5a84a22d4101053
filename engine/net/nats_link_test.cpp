// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "engine/net/link_test_rig.hpp"
#include "tests/support/nats_server.hpp"

namespace callgate::net::test {
namespace {

using callgate::test::free_port;
using callgate::test::nats_server;
using callgate::test::server_version;
using callgate::test::temp_dir;

class nats_link_on : public testing::TestWithParam<server_version> {};
INSTANTIATE_TEST_SUITE_P(servers, nats_link_on, testing::Values(server_version::v2_10, server_version::v2_15),
                         [](const auto& i) { return i.param == server_version::v2_10 ? "v2_10_27" : "v2_15_1"; });

TEST_P(nats_link_on, answers_a_request_and_tells_what_server_it_talks_to) {
    nats_server server(GetParam(), "server_name: \"east-1\"");
    rig r(to(server.url(), {{"auth.req", "q"}}));
    ASSERT_TRUE(r.until_connected());
    r.handler.echo_over = r.link.get();
    peer client(server.url());
    const auto inbox = client.subscribe("reply.here");
    client.request_to("auth.req", "reply.here", "question");
    std::string answer;
    ASSERT_TRUE(client.flush());
    ASSERT_TRUE(r.until_messages(1));
    ASSERT_TRUE(client.next(inbox, answer));
    EXPECT_EQ(answer, "question");
    EXPECT_EQ(r.handler.messages[0].subject, "auth.req");
    EXPECT_EQ(r.handler.messages[0].reply, "reply.here");
    EXPECT_EQ(r.handler.messages[0].xkey, "");
    const auto& status = r.link->status();
    EXPECT_EQ(status.server_name, "east-1");
    EXPECT_EQ(status.server_version, callgate::test::to_string(GetParam()));
    EXPECT_EQ(status.server_id.size(), 56u);
    EXPECT_EQ(status.server_id[0], 'N');
    EXPECT_EQ(status.max_payload, 1 << 20);
    EXPECT_EQ(status.url, server.url());
    EXPECT_EQ(r.link->counters().messages_in, 1u);
    EXPECT_EQ(r.link->counters().messages_out, 1u);
    EXPECT_EQ(r.link->counters().bytes_out, 8u);
    EXPECT_TRUE(r.close());
}

// 2.15.1 sends a second INFO after CONNECT; it must neither close the link nor change what it tells.
TEST_P(nats_link_on, a_second_info_does_not_disturb) {
    nats_server server(GetParam());
    rig r(to(server.url(), {{"a", {}}}));
    ASSERT_TRUE(r.until_connected());
    peer client(server.url());
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(r.round_trip(client, "a"));
    EXPECT_TRUE(r.link->status().connected);
    EXPECT_EQ(r.link->status().reconnects, 0u);
    EXPECT_EQ(r.handler.statuses.size(), 1u);
    EXPECT_EQ(r.link->status().last_error, "");
}

TEST_P(nats_link_on, reads_the_xkey_header) {
    nats_server server(GetParam());
    rig r(to(server.url(), {{"a", {}}}));
    ASSERT_TRUE(r.until_connected());
    peer client(server.url());
    ASSERT_TRUE(r.round_trip(client, "a"));
    client.publish_with_header("a", "Nats-Server-Xkey", "XABC", "sealed");
    client.publish_with_header("a", "Other", "value", "plain");
    ASSERT_TRUE(client.flush());
    ASSERT_TRUE(r.until_messages(3));
    EXPECT_EQ(r.handler.messages[1].xkey, "XABC");
    EXPECT_EQ(r.handler.messages[1].payload, "sealed");
    EXPECT_EQ(r.handler.messages[2].xkey, "");
    EXPECT_EQ(r.handler.messages[2].payload, "plain");
}

TEST_P(nats_link_on, tries_the_next_url_when_the_first_is_dead) {
    nats_server server(GetParam());
    auto options = to("nats://127.0.0.1:" + std::to_string(free_port()));
    options.urls.push_back(server.url());
    rig r(std::move(options));
    ASSERT_TRUE(r.until_connected());
    EXPECT_EQ(r.link->status().url, server.url());
}

TEST_P(nats_link_on, a_changed_password_file_lets_it_in_without_restart) {
    nats_server server(GetParam(), "authorization { users = [ { user: \"a\\\"b\", password: \"s3cr\\\\t,\\\"x\\\":1\" } ] }");
    temp_dir dir;
    auto options = to(server.url());
    options.login = password_file{"a\"b", dir.write("password", "wrong\n")};
    options.reconnect_wait_max_ns = 50'000'000;
    rig r(std::move(options));
    ASSERT_TRUE(r.until_error("uthorization")) << r.link->status().last_error;
    EXPECT_FALSE(r.link->status().connected);
    dir.write("password", "s3cr\\t,\"x\":1\n");  // quotes and backslashes must not break the CONNECT object
    ASSERT_TRUE(r.until_connected()) << r.link->status().last_error;
    EXPECT_EQ(r.link->status().last_error, "");
}

TEST_P(nats_link_on, takes_user_and_token_from_the_url_and_shows_neither) {
    nats_server users(GetParam(), "authorization { users = [ { user: u, password: \"p@ss/1\" } ] }");
    rig r(to("nats://u:p%40ss%2F1@127.0.0.1:" + std::to_string(users.port())));
    ASSERT_TRUE(r.until_connected()) << r.link->status().last_error;
    EXPECT_EQ(r.link->status().url, users.url());
    nats_server token(GetParam(), "authorization { token: \"tok\" }");
    rig t(to("nats://tok@127.0.0.1:" + std::to_string(token.port())));
    ASSERT_TRUE(t.until_connected()) << t.link->status().last_error;
}

TEST_P(nats_link_on, a_secret_file_that_others_can_read_is_refused) {
    nats_server server(GetParam(), "authorization { users = [ { user: u, password: p } ] }");
    temp_dir dir;
    auto options = to(server.url());
    options.login = password_file{"u", dir.write("password", "p\n", 0640)};
    options.reconnect_wait_max_ns = 50'000'000;
    rig r(std::move(options));
    ASSERT_TRUE(r.until_error("chmod 600")) << r.link->status().last_error;
    EXPECT_NE(r.link->status().last_error.find(dir.file("password")), std::string::npos);
    dir.write("password", "p\n", 0600);
    ASSERT_TRUE(r.until_connected());
}

TEST_P(nats_link_on, a_permission_violation_is_told_and_the_link_stays) {
    nats_server server(GetParam(), "authorization { users = [ { user: u, password: p, permissions: { subscribe: { deny: \"no\" } } } ] }");
    rig r(to("nats://u:p@127.0.0.1:" + std::to_string(server.port()), {{"no", {}}, {"yes", {}}}));
    ASSERT_TRUE(r.until_error("Permissions Violation"));
    EXPECT_TRUE(r.link->status().connected);
    peer client("nats://u:p@127.0.0.1:" + std::to_string(server.port()));
    EXPECT_TRUE(r.round_trip(client, "yes"));
}

TEST_P(nats_link_on, publishing_while_down_or_above_the_limit_or_with_a_broken_subject_drops) {
    nats_server server(GetParam());
    auto options = to(server.url(), {{"a", {}}});
    options.max_pending_out = 1000;
    rig r(std::move(options));
    EXPECT_FALSE(r.link->publish("a", bytes("early")));
    EXPECT_EQ(r.link->counters().dropped_out, 1u);
    ASSERT_TRUE(r.until_connected());
    EXPECT_FALSE(r.link->publish("a", bytes(std::string(1001, 'x'))));
    EXPECT_FALSE(r.link->publish("a\r\nPUB b 0\r\n\r\n", bytes("x")));
    EXPECT_FALSE(r.link->publish("a", bytes("x"), "b c"));
    EXPECT_FALSE(r.link->publish("", bytes("x")));
    EXPECT_TRUE(r.link->publish("a", bytes("fits")));
    r.link->flush();
    ASSERT_TRUE(r.until_messages(1));
    EXPECT_EQ(r.handler.messages[0].payload, "fits");
    server.kill9();
    ASSERT_TRUE(r.until_down());
    EXPECT_FALSE(r.link->publish("a", bytes("late")));
    EXPECT_EQ(r.link->counters().dropped_out, 6u);
}

TEST_P(nats_link_on, one_flush_sends_everything_published_before) {
    nats_server server(GetParam());
    rig r(to(server.url()));
    ASSERT_TRUE(r.until_connected());
    peer client(server.url());
    const auto sub = client.subscribe("out");
    const std::string big(100'000, 'b');
    for (int i = 0; i < 50; ++i) ASSERT_TRUE(r.link->publish("out", bytes(big)));  // more than a socket buffer
    r.link->flush();
    std::string got;
    std::size_t count = 0;
    ASSERT_TRUE(run_until(r.loop, [&] {
        while (client.next(sub, got, 1)) count += got.size() == big.size();
        return count == 50;
    }));
}

TEST_P(nats_link_on, close_writes_out_what_is_pending) {
    nats_server server(GetParam());
    rig r(to(server.url()));
    ASSERT_TRUE(r.until_connected());
    peer client(server.url());
    const auto sub = client.subscribe("out");
    const std::string big(100'000, 'b');
    for (int i = 0; i < 50; ++i) ASSERT_TRUE(r.link->publish("out", bytes(big)));
    ASSERT_TRUE(r.close());
    EXPECT_FALSE(r.link->status().connected);
    std::string got;
    for (int i = 0; i < 50; ++i) ASSERT_TRUE(client.next(sub, got)) << i;
}

TEST_P(nats_link_on, closing_and_destroying_work_in_every_state) {
    const auto dead = "nats://127.0.0.1:" + std::to_string(free_port());
    { rig r(to(dead)); }
    {
        rig r(to(dead));
        EXPECT_TRUE(r.close());
    }
    nats_server server(GetParam());
    {
        rig r(to(server.url(), {{"a", {}}}));
        ASSERT_TRUE(r.until_connected());
        r.link->publish("a", bytes("unsent"));
    }
    {
        rig r(to(server.url(), {{"a", {}}}));
        EXPECT_TRUE(r.close());
        EXPECT_FALSE(r.link->status().connected);
    }
}

TEST_P(nats_link_on, two_servers_of_a_cluster_share_a_queue_group) {
    const auto p1 = std::to_string(free_port()), p2 = std::to_string(free_port());
    const auto config = [](const std::string& name, const std::string& own, const std::string& other) {
        return "server_name: " + name + "\ncluster { name: c, listen: \"127.0.0.1:" + own + "\", routes: [\"nats-route://127.0.0.1:" + other + "\"] }";
    };
    nats_server one(GetParam(), config("one", p1, p2)), two(GetParam(), config("two", p2, p1));
    rig a(to(one.url(), {{"work", "q"}, {"ping", {}}})), b(to(two.url(), {{"work", "q"}, {"ping", {}}}));
    ASSERT_TRUE(a.until_connected());
    ASSERT_TRUE(b.until_connected());
    peer client(one.url()), other(two.url());
    // The route is up when both hear a plain subject from either side.
    ASSERT_TRUE(run_until(a.loop, [&] {
        client.publish("ping", "1");
        other.publish("ping", "2");
        b.loop.restart();
        b.loop.run_for(std::chrono::milliseconds(5));
        const auto heard = [](const recorder& h, const char* what) {
            return std::any_of(h.messages.begin(), h.messages.end(), [&](const auto& m) { return m.payload == what; });
        };
        return heard(a.handler, "2") && heard(b.handler, "1");
    }));
    const auto work = [](const recorder& h) {
        return std::count_if(h.messages.begin(), h.messages.end(), [](const auto& m) { return m.subject == "work"; });
    };
    for (int i = 0; i < 200; ++i) {
        client.publish("work", "x");
        other.publish("work", "x");
    }
    client.flush();
    other.flush();
    ASSERT_TRUE(run_until(a.loop, [&] {
        b.loop.restart();
        b.loop.run_for(std::chrono::milliseconds(1));
        return work(a.handler) + work(b.handler) >= 400;
    }));
    EXPECT_EQ(work(a.handler) + work(b.handler), 400);
    EXPECT_GT(work(a.handler), 0);
    EXPECT_GT(work(b.handler), 0);
}

// Two members of a queue group under load; one leaves: nothing is lost, nothing comes after `done`.
TEST_P(nats_link_on, stop_receiving_loses_nothing_under_load) {
    nats_server server(GetParam());
    rig leaving(to(server.url(), {{"work", "q"}})), staying(to(server.url(), {{"work", "q"}}));
    ASSERT_TRUE(leaving.until_connected());
    ASSERT_TRUE(staying.until_connected());
    peer sync(server.url());
    ASSERT_TRUE(sync.flush());
    std::atomic<bool> more{true};
    std::atomic<int> sent{0};
    std::thread load([&] {
        peer client(server.url());
        while (more) {
            for (int i = 0; i < 50; ++i) client.publish("work", std::to_string(sent++));
            client.flush();
        }
    });
    const auto spin_staying = [&] {
        staying.loop.restart();
        staying.loop.run_for(std::chrono::milliseconds(1));
    };
    EXPECT_TRUE(run_until(leaving.loop, [&] {
        spin_staying();
        return leaving.handler.messages.size() > 2000 && staying.handler.messages.size() > 2000;
    }));
    bool done = false;
    std::size_t at_done = 0;
    leaving.link->stop_receiving(10'000'000'000, [&] {
        done = true;
        at_done = leaving.handler.messages.size();
    });
    EXPECT_TRUE(run_until(leaving.loop, [&] {
        spin_staying();
        return done;
    }));
    const int sent_at_done = sent;
    EXPECT_TRUE(run_until(leaving.loop, [&] {
        spin_staying();
        return sent > sent_at_done + 1000;
    }));
    more = false;
    load.join();
    EXPECT_TRUE(run_until(staying.loop, [&] {
        return leaving.handler.messages.size() + staying.handler.messages.size() >= static_cast<std::size_t>(sent);
    })) << leaving.handler.messages.size() << " + " << staying.handler.messages.size() << " of " << sent;
    EXPECT_EQ(leaving.handler.messages.size(), at_done);
    EXPECT_TRUE(leaving.link->status().connected);
    EXPECT_TRUE(leaving.link->publish("still.open", bytes("yes")));
}

TEST_P(nats_link_on, a_message_too_large_for_us_is_dropped_and_the_next_one_comes) {
    nats_server server(GetParam());
    auto options = to(server.url(), {{"a", {}}});
    options.max_payload_in = 10;
    rig r(std::move(options));
    ASSERT_TRUE(r.until_connected());
    peer client(server.url());
    ASSERT_TRUE(r.round_trip(client, "a"));
    client.publish("a", "12345678901");
    client.publish("a", "1234567890");
    ASSERT_TRUE(client.flush());
    ASSERT_TRUE(r.until_messages(2));
    EXPECT_EQ(r.handler.messages[1].payload, "1234567890");
}

TEST_P(nats_link_on, a_message_that_was_taken_outlives_its_link) {
    struct taker : link_handler {
        std::vector<inbound_message> kept;
        void on_messages(std::span<inbound_message> batch) override {
            for (auto& m : batch) kept.push_back(std::move(m));
        }
        void on_status(std::uint32_t, const link_status&) override {}
    } handler;
    nats_server server(GetParam());
    boost::asio::io_context loop{1};
    auto link = make_link(loop, to(server.url(), {{"a", {}}}), 3, handler);
    ASSERT_TRUE(link);
    (*link)->start();
    ASSERT_TRUE(run_until(loop, [&] { return (*link)->status().connected; }));
    (*link)->publish("a", bytes("kept payload"), "kept.reply");
    (*link)->flush();
    ASSERT_TRUE(run_until(loop, [&] { return !handler.kept.empty(); }));
    link->reset();
    const auto& m = handler.kept.front();
    EXPECT_EQ(std::string(m.payload.begin(), m.payload.end()), "kept payload");
    EXPECT_EQ(m.reply, "kept.reply");
    EXPECT_EQ(m.link, 3u);
    EXPECT_GT(m.arrival_ns, 0);
}

TEST(nats_link, refuses_options_that_cannot_work) {
    boost::asio::io_context loop;
    recorder handler;
    const auto why = [&](link_options o) {
        auto r = make_link(loop, std::move(o), 0, handler);
        return r ? std::string("accepted") : r.error().message();
    };
    EXPECT_NE(why({}).find("no server URL"), std::string::npos);
    EXPECT_NE(why(to("http://x")).find("scheme"), std::string::npos);
    auto both = to("nats://user:topsecret@h:1");
    both.login = creds_file{"/x"};
    EXPECT_NE(why(both).find("keep one"), std::string::npos);
    EXPECT_EQ(why(both).find("topsecret"), std::string::npos);
    auto half = to("tls://h:1");
    half.tls = tls_options{{}, "cert.pem", {}, {}};
    EXPECT_NE(why(half).find("key_file"), std::string::npos);
}

}  // namespace
}  // namespace callgate::net::test

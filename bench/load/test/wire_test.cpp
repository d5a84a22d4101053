// SPDX-License-Identifier: Apache-2.0
#include "bench/load/wire.hpp"

#include <callgate/crypto/base64url.hpp>
#include <callgate/nats/nkey.hpp>

#include <boost/json.hpp>
#include <gtest/gtest.h>

#include <stdexcept>

using namespace callgate::load;
using state = parse_outcome::state;
namespace nats = callgate::nats;

namespace {

server_op whole(std::string_view text) {
    server_op op;
    const auto outcome = parse_op(text, op);
    EXPECT_EQ(outcome.what, state::complete) << text;
    EXPECT_EQ(outcome.consumed, text.size()) << text;
    return op;
}
state parsed(std::string_view text) {
    server_op op;
    return parse_op(text, op).what;
}
boost::json::object connect_json(const credential* who, std::string_view nonce) {
    const auto text = connect_text(who, "c1", nonce);
    EXPECT_TRUE(text.starts_with("CONNECT {")) << text;
    EXPECT_TRUE(text.ends_with("}\r\nPING\r\n")) << text;
    return boost::json::parse(text.substr(8, text.size() - 8 - 8)).as_object();
}

}  // namespace

TEST(wire, reads_each_operation_of_a_server) {
    EXPECT_EQ(whole("PING\r\n").what, server_op::kind::ping);
    EXPECT_EQ(whole("PONG\r\n").what, server_op::kind::pong);
    EXPECT_EQ(whole("+OK\r\n").what, server_op::kind::ok);
    EXPECT_EQ(whole("INFO {\"nonce\":\"x\"}\r\n").text, "{\"nonce\":\"x\"}");
    EXPECT_EQ(whole("-ERR 'Authorization Violation'\r\n").text, "Authorization Violation");
    const auto plain = whole("MSG a.b 9 5\r\nhello\r\n");
    EXPECT_EQ(plain.what, server_op::kind::message);
    EXPECT_EQ(plain.subject, "a.b");
    EXPECT_EQ(plain.payload, "hello");
    EXPECT_EQ(whole("MSG a.b 9 reply.to 5\r\nhello\r\n").payload, "hello");
    EXPECT_EQ(whole("MSG a.b 9 0\r\n\r\n").payload, "");
    EXPECT_EQ(whole("HMSG a.b 9 12 17\r\nNATS/1.0\r\n\r\nhello\r\n").payload, "hello");
    EXPECT_EQ(whole("HMSG a.b 9 r 12 17\r\nNATS/1.0\r\n\r\nhello\r\n").subject, "a.b");
}

TEST(wire, waits_for_the_rest_at_every_cut) {
    const std::string_view text = "HMSG a.b 9 r 12 17\r\nNATS/1.0\r\n\r\nhello\r\n";
    for (std::size_t i = 0; i < text.size(); ++i) EXPECT_EQ(parsed(text.substr(0, i)), state::need_more) << i;
    server_op op;
    EXPECT_EQ(parse_op(std::string(text) + "PING\r\n", op).consumed, text.size());
}

TEST(wire, refuses_what_no_server_sends) {
    for (const std::string_view bad : {"HELLO\r\n", "MSG a 1\r\n", "MSG a 1 r x 5\r\n", "MSG a 1 -5\r\n", "MSG a 1 99999999999\r\n", "MSG a 1 5\r\nhelloXX",
                                       "HMSG a 1 9 5\r\nhello\r\n", "HMSG a 1 5\r\nhello\r\n", "\r\n"})
        EXPECT_EQ(parsed(bad), state::malformed) << bad;
    EXPECT_EQ(parsed(std::string(max_line_bytes, 'x')), state::malformed) << "a line has an end";
}

TEST(wire, connect_carries_the_credential_and_signs_the_nonce) {
    EXPECT_FALSE(connect_json(nullptr, "").contains("user"));
    const auto lines = parse_credentials("user bob p w\ntoken t0k\njwt eyJx\n", "test");
    const auto user = connect_json(&lines[0], "");
    EXPECT_EQ(user.at("user"), "bob");
    EXPECT_EQ(user.at("pass"), "p w");
    EXPECT_EQ(connect_json(&lines[1], "").at("auth_token"), "t0k");
    EXPECT_EQ(connect_json(&lines[2], "nonce").at("jwt"), "eyJx");
    EXPECT_FALSE(connect_json(&lines[2], "nonce").contains("sig")) << "a bearer token";

    const auto pair = nats::key_pair::generate(nats::key_type::user);
    const auto signing = parse_credentials("nkey " + std::string(pair.seed_text().text()), "test");
    const auto nkey = connect_json(&signing[0], "some-nonce");
    EXPECT_EQ(nkey.at("nkey").as_string(), pair.public_text());
    const auto signature = callgate::crypto::base64url::decode(std::string_view(nkey.at("sig").as_string()));
    ASSERT_TRUE(signature);
    EXPECT_TRUE(nats::verify(pair.public_text(), "some-nonce", {reinterpret_cast<const std::uint8_t*>(signature->data()), signature->size()}).has_value());
}

TEST(wire, info_gives_nonce_version_and_tls) {
    const auto info = read_info(R"({"nonce":"n1","version":"2.15.1","server_name":"a","tls_required":true,"port":4222})");
    EXPECT_EQ(info.nonce, "n1");
    EXPECT_EQ(info.version, "2.15.1");
    EXPECT_TRUE(info.tls_required);
    EXPECT_THROW((void)read_info("[1]"), std::runtime_error);
    EXPECT_THROW((void)read_info("{"), std::runtime_error);
}

TEST(wire, urls) {
    const auto full = parse_url("nats://bob:p:w@127.0.0.1:4333");
    EXPECT_EQ(full.user, "bob");
    EXPECT_EQ(full.password, "p:w");
    EXPECT_EQ(full.text(), "127.0.0.1:4333");
    EXPECT_EQ(parse_url("localhost").port, "4222");
    EXPECT_EQ(parse_url("nats://[::1]:4000").host, "::1");
    EXPECT_EQ(parse_url("nats://[::1]:4000").port, "4000");
    for (const auto* bad : {"tls://a:1", "nats://", "nats://a:", "nats://a:b", "nats://a:123456"}) EXPECT_THROW((void)parse_url(bad), std::runtime_error) << bad;
    try {
        (void)parse_url("tls://bob:hidden@a:1");
        FAIL();
    } catch (const std::runtime_error& e) {
        EXPECT_EQ(std::string(e.what()).find("hidden"), std::string::npos) << "no password in messages";
    }
}

TEST(credentials, each_kind_and_what_is_left_out) {
    const auto seed = std::string(nats::key_pair::generate(nats::key_type::user).seed_text().text());
    const auto all = parse_credentials("# first\n\nuser bob a b c\r\ntoken x y\nnkey " + seed + "\njwt eyJa.b.c " + seed + "\n", "f");
    ASSERT_EQ(all.size(), 4u);
    EXPECT_EQ(all[0].secret, "a b c");
    EXPECT_EQ(all[1].secret, "x y");
    EXPECT_EQ(all[2].seed, seed);
    EXPECT_EQ(all[3].secret, "eyJa.b.c");
    EXPECT_EQ(all[3].seed, seed);
}

TEST(credentials, mistakes_name_the_line_and_not_the_secret) {
    const auto curve = std::string(nats::key_pair::generate(nats::key_type::curve).seed_text().text());
    for (const auto& bad : {std::string("password x-hidden"), std::string("user bob-hidden"), std::string("token "), "nkey " + curve, std::string("nkey x-hidden"),
                            std::string("jwt x-hidden"), std::string("jwt eyJ x-hidden")}) {
        try {
            (void)parse_credentials("token ok\n" + bad, "file.txt");
            ADD_FAILURE() << bad;
        } catch (const std::runtime_error& e) {
            EXPECT_NE(std::string(e.what()).find("file.txt:2"), std::string::npos) << e.what();
            EXPECT_EQ(std::string(e.what()).find("hidden"), std::string::npos) << e.what();
            EXPECT_EQ(std::string(e.what()).find(curve), std::string::npos) << e.what();
        }
    }
    EXPECT_THROW((void)parse_credentials("# nothing\n", "f"), std::runtime_error);
    EXPECT_THROW((void)parse_credentials("token " + std::string(70'000, 'x'), "f"), std::runtime_error);
}

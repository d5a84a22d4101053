// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "engine/net/login_material.hpp"
#include "engine/net/secret_file.hpp"
#include "engine/net/server_greeting.hpp"
#include "engine/net/server_url.hpp"
#include "tests/support/nats_server.hpp"

namespace callgate::net {
namespace {

TEST(server_url, reads_scheme_user_host_and_port) {
    const auto u = parse_server_url("tls://al%3Aice:p@ss:w%40rd@[::1]:4443/");
    ASSERT_TRUE(u) << u.error().message();
    EXPECT_TRUE(u->tls);
    EXPECT_EQ(u->user, "al:ice");
    EXPECT_EQ(u->password, "p@ss:w@rd");
    EXPECT_EQ(u->host, "::1");
    EXPECT_EQ(u->port, 4443);
    EXPECT_EQ(u->printable(), "tls://[::1]:4443");
    const auto plain = parse_server_url("nats.example.org");
    ASSERT_TRUE(plain);
    EXPECT_FALSE(plain->tls || plain->has_user_info);
    EXPECT_EQ(plain->printable(), "nats://nats.example.org:4222");
}

TEST(server_url, refuses_what_is_no_url_of_a_server_and_never_repeats_the_password) {
    for (const char* bad : {"", "nats://", "http://h", "ws://h:1", "nats://h:", "nats://h:0", "nats://h:65536", "nats://h:1x", "nats://[::1", "nats://[::1]x",
                            "nats://h/path", "nats://u:%zz@h", "nats://:p@h", "nats://h h", "nats://h\r\nPUB", "nats://h?x=1"}) {
        EXPECT_FALSE(parse_server_url(bad)) << bad;
    }
    const auto e = parse_server_url("nats://u:hunter2@h:99999");
    ASSERT_FALSE(e);
    EXPECT_EQ(e.error().message().find("hunter2"), std::string::npos);
    EXPECT_FALSE(parse_server_url("nats://" + std::string(3000, 'h')));
}

TEST(server_greeting, reads_what_the_link_needs) {
    const auto g = parse_greeting("INFO {\"server_id\":\"NABC\",\"server_name\":\"n\",\"version\":\"2.15.1\",\"max_payload\":64,\"tls_required\":true,\"headers\":true} \r");
    ASSERT_TRUE(g);
    EXPECT_EQ(g->server_id, "NABC");
    EXPECT_EQ(g->server_name, "n");
    EXPECT_EQ(g->max_payload, 64);
    EXPECT_TRUE(g->tls_required && g->headers);
}

TEST(server_greeting, refuses_wrong_types_depth_and_size) {
    EXPECT_FALSE(parse_greeting(""));
    EXPECT_FALSE(parse_greeting("INFO"));
    EXPECT_FALSE(parse_greeting("INFO []"));
    EXPECT_FALSE(parse_greeting("INFO {\"server_id\":7}"));
    EXPECT_FALSE(parse_greeting("INFO {\"server_id\":\"" + std::string(300, 'N') + "\"}"));
    EXPECT_FALSE(parse_greeting("INFO {\"server_id\":\"N\",\"x\":" + std::string(1000, '[') + std::string(1000, ']') + "}"));
    EXPECT_FALSE(parse_greeting("INFO {\"server_id\":\"N\",\"x\":\"" + std::string(max_greeting, 'x') + "\"}"));
    const auto g = parse_greeting("INFO {\"server_id\":\"N\",\"max_payload\":\"big\",\"tls_required\":1}");
    ASSERT_TRUE(g);
    EXPECT_EQ(g->max_payload, 0);
    EXPECT_FALSE(g->tls_required);
}

TEST(secret_file, wants_a_regular_file_only_its_owner_can_read) {
    callgate::test::temp_dir dir;
    const auto path = dir.write("s", "secret");
    const auto ok = read_secret_file(path);
    ASSERT_TRUE(ok);
    EXPECT_EQ(ok->text(), "secret");
    for (const mode_t mode : {0640, 0604, 0620, 0602, 0666}) {
        ::chmod(path.c_str(), mode);
        const auto r = read_secret_file(path);
        ASSERT_FALSE(r) << mode;
        EXPECT_EQ(r.error().code, errc::permission);
        EXPECT_NE(r.error().message().find("chmod 600"), std::string::npos);
    }
    ::chmod(path.c_str(), 0400);
    EXPECT_TRUE(read_secret_file(path));
    EXPECT_FALSE(read_secret_file(path, 5));
    EXPECT_FALSE(read_secret_file(dir.path()));
    EXPECT_FALSE(read_secret_file(dir.file("absent")));
    EXPECT_FALSE(read_secret_file(dir.write("empty", "")));
    ::mkfifo(dir.file("fifo").c_str(), 0600);
    EXPECT_FALSE(read_secret_file(dir.file("fifo")));  // and does not hang
}

TEST(login_material, refuses_a_password_file_with_more_than_a_password) {
    callgate::test::temp_dir dir;
    const auto with = [&](std::string_view text) { return load_login(password_file{"u", dir.write("p", text)}, {}); };
    ASSERT_TRUE(with("pass word\r\n"));
    EXPECT_EQ(with("pass\"x\r\n")->members.text().substr(0), std::string_view("\",\"user\":\"u\",\"pass\":\"pass\\\"x\0", 29));
    EXPECT_FALSE(with("\n"));
    EXPECT_FALSE(with("one\ntwo\n"));
    EXPECT_FALSE(with(std::string_view("a\0b", 3)));
}

}  // namespace
}  // namespace callgate::net

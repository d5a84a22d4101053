// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "engine/net/link_test_rig.hpp"
#include "tests/support/nats_server.hpp"

namespace callgate::net::test {
namespace {

using callgate::test::nats_server;
using callgate::test::server_version;

std::size_t descriptors() {
    std::size_t n = 0;
    for ([[maybe_unused]] const auto& e : std::filesystem::directory_iterator("/proc/self/fd")) ++n;
    return n;
}
// The worker thread may still hold the last attempt's eventfd for a moment.
std::size_t settled_descriptors(rig& r) {
    std::size_t least = descriptors();
    run_until(r.loop, [&] {
        least = std::min(least, descriptors());
        return false;
    }, std::chrono::milliseconds(200));
    return least;
}
std::size_t resident_kib() {
    std::ifstream in("/proc/self/statm");
    std::size_t total = 0, resident = 0;
    in >> total >> resident;
    return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) / 1024;
}

class reconnect_on : public testing::TestWithParam<server_version> {};
INSTANTIATE_TEST_SUITE_P(servers, reconnect_on, testing::Values(server_version::v2_10, server_version::v2_15),
                         [](const auto& i) { return i.param == server_version::v2_10 ? "v2_10_27" : "v2_15_1"; });

TEST_P(reconnect_on, ten_kills_leak_no_descriptor_and_each_time_it_serves_within_two_seconds) {
    nats_server server(GetParam());
    rig r(to(server.url(), {{"a", "q"}}));
    ASSERT_TRUE(r.until_connected());
    std::size_t after_second = 0, memory_after_second = 0;
    for (int kill = 1; kill <= 10; ++kill) {
        server.kill9();
        ASSERT_TRUE(r.until_down());
        EXPECT_FALSE(r.link->publish("a", bytes("x")));
        // Long enough for several refused attempts, so that the wait has grown.
        run_until(r.loop, [] { return false; }, std::chrono::milliseconds(kill == 5 ? 1500 : 100));
        server.start();
        const auto accepting = std::chrono::steady_clock::now();
        ASSERT_TRUE(r.until_connected());
        {
            peer client(server.url());
            ASSERT_TRUE(r.round_trip(client, "a"));
        }
        EXPECT_LT(std::chrono::steady_clock::now() - accepting, std::chrono::seconds(2)) << "kill " << kill;
        EXPECT_EQ(r.link->status().reconnects, static_cast<std::uint64_t>(kill));
        if (kill == 2) after_second = settled_descriptors(r), memory_after_second = resident_kib();
    }
    EXPECT_EQ(settled_descriptors(r), after_second);
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
    EXPECT_LE(resident_kib(), memory_after_second + 1024);
#endif
}

TEST_P(reconnect_on, memory_stays_flat_over_many_reconnects) {
    nats_server server(GetParam(), "max_control_line: 512");  // a longer subject makes the server hang up
    auto options = to(server.url(), {{"a", {}}});
    options.reconnect_wait_ns = 1'000'000;
    options.reconnect_wait_max_ns = 1'000'000;
    rig r(std::move(options));
    ASSERT_TRUE(r.until_connected());
    std::size_t after_warm_up = 0;
    const auto reconnect = [&](std::uint64_t n) {
        for (int i = 0; i < 8; ++i) r.link->publish("a", bytes(std::string(200'000, 'x')));
        r.link->publish(std::string(900, 's'), bytes("x"));
        r.link->flush();
        return run_until(r.loop, [&] { return r.link->status().reconnects >= n && r.link->status().connected; });
    };
    for (std::uint64_t n = 1; n <= 100; ++n) {
        ASSERT_TRUE(reconnect(n)) << n;
        r.handler.messages.clear();
        r.handler.statuses.clear();
        if (n == 50) after_warm_up = resident_kib();
    }
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
    EXPECT_LE(resident_kib(), after_warm_up + 1024);
#else
    (void)after_warm_up;
#endif
}

TEST_P(reconnect_on, a_frozen_server_is_noticed_and_another_taken) {
    nats_server first(GetParam()), second(GetParam());
    auto options = to(first.url(), {{"a", {}}});
    options.urls.push_back(second.url());
    options.ping_interval_ns = 50'000'000;
    options.ping_limit_ns = 1'000'000'000;
    options.connect_timeout_ns = 3'000'000'000;
    rig r(std::move(options));
    ASSERT_TRUE(r.until_connected());
    ASSERT_EQ(r.link->status().url, first.url());
    first.freeze();
    ASSERT_TRUE(run_until(r.loop, [&] { return r.link->status().connected && r.link->status().url == second.url(); }));
    const auto told = std::any_of(r.handler.statuses.begin(), r.handler.statuses.end(),
                                  [](const auto& s) { return s.last_error.find("no PONG within 1000 ms") != std::string::npos; });
    EXPECT_TRUE(told);
    first.thaw();
}

/// Accepts, says what it is told to say, and falls silent.
class mute_server {
  public:
    explicit mute_server(std::string greeting) : greeting_(std::move(greeting)) {
        fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in a{};
        a.sin_family = AF_INET;
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        ::bind(fd_, reinterpret_cast<sockaddr*>(&a), sizeof a);
        ::listen(fd_, 8);
        socklen_t size = sizeof a;
        ::getsockname(fd_, reinterpret_cast<sockaddr*>(&a), &size);
        port_ = ntohs(a.sin_port);
        thread_ = std::thread([this] {
            for (;;) {
                const int c = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
                if (c < 0) return;
                clients_.push_back(c);
                [[maybe_unused]] const auto n = ::send(c, greeting_.data(), greeting_.size(), MSG_NOSIGNAL);
            }
        });
    }
    ~mute_server() {
        ::shutdown(fd_, SHUT_RDWR);
        thread_.join();
        ::close(fd_);
        for (const int c : clients_) ::close(c);
    }
    [[nodiscard]] std::string url(const char* scheme = "nats") const { return scheme + std::string("://127.0.0.1:") + std::to_string(port_); }

  private:
    std::string greeting_;
    int fd_ = -1;
    std::uint16_t port_ = 0;
    std::vector<int> clients_;
    std::thread thread_;
};

constexpr const char* greeting = "INFO {\"server_id\":\"NX\",\"version\":\"2.10.27\",\"proto\":1,\"headers\":true,\"max_payload\":1048576}\r\n";

struct mute_case {
    const char* name;
    const char* says;
    const char* scheme;
    const char* expected;
};
class mute : public testing::TestWithParam<mute_case> {};
INSTANTIATE_TEST_SUITE_P(kinds, mute,
                         testing::Values(mute_case{"no_greeting", "", "nats", "no login within 300 ms"},
                                         mute_case{"no_pong", greeting, "nats", "no login within 300 ms"},
                                         mute_case{"no_tls_handshake",
                                                   "INFO {\"server_id\":\"NX\",\"proto\":1,\"headers\":true,\"tls_required\":true,\"max_payload\":1048576}\r\n",
                                                   "tls", "no login within 300 ms"},
                                         mute_case{"no_nats", "HTTP/1.1 400 Bad Request\r\n\r\n", "nats", "does not begin with INFO"},
                                         mute_case{"broken_greeting", "INFO {\"server_id\":\r\n", "nats", "holds no JSON object"}),
                         [](const auto& i) { return i.param.name; });

// cnats 3.4.1 by itself would wait for ever, with a core spinning in the case of the PONG.
TEST_P(mute, a_silent_or_foreign_peer_does_not_keep_it_from_the_next_server) {
    mute_server silent(GetParam().says);
    auto options = to(silent.url(GetParam().scheme));
    // Short only where the end of patience is what is tested.
    const bool silent_to_the_end = std::string_view(GetParam().expected).starts_with("no login");
    options.connect_timeout_ns = silent_to_the_end ? 300'000'000 : 5'000'000'000;
    rig r(options);
    ASSERT_TRUE(r.until_error(GetParam().expected)) << r.link->status().last_error;
    // It goes on: the error is followed by further attempts, and closing works in the middle of one.
    run_until(r.loop, [] { return false; }, std::chrono::milliseconds(400));
    EXPECT_FALSE(r.link->status().connected);
    EXPECT_TRUE(r.close());
}

}  // namespace
}  // namespace callgate::net::test

// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/admin_server.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <filesystem>
#include <ctime>
#include <fstream>
#include <vector>

#include "engine/runtime/config.hpp"

namespace asio = boost::asio;
using callgate::runtime::admin_options;
using callgate::runtime::admin_request;
using callgate::runtime::admin_response;
using callgate::runtime::admin_server;

namespace {

struct folder {
    std::string path;
    folder() {
        char t[] = "/tmp/callgate-admin-XXXXXX";
        path = ::mkdtemp(t);
    }
    ~folder() { std::filesystem::remove_all(path); }
};

admin_response echo(const admin_request& r) {
    return {200, "text/plain", r.method + " " + r.path + (r.local_socket ? " local" : " tcp") + "\n"};
}

template <class Socket>
std::string exchange(Socket& s, const std::string& request) {
    boost::system::error_code ec;
    asio::write(s, asio::buffer(request), ec);
    std::string answer;
    asio::read(s, asio::dynamic_buffer(answer), ec);
    return answer;
}

std::string over_unix(const std::string& path, const std::string& request) {
    asio::io_context io;
    asio::local::stream_protocol::socket s(io);
    s.connect(asio::local::stream_protocol::endpoint(path));
    return exchange(s, request);
}

std::string over_tcp(const std::string& address, const std::string& request) {
    asio::io_context io;
    asio::ip::tcp::socket s(io);
    const auto colon = address.rfind(':');
    s.connect({asio::ip::make_address(address.substr(0, colon)), static_cast<std::uint16_t>(std::stoi(address.substr(colon + 1)))});
    return exchange(s, request);
}

// Nobody in this process gets another descriptor while it lives.
class no_descriptors {
  public:
    no_descriptors() {
        ::getrlimit(RLIMIT_NOFILE, &before_);
        auto low = before_;
        low.rlim_cur = 64;
        ::setrlimit(RLIMIT_NOFILE, &low);
        for (int fd = 0; (fd = ::dup(STDERR_FILENO)) >= 0;) taken_.push_back(fd);
    }
    ~no_descriptors() {
        for (const int fd : taken_) ::close(fd);
        ::setrlimit(RLIMIT_NOFILE, &before_);
    }
    no_descriptors(const no_descriptors&) = delete;
    no_descriptors& operator=(const no_descriptors&) = delete;

  private:
    rlimit before_{};
    std::vector<int> taken_;
};

double cpu_seconds_of_process() {
    timespec t{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

}  // namespace

TEST(admin_server, without_free_descriptors_it_waits_and_then_answers) {
    folder f;
    admin_options o;
    o.listen = "unix:" + f.path + "/a.sock";
    auto server = admin_server::open(o, echo);
    ASSERT_TRUE(server) << server.error().message();
    asio::io_context io;
    asio::local::stream_protocol::socket client(io);
    client.open();
    {
        const no_descriptors held;
        client.connect(asio::local::stream_protocol::endpoint(f.path + "/a.sock"));
        const auto before = cpu_seconds_of_process();
        pollfd readable{client.native_handle(), POLLIN, 0};
        EXPECT_EQ(::poll(&readable, 1, 500), 0) << "it was accepted, or refused, without a descriptor";
        EXPECT_LT(cpu_seconds_of_process() - before, 0.2) << "it tries again without a pause";
    }
    EXPECT_NE(exchange(client, "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").find("200 OK"), std::string::npos);
}

TEST(admin_server, unix_socket_is_for_the_owner_only_and_gone_after_stop) {
    folder f;
    admin_options o;
    o.listen = "unix:" + f.path + "/a.sock";
    {
        auto s = admin_server::open(o, echo);
        ASSERT_TRUE(s) << s.error().message();
        struct stat st{};
        ASSERT_EQ(::stat((f.path + "/a.sock").c_str(), &st), 0);
        EXPECT_EQ(st.st_mode & 0777, 0600u);
        const auto a = over_unix(f.path + "/a.sock", "GET /livez?x=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        EXPECT_NE(a.find("200 OK"), std::string::npos) << a;
        EXPECT_NE(a.find("GET /livez local\n"), std::string::npos) << a;
    }
    EXPECT_FALSE(std::filesystem::exists(f.path + "/a.sock"));
}

TEST(admin_server, a_dead_predecessors_socket_is_replaced_and_a_living_ones_is_not) {
    folder f;
    admin_options o;
    o.listen = "unix:" + f.path + "/a.sock";
    {
        asio::io_context io;
        asio::local::stream_protocol::acceptor a(io, asio::local::stream_protocol::endpoint(f.path + "/a.sock"));
    }
    ASSERT_TRUE(std::filesystem::exists(f.path + "/a.sock"));
    auto first = admin_server::open(o, echo);
    ASSERT_TRUE(first) << first.error().message();
    auto second = admin_server::open(o, echo);
    ASSERT_FALSE(second);
    EXPECT_NE(second.error().text.find("in use by a running daemon"), std::string::npos);
}

TEST(admin_server, loopback_refuses_a_foreign_host_name) {
    admin_options o;
    o.listen = "127.0.0.1:0";
    auto s = admin_server::open(o, echo);
    ASSERT_TRUE(s) << s.error().message();
    EXPECT_NE(over_tcp((*s)->address(), "GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n").find("421"), std::string::npos);
    EXPECT_NE(over_tcp((*s)->address(), "GET / HTTP/1.1\r\nHost: localhost:80\r\nConnection: close\r\n\r\n").find("200 OK"), std::string::npos);
}

TEST(admin_server, bearer_token_is_asked_for_and_its_file_must_be_private) {
    folder f;
    admin_options o;
    o.listen = "127.0.0.1:0";
    o.token_file = f.path + "/token";
    std::ofstream(o.token_file) << "0123456789abcdef0123\n";
    ::chmod(o.token_file.c_str(), 0644);
    auto refused = admin_server::open(o, echo);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().text.find("chmod 600"), std::string::npos);
    ::chmod(o.token_file.c_str(), 0600);
    auto s = admin_server::open(o, echo);
    ASSERT_TRUE(s) << s.error().message();
    EXPECT_NE(over_tcp((*s)->address(), "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").find("401"), std::string::npos);
    EXPECT_NE(over_tcp((*s)->address(), "GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer wrong\r\nConnection: close\r\n\r\n").find("401"),
              std::string::npos);
    EXPECT_NE(over_tcp((*s)->address(),
                       "GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer 0123456789abcdef0123\r\nConnection: close\r\n\r\n")
                  .find("200 OK"),
              std::string::npos);
}

TEST(admin_server, oversized_header_and_body_end_the_connection) {
    admin_options o;
    o.listen = "127.0.0.1:0";
    auto s = admin_server::open(o, echo);
    ASSERT_TRUE(s) << s.error().message();
    EXPECT_EQ(over_tcp((*s)->address(), "GET / HTTP/1.1\r\nHost: localhost\r\nX: " + std::string(20000, 'a') + "\r\n\r\n").find("200"),
              std::string::npos);
    EXPECT_EQ(over_tcp((*s)->address(), "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n" + std::string(100000, 'a')).find("200"),
              std::string::npos);
}

TEST(admin_server, an_open_idle_connection_does_not_hold_up_the_stop) {
    admin_options o;
    o.listen = "127.0.0.1:0";
    auto s = admin_server::open(o, echo);
    ASSERT_TRUE(s);
    asio::io_context io;
    asio::ip::tcp::socket c(io);
    const auto& a = (*s)->address();
    c.connect({asio::ip::make_address("127.0.0.1"), static_cast<std::uint16_t>(std::stoi(a.substr(a.rfind(':') + 1)))});
    s->reset();
    SUCCEED();
}

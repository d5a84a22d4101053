// SPDX-License-Identifier: Apache-2.0
#include "tests/support/tcp_relay.hpp"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace callgate::test {
namespace {

constexpr int look_again_ms = 2;  // how soon a change of mode is seen

sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a.sin_port = htons(port);
    return a;
}

bool send_all(int fd, const char* data, std::size_t size) {
    while (size > 0) {
        const auto n = ::send(fd, data, size, MSG_NOSIGNAL);
        if (n <= 0) return false;
        data += n;
        size -= static_cast<std::size_t>(n);
    }
    return true;
}

}  // namespace

tcp_relay::tcp_relay(std::uint16_t target) : target_(target) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    auto a = loopback(0);
    socklen_t size = sizeof a;
    if (listener_ < 0 || ::bind(listener_, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0 || ::listen(listener_, 16) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&a), &size) != 0)
        throw std::runtime_error("relay cannot listen");
    port_ = ntohs(a.sin_port);
    thread_ = std::thread([this] { serve(); });
}

tcp_relay::~tcp_relay() {
    stop_ = true;
    thread_.join();
    ::close(listener_);
}

void tcp_relay::serve() {
    while (!stop_) {
        pollfd p{listener_, POLLIN, 0};
        if (::poll(&p, 1, look_again_ms) <= 0) continue;
        const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
        if (client < 0) continue;
        const int server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const auto a = loopback(target_);
        if (::connect(server, reinterpret_cast<const sockaddr*>(&a), sizeof a) == 0) {
            const int on = 1;
            ::setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            forward(client, server);
        }
        ::close(server);
        ::close(client);
    }
}

void tcp_relay::forward(int client, int server) {
    std::vector<char> buffer(64 << 10);
    std::string kept;
    while (!stop_) {
        if (!kept.empty() && mode_ == mode::open) {
            if (!send_all(client, kept.data(), kept.size())) return;
            kept.clear();
        }
        pollfd p[2] = {{client, POLLIN, 0}, {server, static_cast<short>(mode_ == mode::holding ? 0 : POLLIN), 0}};
        if (::poll(p, 2, look_again_ms) <= 0) continue;
        if (p[0].revents) {
            const auto n = ::recv(client, buffer.data(), buffer.size(), 0);
            if (n <= 0 || !send_all(server, buffer.data(), static_cast<std::size_t>(n))) return;
        }
        if (p[1].revents) {
            const auto n = ::recv(server, buffer.data(), buffer.size(), 0);
            if (n <= 0) return;
            auto pass = static_cast<std::size_t>(n);
            if (mode_ == mode::cut_next) {
                pass /= 2;
                kept.assign(buffer.data() + pass, static_cast<std::size_t>(n) - pass);
            }
            if (!send_all(client, buffer.data(), pass)) return;
            auto expected = mode::cut_next;
            if (!kept.empty()) mode_.compare_exchange_strong(expected, mode::holding);
        }
    }
}

}  // namespace callgate::test

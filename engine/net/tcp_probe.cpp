// SPDX-License-Identifier: Apache-2.0
#include "engine/net/tcp_probe.hpp"

#include <netdb.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>

#include "engine/base/clock.hpp"

namespace callgate::net {
namespace {

struct socket_handle {
    int fd = -1;
    ~socket_handle() {
        if (fd >= 0) ::close(fd);
    }
};

struct addrinfo_deleter {
    void operator()(addrinfo* a) const noexcept { ::freeaddrinfo(a); }
};

enum class wait_end : std::uint8_t { ready, late, cancelled };

wait_end wait_for(int fd, short events, std::int64_t until_ns, const cancel_signal& stop) {
    const system_clock_source clock;
    for (;;) {
        if (stop.cancelled()) return wait_end::cancelled;
        const auto left = (until_ns - clock.mono_ns()) / 1'000'000;
        if (left <= 0) return wait_end::late;
        pollfd p[2] = {{fd, events, 0}, {stop.wait_fd(), POLLIN, 0}};
        const int n = ::poll(p, 2, static_cast<int>(left));
        if (n < 0 && errno != EINTR) return wait_end::late;
        if (n > 0 && p[1].revents) return wait_end::cancelled;
        if (n > 0 && p[0].revents) return wait_end::ready;
    }
}

error stopped() { return make_error(errc::cancelled, "stopped while connecting"); }

result<void> connect_to(int fd, const addrinfo& a, std::int64_t until_ns, const cancel_signal& stop) {
    if (::connect(fd, a.ai_addr, a.ai_addrlen) == 0) return {};
    if (errno != EINPROGRESS) return make_error(errc::unavailable, std::string("cannot connect: ") + std::strerror(errno));
    switch (wait_for(fd, POLLOUT, until_ns, stop)) {
        case wait_end::cancelled: return stopped();
        case wait_end::late: return make_error(errc::deadline, "no answer to the TCP connect");
        case wait_end::ready: break;
    }
    int e = 0;
    socklen_t size = sizeof e;
    if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &size) != 0 || e != 0)
        return make_error(errc::unavailable, std::string("cannot connect: ") + std::strerror(e));
    return {};
}

result<std::string> read_line(int fd, std::int64_t until_ns, const cancel_signal& stop) {
    std::string line;
    char buffer[4096];
    while (line.size() <= max_greeting) {
        switch (wait_for(fd, POLLIN, until_ns, stop)) {
            case wait_end::cancelled: return stopped();
            case wait_end::late:
                return make_error(errc::deadline, "accepted the connection but sent no INFO line; is the server stopped, or does its port expect TLS first (handshake_first)?");
            case wait_end::ready: break;
        }
        const auto n = ::recv(fd, buffer, sizeof buffer, 0);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (n <= 0) return make_error(errc::unavailable, "closed the connection before its INFO line");
        line.append(buffer, static_cast<std::size_t>(n));
        if (const auto end = line.find('\n'); end != std::string::npos) {
            line.resize(end);
            return line;
        }
    }
    return make_error(errc::invalid, "sent a first line longer than 32768 bytes; is this the client port of a nats-server?");
}

}  // namespace

cancel_signal::cancel_signal() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
}
cancel_signal::~cancel_signal() { ::close(fd_); }
void cancel_signal::cancel() noexcept {
    cancelled_.store(true, std::memory_order_release);
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto n = ::write(fd_, &one, sizeof one);
}

result<probed_server> probe_server(const server_url& url, std::int64_t limit_ns, const cancel_signal& stop) {
    const system_clock_source clock;
    const auto until = clock.mono_ns() + limit_ns;
    const auto where = url.printable();
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICSERV;
    addrinfo* raw = nullptr;
    const auto port = std::to_string(url.port);
    if (const int e = ::getaddrinfo(url.host.c_str(), port.c_str(), &hints, &raw); e != 0)
        return make_error(errc::unavailable, std::string("cannot resolve host name: ") + ::gai_strerror(e), where);
    const std::unique_ptr<addrinfo, addrinfo_deleter> list(raw);
    std::int64_t candidates = 0;
    for (auto* a = raw; a; a = a->ai_next) ++candidates;

    error last = make_error(errc::unavailable, "host name has no address", where);
    for (auto* a = raw; a; a = a->ai_next, --candidates) {
        socket_handle s{::socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol)};
        if (s.fd < 0) {
            last = make_error(errc::unavailable, std::string("cannot make a socket: ") + std::strerror(errno), where);
            continue;
        }
        // A dead first address must leave time for the next one.
        const auto now = clock.mono_ns();
        const auto share = now + (until - now) / candidates;
        auto connected = connect_to(s.fd, *a, share, stop);
        auto line = connected ? read_line(s.fd, share, stop) : result<std::string>(connected.error());
        auto greeting = line ? parse_greeting(*line) : result<server_greeting>(line.error());
        if (!greeting) {
            last = greeting.error();
            last.where = where;
            if (last.code == errc::cancelled) return last;
            continue;
        }
        probed_server out;
        std::memcpy(&out.address, a->ai_addr, a->ai_addrlen);
        out.address_size = a->ai_addrlen;
        out.greeting = std::move(*greeting);
        char host[NI_MAXHOST];
        if (::getnameinfo(a->ai_addr, a->ai_addrlen, host, sizeof host, nullptr, 0, NI_NUMERICHOST) != 0)
            return make_error(errc::internal, "cannot print the server's address", where);
        out.numeric = (a->ai_family == AF_INET6 ? "[" + std::string(host) + "]" : std::string(host)) + ":" + port;
        return out;
    }
    return last;
}

}  // namespace callgate::net

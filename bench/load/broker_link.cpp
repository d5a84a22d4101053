// SPDX-License-Identifier: Apache-2.0
#include "bench/load/broker_link.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <stdexcept>

namespace callgate::load {
namespace {

constexpr std::size_t buffer_bytes = 1u << 20;
constexpr std::string_view pong = "PONG\r\n";

}  // namespace

broker_link::broker_link(const server_address& to, const std::vector<std::string>& hashes) : where_(to.text()), in_(buffer_bytes) {
    try {
        open(to);
        log_in(to, hashes);
    } catch (...) {
        if (fd_ >= 0) ::close(fd_);
        throw;
    }
}

broker_link::~broker_link() {
    if (fd_ >= 0) ::close(fd_);
}

void broker_link::fail(const std::string& what) const { throw std::runtime_error(fmt::format("nats-server at {}: {}", where_, what)); }

void broker_link::open(const server_address& to) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (const int code = ::getaddrinfo(to.host.c_str(), to.port.c_str(), &hints, &found); code != 0) fail(::gai_strerror(code));
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
    int last = 0;
    const timeval patience{5, 0};
    for (const auto* a = found; a != nullptr; a = a->ai_next) {
        fd_ = ::socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd_ < 0) {
            last = errno;
            continue;
        }
        ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        if (::connect(fd_, a->ai_addr, a->ai_addrlen) == 0) {
            const int on = 1;
            ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            return;
        }
        last = errno;
        ::close(fd_);
        fd_ = -1;
    }
    fail(std::strerror(last));
}

server_op broker_link::wait_op() {
    for (;;) {
        server_op op;
        const auto outcome = parse_op({in_.data() + begin_, end_ - begin_}, op);
        if (outcome.what == parse_outcome::state::malformed) fail("does not speak the NATS protocol");
        if (outcome.what == parse_outcome::state::complete) {
            begin_ += outcome.consumed;
            return op;
        }
        if (end_ == in_.size()) fail("sent more than a login needs");
        const auto got = ::read(fd_, in_.data() + end_, in_.size() - end_);
        if (got == 0) fail("closed the connection");
        if (got < 0) fail(errno == EAGAIN ? std::string("no answer to the login within 5 s") : std::string(std::strerror(errno)));
        end_ += static_cast<std::size_t>(got);
    }
}

void broker_link::log_in(const server_address& to, const std::vector<std::string>& hashes) {
    const auto first = wait_op();
    if (first.what != server_op::kind::info) fail("expected INFO first");
    const auto info = read_info(first.text);
    if (info.tls_required) fail("requires TLS; the broker of a measurement must offer plain TCP");
    version_ = info.version;

    credential login;
    login.what = credential::kind::user;
    login.name = to.user;
    login.secret = to.password;
    auto text = connect_text(to.user.empty() ? nullptr : &login, "callgate-load peer", info.nonce);
    const std::string ping = "PING\r\n";
    text.resize(text.size() - ping.size());
    for (std::size_t i = 0; i < hashes.size(); ++i) text += fmt::format("SUB $SYS._INBOX.{}.* {}\r\n", hashes[i], i + 1);
    text += ping;
    for (std::size_t sent = 0; sent < text.size();) {
        const auto n = ::write(fd_, text.data() + sent, text.size() - sent);
        if (n < 0) fail(std::strerror(errno));
        sent += static_cast<std::size_t>(n);
    }
    for (;;) {
        const auto op = wait_op();
        if (op.what == server_op::kind::err) fail(fmt::format("refused the generator: {}", op.text));
        if (op.what == server_op::kind::pong) break;
    }
    ::fcntl(fd_, F_SETFL, ::fcntl(fd_, F_GETFL) | O_NONBLOCK);
}

void broker_link::flush() {
    while (next_ < out_.size()) {
        msghdr message{};
        message.msg_iov = out_.data() + next_;
        message.msg_iovlen = std::min<std::size_t>(out_.size() - next_, IOV_MAX);
        const auto sent = ::sendmsg(fd_, &message, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EAGAIN) return;
            if (errno == EINTR) continue;
            fail(std::strerror(errno));
        }
        for (auto left = static_cast<std::size_t>(sent); left > 0;) {
            auto& piece = out_[next_];
            const auto n = std::min(left, piece.iov_len);
            piece.iov_base = static_cast<char*>(piece.iov_base) + n;
            piece.iov_len -= n;
            left -= n;
            if (piece.iov_len == 0) ++next_;
        }
    }
    out_.clear();
    next_ = 0;
}

void broker_link::drop_consumed() {
    if (begin_ == 0) return;
    std::memmove(in_.data(), in_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
}

bool broker_link::fill() {
    drop_consumed();
    // A reply larger than the buffer: the parser bounds how far that can go.
    if (end_ == in_.size()) in_.resize(in_.size() * 2);
    const auto got = ::read(fd_, in_.data() + end_, in_.size() - end_);
    if (got == 0) fail("closed the connection");
    if (got < 0) {
        if (errno == EAGAIN || errno == EINTR) return false;
        fail(std::strerror(errno));
    }
    end_ += static_cast<std::size_t>(got);
    return true;
}

void broker_link::drain(const std::function<void(std::string_view, std::string_view)>& on_message) {
    for (;;) {
        server_op op;
        const auto outcome = parse_op({in_.data() + begin_, end_ - begin_}, op);
        if (outcome.what == parse_outcome::state::need_more) return;
        if (outcome.what == parse_outcome::state::malformed) fail("sent what is no NATS protocol");
        begin_ += outcome.consumed;
        if (op.what == server_op::kind::message) on_message(op.subject, op.payload);
        else if (op.what == server_op::kind::ping) queue(pong);
        else if (op.what == server_op::kind::err) fail(fmt::format("said: {}", op.text));
    }
}

}  // namespace callgate::load

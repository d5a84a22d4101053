// SPDX-License-Identifier: Apache-2.0
#include "bench/load/client_session.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string_view>

#include "bench/load/wire.hpp"

namespace callgate::load {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr std::size_t first_buffer_bytes = 2048;  // an INFO; thousands of connections hold one

// nats.go checkAuthError: these four and no others, compared in lower case.
bool is_auth_error(std::string_view text) {
    std::string lower(text);
    std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    for (const std::string_view known : {"authorization violation", "user authentication expired", "user authentication revoked", "account authentication expired"})
        if (lower.starts_with(known)) return true;
    return false;
}

}  // namespace

client_session::client_session(asio::io_context& io, const credential& who, std::string name, std::function<void(const login_end&)> on_end,
                               std::function<void()> on_lost)
    : socket_(io), deadline_(io), who_(who), name_(std::move(name)), on_end_(std::move(on_end)), on_lost_(std::move(on_lost)), buffer_(first_buffer_bytes) {}

void client_session::start(const endpoint& to, std::int64_t timeout_ns) {
    deadline_.expires_after(std::chrono::nanoseconds(timeout_ns));
    deadline_.async_wait([self = shared_from_this()](error_code failure) {
        if (!failure) self->end({false, false, "timeout"});
    });
    socket_.async_connect(to, [self = shared_from_this()](error_code failure) {
        if (self->closed_) return;
        if (failure) return self->broken("connect: " + failure.message());
        error_code ignored;
        self->socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
        self->read();
    });
}

void client_session::close() {
    closed_ = true;
    on_end_ = nullptr;
    on_lost_ = nullptr;
    deadline_.cancel();
    error_code ignored;
    socket_.close(ignored);
}

void client_session::end(login_end how) {
    if (closed_ || in_ || !on_end_) return;
    deadline_.cancel();
    const auto tell = std::move(on_end_);
    on_end_ = nullptr;
    in_ = how.in;
    if (!in_) close();
    tell(how);
}

void client_session::broken(const std::string& text) {
    if (closed_) return;
    if (!in_) return end({false, false, text});
    const auto tell = std::move(on_lost_);
    close();
    if (tell) tell();
}

void client_session::read() {
    if (filled_ == buffer_.size()) {
        if (buffer_.size() > max_line_bytes + max_payload_bytes) return broken("the server sends more than the protocol allows");
        buffer_.resize(buffer_.size() * 2);
    }
    socket_.async_read_some(asio::buffer(buffer_.data() + filled_, buffer_.size() - filled_), [self = shared_from_this()](error_code failure, std::size_t got) {
        if (self->closed_) return;
        if (failure == asio::error::eof) return self->broken("closed without -ERR");
        if (failure) return self->broken("read: " + failure.message());
        self->filled_ += got;
        self->take();
        if (!self->closed_) self->read();
    });
}

void client_session::take() {
    std::size_t begin = 0;
    while (!closed_) {
        server_op op;
        const auto outcome = parse_op({buffer_.data() + begin, filled_ - begin}, op);
        if (outcome.what == parse_outcome::state::need_more) break;
        if (outcome.what == parse_outcome::state::malformed) return broken("the server does not speak the NATS protocol");
        begin += outcome.consumed;
        if (op.what == server_op::kind::info && !connect_sent_) {
            connect_sent_ = true;
            try {
                const auto info = read_info(op.text);
                if (info.tls_required) return broken("the server requires TLS");
                send(connect_text(&who_, name_, info.nonce));
            } catch (const std::exception& e) {
                return broken(e.what());
            }
        } else if (op.what == server_op::kind::ping) {
            send("PONG\r\n");
        } else if (op.what == server_op::kind::pong) {
            end({true, false, {}});
        } else if (op.what == server_op::kind::err) {
            if (in_) return broken(std::string(op.text));
            return end({false, is_auth_error(op.text), std::string(op.text.substr(0, 120))});
        }
    }
    if (begin == 0) return;
    std::memmove(buffer_.data(), buffer_.data() + begin, filled_ - begin);
    filled_ -= begin;
}

void client_session::send(std::string text) {
    out_ += text;
    if (writing_.empty()) write();
}

void client_session::write() {
    writing_.swap(out_);
    asio::async_write(socket_, asio::buffer(writing_), [self = shared_from_this()](error_code failure, std::size_t) {
        self->writing_.clear();
        if (self->closed_) return;
        // What the server said before it closed is still to be read: the read sees the end.
        if (!failure && !self->out_.empty()) self->write();
    });
}

}  // namespace callgate::load

// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench/load/credentials.hpp"

namespace callgate::load {

/// How one login ended.
struct login_end {
    bool in = false;
    bool auth_error = false;  ///< one of the -ERR texts after which client libraries count towards closing for good
    std::string text;         ///< why not: the -ERR text, "closed without -ERR", "timeout", or the system's words
};

/// One real connection to a nats-server: TCP, INFO, CONNECT and PING, until PONG or a failure; then held open, answering PING, until
/// it is closed. On the io_context's thread. Hold it by shared_ptr; it keeps itself alive while operations are under way.
class client_session : public std::enable_shared_from_this<client_session> {
  public:
    using endpoint = boost::asio::ip::tcp::endpoint;
    /// on_end is called exactly once, unless close() comes first; on_lost at most once, after a login that got in, when the server
    /// ends the connection.
    client_session(boost::asio::io_context& io, const credential& who, std::string name, std::function<void(const login_end&)> on_end,
                   std::function<void()> on_lost);
    void start(const endpoint& to, std::int64_t timeout_ns);
    /// Neither callback comes any more.
    void close();

  private:
    void read();
    void take();  // what is in buffer_
    void send(std::string text);
    void write();
    void end(login_end how);
    void broken(const std::string& text);

    boost::asio::ip::tcp::socket socket_;
    boost::asio::steady_timer deadline_;
    const credential& who_;
    const std::string name_;
    std::function<void(const login_end&)> on_end_;
    std::function<void()> on_lost_;
    std::vector<char> buffer_;
    std::size_t filled_ = 0;
    std::string out_, writing_;
    bool connect_sent_ = false, in_ = false, closed_ = false;
};

}  // namespace callgate::load

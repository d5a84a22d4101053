// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/ext/draft/http_client.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace callgate::host {

/// http-client/1 of one instance: libcurl's multi interface on the control thread's io_context, with a
/// connection pool of its own. Rules as documented in callgate/abi/ext/draft/http_client.h; in addition custom headers
/// that frame the message (Content-Length, Transfer-Encoding, Connection) and credentials in URLs are refused.
/// Error texts hold the origin and the address, never path, query, headers or body.
class http_client : public std::enable_shared_from_this<http_client> {
  public:
    static constexpr std::size_t max_exchanges = 32;

    explicit http_client(boost::asio::io_context& io);
    http_client(const http_client&) = delete;
    http_client& operator=(const http_client&) = delete;
    ~http_client();

    /// [any]
    cg_status start(const cg_http_request& request, std::uint64_t& id, std::string& why);
    void cancel(std::uint64_t id);
    /// [control] Ends all exchanges without calling on_done; returns how many there were.
    std::size_t close();

    static const cg_http_client_api api;

    struct exchange;  // of the implementation

  private:
    struct watched;
    struct hooks;

    void launch(const std::shared_ptr<exchange>& x);
    bool configure(exchange& x);
    void turn(int fd, int events);
    bool redirect(exchange& x);
    void collect();
    void finish(const std::shared_ptr<exchange>& x, cg_status status, std::string error);
    void watch(int fd, int what, watched* known);
    void wait_for(const std::shared_ptr<watched>& w, bool write);

    boost::asio::io_context& io_;
    boost::asio::steady_timer timer_;
    std::mutex mutex_;  // guards exchanges_, next_id_, closed_
    std::map<std::uint64_t, std::shared_ptr<exchange>> exchanges_;
    std::uint64_t next_id_ = 1;
    bool closed_ = false;
    // Control thread only from here on.
    void* multi_ = nullptr;
    std::map<int, std::shared_ptr<watched>> sockets_;
};

}  // namespace callgate::host

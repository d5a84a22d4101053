// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>

#include "engine/net/dialer.hpp"
#include "engine/net/nats_link.hpp"
#include "engine/net/session.hpp"
#include "engine/net/worker_thread.hpp"

namespace callgate::net {

/// Keeps one session alive for ever: dials on a worker thread, waits, rotates URLs, watches, reports. Owned by
/// a link, which calls abandon() before it goes. Everything on the loop's thread unless tagged [any].
class link_core final : public std::enable_shared_from_this<link_core>, private session_owner {
  public:
    link_core(boost::asio::io_context& loop, link_options options, std::uint32_t index, link_handler& handler);

    void start();
    bool publish(std::string_view subject, std::span<const std::uint8_t> payload, std::string_view reply, std::string_view headers);
    void subscribe(std::uint64_t id, subscription_request wanted);
    void unsubscribe(std::uint64_t id);
    void flush();
    void stop_receiving(std::int64_t limit_ns, std::function<void()> done);
    void close(std::int64_t limit_ns, std::function<void()> done);
    void set_reading(bool on);
    [[nodiscard]] const link_status& status() const noexcept { return status_; }
    [[nodiscard]] const link_counters& counters() const noexcept { return counters_; }

    /// [any] Breaks the present connection or attempt; what the loop is blocked in returns.
    void interrupt();
    /// Drops everything, waits for the worker. No callback follows.
    void abandon();

  private:
    void on_batch(std::span<inbound_message> batch) override;
    void on_server_error(const std::string& text) override;
    void on_closed(const std::string& reason) override;

    void attempt();
    void watch_attempt(std::int64_t after_ns);
    void on_dialled(result<dialled> r);
    void on_connected(dialled d);
    void retry_after(const error& why);
    void fail_attempt(const error& why);
    void arm_ping();
    void ping();
    void lose(const std::string& reason);
    void finish_close();
    void report();
    void log_failure(const std::string& text);
    void set_session(std::shared_ptr<session> s);
    [[nodiscard]] std::int64_t backoff_ns(std::int64_t cap_ns);

    boost::asio::io_context& loop_;
    const link_options options_;
    const std::uint32_t index_;
    link_handler* handler_;
    link_status status_;
    link_counters counters_;
    worker_thread worker_;
    boost::asio::steady_timer retry_timer_, dial_timer_, ping_timer_, stop_timer_, close_timer_;
    std::map<std::uint64_t, subscription_request> added_;  // beside those of options_
    std::shared_ptr<session> session_;
    std::shared_ptr<dial_control> dialling_;
    std::mutex shared_mutex_;  // session_ and dialling_ against interrupt()
    std::minstd_rand jitter_;
    std::size_t url_index_ = 0;
    std::uint32_t failures_ = 0;   // attempts since a connection last stood
    std::int64_t connected_at_ns_ = 0;
    std::int64_t logged_at_ns_ = 0;
    std::string logged_text_;
    std::string drop_reason_;  // why we broke the connection ourselves
    std::string subject_, reply_;  // NUL-terminated copies for cnats
    std::function<void()> stop_done_, close_done_;
    bool started_ = false, reading_ = true, receiving_stopped_ = false, closing_ = false, ended_ = false;
    bool ping_out_ = false, ever_connected_ = false;
};

}  // namespace callgate::net

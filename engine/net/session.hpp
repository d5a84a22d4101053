// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <nats/nats.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/error.hpp"
#include "engine/net/nats_link.hpp"

namespace callgate::net {

/// What a session tells its owner; on the loop's thread.
class session_owner {
  public:
    virtual ~session_owner() = default;
    virtual void on_batch(std::span<inbound_message> batch) = 0;
    /// -ERR that leaves the connection open (a permission violation).
    virtual void on_server_error(const std::string& text) = 0;
    /// The connection is gone; nothing follows.
    virtual void on_closed(const std::string& reason) = 0;
};

/// One natsConnection in event-loop mode, from login to its end; it never reconnects. One object is one
/// generation: a wake-up of an old one finds it closed.
/// Contract with cnats 3.4.1 (architecture.md 2.1):
/// * the descriptor the loop waits on is a dup(): cnats closes its own whenever it likes;
/// * a write event with an empty buffer counts as end of connection: Buffered() is asked before each;
/// * its hooks may be called with its lock held, from threads that flush: they post and never call back;
/// * natsConnection_Close waits for a PONG while bytes are pending: only called when none are.
class session : public std::enable_shared_from_this<session> {
  public:
    session(boost::asio::io_context& loop, std::uint32_t link, std::size_t max_payload_in);
    ~session();
    session(const session&) = delete;
    session& operator=(const session&) = delete;

    /// Worker thread. Blocks until logged in; adds the event loop to `options`, which the caller frees.
    [[nodiscard]] result<void> connect(natsOptions* options);

    // On the loop's thread:
    [[nodiscard]] result<void> start(session_owner& owner, std::span<const subscription_request> subscriptions);
    /// `headers`: of flat_headers, empty as a rule.
    [[nodiscard]] bool publish(const char* subject, const char* reply, std::span<const std::uint8_t> payload, std::string_view headers);
    [[nodiscard]] result<void> subscribe(std::uint64_t id, const subscription_request& wanted);
    void unsubscribe(std::uint64_t id);
    void write_out();
    /// Bytes that wait for the socket.
    [[nodiscard]] std::size_t pending() const noexcept { return pending_; }
    /// Sends UNSUB for each subscription and keeps delivering what was on its way.
    void unsubscribe_softly(std::int64_t limit_ms);
    /// False: leaves what comes in the kernel's buffers.
    void set_reading(bool on);
    /// Ends the connection now, dropping pending bytes; no callback follows.
    void close();
    [[nodiscard]] bool closed() const noexcept { return closed_; }
    [[nodiscard]] std::string server_id() const;

    /// Any thread: shuts the socket down; the loop then sees its end.
    void interrupt();
    /// Worker thread: PING, waits for the PONG (the loop reads it). False when late or closed.
    [[nodiscard]] bool round_trip(std::int64_t limit_ms);

  private:
    static natsStatus hook_attach(void** user, void* loop, natsConnection* nc, natsSock fd);
    static natsStatus hook_read(void* user, bool add);
    static natsStatus hook_write(void* user, bool add);
    static natsStatus hook_detach(void* user);

    void arm_read();
    void arm_write();
    void read_round();
    void deliver();
    void report_server_error();
    void finish(const std::string& reason);
    void release_descriptor();
    [[nodiscard]] std::string last_error() const;

    boost::asio::io_context& loop_;
    const std::uint32_t link_;
    const std::size_t max_payload_in_;
    natsConnection* nc_ = nullptr;
    session_owner* owner_ = nullptr;
    boost::asio::posix::stream_descriptor descriptor_;
    struct subscribed {
        std::uint64_t id;  // 0: from the start
        natsSubscription* handle;
    };
    std::vector<subscribed> subscriptions_;
    std::vector<inbound_message> batch_;
    std::string last_server_error_;
    std::size_t pending_ = 0;
    bool reading_ = true;
    bool read_armed_ = false;
    bool write_armed_ = false;
    bool detached_ = false;  // cnats gave the connection up
    bool closed_ = false;    // and we did what follows from it
    std::mutex fd_mutex_;    // interrupt() against release_descriptor()
    int fd_ = -1;
};

}  // namespace callgate::net

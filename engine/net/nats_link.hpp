// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/base/error.hpp"

/// Connections to nats-server. The only room that includes <nats/nats.h>.
namespace callgate::net {

/// How a link logs in. Files are read again at every (re)connect, so that rotation needs no restart;
/// their contents live in guarded memory only while a CONNECT is built.
struct no_credentials {
    friend bool operator==(const no_credentials&, const no_credentials&) = default;
};
struct creds_file {
    std::string path;
    friend bool operator==(const creds_file&, const creds_file&) = default;
};
struct nkey_seed_file {
    std::string path;
    friend bool operator==(const nkey_seed_file&, const nkey_seed_file&) = default;
};
struct password_file {
    std::string user, path;
    friend bool operator==(const password_file&, const password_file&) = default;
};
using credentials = std::variant<no_credentials, creds_file, nkey_seed_file, password_file>;

struct tls_options {
    std::string ca_file;      ///< empty = the system's
    std::string cert_file;    ///< client certificate, may be empty
    std::string key_file;
    std::string server_name;  ///< expected host name; empty = host of the URL
};

struct subscription_request {
    std::string subject;
    std::string queue;  ///< empty = plain
};

struct link_options {
    std::string name;               ///< for logs and CONNECT name, "shard0/main#1"
    std::vector<std::string> urls;  ///< nats:// or tls://; tried in turn for ever
    credentials login;
    std::optional<tls_options> tls;  ///< set, or any tls:// URL: TLS is required
    std::vector<subscription_request> subscriptions;
    /// Every URL is tried once without waiting, then this is waited, doubling with jitter. A port where nobody
    /// listens is tried again after at most half a second.
    std::int64_t reconnect_wait_ns = 100'000'000;
    std::int64_t reconnect_wait_max_ns = 2'000'000'000;
    std::int64_t connect_timeout_ns = 5'000'000'000;  ///< whole attempt at one URL
    std::int64_t ping_interval_ns = 10'000'000'000;   ///< 0 = no PING of ours
    std::int64_t ping_limit_ns = 10'000'000'000;      ///< no PONG for so long: the connection is dropped
    std::size_t max_pending_out = 8u << 20;             ///< bytes; publish() fails above
    std::size_t max_payload_in = 2u << 20;              ///< bytes; larger messages are dropped and logged
    std::size_t max_waiting_in = 64u << 20;             ///< bytes read and not handled yet, above which a link with a thread of its own stops reading
    bool own_thread = false;    ///< as TLS links have, so that nothing of it costs the caller's loop more than a batch
    bool no_responders = false; ///< a request that nobody listens for is answered with status 503 by the server
};

/// What came in. The views point into memory that `owner` keeps; moving the message keeps them valid.
struct inbound_message {
    std::string_view subject, reply;
    std::span<const std::uint8_t> payload;
    std::string_view xkey_header;  ///< header Nats-Server-Xkey, empty when absent
    std::int64_t arrival_ns = 0;   ///< when it was read from the socket
    std::uint32_t link = 0;        ///< index its maker gave
    std::uint64_t subscription = 0;  ///< id given to subscribe(); 0 = one of link_options
    struct releaser { void operator()(void* message) const noexcept; };
    std::unique_ptr<void, releaser> owner;
};

struct message_header {
    std::string name, value;
};
/// All headers in their order of names; empty when there are none or they cannot be read. Of a message that is still owned.
[[nodiscard]] std::vector<message_header> headers_of(const inbound_message& m);
/// The server says that nobody listens where a request went (status 503).
[[nodiscard]] bool says_no_responders(const inbound_message& m);
/// As publish() takes them. Names and values hold no NUL, CR or LF, names no colon: the caller has checked.
[[nodiscard]] std::string flat_headers(std::span<const message_header> headers);

struct link_status {
    bool connected = false;
    std::string url;             ///< without user information
    std::string server_id, server_name, server_version;
    std::int64_t max_payload = 0;
    std::uint64_t reconnects = 0;
    std::string last_error;      ///< why it is down; without secrets
};

/// Both functions run on the thread of the io_context given to make_link.
class link_handler {
  public:
    virtual ~link_handler() = default;
    /// All messages one read brought; take what you want, the rest is released after return.
    virtual void on_messages(std::span<inbound_message> batch) = 0;
    virtual void on_status(std::uint32_t link, const link_status& status) = 0;
};

struct link_counters {
    std::uint64_t messages_in = 0, bytes_in = 0, messages_out = 0, bytes_out = 0, dropped_out = 0;
};

/// One connection. Every function runs on the io_context's thread unless tagged [any].
class nats_link {
  public:
    virtual ~nats_link() = default;
    /// Connects in the background; never gives up until close().
    virtual void start() = 0;
    /// Copies. False when not connected or max_pending_out is reached: the message is dropped and counted
    /// (a reply that waits for a reconnect is worthless, its inbox is gone). `headers`: of flat_headers.
    virtual bool publish(std::string_view subject, std::span<const std::uint8_t> payload, std::string_view reply = {},
                         std::string_view headers = {}) = 0;
    /// Beside those of link_options, now and after every reconnect. `id` is not 0 and not in use. Takes effect with the next
    /// flush; what the server does not allow shows in status().last_error.
    virtual void subscribe(std::uint64_t id, subscription_request wanted) = 0;
    /// What was on its way already may still be delivered.
    virtual void unsubscribe(std::uint64_t id) = 0;
    /// Hands everything published since the last call to the socket; call once per round of work.
    virtual void flush() = 0;
    /// Unsubscribes and calls `done` when everything the server had sent before has been delivered (a PING
    /// went round), or at once when not connected, or after `limit_ns`.
    virtual void stop_receiving(std::int64_t limit_ns, std::function<void()> done) = 0;
    /// Writes out what is pending (at most limit_ns), closes, calls `done`; nothing is delivered afterwards.
    virtual void close(std::int64_t limit_ns, std::function<void()> done) = 0;
    [[nodiscard]] virtual const link_status& status() const = 0;
    [[nodiscard]] virtual link_counters counters() const = 0;
};

/// Plaintext links run on `shard` itself; TLS links run on a loop thread of their own and hand batches to
/// it (decisions.md, Engine 2). `index` comes back in messages and status.
[[nodiscard]] result<std::unique_ptr<nats_link>> make_link(boost::asio::io_context& shard, link_options options,
                                                           std::uint32_t index, link_handler& handler);

}  // namespace callgate::net

// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <queue>
#include <random>
#include <string_view>
#include <vector>

namespace callgate::load {

/// How a client library reconnects when nobody has set an option (one server in its pool, no TLS).
struct client_library {
    std::string_view name;
    std::int64_t wait_ns = 2'000'000'000;   ///< nats.go ReconnectWait, nats.js reconnectTimeWait, libnats ReconnectWait
    std::int64_t jitter_ns = 100'000'000;   ///< uniform, on top
    /// nats.go and libnats sleep between two attempts; nats.js counts from the beginning of the last one.
    bool waits_from_attempt = false;
    std::int64_t timeout_ns = 2'000'000'000;  ///< for one attempt: nats.go and libnats 2 s, nats.js 20 s
    /// Authorization errors in a row after which the client is closed for good. Read in nats.go (processAuthError) and
    /// nats.js (handleAuthError): the second one of the same server. 0: never (IgnoreAuthErrorAbort).
    std::uint32_t closed_after = 2;
    /// Failed attempts of any kind in a row after which the pool is empty and the client closed: MaxReconnect of nats.go and
    /// libnats, maxReconnectAttempts of nats.js. 0: never.
    std::uint32_t max_attempts = 60;
};
/// "nats.go", "nats.js", "libnats", or nullopt.
[[nodiscard]] std::optional<client_library> find_library(std::string_view name) noexcept;

/// Clients that lost their connection and want back in: who tries when, who is in, who gave up. Knows no socket and no clock:
/// the times are the caller's (ns of any steady clock, never going back). One thread.
class fleet {
  public:
    enum class state : std::uint8_t { idle, waiting, trying, in, closed };

    fleet(std::size_t size, const client_library& library, std::uint64_t seed);

    /// All lost their connection some time ago and the first wait is over: each is due at `now` plus its jitter, in nats.js
    /// at `now`.
    void begin(std::int64_t now);
    /// A client that was never connected tries first at `due`.
    void begin_at(std::size_t client, std::int64_t due);
    /// One connection was lost just now.
    void lost(std::size_t client, std::int64_t now);
    /// A client whose time has come; it is trying from now on.
    [[nodiscard]] std::optional<std::size_t> pop_due(std::int64_t now);
    /// When somebody is next due; nullopt: nobody waits.
    [[nodiscard]] std::optional<std::int64_t> next_due() const;

    /// Ends of an attempt. Only of clients that are trying.
    void entered(std::size_t client);
    /// Authorization error. True: the client is closed for good.
    bool refused(std::size_t client, std::int64_t now);
    /// Any other failure: connection refused, own timeout. It leaves the number of authorization errors as it was. True: it was
    /// the last attempt.
    bool failed(std::size_t client, std::int64_t now);

    [[nodiscard]] std::size_t size() const noexcept { return clients_.size(); }
    [[nodiscard]] state state_of(std::size_t client) const { return clients_.at(client).now; }
    [[nodiscard]] std::int64_t due_of(std::size_t client) const { return clients_.at(client).due; }
    [[nodiscard]] std::size_t in() const noexcept { return in_; }
    [[nodiscard]] std::size_t closed() const noexcept { return closed_; }
    [[nodiscard]] std::size_t trying() const noexcept { return trying_; }
    [[nodiscard]] std::uint64_t attempts() const noexcept { return attempts_; }

  private:
    struct member {
        state now = state::idle;
        std::uint32_t refusals = 0, failures = 0;
        std::int64_t attempt_at = 0, due = 0;
    };
    struct entry {
        std::int64_t due;
        std::size_t client;
        bool operator>(const entry& o) const noexcept { return due != o.due ? due > o.due : client > o.client; }
    };
    void wait_until(std::size_t client, std::int64_t due);
    void again(std::size_t client, std::int64_t now);
    bool close_or_again(std::size_t client, std::int64_t now);
    std::int64_t jitter();

    client_library library_;
    std::vector<member> clients_;
    std::priority_queue<entry, std::vector<entry>, std::greater<>> due_;
    std::mt19937_64 random_;
    std::size_t in_ = 0, closed_ = 0, trying_ = 0;
    std::uint64_t attempts_ = 0;
};

}  // namespace callgate::load

// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <sys/socket.h>

#include <atomic>
#include <cstdint>
#include <string>

#include "engine/base/error.hpp"
#include "engine/net/server_greeting.hpp"
#include "engine/net/server_url.hpp"

namespace callgate::net {

/// Ends a blocking wait of another thread; also usable before the wait begins.
class cancel_signal {
  public:
    cancel_signal();
    ~cancel_signal();
    cancel_signal(const cancel_signal&) = delete;
    cancel_signal& operator=(const cancel_signal&) = delete;
    void cancel() noexcept;  ///< any thread
    [[nodiscard]] bool cancelled() const noexcept { return cancelled_.load(std::memory_order_acquire); }
    [[nodiscard]] int wait_fd() const noexcept { return fd_; }

  private:
    int fd_;
    std::atomic<bool> cancelled_{false};
};

struct probed_server {
    sockaddr_storage address{};
    socklen_t address_size = 0;
    std::string numeric;  ///< "127.0.0.1:4222", "[::1]:4222"
    server_greeting greeting;
};

/// Resolves, connects, reads the INFO line, hangs up: cnats 3.4.1 never gives up on a server that accepts
/// and stays silent, and tells neither the server's name nor its version. Blocks for at most `limit_ns` plus
/// the resolver's own limit. unavailable = nobody listens there; deadline = silent.
[[nodiscard]] result<probed_server> probe_server(const server_url& url, std::int64_t limit_ns, const cancel_signal& stop);

}  // namespace callgate::net

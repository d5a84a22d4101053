// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "engine/net/nats_link.hpp"
#include "engine/net/session.hpp"
#include "engine/net/tcp_probe.hpp"

namespace callgate::net {

/// Lets the loop end a connection attempt that runs on the worker. Any thread.
class dial_control {
  public:
    /// Ends a wait of ours at once, and one of cnats by shutting its socket down (stuck_connect.hpp). cnats
    /// may not have its socket yet: call again while the attempt lasts.
    void abort(std::uint32_t silent_ms);
    [[nodiscard]] const cancel_signal& stop() const noexcept { return stop_; }
    void entering_cnats(const sockaddr_storage& peer);
    [[nodiscard]] bool in_cnats() const;

  private:
    cancel_signal stop_;
    mutable std::mutex mutex_;
    std::optional<sockaddr_storage> peer_;
};

struct dialled {
    std::shared_ptr<session> connection;
    server_greeting greeting;
    std::string url;  ///< without user information
};

/// One attempt at one URL: reads credentials and certificates, looks at the server, logs in. Blocks; worker
/// thread. `where` of the error is the URL or the file at fault.
[[nodiscard]] result<dialled> dial(boost::asio::io_context& loop, const link_options& options, std::size_t url_index,
                                   std::uint32_t link, dial_control& control);

/// TLS is asked for by options.tls or by any tls:// URL.
[[nodiscard]] bool wants_tls(const link_options& options);

}  // namespace callgate::net

// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/net/nats_link.hpp"

namespace callgate::net {

/// The one connection as a user of the system account (protocol.md section 4.6): kick and discovery.
/// Publishes KICK, PING.IDZ and CONNZ and nothing else. Everything runs on the io_context's thread.
class system_client {
  public:
    struct known_server { std::string id, name; };
    /// `outcome`: empty = kicked, else the server's error text or why it could not be asked.
    using kick_done = std::function<void(std::string_view outcome)>;

    virtual ~system_client() = default;
    virtual void start() = 0;
    [[nodiscard]] virtual bool connected() const = 0;
    /// $SYS.REQ.SERVER.<id>.KICK {"cid":N} with a reply subject. `server_id` must be a valid N key.
    virtual void kick(std::string_view server_id, std::uint64_t cid, kick_done done) = 0;
    /// Servers that answered PING.IDZ or announced themselves since (STATSZ events), shut-down ones removed.
    [[nodiscard]] virtual const std::vector<known_server>& servers() const = 0;
    /// Called whenever servers() changed.
    virtual void on_servers(std::function<void()> changed) = 0;
    /// Body of a directed CONNZ reply (JSON) or an error.
    virtual void connz(std::string_view server_id, std::string options_json,
                       std::function<void(result<std::string>)> done) = 0;
    virtual void close(std::int64_t limit_ns, std::function<void()> done) = 0;
};

[[nodiscard]] result<std::unique_ptr<system_client>> make_system_client(boost::asio::io_context& loop, link_options options);

}  // namespace callgate::net

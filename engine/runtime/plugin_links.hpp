// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/host/nats_port.hpp"
#include "engine/runtime/config.hpp"

namespace callgate::runtime {

/// Connections of plugin instances (nats/1), as the user of `nats[].plugin_link`: each with a link and a thread of its own, so
/// that nothing of it touches the links of the callout. Everything on the thread of `control`.
class plugin_links : public std::enable_shared_from_this<plugin_links> {
  public:
    explicit plugin_links(boost::asio::io_context& control) : control_(control) {}

    /// For the clusters under `uses` of an instance.
    [[nodiscard]] std::map<std::string, host::nats_opener> openers(const instance_options& o, const config& c);
    /// Calls `then` when every connection that was given back has sent what it had and is closed, at most after limit_ns.
    void when_closed(std::int64_t limit_ns, std::function<void()> then);

    struct kept_link;  // for the implementation

  private:
    friend class plugin_connection;
    void retire(std::shared_ptr<kept_link> link);

    boost::asio::io_context& control_;
    std::vector<std::shared_ptr<kept_link>> closing_;
    std::function<void()> then_;
};

/// Connections that are never dialled, for `callgate check`: a plugin may open them in create.
[[nodiscard]] std::map<std::string, host::nats_opener> idle_openers(const instance_options& o);
/// What makes two configurations the same connections for an instance.
[[nodiscard]] std::string plugin_links_fingerprint(const instance_options& o, const config& c);

}  // namespace callgate::runtime

// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/error.hpp"

/// Connections that nats/1 asks the runtime for: this room does not speak NATS. Everything here is [control].
namespace callgate::host {

struct nats_text {
    std::string subject, reply;
    std::vector<std::pair<std::string, std::string>> headers;
    std::vector<std::uint8_t> payload;
    [[nodiscard]] std::size_t bytes() const noexcept {
        std::size_t n = subject.size() + reply.size() + payload.size();
        for (const auto& [name, value] : headers) n += name.size() + value.size() + 4;
        return n;
    }
};

struct nats_state {
    bool connected = false;
    std::uint64_t reconnects = 0, max_payload = 0;
};

/// Whom a connection belongs to. Its functions are never called inside a call of the connection's.
class nats_listener {
  public:
    virtual ~nats_listener() = default;
    /// `nobody`: not a message but the server's word that nobody listens where a request went.
    virtual void on_message(std::uint64_t subscription, nats_text&& message, bool nobody) = 0;
    virtual void on_state(const nats_state& now) = 0;
};

/// One connection; it connects in the background, for ever. When it is destroyed its listener hears no more, and what was
/// published still goes out, within a second.
class nats_connection {
  public:
    virtual ~nats_connection() = default;
    /// False: not taken, and never will be.
    virtual bool publish(const nats_text& message) = 0;
    virtual void flush() = 0;
    /// `id` is not 0 and not in use.
    virtual void subscribe(std::uint64_t id, const std::string& subject, const std::string& queue) = 0;
    virtual void unsubscribe(std::uint64_t id) = 0;
    /// Messages that publish() took and that were not sent.
    [[nodiscard]] virtual std::uint64_t lost() const = 0;
};

/// Opens a connection for an instance; `listener` outlives it.
using nats_opener = std::function<result<std::unique_ptr<nats_connection>>(const std::string& instance, nats_listener& listener)>;

}  // namespace callgate::host

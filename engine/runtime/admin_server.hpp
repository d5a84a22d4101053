// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/error.hpp"
#include "engine/host/byte_stream.hpp"
#include "engine/host/module_services.hpp"

namespace callgate::runtime {

struct admin_options;

struct admin_request {
    std::string method, path, query{};
    std::vector<std::pair<std::string, std::string>> headers{};  ///< names in lower case; without credentials and those of the connection
    std::string body{};
    bool local_socket = false;  ///< came over the Unix socket (mode 0600)
    host::caller_identity caller{};
};
struct admin_response {
    unsigned status = 200;
    std::string content_type = "text/plain; charset=utf-8";
    std::string body{};
    std::shared_ptr<host::byte_stream> stream{};  ///< then `body` is empty; sent as it comes, cut off when it ends with an error
};

/// The admin listener (`admin.listen`): HTTP/1.1 on a Unix socket or on TCP, there with TLS, client
/// certificates or a bearer token as configured. Runs on a thread of its own, so that a busy control thread
/// never makes it unreachable. Bounded: 64 connections, 8 KiB of header, 64 KiB of body, 10 s for an exchange, of which 6 s for
/// the answer (then 503); a streamed answer has 30 s from piece to piece and 10 min in all.
class admin_server {
  public:
    /// [admin thread] Answers; must not block for long.
    using handler = std::function<admin_response(const admin_request&)>;
    /// [any] The first call counts, one that comes too late does nothing. May outlive the server.
    using responder = std::function<void(admin_response)>;
    /// [admin thread] Answers now or later.
    using async_handler = std::function<void(admin_request&&, responder)>;

    /// Opens the listener or says why it cannot. `options.listen` is not empty.
    static result<std::unique_ptr<admin_server>> open(const admin_options& options, async_handler answer);
    static result<std::unique_ptr<admin_server>> open(const admin_options& options, handler answer);
    virtual ~admin_server() = default;
    /// "unix:/path" or "127.0.0.1:9222", the port as bound.
    [[nodiscard]] virtual const std::string& address() const = 0;
};

}  // namespace callgate::runtime

// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "engine/base/error.hpp"

namespace callgate::runtime {

struct admin_options;

struct admin_request {
    std::string method, path;
    bool local_socket = false;  ///< came over the Unix socket (mode 0600)
};
struct admin_response {
    unsigned status = 200;
    std::string content_type = "text/plain; charset=utf-8";
    std::string body;
};

/// The admin listener (`admin.listen`): HTTP/1.1 on a Unix socket or on TCP, there with TLS, client
/// certificates or a bearer token as configured. Runs on a thread of its own, so that a busy control thread
/// never makes a probe fail. Bounded: 64 connections, 8 KiB of header, 4 KiB of body, 10 s for an exchange.
class admin_server {
  public:
    /// [admin thread] Answers; must not block for long.
    using handler = std::function<admin_response(const admin_request&)>;

    /// Opens the listener or says why it cannot. `options.listen` is not empty.
    static result<std::unique_ptr<admin_server>> open(const admin_options& options, handler answer);
    virtual ~admin_server() = default;
    /// "unix:/path" or "127.0.0.1:9222", the port as bound.
    [[nodiscard]] virtual const std::string& address() const = 0;
};

}  // namespace callgate::runtime

// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/base/error.hpp"

namespace callgate::net {

/// nats://[user[:password]@]host[:port] or tls://...; IPv6 hosts in brackets. No path, no query.
struct server_url {
    bool tls = false;
    bool has_user_info = false;
    std::string user, password;  ///< percent-decoded; a user without password is a token
    std::string host;            ///< without brackets
    std::uint16_t port = 4222;

    /// Scheme, host and port: fit for logs.
    [[nodiscard]] std::string printable() const;
    /// "host:port", IPv6 in brackets.
    [[nodiscard]] std::string authority() const;
};

/// The error text never repeats user information.
[[nodiscard]] result<server_url> parse_server_url(std::string_view text);

}  // namespace callgate::net

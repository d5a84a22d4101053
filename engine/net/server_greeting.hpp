// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/base/error.hpp"

namespace callgate::net {

inline constexpr std::size_t max_greeting = 32u << 10;  ///< bytes of an INFO line, as in cnats

/// What a server says about itself in its first line, INFO {...}.
struct server_greeting {
    std::string server_id, server_name, version;
    std::int64_t max_payload = 0;
    bool tls_required = false;
    bool headers = false;
};

/// `line` without its line end. Hostile input: sizes and types are checked.
[[nodiscard]] result<server_greeting> parse_greeting(std::string_view line);

}  // namespace callgate::net

// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "engine/net/server_greeting.hpp"
#include "engine/net/server_url.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    if (const auto g = callgate::net::parse_greeting(text); g && (g->server_id.empty() || g->server_id.size() > 256)) std::abort();
    if (const auto url = callgate::net::parse_server_url(text)) {
        // What we print names the same server when read again.
        const auto again = callgate::net::parse_server_url(url->printable());
        if (!again || again->host != url->host || again->port != url->port || again->tls != url->tls) std::abort();
    }
    return 0;
}

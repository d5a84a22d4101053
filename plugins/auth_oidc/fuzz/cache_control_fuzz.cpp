// SPDX-License-Identifier: Apache-2.0
// Whatever stands in Cache-Control and Age: a lifetime within bounds or none, and another field never makes a
// response fresher than it was.
#include <cstdlib>

#include "plugins/auth_oidc/cache_control.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace callgate::auth_oidc;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    cache_control c;
    // Each line is a field of its own.
    std::optional<std::chrono::seconds> before;
    for (std::size_t at = 0; at <= text.size();) {
        const auto end = std::min(text.find('\n', at), text.size());
        c.read(text.substr(at, end - at));
        const auto now = c.lifetime();
        if (now && (now->count() < 0 || *now > max_delta_seconds)) std::abort();
        if (before && (!now || *now > *before)) std::abort();
        before = now;
        at = end + 1;
    }
    const auto age = parse_age(text);
    if (age && (age->count() < 0 || *age > max_delta_seconds)) std::abort();
    return 0;
}

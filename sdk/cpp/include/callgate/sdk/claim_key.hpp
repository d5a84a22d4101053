// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <callgate/abi/draft/claim_store.h>
#include <string_view>

namespace callgate::sdk {

/// What is wrong with a key of a claim store; empty = nothing. abi/draft/claim_store.h has the rules. Any thread.
[[nodiscard]] constexpr std::string_view claim_prefix_fault(std::string_view prefix) noexcept {
    if (prefix.size() > CG_CLAIM_MAX_KEY_BYTES) return "is longer than 512 bytes";
    for (const char c : prefix)
        if (c < 0x21 || c > 0x7e) return "has a byte that is not a printable ASCII character (0x21 to 0x7e)";
    return {};
}
[[nodiscard]] constexpr std::string_view claim_key_fault(std::string_view key) noexcept {
    if (key.empty()) return "is empty";
    if (const auto fault = claim_prefix_fault(key); !fault.empty()) return fault;
    for (std::size_t at = 0; at <= key.size();) {
        const auto slash = std::min(key.find('/', at), key.size());
        const auto segment = key.substr(at, slash - at);
        if (segment.empty()) return "has an empty segment: '/' at an end, or two in a row";
        if (segment == "." || segment == "..") return "has the segment \".\" or \"..\"";
        at = slash + 1;
    }
    return {};
}

}  // namespace callgate::sdk

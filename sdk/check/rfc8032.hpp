// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

/// Test vectors of RFC 8032 section 7.1 (TEST 1 to 3 and TEST SHA(abc)). The seeds are public and guard nothing.
namespace callgate::check {

struct rfc8032_vector {
    std::string name;
    std::array<std::uint8_t, 32> seed, public_key;
    std::string message;
    std::array<std::uint8_t, 64> signature;
};
[[nodiscard]] const std::vector<rfc8032_vector>& rfc8032_vectors();

}  // namespace callgate::check

// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/crypto/known_key.hpp>

#include <vector>

#include "sdk/crypto/src/edwards25519.hpp"

namespace callgate::crypto {

/// What the tests and benchmarks of this room need to see of a known_key.
struct known_key_access {
    /// The table's own verdict, without libsodium.
    [[nodiscard]] static bool table_accepts(std::span<const std::uint8_t> message, std::span<const std::uint8_t, 64> signature,
                                            const known_key& key) noexcept;
    /// To be damaged.
    [[nodiscard]] static std::vector<edwards25519::addend>& multiples(const known_key& key) noexcept;
};

}  // namespace callgate::crypto

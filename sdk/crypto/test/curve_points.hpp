// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <vector>

#include "sdk/crypto/src/edwards25519.hpp"

/// Points and scalars out of which signatures are made that no honest signer makes.
namespace callgate::crypto::forge {

using bytes32 = std::array<std::uint8_t, 32>;

/// L, little-endian (RFC 8032 5.1).
[[nodiscard]] bytes32 group_order();
/// a + b as 256-bit numbers; what does not fit is lost.
[[nodiscard]] bytes32 plus(bytes32 a, const bytes32& b);
[[nodiscard]] bytes32 encode(const edwards25519::point& p);
[[nodiscard]] edwards25519::point times(const edwards25519::point& p, const bytes32& scalar);
/// The eight points whose order divides 8: multiples 0 to 7 of the first one of order 8.
[[nodiscard]] const std::vector<edwards25519::point>& torsion();
/// Encodings of y + p for each y below 19, with both signs: none is canonical.
[[nodiscard]] std::vector<bytes32> non_canonical();

/// Signs like RFC 8032, but with each step open. S = r + h a, R = r B + (any point).
struct open_signer {
    bytes32 scalar, public_key;  ///< a; A = a B + `offset`
    static open_signer make(const bytes32& random, const edwards25519::point& offset);
    [[nodiscard]] bytes32 challenge(const bytes32& r_point, const std::vector<std::uint8_t>& message) const;
    [[nodiscard]] std::array<std::uint8_t, 64> sign(const bytes32& nonce, const edwards25519::point& r_offset,
                                                    const std::vector<std::uint8_t>& message) const;
};

}  // namespace callgate::crypto::forge

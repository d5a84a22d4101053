// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <optional>

#include "sdk/crypto/src/field25519.hpp"

/// The curve -x^2 + y^2 = 1 + d x^2 y^2 of Ed25519 (RFC 8032 section 5.1), for public data only.
namespace callgate::crypto::edwards25519 {

using field25519::element;

/// x = X/Z, y = Y/Z, x y = T/Z (RFC 8032 5.1.4). All tight.
struct point {
    element x, y, z, t;
};
inline constexpr point identity{field25519::zero, field25519::one, field25519::one, field25519::zero};

/// A fixed point as additions want it: y + x, y - x, 2 d x y of the affine point. All tight. Two cache lines.
struct alignas(128) addend {
    element sum, difference, product;
};

/// nullopt when no x fits. `bytes` as RFC 8032 5.1.3 reads them, but y may be p or more (it is reduced).
[[nodiscard]] std::optional<point> decompress(std::span<const std::uint8_t, 32> bytes) noexcept;
[[nodiscard]] point negated(const point& p) noexcept;
[[nodiscard]] point add(const point& p, const point& q) noexcept;
[[nodiscard]] bool is_identity(const point& p) noexcept;
/// Order 1, 2, 4 or 8.
[[nodiscard]] bool has_small_order(const point& p) noexcept;
[[nodiscard]] const point& base_point() noexcept;
/// 2 d.
[[nodiscard]] const element& twice_d() noexcept;

/// p + q, or p - q when `minus` is all ones (it is zero otherwise): without a branch, because a coin toss decides
/// and a wrong guess costs more than the selection.
CALLGATE_FIELD_INLINE void accumulate(point& p, const addend& q, std::uint64_t minus) noexcept {
    using namespace field25519;
    // The negative of a point swaps sum and difference and changes the sign of the product.
    element with_difference, with_sum, product = subtract(zero, q.product);
    for (int i = 0; i < 5; ++i) {
        const std::uint64_t change = (q.sum.limb[i] ^ q.difference.limb[i]) & minus;
        with_sum.limb[i] = q.sum.limb[i] ^ change;
        with_difference.limb[i] = q.difference.limb[i] ^ change;
        product.limb[i] = q.product.limb[i] ^ ((q.product.limb[i] ^ product.limb[i]) & minus);
    }
    // RFC 8032 5.1.4 with Z2 = 1.
    const element a = multiply(subtract(p.y, p.x), with_difference);
    const element b = multiply(field25519::add(p.y, p.x), with_sum);
    const element c = multiply(p.t, product);
    const element d = field25519::add(p.z, p.z);
    const element e = subtract(b, a), f = subtract(d, c), g = field25519::add(d, c), h = field25519::add(b, a);
    p.x = multiply(e, f);
    p.y = multiply(g, h);
    p.z = multiply(f, g);
    p.t = multiply(e, h);
}

}  // namespace callgate::crypto::edwards25519

// SPDX-License-Identifier: Apache-2.0
#include "sdk/crypto/src/edwards25519.hpp"

#include <array>

namespace callgate::crypto::edwards25519 {

using namespace field25519;

namespace {

struct constants {
    element d, d2, root_of_minus_one;
};
// From their definitions (RFC 8032 5.1): computed once, nothing to mistype.
const constants& curve() noexcept {
    static const constants c = [] {
        const element numerator{{121665, 0, 0, 0, 0}}, denominator{{121666, 0, 0, 0, 0}}, two{{2, 0, 0, 0, 0}};
        constants k;
        k.d = carry(subtract(zero, multiply(numerator, invert_by_power(denominator))));
        k.d2 = carry(field25519::add(k.d, k.d));
        // 2 is no square, so 2^((p-1)/4) squares to -1; 2^((p-5)/8) is half of that exponent, less a quarter.
        const element r = power_p58(two);
        k.root_of_minus_one = multiply(square(r), two);
        return k;
    }();
    return c;
}

bool same(const element& a, const element& b) noexcept { return canonical(a) == canonical(b); }

}  // namespace

const element& twice_d() noexcept { return curve().d2; }

std::optional<point> decompress(std::span<const std::uint8_t, 32> bytes) noexcept {
    // x^2 = u/v with u = y^2 - 1, v = d y^2 + 1; the root is u v^3 (u v^7)^((p-5)/8), perhaps times sqrt(-1).
    const element y = from_words(load_words(bytes)), y2 = square(y);
    const element u = carry(subtract(y2, one)), v = carry(field25519::add(multiply(y2, curve().d), one));
    const element v3 = multiply(square(v), v), v7 = multiply(square(v3), v);
    element x = multiply(multiply(u, v3), power_p58(multiply(u, v7)));
    const element vx2 = multiply(v, square(x));
    if (!same(vx2, u)) {
        if (!same(vx2, subtract(zero, u))) return std::nullopt;
        x = multiply(x, curve().root_of_minus_one);
    }
    if (is_negative(x) != ((bytes[31] >> 7) != 0)) x = carry(subtract(zero, x));
    return point{x, y, one, multiply(x, y)};
}

point negated(const point& p) noexcept { return {carry(subtract(zero, p.x)), p.y, p.z, carry(subtract(zero, p.t))}; }

point add(const point& p, const point& q) noexcept {
    const element a = multiply(subtract(p.y, p.x), subtract(q.y, q.x));
    const element b = multiply(field25519::add(p.y, p.x), field25519::add(q.y, q.x));
    const element c = multiply(multiply(p.t, q.t), curve().d2);
    const element zz = multiply(p.z, q.z), d = field25519::add(zz, zz);
    const element e = subtract(b, a), f = subtract(d, c), g = field25519::add(d, c), h = field25519::add(b, a);
    return {multiply(e, f), multiply(g, h), multiply(f, g), multiply(e, h)};
}

bool is_identity(const point& p) noexcept { return is_zero(p.x) && same(p.y, p.z); }

bool has_small_order(const point& p) noexcept {
    point q = p;
    for (int i = 0; i < 3; ++i) q = add(q, q);
    return is_identity(q);
}

const point& base_point() noexcept {
    // y = 4/5 with even x: 0x58 and 31 times 0x66 (RFC 8032 5.1).
    static const point b = [] {
        std::array<std::uint8_t, 32> bytes;
        bytes.fill(0x66);
        bytes[0] = 0x58;
        return *decompress(bytes);
    }();
    return b;
}

}  // namespace callgate::crypto::edwards25519

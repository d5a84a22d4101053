// SPDX-License-Identifier: Apache-2.0
#include "sdk/crypto/test/curve_points.hpp"

#include <sodium.h>

#include <algorithm>
#include <stdexcept>

namespace callgate::crypto::forge {

using namespace field25519;
using edwards25519::point;

bytes32 group_order() {
    bytes32 l{0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14};
    l[31] = 0x10;
    return l;
}

bytes32 plus(bytes32 a, const bytes32& b) {
    unsigned carried = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        carried += a[i] + b[i];
        a[i] = static_cast<std::uint8_t>(carried);
        carried >>= 8;
    }
    return a;
}

bytes32 encode(const point& p) {
    const element z = invert_by_power(p.z);
    const words y = canonical(multiply(p.y, z));
    bytes32 out;
    for (std::size_t i = 0; i < 32; ++i) out[i] = static_cast<std::uint8_t>(y.w[i / 8] >> (8 * (i % 8)));
    if (is_negative(multiply(p.x, z))) out[31] |= 0x80;
    return out;
}

point times(const point& p, const bytes32& scalar) {
    point sum = edwards25519::identity;
    for (std::size_t bit = 256; bit-- > 0;) {
        sum = edwards25519::add(sum, sum);
        if ((scalar[bit / 8] >> (bit % 8) & 1) != 0) sum = edwards25519::add(sum, p);
    }
    return sum;
}

const std::vector<point>& torsion() {
    static const std::vector<point> all = [] {
        for (std::uint8_t y = 2;; ++y) {
            bytes32 bytes{y};
            const auto p = edwards25519::decompress(bytes);
            if (!p) continue;
            // What is left of a point after L is its part of small order; half of all points have the full 8.
            const point t = times(*p, group_order());
            const point four = edwards25519::add(edwards25519::add(t, t), edwards25519::add(t, t));
            if (edwards25519::is_identity(four)) continue;
            std::vector<point> out{edwards25519::identity};
            while (out.size() < 8) out.push_back(edwards25519::add(out.back(), t));
            if (!edwards25519::is_identity(edwards25519::add(out.back(), t))) throw std::logic_error("8 T is not the identity");
            return out;
        }
    }();
    return all;
}

std::vector<bytes32> non_canonical() {
    std::vector<bytes32> out;
    for (unsigned y = 0; y < 19; ++y)
        for (std::uint8_t sign : {0x00, 0x80}) {
            bytes32 b;
            b.fill(0xff);
            b[0] = static_cast<std::uint8_t>(0xed + y);
            b[31] = static_cast<std::uint8_t>(0x7f | sign);
            out.push_back(b);
        }
    return out;
}

namespace {
bytes32 reduced(const bytes32& in) {
    std::array<std::uint8_t, 64> wide{};
    std::ranges::copy(in, wide.begin());
    bytes32 out;
    ::crypto_core_ed25519_scalar_reduce(out.data(), wide.data());
    return out;
}
}  // namespace

open_signer open_signer::make(const bytes32& random, const point& offset) {
    open_signer s;
    s.scalar = reduced(random);
    s.public_key = encode(edwards25519::add(times(edwards25519::base_point(), s.scalar), offset));
    return s;
}

bytes32 open_signer::challenge(const bytes32& r_point, const std::vector<std::uint8_t>& message) const {
    crypto_hash_sha512_state state;
    ::crypto_hash_sha512_init(&state);
    ::crypto_hash_sha512_update(&state, r_point.data(), r_point.size());
    ::crypto_hash_sha512_update(&state, public_key.data(), public_key.size());
    ::crypto_hash_sha512_update(&state, message.data(), message.size());
    std::array<std::uint8_t, 64> hash;
    ::crypto_hash_sha512_final(&state, hash.data());
    bytes32 h;
    ::crypto_core_ed25519_scalar_reduce(h.data(), hash.data());
    return h;
}

std::array<std::uint8_t, 64> open_signer::sign(const bytes32& nonce, const point& r_offset, const std::vector<std::uint8_t>& message) const {
    const bytes32 r = reduced(nonce);
    bytes32 rb{};
    // libsodium refuses to multiply by zero.
    const point r_base = r == bytes32{} ? edwards25519::identity : (::crypto_scalarmult_ed25519_base_noclamp(rb.data(), r.data()), *edwards25519::decompress(rb));
    const bytes32 r_point = encode(edwards25519::add(r_base, r_offset));
    const bytes32 h = challenge(r_point, message);
    bytes32 ha, s;
    ::crypto_core_ed25519_scalar_mul(ha.data(), h.data(), scalar.data());
    ::crypto_core_ed25519_scalar_add(s.data(), r.data(), ha.data());
    std::array<std::uint8_t, 64> out;
    std::ranges::copy(r_point, out.begin());
    std::ranges::copy(s, out.begin() + 32);
    return out;
}

}  // namespace callgate::crypto::forge

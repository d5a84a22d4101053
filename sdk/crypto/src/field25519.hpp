// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <cstring>
#include <span>

/// The field of integers modulo p = 2^255 - 19 in five limbs of 51 bits. For public data only: everything that
/// builds on it may take its time from the values. Any thread.
///
/// Bounds carry the proof that nothing overflows, so they are part of each contract. "Tight" limbs are below
/// 2^51 + 2^13; "loose" limbs are below 2^53 + 2^14. multiply and square take loose and give tight.
namespace callgate::crypto::field25519 {

#define CALLGATE_FIELD_INLINE inline __attribute__((always_inline))

// The compiler inlines these into kernels built for several instruction sets; as separate functions they would
// be built for the plainest one only.
__extension__ typedef unsigned __int128 wide;

inline constexpr std::uint64_t mask51 = (std::uint64_t{1} << 51) - 1;

struct element {
    std::uint64_t limb[5];
};

inline constexpr element zero{{0, 0, 0, 0, 0}};
inline constexpr element one{{1, 0, 0, 0, 0}};

/// Tight + tight gives loose.
CALLGATE_FIELD_INLINE element add(const element& a, const element& b) noexcept {
    return {{a.limb[0] + b.limb[0], a.limb[1] + b.limb[1], a.limb[2] + b.limb[2], a.limb[3] + b.limb[3], a.limb[4] + b.limb[4]}};
}

/// a - b + 2p. `b` tight; `a` at most 2^52 + 2^14 in each limb; gives loose.
CALLGATE_FIELD_INLINE element subtract(const element& a, const element& b) noexcept {
    constexpr std::uint64_t low = 0xfffffffffffda, other = 0xffffffffffffe;
    return {{a.limb[0] + low - b.limb[0], a.limb[1] + other - b.limb[1], a.limb[2] + other - b.limb[2],
             a.limb[3] + other - b.limb[3], a.limb[4] + other - b.limb[4]}};
}

/// One pass of carries: limbs below 2^63 become tight.
CALLGATE_FIELD_INLINE element carry(const element& a) noexcept {
    element r;
    r.limb[0] = (a.limb[0] & mask51) + 19 * (a.limb[4] >> 51);
    r.limb[1] = (a.limb[1] & mask51) + (a.limb[0] >> 51);
    r.limb[2] = (a.limb[2] & mask51) + (a.limb[1] >> 51);
    r.limb[3] = (a.limb[3] & mask51) + (a.limb[2] >> 51);
    r.limb[4] = (a.limb[4] & mask51) + (a.limb[3] >> 51);
    return r;
}

// Column sums to tight limbs. With loose factors a column is below 77 * 2^106 + its carry, so each carry fits
// 64 bits; the last one is below 2^58 and stays below 2^63 when multiplied by 19.
CALLGATE_FIELD_INLINE element reduce(wide c0, wide c1, wide c2, wide c3, wide c4) noexcept {
    element r;
    c1 += static_cast<std::uint64_t>(c0 >> 51);
    c2 += static_cast<std::uint64_t>(c1 >> 51);
    c3 += static_cast<std::uint64_t>(c2 >> 51);
    c4 += static_cast<std::uint64_t>(c3 >> 51);
    const std::uint64_t low = (static_cast<std::uint64_t>(c0) & mask51) + 19 * static_cast<std::uint64_t>(c4 >> 51);
    r.limb[0] = low & mask51;
    r.limb[1] = (static_cast<std::uint64_t>(c1) & mask51) + (low >> 51);
    r.limb[2] = static_cast<std::uint64_t>(c2) & mask51;
    r.limb[3] = static_cast<std::uint64_t>(c3) & mask51;
    r.limb[4] = static_cast<std::uint64_t>(c4) & mask51;
    return r;
}

CALLGATE_FIELD_INLINE element multiply(const element& x, const element& y) noexcept {
    const std::uint64_t a0 = x.limb[0], a1 = x.limb[1], a2 = x.limb[2], a3 = x.limb[3], a4 = x.limb[4];
    const std::uint64_t b0 = y.limb[0], b1 = y.limb[1], b2 = y.limb[2], b3 = y.limb[3], b4 = y.limb[4];
    // 2^255 = 19: what would land in limb 5 and above comes back 19-fold.
    const std::uint64_t n1 = 19 * a1, n2 = 19 * a2, n3 = 19 * a3, n4 = 19 * a4;
    const wide c0 = wide{a0} * b0 + wide{n1} * b4 + wide{n2} * b3 + wide{n3} * b2 + wide{n4} * b1;
    const wide c1 = wide{a0} * b1 + wide{a1} * b0 + wide{n2} * b4 + wide{n3} * b3 + wide{n4} * b2;
    const wide c2 = wide{a0} * b2 + wide{a1} * b1 + wide{a2} * b0 + wide{n3} * b4 + wide{n4} * b3;
    const wide c3 = wide{a0} * b3 + wide{a1} * b2 + wide{a2} * b1 + wide{a3} * b0 + wide{n4} * b4;
    const wide c4 = wide{a0} * b4 + wide{a1} * b3 + wide{a2} * b2 + wide{a3} * b1 + wide{a4} * b0;
    return reduce(c0, c1, c2, c3, c4);
}

CALLGATE_FIELD_INLINE element square(const element& x) noexcept {
    const std::uint64_t a0 = x.limb[0], a1 = x.limb[1], a2 = x.limb[2], a3 = x.limb[3], a4 = x.limb[4];
    const std::uint64_t d0 = 2 * a0, d1 = 2 * a1, d2 = 2 * a2, n3 = 19 * a3, n4 = 19 * a4;
    const wide c0 = wide{a0} * a0 + wide{d1} * n4 + wide{d2} * n3;
    const wide c1 = wide{d0} * a1 + wide{d2} * n4 + wide{a3} * n3;
    const wide c2 = wide{d0} * a2 + wide{a1} * a1 + wide{2 * a3} * n4;
    const wide c3 = wide{d0} * a3 + wide{d1} * a2 + wide{a4} * n4;
    const wide c4 = wide{d0} * a4 + wide{d1} * a3 + wide{a2} * a2;
    return reduce(c0, c1, c2, c3, c4);
}

/// The number 0 <= r < p that `a` (limbs below 2^63) stands for, as four little-endian words.
struct words {
    std::uint64_t w[4];
    friend bool operator==(const words&, const words&) = default;
};
inline words canonical(const element& a) noexcept {
    element r = carry(carry(a));
    // Adding 19 carries out of bit 255 exactly when r >= p; then r - p = r + 19 - 2^255.
    std::uint64_t over = (r.limb[0] + 19) >> 51;
    for (int i = 1; i < 5; ++i) over = (r.limb[i] + over) >> 51;
    r.limb[0] += 19 * over;
    for (int i = 0; i < 4; ++i) {
        r.limb[i + 1] += r.limb[i] >> 51;
        r.limb[i] &= mask51;
    }
    r.limb[4] &= mask51;
    return {{r.limb[0] | r.limb[1] << 51, r.limb[1] >> 13 | r.limb[2] << 38, r.limb[2] >> 26 | r.limb[3] << 25,
             r.limb[3] >> 39 | r.limb[4] << 12}};
}

/// Tight; bit 255 is left out.
inline element from_words(const words& n) noexcept {
    const auto& w = n.w;
    return {{w[0] & mask51, (w[0] >> 51 | w[1] << 13) & mask51, (w[1] >> 38 | w[2] << 26) & mask51,
             (w[2] >> 25 | w[3] << 39) & mask51, w[3] >> 12 & mask51}};
}

inline std::uint64_t load_little_endian(const std::uint8_t* p) noexcept {
    std::uint64_t v;
    std::memcpy(&v, p, 8);
    if constexpr (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__) v = __builtin_bswap64(v);
    return v;
}
inline words load_words(std::span<const std::uint8_t, 32> bytes) noexcept {
    return {{load_little_endian(bytes.data()), load_little_endian(bytes.data() + 8), load_little_endian(bytes.data() + 16),
             load_little_endian(bytes.data() + 24)}};
}

[[nodiscard]] inline bool is_zero(const element& a) noexcept { return canonical(a) == words{}; }
/// RFC 8032 5.1.2: the lowest bit is the sign.
[[nodiscard]] inline bool is_negative(const element& a) noexcept { return (canonical(a).w[0] & 1) != 0; }

/// a^((p-5)/8): the core of square roots (RFC 8032 5.1.3). Loose to tight.
[[nodiscard]] element power_p58(const element& a) noexcept;
/// 1/a by a variable-time greatest common divisor, checked by one multiplication; 0 for 0. Loose to tight.
[[nodiscard]] element invert(const element& a) noexcept;
/// 1/a as a^(p-2): slow and simple; what invert() falls back to should its check ever fail.
[[nodiscard]] element invert_by_power(const element& a) noexcept;

}  // namespace callgate::crypto::field25519

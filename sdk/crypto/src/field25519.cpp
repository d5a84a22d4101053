// SPDX-License-Identifier: Apache-2.0
#include "sdk/crypto/src/field25519.hpp"

#include <algorithm>
#include <bit>
#include <utility>

namespace callgate::crypto::field25519 {
namespace {

element square_times(element a, int n) noexcept {
    while (n-- > 0) a = square(a);
    return a;
}

struct powers {
    element a11, all_ones_250;  // a^11, a^(2^250 - 1)
};
// Exponents of all ones double their length with each multiplication.
powers climb(const element& a) noexcept {
    const element a2 = square(a), a9 = multiply(square_times(a2, 2), a), a11 = multiply(a9, a2);
    const element ones5 = multiply(square(a11), a9);
    const element ones10 = multiply(square_times(ones5, 5), ones5);
    const element ones20 = multiply(square_times(ones10, 10), ones10);
    const element ones40 = multiply(square_times(ones20, 20), ones20);
    const element ones50 = multiply(square_times(ones40, 10), ones10);
    const element ones100 = multiply(square_times(ones50, 50), ones50);
    const element ones200 = multiply(square_times(ones100, 100), ones100);
    return {a11, multiply(square_times(ones200, 50), ones50)};
}

// Bernstein and Yang, "Fast constant-time gcd computation and modular inversion" (2019): division steps on the low
// 62 bits make a 2x2 matrix, which is then applied to the full numbers. Here in variable time: runs of zero
// bits are taken at once, and up to six bits are cleared by one multiple of f.
__extension__ typedef __int128 signed_wide;
constexpr int step_bits = 62;
constexpr std::uint64_t mask62 = (std::uint64_t{1} << 62) - 1;
// In signed limbs of 62 bits p is -19 + 128 * 2^248.
constexpr std::int64_t p_low = -19, p_top = 128;

struct signed62 {
    std::int64_t limb[5];
};
struct matrix {
    std::int64_t u, v, q, r;  // (f, g) <- (u f + v g, q f + r g) / 2^62
};

constexpr std::uint64_t inverse_of_19 = [] {
    std::uint64_t x = 19;  // right in three bits, as for each odd number; Newton doubles them
    for (int i = 0; i < 5; ++i) x *= 2 - 19 * x;
    return x;
}();
static_assert(inverse_of_19 * 19 == 1);

matrix divide_steps(std::int64_t& delta, std::uint64_t f, std::uint64_t g) noexcept {
    std::uint64_t u = 1, v = 0, q = 0, r = 1;
    int left = step_bits;
    // f (2 - f^2) is 1/f in six bits. Kept, because it changes only when f does.
    std::uint64_t f_inverse = f * (2 - f * f);
    for (;;) {
        const int zeros = std::countr_zero(g | (~std::uint64_t{0} << left));
        g >>= zeros;
        u <<= zeros;
        v <<= zeros;
        delta += zeros;
        left -= zeros;
        if (left == 0) break;
        if (delta > 0) {
            delta = -delta;
            f = std::exchange(g, std::uint64_t{0} - f);
            u = std::exchange(q, std::uint64_t{0} - u);
            v = std::exchange(r, std::uint64_t{0} - v);
            f_inverse = f * (2 - f * f);
        }
        // Until delta is positive again f stays, so the next 1 - delta bits of g may be cleared together.
        const std::int64_t run = std::min(1 - delta, std::int64_t{left});
        const std::uint64_t multiple = (std::uint64_t{0} - g) * f_inverse & (~std::uint64_t{0} >> (64 - std::min(run, std::int64_t{6})));
        g += f * multiple;
        q += u * multiple;
        r += v * multiple;
    }
    return {static_cast<std::int64_t>(u), static_cast<std::int64_t>(v), static_cast<std::int64_t>(q), static_cast<std::int64_t>(r)};
}

// Both rows are exact multiples of 2^62.
void apply_to_numbers(const matrix& t, signed62& f, signed62& g, int length) noexcept {
    signed_wide a = signed_wide{t.u} * f.limb[0] + signed_wide{t.v} * g.limb[0];
    signed_wide b = signed_wide{t.q} * f.limb[0] + signed_wide{t.r} * g.limb[0];
    a >>= step_bits;
    b >>= step_bits;
    for (int i = 1; i < length; ++i) {
        a += signed_wide{t.u} * f.limb[i] + signed_wide{t.v} * g.limb[i];
        b += signed_wide{t.q} * f.limb[i] + signed_wide{t.r} * g.limb[i];
        f.limb[i - 1] = static_cast<std::int64_t>(static_cast<std::uint64_t>(a) & mask62);
        g.limb[i - 1] = static_cast<std::int64_t>(static_cast<std::uint64_t>(b) & mask62);
        a >>= step_bits;
        b >>= step_bits;
    }
    f.limb[length - 1] = static_cast<std::int64_t>(a);
    g.limb[length - 1] = static_cast<std::int64_t>(b);
}

// Multiples of p make both rows divisible. |u| + |v| <= 2^62 and the multiple is at most 2^61 in size, so a round
// adds at most p/2 to the larger of |d| and |e|: after the twelve rounds below they are under 8 p.
void apply_to_cofactors(const matrix& t, signed62& d, signed62& e) noexcept {
    const auto row = [](std::int64_t x, std::int64_t y, const signed62& m, const signed62& n) {
        const std::uint64_t low = static_cast<std::uint64_t>(x) * static_cast<std::uint64_t>(m.limb[0]) +
                                  static_cast<std::uint64_t>(y) * static_cast<std::uint64_t>(n.limb[0]);
        // low - 19 k = 0 modulo 2^62; sign-extended from bit 61.
        const std::int64_t k = static_cast<std::int64_t>(low * inverse_of_19 << 2) >> 2;
        signed62 out;
        signed_wide c = signed_wide{x} * m.limb[0] + signed_wide{y} * n.limb[0] + signed_wide{p_low} * k;
        c >>= step_bits;
        for (int i = 1; i < 5; ++i) {
            c += signed_wide{x} * m.limb[i] + signed_wide{y} * n.limb[i];
            if (i == 4) c += signed_wide{p_top} * k;
            out.limb[i - 1] = static_cast<std::int64_t>(static_cast<std::uint64_t>(c) & mask62);
            c >>= step_bits;
        }
        out.limb[4] = static_cast<std::int64_t>(c);
        return out;
    };
    const signed62 new_d = row(t.u, t.v, d, e);
    e = row(t.q, t.r, d, e);
    d = new_d;
}

bool is_zero_number(const signed62& n, int length) noexcept {
    std::int64_t seen = 0;
    for (int i = 0; i < length; ++i) seen |= n.limb[i];
    return seen == 0;
}

signed62 split62(const words& n) noexcept {
    const auto& w = n.w;
    const std::uint64_t limb[5] = {w[0] & mask62, (w[0] >> 62 | w[1] << 2) & mask62, (w[1] >> 60 | w[2] << 4) & mask62,
                                   (w[2] >> 58 | w[3] << 6) & mask62, w[3] >> 56};
    signed62 out;
    for (int i = 0; i < 5; ++i) out.limb[i] = static_cast<std::int64_t>(limb[i]);
    return out;
}

// `n` lies between -8 p and 8 p.
element to_element(const signed62& n, bool negate) noexcept {
    std::int64_t limb[5];
    signed_wide c = 0;
    for (int i = 0; i < 5; ++i) {
        c += negate ? -signed_wide{n.limb[i]} : signed_wide{n.limb[i]};
        if (i == 0) c += 8 * p_low;
        if (i == 4) c += 8 * p_top;
        limb[i] = static_cast<std::int64_t>(static_cast<std::uint64_t>(c) & mask62);
        c >>= step_bits;
    }
    std::uint64_t l[5];
    for (int i = 0; i < 5; ++i) l[i] = static_cast<std::uint64_t>(limb[i]);
    const element low{{l[0] & mask51, (l[0] >> 51 | l[1] << 11) & mask51, (l[1] >> 40 | l[2] << 22) & mask51,
                       (l[2] >> 29 | l[3] << 33) & mask51, l[3] >> 18 | l[4] << 44}};
    return carry(low);
}

}  // namespace

element power_p58(const element& a) noexcept { return multiply(square_times(climb(a).all_ones_250, 2), a); }

element invert_by_power(const element& a) noexcept {
    const powers p = climb(a);
    return multiply(square_times(p.all_ones_250, 5), p.a11);
}

element invert(const element& a) noexcept {
    const words number = canonical(a);
    if (number == words{}) return zero;
    signed62 f{{p_low, 0, 0, 0, p_top}}, g = split62(number), d{{0, 0, 0, 0, 0}}, e{{1, 0, 0, 0, 0}};
    std::int64_t delta = 1;
    int length = 5;
    // 741 division steps are enough for each number of 255 bits, which is twelve rounds.
    for (int round = 0; round < 12 && !is_zero_number(g, length); ++round) {
        const matrix t = divide_steps(delta, static_cast<std::uint64_t>(f.limb[0]), static_cast<std::uint64_t>(g.limb[0]));
        apply_to_cofactors(t, d, e);
        apply_to_numbers(t, f, g, length);
        // Numbers shrink; a top limb that only repeats the sign goes into the one below.
        while (length > 1 && (f.limb[length - 1] == 0 || f.limb[length - 1] == -1) && (g.limb[length - 1] == 0 || g.limb[length - 1] == -1)) {
            for (auto* n : {&f, &g})
                n->limb[length - 2] = static_cast<std::int64_t>(static_cast<std::uint64_t>(n->limb[length - 2]) | static_cast<std::uint64_t>(n->limb[length - 1]) << 62);
            --length;
        }
    }
    // Now f = +-1 and d = +-1/a.
    const element out = to_element(d, f.limb[length - 1] < 0);
    if (canonical(multiply(out, a)) == words{{1, 0, 0, 0}}) return out;
    return invert_by_power(a);
}

}  // namespace callgate::crypto::field25519

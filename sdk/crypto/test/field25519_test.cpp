// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "sdk/crypto/src/edwards25519.hpp"
#include "sdk/crypto/test/curve_points.hpp"

using namespace callgate::crypto;
using namespace callgate::crypto::field25519;

namespace {

constexpr words p_words{{0xffffffffffffffed, ~0ull, ~0ull, 0x7fffffffffffffff}};

words plus_small(words n, std::uint64_t k) {
    for (auto& w : n.w) {
        w += k;
        k = w < k;
    }
    return n;
}

element random_loose(std::mt19937_64& random) {
    element a;
    for (auto& l : a.limb) l = random() >> (64 - 53);
    return a;
}

// Numbers at which carries, borrows and runs of zero bits are longest.
std::vector<element> edges() {
    std::vector<element> out;
    for (int bit = 0; bit < 255; ++bit) {
        words w{};
        w.w[bit / 64] = std::uint64_t{1} << (bit % 64);
        out.push_back(from_words(w));
        out.push_back(carry(subtract(zero, from_words(w))));
        w.w[bit / 64] -= 1;
        out.push_back(from_words(w));
        for (int i = 0; i < bit / 64; ++i) w.w[i] = ~0ull;
        out.push_back(from_words(w));
    }
    element all_loose;
    for (auto& l : all_loose.limb) l = (std::uint64_t{1} << 53) + (1 << 14) - 1;
    out.push_back(all_loose);
    return out;
}

}  // namespace

TEST(field25519, canonical_form_is_below_p) {
    EXPECT_EQ(canonical(from_words(p_words)), words{});
    for (std::uint64_t k = 0; k < 19; ++k) EXPECT_EQ(canonical(from_words(plus_small(p_words, k))), (words{{k, 0, 0, 0}})) << k;
    words below = p_words;
    below.w[0] -= 1;
    EXPECT_EQ(canonical(from_words(below)), below);
    element most;
    for (auto& l : most.limb) l = (std::uint64_t{1} << 63) - 1;
    EXPECT_EQ(canonical(most), canonical(carry(most)));
}

TEST(field25519, ring_laws_hold_for_edges_and_random_numbers) {
    std::mt19937_64 random(7);
    auto numbers = edges();
    for (int i = 0; i < 500; ++i) numbers.push_back(random_loose(random));
    for (const auto& a : numbers) {
        const element b = random_loose(random), c = random_loose(random);
        ASSERT_EQ(canonical(square(a)), canonical(multiply(a, a)));
        ASSERT_EQ(canonical(multiply(a, b)), canonical(multiply(b, a)));
        ASSERT_EQ(canonical(multiply(multiply(a, b), c)), canonical(multiply(a, multiply(b, c))));
        const element ta = carry(a), tb = carry(b), tc = carry(c);
        ASSERT_EQ(canonical(multiply(add(ta, tb), tc)), canonical(add(multiply(ta, tc), multiply(tb, tc))));
        ASSERT_EQ(canonical(add(carry(subtract(ta, tb)), tb)), canonical(ta));
        const element product = multiply(a, b);
        for (auto l : product.limb) ASSERT_LT(l, (std::uint64_t{1} << 51) + (1 << 13));
    }
}

TEST(field25519, both_inverses_agree) {
    std::mt19937_64 random(11);
    auto numbers = edges();
    for (int i = 0; i < 3000; ++i) numbers.push_back(random_loose(random));
    std::size_t inverted = 0;
    for (const auto& a : numbers) {
        const auto fast = canonical(invert(a));
        ASSERT_EQ(fast, canonical(invert_by_power(a)));
        if (is_zero(a)) {
            EXPECT_EQ(fast, words{});
        } else {
            ASSERT_EQ(canonical(multiply(invert(a), a)), (words{{1, 0, 0, 0}}));
            ++inverted;
        }
    }
    EXPECT_GT(inverted, 3900u);
    EXPECT_TRUE(is_zero(invert(from_words(p_words))));
}

TEST(edwards25519, the_base_point_has_order_l) {
    using namespace edwards25519;
    EXPECT_FALSE(has_small_order(base_point()));
    EXPECT_TRUE(edwards25519::is_identity(forge::times(base_point(), forge::group_order())));
    EXPECT_EQ(forge::encode(base_point())[0], 0x58);
}

TEST(edwards25519, points_survive_their_encoding_and_numbers_without_a_root_do_not) {
    std::size_t points = 0;
    for (unsigned y = 0; y < 256; ++y) {
        forge::bytes32 b{static_cast<std::uint8_t>(y)};
        const auto p = edwards25519::decompress(b);
        if (!p) continue;
        ++points;
        EXPECT_EQ(forge::encode(*p), b) << y;
        EXPECT_TRUE(edwards25519::is_identity(edwards25519::add(*p, edwards25519::negated(*p))));
    }
    // About half of all numbers are the y of a point.
    EXPECT_GT(points, 90u);
    EXPECT_LT(points, 166u);
}

TEST(edwards25519, addends_add_and_subtract) {
    using namespace edwards25519;
    const point p = forge::times(base_point(), {77});
    point q = forge::times(base_point(), {200});
    // Affine, as a table holds it.
    const element z = invert(p.z), x = multiply(p.x, z), y = multiply(p.y, z);
    const addend a{carry(field25519::add(y, x)), carry(subtract(y, x)), multiply(multiply(x, y), twice_d())};
    accumulate(q, a, 0);
    EXPECT_EQ(forge::encode(q), forge::encode(forge::times(base_point(), {21, 1})));
    accumulate(q, a, ~std::uint64_t{0});
    accumulate(q, a, ~std::uint64_t{0});
    EXPECT_EQ(forge::encode(q), forge::encode(forge::times(base_point(), {123})));
}

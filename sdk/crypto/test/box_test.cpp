// SPDX-License-Identifier: Apache-2.0
#include <callgate/crypto/box.hpp>
#include <callgate/crypto/random.hpp>
#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <vector>

using namespace callgate::crypto;

namespace {
key_bytes random_scalar() {
    key_bytes k;
    random_bytes(k);
    return k;
}
std::span<const std::uint8_t> bytes_of(std::string_view s) { return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()}; }
}  // namespace

TEST(box, both_sides_agree_and_every_length_round_trips) {
    const auto a = random_scalar(), b = random_scalar();
    const auto ab = agree(a, curve_public(b)), ba = agree(b, curve_public(a));
    ASSERT_TRUE(ab && ba);
    EXPECT_TRUE(ab->equals(ba->bytes()));
    for (std::size_t n : {0u, 1u, 31u, 32u, 33u, 1000u}) {
        const std::string message(n, 'm');
        std::vector<std::uint8_t> sealed(n + xkv1_overhead), plain(n + 1);
        seal(bytes_of(message), ab->bytes(), sealed.data());
        EXPECT_TRUE(looks_sealed(sealed));
        ASSERT_EQ(open(sealed, ba->bytes(), plain.data()), n);
        EXPECT_EQ(std::string(plain.begin(), plain.end() - 1), message);
    }
}

TEST(box, refuses_each_changed_byte_and_each_truncation) {
    const auto a = random_scalar(), b = random_scalar();
    const auto shared = agree(a, curve_public(b));
    ASSERT_TRUE(shared);
    std::vector<std::uint8_t> sealed(5 + xkv1_overhead), plain(sealed.size());
    seal(bytes_of("hello"), shared->bytes(), sealed.data());
    for (std::size_t i = 0; i < sealed.size(); ++i) {
        auto changed = sealed;
        changed[i] ^= 1;
        EXPECT_FALSE(open(changed, shared->bytes(), plain.data())) << i;
        EXPECT_FALSE(open(std::span{sealed}.first(i), shared->bytes(), plain.data())) << i;
    }
    const auto stranger = agree(random_scalar(), curve_public(b));
    EXPECT_FALSE(open(sealed, stranger->bytes(), plain.data()));
}

TEST(box, nonces_differ) {
    const auto shared = agree(random_scalar(), curve_public(random_scalar()));
    std::vector<std::uint8_t> one(xkv1_overhead), two(xkv1_overhead);
    seal({}, shared->bytes(), one.data());
    seal({}, shared->bytes(), two.data());
    EXPECT_NE(one, two);
}

TEST(box, low_order_peer_keys_are_refused) {
    key_bytes zero{}, one{};
    one[0] = 1;
    EXPECT_FALSE(agree(random_scalar(), zero));
    EXPECT_FALSE(agree(random_scalar(), one));
}

TEST(box, looks_sealed_needs_the_whole_prefix) {
    EXPECT_FALSE(looks_sealed(bytes_of("")));
    EXPECT_FALSE(looks_sealed(bytes_of("xkv")));
    EXPECT_FALSE(looks_sealed(bytes_of("eyJ0eXAi")));
    EXPECT_TRUE(looks_sealed(bytes_of("xkv1")));
}

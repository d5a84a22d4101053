// SPDX-License-Identifier: Apache-2.0
#include <callgate/crypto/sign_batch.hpp>
#include <gtest/gtest.h>

#include <sodium.h>

#include <algorithm>
#include <vector>

#include "sdk/crypto/test/curve_points.hpp"

using namespace callgate::crypto;

namespace {
struct batch {
    explicit batch(std::size_t n) : signatures(n), items(n) {
        for (std::size_t i = 0; i < 3; ++i) keys.push_back(signing_key::generate());
        for (std::size_t i = 0; i < n; ++i) {
            // Unequal lengths, the empty one included, and keys that take turns.
            messages.push_back(std::vector<std::uint8_t>(i * 37 % 700, static_cast<std::uint8_t>(i)));
            items[i] = {&keys[i % 3], messages[i], signatures[i].data()};
        }
        for (std::size_t i = 0; i < n; ++i) items[i].message = messages[i];
    }
    std::vector<signing_key> keys;
    std::vector<std::vector<std::uint8_t>> messages;
    std::vector<signature_bytes> signatures;
    std::vector<sign_item> items;
};
}  // namespace

TEST(sign_batch, each_item_gets_the_signature_of_its_own_key_over_its_own_message) {
    for (std::size_t n : {1u, 2u, 7u, 8u, 9u, 64u}) {
        batch b(n);
        EXPECT_EQ(sign_batch(b.items), n);
        for (std::size_t i = 0; i < n; ++i) {
            signature_bytes alone;
            b.keys[i % 3].sign(b.messages[i], alone);
            EXPECT_EQ(b.signatures[i], alone) << i;
            EXPECT_TRUE(b.items[i].made);
        }
    }
}

TEST(sign_batch, the_order_of_a_batch_changes_no_signature) {
    batch b(20);
    sign_batch(b.items);
    const auto before = b.signatures;
    for (auto& s : b.signatures) s.fill(0xee);
    std::reverse(b.items.begin(), b.items.end());
    EXPECT_EQ(sign_batch(b.items, {.verify_each = true, .recompute_one_in = 1}), 20u);
    EXPECT_EQ(b.signatures, before);
}

TEST(sign_batch, an_item_without_key_or_room_is_left_out_and_the_rest_is_signed) {
    batch b(4);
    for (auto& s : b.signatures) s.fill(0xee);
    b.items[1].key = nullptr;
    b.items[2].signature = nullptr;
    b.items[1].made = b.items[2].made = true;
    EXPECT_EQ(sign_batch(b.items), 2u);
    EXPECT_FALSE(b.items[1].made);
    EXPECT_FALSE(b.items[2].made);
    EXPECT_EQ(b.signatures[1][0], 0xee);
    EXPECT_TRUE(verify_any(b.messages[3], b.signatures[3], b.keys[0].public_key()));
    EXPECT_EQ(sign_batch({}), 0u);
}

TEST(sign_batch, verifying_finds_a_signature_of_another_item) {
    batch b(8);
    sign_batch(b.items);
    std::swap(b.signatures[0], b.signatures[3]);  // same key, other message
    EXPECT_FALSE(passes(b.items[0], {.verify_each = true}, false));
    EXPECT_TRUE(passes(b.items[1], {.verify_each = true}, false));
    EXPECT_TRUE(passes(b.items[0], {}, false));
}

// Valid, and yet not what the key makes of this message: two of them with one nonce give the key away.
TEST(sign_batch, only_recomputing_finds_a_valid_signature_with_another_nonce) {
    batch b(1);
    // The scalar that RFC 8032 5.1.5 makes of the seed, with a nonce that it does not make.
    std::array<std::uint8_t, 64> expanded;
    crypto_hash_sha512(expanded.data(), b.keys[0].seed().data(), b.keys[0].seed().size());
    expanded[0] &= 248;
    expanded[31] = static_cast<std::uint8_t>((expanded[31] & 127) | 64);
    forge::bytes32 scalar;
    std::copy_n(expanded.begin(), 32, scalar.begin());
    const auto signer = forge::open_signer::make(scalar, edwards25519::identity);
    ASSERT_EQ(signer.public_key, b.keys[0].public_key());
    auto other = signer.sign({42}, edwards25519::identity, b.messages[0]);
    b.items[0].signature = other.data();
    EXPECT_TRUE(passes(b.items[0], {.verify_each = true}, false));
    EXPECT_FALSE(passes(b.items[0], {.verify_each = true, .recompute_one_in = 64}, true));
}

// SPDX-License-Identifier: Apache-2.0
#include <callgate/crypto/ed25519.hpp>
#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>
#include <string>

using namespace callgate::crypto;

namespace {
template <std::size_t N>
std::array<std::uint8_t, N> hex(std::string_view text) {
    std::array<std::uint8_t, N> out{};
    for (std::size_t i = 0; i < N; ++i) out[i] = static_cast<std::uint8_t>(std::stoi(std::string(text.substr(2 * i, 2)), nullptr, 16));
    return out;
}
}  // namespace

// RFC 8032 section 7.1, TEST 2
TEST(ed25519, rfc8032_vector) {
    const auto seed = hex<32>("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
    const auto key = signing_key::from_seed(seed);
    EXPECT_EQ(key.public_key(), (hex<32>("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")));
    const std::uint8_t message[] = {0x72};
    signature_bytes sig;
    key.sign(message, sig);
    EXPECT_EQ(sig, (hex<64>("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
                            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00")));
    EXPECT_TRUE(verify(message, sig, key.public_key()));
    EXPECT_TRUE(std::ranges::equal(key.seed(), seed));
}

TEST(ed25519, each_changed_signature_byte_is_refused) {
    const auto key = signing_key::generate();
    const std::uint8_t message[] = {1, 2, 3};
    signature_bytes sig;
    key.sign(message, sig);
    ASSERT_TRUE(verify(message, sig, key.public_key()));
    for (auto& byte : sig) {
        byte ^= 0x10;
        EXPECT_FALSE(verify(message, sig, key.public_key()));
        byte ^= 0x10;
    }
    EXPECT_FALSE(verify({message, 2}, sig, key.public_key()));
    EXPECT_FALSE(verify(message, sig, signing_key::generate().public_key()));
}

TEST(ed25519, malleated_scalar_is_refused) {
    const auto key = signing_key::generate();
    signature_bytes sig;
    key.sign({}, sig);
    // S + L verifies in the group but is not canonical.
    const auto order = hex<32>("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    unsigned carry = 0;
    for (std::size_t i = 0; i < 32; ++i) {
        carry += sig[32 + i] + order[i];
        sig[32 + i] = static_cast<std::uint8_t>(carry);
        carry >>= 8;
    }
    EXPECT_FALSE(verify({}, sig, key.public_key()));
}

TEST(ed25519, weak_keys_are_recognised) {
    key_bytes zero{}, one{}, off_curve{};
    one[0] = 1;
    off_curve[0] = 2;
    EXPECT_TRUE(is_weak_public_key(zero));
    EXPECT_TRUE(is_weak_public_key(one));
    EXPECT_TRUE(is_weak_public_key(off_curve));
    EXPECT_FALSE(is_weak_public_key(signing_key::generate().public_key()));
    signature_bytes trivial{};
    trivial[0] = 1;
    EXPECT_FALSE(verify({}, trivial, one));
}

TEST(ed25519, seed_of_another_size_throws) {
    const std::array<std::uint8_t, 31> shorter{};
    EXPECT_THROW((void)signing_key::from_seed(shorter), std::invalid_argument);
}

// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdio>
#include <memory>
#include <random>
#include <vector>

#include "sdk/crypto/src/base64url_kernels.hpp"

namespace b64 = callgate::crypto::base64url;

namespace {

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

struct decoded {
    std::optional<std::size_t> size;
    std::string bytes;
};
// In memory of the exact size, so that a sanitizer sees the first byte too much.
template <class Decode>
decoded run(Decode decode, std::string_view text) {
    const auto in = std::make_unique<char[]>(text.size());
    std::copy(text.begin(), text.end(), in.get());
    const auto out = std::make_unique<std::uint8_t[]>(b64::decoded_size(text.size()));
    decoded d;
    d.size = decode(std::string_view{in.get(), text.size()}, out.get());
    if (d.size) d.bytes.assign(reinterpret_cast<const char*>(out.get()), *d.size);
    return d;
}
void expect_same(std::string_view text) {
    const auto a = run([](std::string_view t, std::uint8_t* o) { return b64::decode_scalar(t, o); }, text);
    const auto b = run([](std::string_view t, std::uint8_t* o) { return b64::decode(t, o); }, text);
    ASSERT_EQ(a.size, b.size) << text;
    ASSERT_EQ(a.bytes, b.bytes) << text;
}

}  // namespace

TEST(base64url_blocks, encoding_is_the_scalar_one_at_each_length) {
    std::mt19937 random(2);
    for (std::size_t n = 0; n < 400; ++n) {
        std::vector<std::uint8_t> bytes(n);
        for (auto& b : bytes) b = static_cast<std::uint8_t>(random());
        const auto scalar = std::make_unique<char[]>(b64::encoded_size(n)), blocks = std::make_unique<char[]>(b64::encoded_size(n));
        ASSERT_EQ(b64::encode_scalar(bytes, scalar.get()), b64::encoded_size(n));
        ASSERT_EQ(b64::encode(bytes, blocks.get()), b64::encoded_size(n));
        const std::string_view text{blocks.get(), b64::encoded_size(n)};
        ASSERT_EQ(text, (std::string_view{scalar.get(), text.size()})) << n;
        expect_same(text);
    }
}

TEST(base64url_blocks, each_byte_at_each_place_is_judged_as_by_the_scalar_code) {
    std::mt19937 random(3);
    for (std::size_t length : {32u, 33u, 34u, 35u, 63u, 64u, 67u, 96u})
        for (std::size_t at = 0; at < length; ++at)
            for (int c = 0; c < 256; ++c) {
                std::string text(length, 'A');
                for (auto& x : text) x = alphabet[random() % 64];
                text[at] = static_cast<char>(c);
                expect_same(text);
            }
}

TEST(base64url_blocks, blocks_stop_before_the_first_character_that_is_not_of_the_alphabet) {
    if (!b64::has_avx2()) GTEST_SKIP() << "this CPU has no AVX2";
    std::vector<std::uint8_t> out(200);
    std::string text(160, '_');
    EXPECT_EQ(b64::decode_blocks_avx2(text, out.data()), 160u);
    EXPECT_EQ(out[119], 0xff);
    EXPECT_EQ(out[120], 0);
    text[100] = '/';
    EXPECT_EQ(b64::decode_blocks_avx2(text, out.data()), 96u);
    EXPECT_EQ(b64::decode_blocks_avx2(std::string_view{text}.substr(0, 31), out.data()), 0u);
}

TEST(base64url_blocks, random_texts_are_judged_as_by_the_scalar_code) {
    std::mt19937 random(4);
    std::size_t cases = 0, accepted = 0;
    for (; cases < 60'000; ++cases) {
        std::string text(random() % 260, 'A');
        for (auto& x : text) x = alphabet[random() % 64];
        for (auto damage = random() % 3; damage > 0 && !text.empty(); --damage) text[random() % text.size()] = static_cast<char>(random());
        expect_same(text);
        if (HasFailure()) break;
        accepted += b64::decode(text).has_value();
    }
    std::printf("  %zu texts, %zu accepted, 0 disagreements\n", cases, accepted);
    EXPECT_EQ(cases, 60'000u);
    EXPECT_GT(accepted, 6'000u);
    EXPECT_LT(accepted, 40'000u);
}

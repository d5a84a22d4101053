// SPDX-License-Identifier: Apache-2.0
#include <callgate/crypto/base64url.hpp>
#include <gtest/gtest.h>

#include <random>

namespace b64 = callgate::crypto::base64url;

TEST(base64url, rfc4648_vectors_without_padding) {
    const std::pair<std::string, std::string> cases[] = {{"", ""}, {"f", "Zg"}, {"fo", "Zm8"}, {"foo", "Zm9v"},
                                                        {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}};
    for (const auto& [plain, text] : cases) {
        EXPECT_EQ(b64::encode(std::string_view{plain}), text);
        EXPECT_EQ(b64::encoded_size(plain.size()), text.size());
        EXPECT_EQ(b64::decode(text), plain);
    }
}

TEST(base64url, uses_the_url_alphabet) {
    const std::string bytes{"\xfb\xff\xbf", 3};
    EXPECT_EQ(b64::encode(std::string_view{bytes}), "-_-_");
    EXPECT_EQ(b64::decode("-_-_"), bytes);
}

TEST(base64url, every_length_round_trips) {
    std::mt19937 random(1);
    for (std::size_t n = 0; n < 300; ++n) {
        std::string s(n, '\0');
        for (auto& c : s) c = static_cast<char>(random());
        const auto text = b64::encode(std::string_view{s});
        EXPECT_EQ(text.size(), b64::encoded_size(n));
        EXPECT_EQ(b64::decoded_size(text.size()), n);
        EXPECT_EQ(b64::decode(text), s);
    }
}

TEST(base64url, refuses_each_byte_outside_the_alphabet_at_each_place) {
    const std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (std::size_t length : {4u, 6u, 7u, 8u})
        for (std::size_t at = 0; at < length; ++at)
            for (int c = 0; c < 256; ++c) {
                std::string text(length, 'A');
                text[at] = static_cast<char>(c);
                const bool last_of_partial = length % 4 != 0 && at == length - 1;
                const bool in_alphabet = alphabet.find(static_cast<char>(c)) != std::string_view::npos;
                if (!in_alphabet) {
                    EXPECT_FALSE(b64::decode(text)) << length << " " << at << " " << c;
                } else if (!last_of_partial) {
                    EXPECT_TRUE(b64::decode(text)) << length << " " << at << " " << c;
                }
            }
}

TEST(base64url, refuses_padding_line_breaks_and_impossible_lengths) {
    for (const char* text : {"Zg==", "Zm8=", "Zm9v\n", "Zm9v\r\n", "Zm\n9v", "A", "AAAAA", "Zm9v "}) EXPECT_FALSE(b64::decode(text)) << text;
}

TEST(base64url, refuses_set_trailing_bits) {
    const std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    std::size_t two = 0, three = 0;
    for (char c : alphabet) {
        two += b64::decode(std::string{'A', c}).has_value();
        three += b64::decode(std::string{'A', 'A', c}).has_value();
    }
    EXPECT_EQ(two, 4u);
    EXPECT_EQ(three, 16u);
}

// SPDX-License-Identifier: Apache-2.0
#include "engine/base/escape.hpp"

#include <gtest/gtest.h>

#include <utility>

namespace {

using namespace std::string_literals;

std::string escaped(std::string_view text) {
    std::string out = "<";
    callgate::append_escaped(out, text);
    return out + ">";
}

TEST(escape, names_stay_searchable) {
    EXPECT_EQ(escaped(""), "<>");
    EXPECT_EQ(escaped("plain text / <&>"), "<plain text / <&>>");
    EXPECT_EQ(escaped("J\xc3\xb6rg"), "<J\xc3\xb6rg>");
    EXPECT_EQ(escaped("\xc2\xa0\xdf\xbf"), "<\xc2\xa0\xdf\xbf>") << "the first code point behind C1, the last of two bytes";
    EXPECT_EQ(escaped("\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf"), "<\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf>");
    EXPECT_EQ(escaped("\xf0\x9f\x94\x91\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"), "<\xf0\x9f\x94\x91\xf0\x90\x80\x80\xf4\x8f\xbf\xbf>");
    EXPECT_EQ(escaped("\xe2\x80\xa7\xe2\x80\xaf"), "<\xe2\x80\xa7\xe2\x80\xaf>") << "the neighbours of U+2028 and U+202E";
}

TEST(escape, nothing_ends_the_string_the_line_or_steers_a_terminal) {
    EXPECT_EQ(escaped("a\"b\\c"), "<a\\\"b\\\\c>");
    EXPECT_EQ(escaped("\0\n\r\t\x1b\x1f\x7f"s), "<\\u0000\\u000a\\u000d\\u0009\\u001b\\u001f\\u007f>");
    EXPECT_EQ(escaped("\xc2\x80\xc2\x85\xc2\x9b\xc2\x9f"), "<\\u0080\\u0085\\u009b\\u009f>") << "C1: NEL, CSI";
    EXPECT_EQ(escaped("\xe2\x80\xa8\xe2\x80\xa9"), "<\\u2028\\u2029>");
}

std::string utf8(char32_t c) {
    const auto tail = [&](int shift) { return static_cast<char>(0x80 | ((c >> shift) & 0x3f)); };
    if (c < 0x80) return {static_cast<char>(c)};
    if (c < 0x800) return {static_cast<char>(0xc0 | (c >> 6)), tail(0)};
    if (c < 0x10000) return {static_cast<char>(0xe0 | (c >> 12)), tail(6), tail(0)};
    return {static_cast<char>(0xf0 | (c >> 18)), tail(12), tail(6), tail(0)};
}

TEST(escape, nothing_turns_the_order_of_reading_or_hides) {
    EXPECT_EQ(escaped("admin\xe2\x80\xae" "gpj.exe"), "<admin\\u202egpj.exe>") << "right-to-left override";
    EXPECT_EQ(escaped("al\xe2\x80\x8bice"), "<al\\u200bice>") << "zero width space";
    EXPECT_EQ(escaped("\xf3\xa0\x81\xa1"), "<\\udb40\\udc61>") << "tag letter: two units, as JSON wants it";
    const std::pair<char32_t, char32_t> hidden[] = {
        {0x202a, 0x202e}, {0x2066, 0x2069}, {0x200e, 0x200f}, {0x061c, 0x061c},                    // bidi controls
        {0x00ad, 0x00ad}, {0x200b, 0x200d}, {0x2060, 0x2064}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb},  // invisible format characters
        {0x034f, 0x034f}, {0x115f, 0x1160}, {0x180e, 0x180e}, {0x3164, 0x3164}, {0xfe00, 0xfe0f}, {0xffa0, 0xffa0},
        {0x1d173, 0x1d17a}, {0xe0001, 0xe0001}, {0xe0020, 0xe007f}, {0xe0100, 0xe01ef}};
    for (const auto& [first, last] : hidden)
        for (char32_t c = first; c <= last; ++c) {
            const auto out = escaped(utf8(c));
            EXPECT_EQ(out.size(), c > 0xffff ? 14u : 8u) << std::hex << static_cast<unsigned>(c);
            EXPECT_TRUE(out.starts_with("<\\u")) << std::hex << static_cast<unsigned>(c);
        }
    const char32_t seen[] = {0x00ac, 0x00ae, 0x034e, 0x0350, 0x061b, 0x061d, 0x115e, 0x1161, 0x2010, 0x202f, 0x205f, 0x2070, 0x3163, 0xfdff,
                             0xfe10, 0xfefe, 0xff00, 0xff9f, 0xffa1, 0xffef, 0xfffc, 0x1d172, 0x1d17b, 0xdffff, 0xe1000};
    for (const auto c : seen) EXPECT_EQ(escaped(utf8(c)), "<" + utf8(c) + ">") << std::hex << static_cast<unsigned>(c);
}

TEST(escape, each_byte_that_is_no_utf8_stands_by_its_value) {
    EXPECT_EQ(escaped("a\xff\xfe"), "<a\\u00ff\\u00fe>");
    EXPECT_EQ(escaped("\x80\xbfx"), "<\\u0080\\u00bfx>") << "continuation without a beginning";
    EXPECT_EQ(escaped("\xc0\xaf\xc1\xbf"), "<\\u00c0\\u00af\\u00c1\\u00bf>") << "overlong slash";
    EXPECT_EQ(escaped("\xe0\x9f\xbf"), "<\\u00e0\\u009f\\u00bf>") << "overlong in three bytes";
    EXPECT_EQ(escaped("\xed\xa0\x80"), "<\\u00ed\\u00a0\\u0080>") << "surrogate";
    EXPECT_EQ(escaped("\xf0\x8f\xbf\xbf"), "<\\u00f0\\u008f\\u00bf\\u00bf>") << "overlong in four bytes";
    EXPECT_EQ(escaped("\xf4\x90\x80\x80"), "<\\u00f4\\u0090\\u0080\\u0080>") << "above U+10FFFF";
    EXPECT_EQ(escaped("\xc3\"\xc3"), "<\\u00c3\\\"\\u00c3>") << "a cut sequence swallows no quote";
    EXPECT_EQ(escaped("\xe2\x80"), "<\\u00e2\\u0080>") << "cut at the end";
    EXPECT_EQ(escaped("\xf0\x9f\x94J\xc3\xb6rg"), "<\\u00f0\\u009f\\u0094J\xc3\xb6rg>") << "in step again at once";
}

TEST(escape, every_byte_alone_is_one_character_or_one_escape) {
    for (int c = 0; c < 256; ++c) {
        const auto out = escaped(std::string(1, static_cast<char>(c)));
        const bool as_it_is = c >= 0x20 && c < 0x7f;
        EXPECT_EQ(out.size(), as_it_is ? (c == '"' || c == '\\' ? 4u : 3u) : 8u) << c;
    }
}

}  // namespace

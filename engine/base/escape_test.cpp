// SPDX-License-Identifier: Apache-2.0
#include "engine/base/escape.hpp"

#include <gtest/gtest.h>

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
    EXPECT_EQ(escaped("\xe2\x80\xa7\xe2\x80\xaa"), "<\xe2\x80\xa7\xe2\x80\xaa>") << "the neighbours of U+2028 and U+2029";
}

TEST(escape, nothing_ends_the_string_the_line_or_steers_a_terminal) {
    EXPECT_EQ(escaped("a\"b\\c"), "<a\\\"b\\\\c>");
    EXPECT_EQ(escaped("\0\n\r\t\x1b\x1f\x7f"s), "<\\u0000\\u000a\\u000d\\u0009\\u001b\\u001f\\u007f>");
    EXPECT_EQ(escaped("\xc2\x80\xc2\x85\xc2\x9b\xc2\x9f"), "<\\u0080\\u0085\\u009b\\u009f>") << "C1: NEL, CSI";
    EXPECT_EQ(escaped("\xe2\x80\xa8\xe2\x80\xa9"), "<\\u2028\\u2029>");
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

// SPDX-License-Identifier: Apache-2.0
#include "engine/codec/json_text.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace callgate::codec {
namespace {

std::string quoted(std::string_view s) {
    std::string out;
    append_json_string(out, s);
    return out;
}

TEST(json_text, escapes_as_go_does) {
    EXPECT_EQ(quoted("a<b>&c"), R"("a\u003cb\u003e\u0026c")");
    EXPECT_EQ(quoted("\"\\/"), R"("\"\\/")");
    EXPECT_EQ(quoted("\n\r\t\x01\x1f\x7f"), "\"\\n\\r\\t\\u0001\\u001f\x7f\"");
    EXPECT_EQ(quoted("\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa"), "\"\\u2028\\u2029\xe2\x80\xaa\"");
    EXPECT_EQ(quoted(std::string_view("\0", 1)), R"("\u0000")");
}

TEST(json_text, keeps_valid_utf8_and_replaces_the_rest) {
    EXPECT_EQ(quoted("gr\xc3\xbc\xc3\x9f \xe6\x97\xa5 \xf0\x9f\x94\x91"), "\"gr\xc3\xbc\xc3\x9f \xe6\x97\xa5 \xf0\x9f\x94\x91\"");
    EXPECT_EQ(quoted("a\xff" "b"), R"("a\ufffdb")");
    EXPECT_EQ(quoted("\xc0\xaf"), R"("\ufffd\ufffd")") << "overlong";
    EXPECT_EQ(quoted("\xed\xa0\x80"), R"("\ufffd\ufffd\ufffd")") << "surrogate";
    EXPECT_EQ(quoted("\xf4\x90\x80\x80"), R"("\ufffd\ufffd\ufffd\ufffd")") << "above U+10FFFF";
    EXPECT_EQ(quoted("\xe2\x82"), R"("\ufffd\ufffd")") << "cut";
}

TEST(json_text, numbers_and_lists) {
    std::string out;
    append_json_number(out, INT64_MIN);
    out += ' ';
    append_json_number(out, INT64_MAX);
    EXPECT_EQ(out, "-9223372036854775808 9223372036854775807");
    out.clear();
    append_json_strings(out, std::vector<std::string>{});
    append_json_strings(out, std::vector<std::string>{"a", "b.>"});
    EXPECT_EQ(out, R"([]["a","b.\u003e"])");
}

}  // namespace
}  // namespace callgate::codec

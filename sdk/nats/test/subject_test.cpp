// SPDX-License-Identifier: Apache-2.0
#include <callgate/nats/subject.hpp>
#include <gtest/gtest.h>

using namespace callgate::nats;

TEST(subject, valid_ones) {
    for (const char* s : {"a", "a.b", "*", ">", "a.*", "a.>", "*.*.>", "a*b", "a>b", "$SYS.REQ", "\xc3\xa4"}) EXPECT_TRUE(is_valid_subject(s)) << s;
    for (const char* s : {"", ".", ".a", "a.", "a..b", "a b", "a\tb", " ", "a.>.b", ">.a", "a\n", "a\x7f"}) EXPECT_FALSE(is_valid_subject(s)) << s;
    EXPECT_FALSE(is_valid_subject({"a\0b", 3}));
}

TEST(subject, literal_ones) {
    for (const char* s : {"a", "a.b", "a*b", "a>b", "a.b>"}) EXPECT_TRUE(is_literal_subject(s)) << s;
    for (const char* s : {"*", ">", "a.*", "a.*.b", "*.a", "a.>", "", "a..b"}) EXPECT_FALSE(is_literal_subject(s)) << s;
}

TEST(subject, permissions_with_and_without_queue) {
    EXPECT_TRUE(is_valid_permission("foo.>", false));
    EXPECT_TRUE(is_valid_permission("foo.> q.*", true));
    EXPECT_FALSE(is_valid_permission("foo q", false));
    EXPECT_FALSE(is_valid_permission("foo q r", true));
    EXPECT_FALSE(is_valid_permission("foo  q", true));
    EXPECT_FALSE(is_valid_permission("foo ", true));
    EXPECT_FALSE(is_valid_permission(" foo", true));
    EXPECT_FALSE(is_valid_permission("", true));
    EXPECT_FALSE(is_valid_permission(".foo q", true));
}

TEST(subject, safe_tokens) {
    for (const char* s : {"a", "alice-1_2", "$x", "a@b"}) EXPECT_TRUE(is_safe_token(s)) << s;
    for (const char* s : {"", "a.b", "*", "a*", ">", "a b", "\t", "\x7f", "\xc3\xa4"}) EXPECT_FALSE(is_safe_token(s)) << s;
}

TEST(subject, subsets) {
    const std::pair<const char*, const char*> yes[] = {{"a", "a"}, {"a.b", "a.*"}, {"a.b", "a.>"}, {"a.b.c", ">"}, {"a.*", "a.*"},
                                                       {"a.>", "a.>"}, {"a.*.c", "a.>"}, {"a.b.>", "a.*.>"}, {"*", ">"}, {">", ">"}};
    const std::pair<const char*, const char*> no[] = {{"a", "b"}, {"a", "a.b"}, {"a.b", "a"}, {"a", "a.>"}, {"a.*", "a.b"}, {"a.>", "a.*"},
                                                      {">", "*"}, {"a.b.c", "a.*"}, {"a.>", "a.b.>"}, {"a.>", "*.*"}};
    for (const auto& [inner, outer] : yes) EXPECT_TRUE(is_subset(inner, outer)) << inner << " in " << outer;
    for (const auto& [inner, outer] : no) EXPECT_FALSE(is_subset(inner, outer)) << inner << " in " << outer;
}

TEST(subject, overlaps) {
    const std::pair<const char*, const char*> yes[] = {{"a", "a"}, {"a.*", "*.b"}, {"a.>", "a.b.c"}, {">", "x"}, {"a.*.c", "a.b.*"}};
    const std::pair<const char*, const char*> no[] = {{"a", "b"}, {"a", "a.b"}, {"a.*", "b.*"}, {"a.>", "a"}, {"a.b", "a.b.>"}};
    for (const auto& [a, b] : yes) {
        EXPECT_TRUE(overlaps(a, b)) << a << " " << b;
        EXPECT_TRUE(overlaps(b, a)) << a << " " << b;
    }
    for (const auto& [a, b] : no) {
        EXPECT_FALSE(overlaps(a, b)) << a << " " << b;
        EXPECT_FALSE(overlaps(b, a)) << a << " " << b;
    }
}

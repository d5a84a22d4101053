// SPDX-License-Identifier: Apache-2.0
#include <callgate/crypto/random.hpp>
#include <callgate/crypto/secret.hpp>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>

using namespace callgate::crypto;

TEST(secret, starts_zeroed_and_copies) {
    secret s(40);
    EXPECT_EQ(s.size(), 40u);
    EXPECT_TRUE(std::ranges::all_of(s.bytes(), [](auto b) { return b == 0; }));
    const auto t = secret::copy_of(std::string_view{"hunter2"});
    EXPECT_EQ(t.text(), "hunter2");
}

TEST(secret, moves_leave_nothing_behind) {
    auto a = secret::copy_of(std::string_view{"one"});
    secret b = std::move(a);
    EXPECT_TRUE(a.empty());
    EXPECT_EQ(b.text(), "one");
    auto c = secret::copy_of(std::string_view{"two"});
    c = std::move(b);
    EXPECT_EQ(c.text(), "one");
    EXPECT_TRUE(b.empty());
    EXPECT_EQ(b.data(), nullptr);
}

TEST(secret, empty_ones_work) {
    secret s(0);
    EXPECT_TRUE(s.empty());
    EXPECT_TRUE(s.equals({}));
    EXPECT_EQ(s.text(), "");
}

TEST(secret, compares) {
    const auto s = secret::copy_of(std::string_view{"abc"});
    const std::array<std::uint8_t, 3> same{'a', 'b', 'c'}, other{'a', 'b', 'd'};
    EXPECT_TRUE(s.equals(same));
    EXPECT_FALSE(s.equals(other));
    EXPECT_FALSE(s.equals({same.data(), 2}));
    EXPECT_TRUE(equal_constant_time("", ""));
    EXPECT_TRUE(equal_constant_time("x", "x"));
    EXPECT_FALSE(equal_constant_time("x", "xx"));
    EXPECT_FALSE(equal_constant_time("x", "y"));
}

TEST(secret, a_write_past_the_end_hits_the_guard_page) {
    secret s(16);
    // volatile: the compiler must not see that the write is out of bounds
    volatile std::uint8_t* volatile p = s.data();
    EXPECT_DEATH(p[16] = 1, "");
}

// The kernel's own word on the pages: "dd" = left out of core dumps (proc(5), smaps).
TEST(secret, review_4_21_its_pages_stay_out_of_core_dumps) {
    const secret s(64);
    const auto at = reinterpret_cast<std::uintptr_t>(s.data());
    std::ifstream smaps("/proc/self/smaps");
    bool inside = false;
    std::string flags;
    for (std::string line; std::getline(smaps, line);) {
        std::uintptr_t begin = 0, end = 0;
        // A range's first line; the lines about it begin with a name.
        if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2) inside = begin <= at && at < end;
        if (inside && line.starts_with("VmFlags:")) flags = line + " ";
    }
    EXPECT_NE(flags.find(" dd "), std::string::npos) << "flags of the secret's pages: " << flags;
}

TEST(secret, wipe_overwrites) {
    std::array<char, 4> text{'a', 'b', 'c', 'd'};
    wipe(text.data(), text.size());
    EXPECT_EQ(text, (std::array<char, 4>{}));
    wipe(nullptr, 0);
}

TEST(random, fills) {
    std::array<std::uint8_t, 64> a{}, b{};
    random_bytes(a);
    random_bytes(b);
    EXPECT_NE(a, b);
}

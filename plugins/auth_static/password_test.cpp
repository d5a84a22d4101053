// SPDX-License-Identifier: Apache-2.0
#include "plugins/auth_static/password.hpp"

#include <crypt.h>
#include <gtest/gtest.h>

namespace {

using namespace callgate::auth_static;

password_hash parsed(const std::string& text) {
    std::string why;
    auto h = parse_password_hash(text, why);
    EXPECT_TRUE(h) << text << ": " << why;
    return h.value();
}
std::string bcrypt(const char* password, const char* setting = "$2b$04$abcdefghijklmnopqrstuu") { return ::crypt(password, setting); }

TEST(password, argon2id_matches_its_password_only) {
    const auto h = parsed(hash_password("correct horse", 8, 1));
    EXPECT_EQ(h.kind, hash_kind::argon2id);
    EXPECT_EQ(h.memory_kib, 8u);
    EXPECT_TRUE(verify_password(h, "correct horse"));
    EXPECT_FALSE(verify_password(h, "correct horsf"));
    EXPECT_FALSE(verify_password(h, ""));
    EXPECT_FALSE(verify_password(h, std::string("correct horse\0x", 15)));
}

TEST(password, bcrypt_matches_its_password_only) {
    for (const char* setting : {"$2b$04$abcdefghijklmnopqrstuu", "$2y$05$abcdefghijklmnopqrstuu"}) {
        const auto h = parsed(bcrypt("swordfish", setting));
        EXPECT_TRUE(verify_password(h, "swordfish"));
        EXPECT_FALSE(verify_password(h, "swordfisH"));
        EXPECT_FALSE(verify_password(h, ""));
    }
}

TEST(password, bcrypt_never_matches_what_it_would_cut) {
    const std::string full(72, 'x');
    const auto h = parsed(bcrypt(full.c_str()));
    EXPECT_TRUE(verify_password(h, full));
    EXPECT_FALSE(verify_password(h, full + "y"));
    EXPECT_FALSE(verify_password(h, full + std::string(2000, 'y')));
    const auto word = parsed(bcrypt("word"));
    EXPECT_FALSE(verify_password(word, std::string("word\0more", 9)));
}

TEST(password, argon2id_never_matches_beyond_its_limit) {
    const std::string full(max_password_bytes, 'x');
    const auto h = parsed(hash_password(full, 8, 1));
    EXPECT_TRUE(verify_password(h, full));
    EXPECT_FALSE(verify_password(h, full + "y"));
}

TEST(password, unmatchable_has_the_same_cost_and_parses) {
    for (const auto& model : {parsed(hash_password("p", 16, 2)), parsed(bcrypt("p")),
                              parsed("$argon2id$v=19$m=64,t=1,p=4$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")}) {
        const auto dummy = unmatchable_like(model);
        const auto again = parsed(dummy.text);
        EXPECT_TRUE(again.same_cost(model)) << dummy.text;
        EXPECT_NE(dummy.text, model.text);
        EXPECT_FALSE(verify_password(dummy, "p"));
    }
}

// A dummy that the library refuses to decode would answer at once and give unknown users away.
TEST(password, unmatchable_is_really_hashed) {
    const auto model = parsed(hash_password("p", 32768, 2));
    const auto dummy = unmatchable_like(model);
    const auto cost = [](const password_hash& h) {
        timespec a{}, b{};
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
        EXPECT_FALSE(verify_password(h, "q"));
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
        return double(b.tv_sec - a.tv_sec) + 1e-9 * double(b.tv_nsec - a.tv_nsec);
    };
    (void)cost(model);
    EXPECT_GT(cost(dummy), cost(model) / 4);
    const auto slow = parsed(bcrypt("p", "$2b$08$abcdefghijklmnopqrstuu"));
    EXPECT_GT(cost(unmatchable_like(slow)), cost(slow) / 4);
}

TEST(password, refuses_other_forms) {
    const std::string salt = "c2FsdHNhbHRzYWx0c2FsdA", digest(43, 'A');
    for (const auto& bad :
         {std::string("secret"), std::string(), std::string("$1$abc$def"), std::string("$2a$04$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"),
          "$argon2i$v=19$m=8,t=1,p=1$" + salt + "$" + digest, "$argon2id$v=16$m=8,t=1,p=1$" + salt + "$" + digest,
          "$argon2id$v=19$m=7,t=1,p=1$" + salt + "$" + digest, "$argon2id$v=19$m=8,t=0,p=1$" + salt + "$" + digest,
          "$argon2id$v=19$m=8,t=1,p=2$" + salt + "$" + digest, "$argon2id$v=19$m=2000000,t=1,p=1$" + salt + "$" + digest,
          "$argon2id$v=19$m=8,t=100,p=1$" + salt + "$" + digest, "$argon2id$v=19$m=8,t=1,p=1$" + salt, "$argon2id$v=19$m=8,t=1,p=1$" + salt + "$$",
          "$argon2id$v=19$m=8,t=1,p=1$" + salt + "$" + digest + "$x", "$argon2id$v=19$m=+8,t=1,p=1$" + salt + "$" + digest,
          std::string("$2b$03$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"), std::string("$2b$17$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"),
          std::string("$2b$4x$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"), std::string("$2b$04$abc"), std::string("$2b$")}) {
        std::string why;
        EXPECT_FALSE(parse_password_hash(bad, why)) << bad;
        EXPECT_FALSE(why.empty());
        EXPECT_EQ(why.find(salt), std::string::npos);
    }
}

}  // namespace

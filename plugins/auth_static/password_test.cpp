// SPDX-License-Identifier: Apache-2.0
#include "plugins/auth_static/password.hpp"

#include <algorithm>
#include <argon2.h>
#include <array>
#include <crypt.h>
#include <gtest/gtest.h>
#include <limits>
#include <sodium.h>
#include <sys/resource.h>

namespace {

using namespace callgate::auth_static;

password_hash parsed(const std::string& text) {
    std::string why;
    auto h = parse_password_hash(text, why);
    EXPECT_TRUE(h) << text << ": " << why;
    return h.value();
}
bool matches(const password_hash& hash, std::string_view password) {
    hash_memory memory;
    return verify_password(hash, password, memory);
}
std::string bcrypt(const char* password, const char* setting = "$2b$04$abcdefghijklmnopqrstuu") { return ::crypt(password, setting); }

TEST(password, argon2id_matches_its_password_only) {
    const auto h = parsed(hash_password("correct horse", 8, 1));
    EXPECT_EQ(h.kind, hash_kind::argon2id);
    EXPECT_EQ(h.memory_kib, 8u);
    EXPECT_TRUE(matches(h, "correct horse"));
    EXPECT_FALSE(matches(h, "correct horsf"));
    EXPECT_FALSE(matches(h, ""));
    EXPECT_FALSE(matches(h, std::string("correct horse\0x", 15)));
}

TEST(password, bcrypt_matches_its_password_only) {
    for (const char* setting : {"$2b$04$abcdefghijklmnopqrstuu", "$2y$05$abcdefghijklmnopqrstuu"}) {
        const auto h = parsed(bcrypt("swordfish", setting));
        EXPECT_TRUE(matches(h, "swordfish"));
        EXPECT_FALSE(matches(h, "swordfisH"));
        EXPECT_FALSE(matches(h, ""));
    }
}

TEST(password, bcrypt_never_matches_what_it_would_cut) {
    const std::string full(72, 'x');
    const auto h = parsed(bcrypt(full.c_str()));
    EXPECT_TRUE(matches(h, full));
    EXPECT_FALSE(matches(h, full + "y"));
    EXPECT_FALSE(matches(h, full + std::string(2000, 'y')));
    const auto word = parsed(bcrypt("word"));
    EXPECT_FALSE(matches(word, std::string("word\0more", 9)));
}

TEST(password, argon2id_never_matches_beyond_its_limit) {
    const std::string full(max_password_bytes, 'x');
    const auto h = parsed(hash_password(full, 8, 1));
    EXPECT_TRUE(matches(h, full));
    EXPECT_FALSE(matches(h, full + "y"));
}

TEST(password, unmatchable_has_the_same_cost_and_parses) {
    for (const auto& model : {parsed(hash_password("p", 16, 2)), parsed(bcrypt("p")),
                              parsed("$argon2id$v=19$m=64,t=1,p=4$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")}) {
        const auto dummy = unmatchable_like(model);
        const auto again = parsed(dummy.text);
        EXPECT_TRUE(again.same_cost(model)) << dummy.text;
        EXPECT_NE(dummy.text, model.text);
        EXPECT_FALSE(matches(dummy, "p"));
    }
}

// A dummy that the library refuses to decode would answer at once and give unknown users away.
TEST(password, unmatchable_is_really_hashed) {
    const auto model = parsed(hash_password("p", 32768, 2));
    const auto dummy = unmatchable_like(model);
    const auto cost = [](const password_hash& h) {
        timespec a{}, b{};
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
        EXPECT_FALSE(matches(h, "q"));
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
          "$argon2id$v=19$m=8,t=1,p=1$" + salt + "=$" + digest, "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdB$" + digest,
          "$argon2id$v=19$m=8,t=1,p=1$" + salt + "$" + digest + "AA", "$argon2id$v=19$m=8,t=1,p=1$" + salt + "$" + digest.substr(1) + "B",
          "$argon2id$v=19$m=8,t=1,p=1$c2Fs$" + digest, "$argon2id$v=19$m=8,t=1,p=1$" + salt + "$AAAA",
          std::string("$2b$03$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"), std::string("$2b$17$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"),
          std::string("$2b$4x$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"), std::string("$2b$04$abc"), std::string("$2b$")}) {
        std::string why;
        EXPECT_FALSE(parse_password_hash(bad, why)) << bad;
        EXPECT_FALSE(why.empty());
        EXPECT_EQ(why.find(salt), std::string::npos);
    }
}

// Two implementations must agree on every hash that the parser lets through: libsodium's and the one in use.
TEST(password, argon2id_agrees_with_libsodium) {
    struct costs {
        std::uint32_t memory_kib, passes, lanes;
        std::size_t salt_size, digest_size;
    };
    int n = 0;
    for (const auto& c : {costs{8, 1, 1, 8, 16}, costs{8, 3, 1, 16, 32}, costs{63, 1, 1, 9, 17}, costs{1000, 2, 1, 16, 20}, costs{4096, 1, 1, 22, 32},
                          costs{19456, 2, 1, 16, 32}, costs{64, 1, 4, 16, 32}, costs{133, 3, 16, 13, 24}, costs{65536, 1, 2, 16, 32}}) {
        std::array<std::uint8_t, 32> salt{};
        randombytes_buf(salt.data(), salt.size());
        const std::string password = "p\xc3\xa4ss \x01" + std::to_string(++n);
        std::array<char, 256> text{};
        ASSERT_EQ(argon2id_hash_encoded(c.passes, c.memory_kib, c.lanes, password.data(), password.size(), salt.data(), c.salt_size, c.digest_size,
                                        text.data(), text.size()),
                  ARGON2_OK);
        const auto h = parsed(text.data());
        hash_memory memory;
        for (const auto& tried : {password, password + "x", std::string()}) {
            const bool same = crypto_pwhash_str_verify(text.data(), tried.data(), tried.size()) == 0;
            EXPECT_EQ(same, tried == password) << text.data();
            EXPECT_EQ(verify_password(h, tried, memory), same) << text.data();
        }
    }
    for (const auto& [memory_kib, passes] : {std::pair{8u, 1u}, {17u, 4u}, {1024u, 3u}, {8192u, 1u}}) {
        const auto h = parsed(hash_password("made by libsodium", memory_kib, passes));
        EXPECT_TRUE(matches(h, "made by libsodium")) << h.text;
        EXPECT_FALSE(matches(h, "made by libsodiun")) << h.text;
    }
}

// Of the reference implementation's own tests.
TEST(password, argon2id_known_answers) {
    EXPECT_TRUE(matches(parsed("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"), "password"));
    EXPECT_TRUE(matches(parsed("$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc"), "password"));
}

TEST(password, works_in_the_memory_it_is_given_and_leaves_nothing_there) {
    const auto small = parsed(hash_password("p", 64, 2)), large = parsed(hash_password("p", 512, 1)), other = parsed(bcrypt("p"));
    hash_memory memory(std::max(memory_for(large), memory_for(other)));
    auto* const where = memory.data();
    const auto size = memory.size();
    for (const auto* h : {&large, &other, &small, &large}) {
        std::fill_n(memory.data(), memory_for(*h), std::uint8_t{0xa5});
        EXPECT_TRUE(verify_password(*h, "p", memory)) << "what lay there before makes no difference";
        EXPECT_EQ(memory.data(), where);
        EXPECT_EQ(memory.size(), size);
        EXPECT_EQ(std::count(memory.data(), memory.data() + memory_for(*h), 0), static_cast<std::ptrdiff_t>(memory_for(*h))) << h->text.substr(0, 30);
    }
    hash_memory grown(1);
    EXPECT_TRUE(verify_password(large, "p", grown));
    EXPECT_GE(grown.size(), memory_for(large));
}

// A thread that maps or faults memory in can be descheduled with the process's memory map locked.
TEST(password, hashing_faults_no_memory_in) {
    warm_up_hashing();
    for (const auto& h : {parsed(hash_password("p", 19456, 1)), parsed(bcrypt("p"))}) {
        hash_memory memory(memory_for(h));
        long fewest = std::numeric_limits<long>::max();
        // The kernel may take pages away at any time, but not at each of these.
        for (int i = 0; i < 5; ++i) {
            rusage before{}, after{};
            getrusage(RUSAGE_THREAD, &before);
            EXPECT_TRUE(verify_password(h, "p", memory));
            getrusage(RUSAGE_THREAD, &after);
            fewest = std::min(fewest, after.ru_minflt + after.ru_majflt - before.ru_minflt - before.ru_majflt);
        }
        EXPECT_EQ(fewest, 0) << h.text.substr(0, 30);
    }
}

}  // namespace

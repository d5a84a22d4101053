// SPDX-License-Identifier: Apache-2.0
#include <callgate/crypto/known_key.hpp>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <string>

#include "sdk/crypto/src/known_key_access.hpp"
#include "sdk/crypto/test/curve_points.hpp"

using namespace callgate::crypto;
using callgate::crypto::forge::bytes32;
using callgate::crypto::forge::open_signer;
using callgate::crypto::forge::torsion;

namespace {

using text = std::vector<std::uint8_t>;
using signature = std::array<std::uint8_t, 64>;

/// Cases of the differential test; the long run sets CALLGATE_CRYPTO_CASES to some millions.
std::size_t wanted_cases() {
    const char* set = std::getenv("CALLGATE_CRYPTO_CASES");
    return set != nullptr ? std::strtoull(set, nullptr, 10) : 20'000;
}

struct verdicts {
    bool libsodium, table;
    verification together;
};
verdicts judge(const text& message, const signature& s, const known_key& key) {
    return {verify_any(message, s, key.public_key()), known_key_access::table_accepts(message, s, key), verify_known(message, s, key)};
}
/// All implementations say the same; true when that is yes.
bool agreed(const text& message, const signature& s, const known_key& key, const std::string& what) {
    const auto v = judge(message, s, key);
    EXPECT_EQ(v.table, v.libsodium) << what;
    EXPECT_EQ(v.together, v.libsodium ? verification::by_table : verification::refused) << what;
    return v.libsodium;
}

signature join(const bytes32& r, const bytes32& s) {
    signature out;
    std::ranges::copy(r, out.begin());
    std::ranges::copy(s, out.begin() + 32);
    return out;
}
bytes32 first_half(const signature& s) {
    bytes32 out;
    std::copy_n(s.begin(), 32, out.begin());
    return out;
}
bytes32 second_half(const signature& s) {
    bytes32 out;
    std::copy_n(s.begin() + 32, 32, out.begin());
    return out;
}

class source {
  public:
    explicit source(std::uint64_t seed) : engine_(seed) {}
    std::uint64_t below(std::uint64_t n) { return engine_() % n; }
    bytes32 bytes() {
        bytes32 b;
        for (auto& x : b) x = static_cast<std::uint8_t>(engine_());
        return b;
    }
    text message(std::size_t longest) {
        text m(below(longest + 1));
        for (auto& x : m) x = static_cast<std::uint8_t>(engine_());
        return m;
    }

  private:
    std::mt19937_64 engine_;
};

struct party {
    open_signer signer;
    std::size_t torsion;  // of the public key: A = a B + torsion()[n]
    std::unique_ptr<const known_key> key;
};
std::vector<party> make_parties(source& random) {
    std::vector<party> out;
    // Half of them honest; libsodium takes keys with a part of small order too, as long as that is not all of them.
    for (std::size_t n : {0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7}) {
        auto s = open_signer::make(random.bytes(), torsion()[n]);
        auto key = known_key::make(s.public_key);
        EXPECT_TRUE(key) << n;
        out.push_back({s, n, std::move(key)});
    }
    return out;
}

// Signs so that the equation holds without the cofactor: R = r B - h T for A = a B + T. h depends on R, so by trial.
signature sign_exactly(const party& p, const bytes32& nonce, text& message) {
    for (unsigned tries = 0;; ++tries) {
        for (std::size_t k = 0; k < 8; ++k) {
            const auto s = p.signer.sign(nonce, torsion()[k], message);
            const auto h = p.signer.challenge(first_half(s), message);
            // h T = (h mod 8) T, as 8 T = 0.
            if ((k + h[0] % 8 * p.torsion) % 8 == 0) return s;
        }
        message.push_back(static_cast<std::uint8_t>(tries));
    }
}

}  // namespace

// RFC 8032 section 7.1, TEST 1 to 3 and TEST SHA(abc)
TEST(known_key, rfc8032_vectors) {
    const auto hex = [](std::string_view s) {
        text out;
        for (std::size_t i = 0; i + 1 < s.size(); i += 2) out.push_back(static_cast<std::uint8_t>(std::stoi(std::string(s.substr(i, 2)), nullptr, 16)));
        return out;
    };
    const struct { const char *key, *message, *signature; } vectors[] = {
        {"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
         "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"},
        {"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
         "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
        {"fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
         "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"},
        {"ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
         "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
         "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704"}};
    for (const auto& v : vectors) {
        key_bytes k;
        std::ranges::copy(hex(v.key), k.begin());
        const auto key = known_key::make(k);
        ASSERT_TRUE(key);
        signature s;
        std::ranges::copy(hex(v.signature), s.begin());
        auto message = hex(v.message);
        EXPECT_TRUE(agreed(message, s, *key, v.key));
        message.push_back(0);
        EXPECT_FALSE(agreed(message, s, *key, v.key));
    }
}

TEST(known_key, keys_under_which_nothing_is_accepted_get_no_table) {
    for (const auto& t : torsion()) EXPECT_FALSE(known_key::make(forge::encode(t)));
    for (const auto& k : forge::non_canonical()) EXPECT_FALSE(known_key::make(k));
    // x = 0 with a sign.
    EXPECT_FALSE(known_key::make(bytes32{1}) );
    bytes32 negative_zero{1};
    negative_zero[31] = 0x80;
    EXPECT_FALSE(known_key::make(negative_zero));
    std::size_t off_curve = 0;
    for (std::uint8_t y = 2; y < 64; ++y) {
        const bytes32 k{y};
        const bool on = edwards25519::decompress(k).has_value();
        EXPECT_EQ(known_key::make(k) != nullptr, on);
        off_curve += !on;
    }
    EXPECT_GT(off_curve, 10u);
}

TEST(known_key, a_table_has_the_size_that_is_told) {
    const auto key = known_key::make(signing_key::generate().public_key());
    EXPECT_EQ(known_key::table_bytes - known_key_access::multiples(*key).size() * sizeof(edwards25519::addend) < 256, true);
    EXPECT_LT(known_key::table_bytes, 320u * 1024);
}

TEST(known_key, scalars_at_and_above_the_group_order_are_refused) {
    source random(3);
    const auto parties = make_parties(random);
    std::size_t good = 0, malleated = 0;
    for (const auto& p : parties) {
        text message = random.message(40);
        const auto s = sign_exactly(p, random.bytes(), message);
        good += agreed(message, s, *p.key, "exact");
        // S < L < 2^253: up to S + 14 L fits 256 bits.
        auto scalar = second_half(s);
        for (int i = 1; i < 15; ++i) {
            scalar = forge::plus(scalar, forge::group_order());
            EXPECT_FALSE(agreed(message, join(first_half(s), scalar), *p.key, "S + " + std::to_string(i) + " L"));
            ++malleated;
        }
        bytes32 most;
        most.fill(0xff);
        for (const auto& value : {bytes32{}, bytes32{1}, forge::group_order(), forge::plus(forge::group_order(), most), most})
            EXPECT_FALSE(agreed(message, join(first_half(s), value), *p.key, "S at an edge"));
    }
    EXPECT_EQ(good, parties.size());
    EXPECT_EQ(malleated, 14 * parties.size());
}

// R of small order fits the equation when the nonce is zero; libsodium refuses it all the same.
TEST(known_key, small_order_r_is_refused_even_where_the_equation_holds) {
    source random(5);
    std::size_t fits = 0;
    for (const auto& p : make_parties(random))
        for (int i = 0; i < 4; ++i) {
            text message = random.message(20);
            const auto s = sign_exactly(p, bytes32{}, message);
            fits += std::ranges::any_of(torsion(), [&](const auto& t) { return forge::encode(t) == first_half(s); });
            EXPECT_FALSE(agreed(message, s, *p.key, "R of small order"));
        }
    EXPECT_EQ(fits, 14u * 4);
}

TEST(known_key, r_that_is_not_canonical_is_refused) {
    source random(6);
    const auto parties = make_parties(random);
    for (const auto& p : parties)
        for (const auto& r : forge::non_canonical()) {
            const text message = random.message(20);
            // S = h a makes R = 0, whose other spellings are y = p + 1 and x = 0 with a sign.
            bytes32 s;
            const auto h = p.signer.challenge(r, message);
            const auto honest = p.signer.sign(bytes32{}, edwards25519::identity, message);
            s = second_half(honest);
            EXPECT_FALSE(agreed(message, join(r, s), *p.key, "R = y + p"));
            EXPECT_FALSE(agreed(message, join(r, h), *p.key, "R = y + p, S = h"));
        }
}

TEST(known_key, the_cofactor_makes_no_difference_disappear) {
    source random(8);
    std::size_t accepted = 0, refused = 0;
    for (const auto& p : make_parties(random))
        for (std::size_t k = 0; k < 8; ++k)
            for (int i = 0; i < 8; ++i) {
                const text message = random.message(30);
                const auto s = p.signer.sign(random.bytes(), torsion()[k], message);
                (agreed(message, s, *p.key, "R + T") ? accepted : refused)++;
            }
    // An honest key with T = 0: always. Otherwise by chance of h modulo the order of T.
    EXPECT_GT(accepted, 100u);
    EXPECT_GT(refused, 400u);
}

TEST(known_key, agrees_with_libsodium_on_random_cases) {
    source random(20);
    const auto parties = make_parties(random);
    const auto cases = wanted_cases();
    std::map<std::string, std::array<std::size_t, 2>> seen;
    std::size_t total = 0;
    while (total < cases && !HasFailure()) {
        const auto& p = parties[random.below(parties.size())];
        text message = random.message(random.below(16) == 0 ? 3000 : 200);
        auto s = sign_exactly(p, random.bytes(), message);
        std::string what = "good";
        switch (random.below(12)) {
            case 0: case 1: case 2: break;
            case 3: what = "bit of R"; s[random.below(32)] ^= static_cast<std::uint8_t>(1u << random.below(8)); break;
            case 4: what = "bit of S"; s[32 + random.below(32)] ^= static_cast<std::uint8_t>(1u << random.below(8)); break;
            case 5:
                what = "bit of the message";
                if (message.empty()) message.push_back(0);
                else message[random.below(message.size())] ^= static_cast<std::uint8_t>(1u << random.below(8));
                break;
            case 6: what = "S + L"; s = join(first_half(s), forge::plus(second_half(s), forge::group_order())); break;
            case 7: what = "R + T"; s = p.signer.sign(random.bytes(), torsion()[random.below(8)], message); break;
            case 8: what = "R of another"; s = join(random.bytes(), second_half(s)); break;
            case 9: what = "S of another"; s = join(first_half(s), random.bytes()); break;
            case 10: what = "small order R"; s = join(forge::encode(torsion()[random.below(8)]), second_half(s)); break;
            case 11: what = "nonce zero"; s = sign_exactly(p, bytes32{}, message); break;
        }
        ++seen[what][agreed(message, s, *p.key, what)];
        ++total;
    }
    ASSERT_EQ(total, cases);
    std::size_t counted = 0, accepted = 0;
    for (const auto& [what, n] : seen) {
        std::printf("  %-20s refused %8zu  accepted %8zu\n", what.c_str(), n[0], n[1]);
        counted += n[0] + n[1];
        accepted += n[1];
    }
    std::printf("  %zu cases, 0 disagreements\n", counted);
    EXPECT_EQ(counted, cases);
    EXPECT_EQ(seen["good"][0], 0u);
    EXPECT_GT(accepted, cases / 5);
    for (const char* never : {"bit of R", "bit of S", "S + L", "R of another", "small order R", "nonce zero"}) {
        EXPECT_EQ(seen[never][1], 0u) << never;
        EXPECT_GT(seen[never][0], cases / 20) << never;
    }
}

TEST(known_key, a_damaged_table_refuses_nothing_that_is_good_and_says_that_it_is_damaged) {
    const auto signer = signing_key::generate();
    const auto key = known_key::make(signer.public_key());
    const text message{1, 2, 3};
    signature s;
    signer.sign(message, s);
    ASSERT_EQ(verify_known(message, s, *key), verification::by_table);
    for (auto& a : known_key_access::multiples(*key)) a.sum.limb[2] ^= 4;
    EXPECT_EQ(verify_known(message, s, *key), verification::by_libsodium);
    s[0] ^= 1;
    EXPECT_EQ(verify_known(message, s, *key), verification::refused);
}

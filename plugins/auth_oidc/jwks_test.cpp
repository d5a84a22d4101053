// SPDX-License-Identifier: Apache-2.0
#include "plugins/auth_oidc/jwks.hpp"

#include <callgate/crypto/base64url.hpp>
#include <gtest/gtest.h>
#include <openssl/err.h>

#include "plugins/auth_oidc/test_issuer.hpp"

namespace {

using namespace callgate;
using namespace callgate::auth_oidc;
using test::jwks;
using test::signer;

const signer& rsa2048() {
    static const signer s = signer::rsa();
    return s;
}
std::span<const std::uint8_t> raw(const std::string& s) { return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()}; }

parsed_jwks accepted(const std::string& text) {
    parsed_jwks out;
    std::string fault;
    EXPECT_TRUE(parse_jwks(text, out, fault)) << fault;
    return out;
}
std::string fault(const std::string& text) {
    parsed_jwks out;
    std::string why;
    return parse_jwks(text, out, why) ? "accepted" : why;
}
/// A lone key of which the set says why it is not used.
std::string skipped(const std::string& jwk) { return fault(jwks(jwk)); }

struct algorithm_row {
    const char* alg;
    signer key;
};

TEST(jwks, every_algorithm_verifies_its_own_signatures_and_no_changed_ones) {
    const std::vector<algorithm_row> rows = {{"RS256", rsa2048()},          {"RS384", rsa2048()},          {"RS512", rsa2048()},
                                             {"PS256", rsa2048()},          {"PS384", rsa2048()},          {"PS512", rsa2048()},
                                             {"ES256", signer::ec("P-256")}, {"ES384", signer::ec("P-384")}, {"ES512", signer::ec("P-521")},
                                             {"EdDSA", signer::ed25519()}};
    for (const auto& row : rows) {
        const auto set = accepted(jwks(row.key.jwk("k")));
        ASSERT_EQ(set.keys.size(), 1u);
        const auto& key = set.keys[0].key;
        const auto alg = algorithm_from(row.alg).value();
        const std::string input = "header.claims";
        const auto sig = row.key.sign(row.alg, input);
        EXPECT_TRUE(key.verify(alg, input, raw(sig))) << row.alg;
        EXPECT_FALSE(key.verify(alg, "header.claimz", raw(sig))) << row.alg;
        for (std::size_t i = 0; i < sig.size(); i += 13) {
            auto bad = sig;
            bad[i] = static_cast<char>(bad[i] ^ 1);
            EXPECT_FALSE(key.verify(alg, input, raw(bad))) << row.alg << " byte " << i;
        }
        EXPECT_FALSE(key.verify(alg, input, raw(sig.substr(1)))) << row.alg;
        EXPECT_FALSE(key.verify(alg, input, raw(sig + '\0'))) << row.alg;
        EXPECT_FALSE(key.verify(alg, input, {})) << row.alg;
        for (const auto& other : rows) {
            if (std::string_view(other.alg) == row.alg) continue;
            EXPECT_FALSE(key.verify(algorithm_from(other.alg).value(), input, raw(sig))) << row.alg << " as " << other.alg;
        }
    }
    EXPECT_EQ(ERR_peek_error(), 0u) << "nothing may stay in the error queue that TLS code on this thread reads";
}

TEST(jwks, ecdsa_takes_raw_signatures_only) {
    const auto s = signer::ec("P-256");
    const auto key = accepted(jwks(s.jwk("k"))).keys.at(0).key;
    const std::string zeros(64, '\0');
    EXPECT_FALSE(key.verify(algorithm::es256, "x", raw(zeros)));
    // DER of a good signature, which some libraries take as well.
    const auto good = s.sign("ES256", "x");
    std::string der = "\x30\x44\x02\x20" + good.substr(0, 32) + "\x02\x20" + good.substr(32);
    EXPECT_FALSE(key.verify(algorithm::es256, "x", raw(der)));
}

TEST(jwks, unsafe_keys_are_not_used_and_say_why) {
    const auto long_e = R"({"kid":"k","kty":"RSA","n":")" + std::string(341, 'x') + R"(Q","e":")";
    EXPECT_NE(skipped(signer::rsa(1024).jwk("weak")).find("key \"weak\": RSA modulus has 1024 bits"), std::string::npos);
    EXPECT_NE(skipped(long_e + R"(AQAA"})").find("exponent"), std::string::npos) << "even";
    EXPECT_NE(skipped(long_e + R"(AQ"})").find("exponent"), std::string::npos) << "one";
    EXPECT_NE(skipped(long_e + R"(AQAAAAAAAAE"})").find("exponent"), std::string::npos) << "huge";
    EXPECT_NE(skipped(R"({"kty":"RSA","n":"a+b","e":"AQAB"})").find("base64url"), std::string::npos);
    EXPECT_NE(skipped(R"({"kty":"RSA","n":")" + std::string(1600, 'x') + R"(","e":"AQAB"})").find("RSA"), std::string::npos) << "9600 bits";
    const auto zero32 = std::string(43, 'A');
    EXPECT_NE(skipped(R"({"kty":"OKP","crv":"Ed25519","x":")" + zero32 + "\"}").find("small order"), std::string::npos);
    EXPECT_NE(skipped(R"({"kty":"EC","crv":"P-256","x":")" + zero32 + R"(","y":")" + zero32 + "\"}").find("not on its curve"), std::string::npos);
    EXPECT_NE(skipped(R"({"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"})").find("32 bytes"), std::string::npos);
    EXPECT_NE(skipped(rsa2048().jwk("k", R"(,"d":"AAAA")")).find("private"), std::string::npos);
    EXPECT_NE(skipped(rsa2048().jwk("k", R"(,"alg":"ES256")")).find("does not fit"), std::string::npos);
    EXPECT_NE(skipped(rsa2048().jwk(std::string(300, 'k'))).find("kid"), std::string::npos);
}

TEST(jwks, keys_for_other_uses_are_left_out) {
    const std::string others = rsa2048().jwk("enc", R"(,"use":"enc")") + "," + rsa2048().jwk("wrap", R"(,"key_ops":["wrapKey"])") +
                               R"(,{"kty":"oct","kid":"hmac","k":"AAAA"},{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"},{"kty":"new"},{})" + "," +
                               rsa2048().jwk("oaep", R"(,"alg":"RSA-OAEP")");
    const auto set = accepted(jwks(others + "," + rsa2048().jwk("good", R"(,"use":"sig","key_ops":["verify"],"alg":"RS256")")));
    ASSERT_EQ(set.keys.size(), 1u);
    EXPECT_EQ(set.keys[0].kid, "good");
    EXPECT_EQ(set.keys[0].only, algorithm::rs256);
    EXPECT_NE(fault(jwks(others)), "accepted");
}

TEST(jwks, sets_out_of_bounds_are_refused) {
    std::string keys;
    for (int i = 0; i < 101; ++i) keys += (i ? "," : "") + std::string("{}");
    EXPECT_NE(fault(jwks(keys)).find("more than 100 keys"), std::string::npos);
    EXPECT_NE(fault(std::string(max_jwks_bytes + 1, ' ')).find("1 MiB"), std::string::npos);
    for (const char* bad : {"", "[]", "{}", R"({"keys":{}})", R"({"keys":[1]})", R"({"keys":[],"keys":[]})", R"({"keys":[{"kid":"a","kid":"b"}]})", "{\"keys\":[\"\xff\"]}"})
        EXPECT_NE(fault(bad), "accepted") << bad;
    EXPECT_NE(fault(R"({"keys":[],"x":)" + std::string(1000, '[') + std::string(1000, ']') + "}"), "accepted");
}

TEST(jwks, keys_are_found_by_kid_and_algorithm) {
    auto parsed = accepted(jwks(rsa2048().jwk("a", R"(,"alg":"RS256")") + "," + signer::ec("P-256").jwk("b")));
    const key_set set(std::move(parsed.keys));
    EXPECT_EQ(set.find("a", algorithm::rs256).usable.size(), 1u);
    EXPECT_TRUE(set.find("a", algorithm::ps256).usable.empty()) << "the key is for RS256 alone";
    EXPECT_TRUE(set.find("a", algorithm::ps256).kid_known);
    EXPECT_TRUE(set.find("a", algorithm::es256).usable.empty());
    EXPECT_FALSE(set.find("c", algorithm::rs256).kid_known);
    EXPECT_EQ(set.find("", algorithm::es256).usable.size(), 1u);
    auto twins = accepted(jwks(rsa2048().jwk("a") + "," + rsa2048().jwk("b")));
    EXPECT_TRUE(key_set(std::move(twins.keys)).find("", algorithm::rs256).usable.empty());
}

}  // namespace

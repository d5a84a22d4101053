// SPDX-License-Identifier: Apache-2.0
#include "plugins/auth_oidc/test_issuer.hpp"

#include <callgate/crypto/base64url.hpp>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <stdexcept>
#include <vector>

namespace callgate::auth_oidc::test {
namespace {

namespace b64 = crypto::base64url;

void must(bool ok, const char* what) {
    if (!ok) throw std::runtime_error(what);
}

std::string number(const EVP_PKEY* key, const char* name, std::size_t width = 0) {
    BIGNUM* n = nullptr;
    must(EVP_PKEY_get_bn_param(key, name, &n) == 1, name);
    std::vector<std::uint8_t> bytes(width != 0 ? width : static_cast<std::size_t>(BN_num_bytes(n)));
    BN_bn2binpad(n, bytes.data(), static_cast<int>(bytes.size()));
    BN_free(n);
    return b64::encode(std::span<const std::uint8_t>(bytes));
}

std::shared_ptr<EVP_PKEY> own(EVP_PKEY* k) {
    must(k != nullptr, "no key");
    return {k, [](EVP_PKEY* p) { EVP_PKEY_free(p); }};
}

}  // namespace

signer signer::rsa(unsigned bits, unsigned exponent) {
    EVP_PKEY_CTX* ctx = EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr);
    BIGNUM* e = BN_new();
    BN_set_word(e, exponent);
    EVP_PKEY* key = nullptr;
    must(EVP_PKEY_keygen_init(ctx) == 1 && EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, static_cast<int>(bits)) == 1 &&
             EVP_PKEY_CTX_set1_rsa_keygen_pubexp(ctx, e) == 1 && EVP_PKEY_generate(ctx, &key) == 1,
         "RSA keygen");
    BN_free(e);
    EVP_PKEY_CTX_free(ctx);
    signer s;
    s.key_ = own(key);
    return s;
}

signer signer::ec(const char* group) {
    signer s;
    s.key_ = own(EVP_EC_gen(group));
    s.group_ = group;
    s.field_ = s.group_ == "P-256" ? 32 : s.group_ == "P-384" ? 48 : 66;
    return s;
}

signer signer::ed25519() {
    signer s;
    s.ed_ = std::make_shared<const crypto::signing_key>(crypto::signing_key::generate());
    return s;
}

std::string signer::jwk(const std::string& kid, const std::string& extra) const {
    std::string out = R"({"kid":")" + kid + "\"" + extra;
    if (ed_)
        out += R"(,"kty":"OKP","crv":"Ed25519","x":")" + b64::encode(std::span<const std::uint8_t>(ed_->public_key())) + "\"}";
    else if (!group_.empty())
        out += R"(,"kty":"EC","crv":")" + group_ + R"(","x":")" + number(key_.get(), OSSL_PKEY_PARAM_EC_PUB_X, field_) + R"(","y":")" +
               number(key_.get(), OSSL_PKEY_PARAM_EC_PUB_Y, field_) + "\"}";
    else
        out += R"(,"kty":"RSA","n":")" + number(key_.get(), OSSL_PKEY_PARAM_RSA_N) + R"(","e":")" + number(key_.get(), OSSL_PKEY_PARAM_RSA_E) + "\"}";
    return out;
}

std::string signer::sign(const std::string& alg, const std::string& input) const {
    const auto* message = reinterpret_cast<const unsigned char*>(input.data());
    if (ed_) {
        crypto::signature_bytes sig{};
        ed_->sign({message, input.size()}, sig);
        return {sig.begin(), sig.end()};
    }
    EVP_MD_CTX* ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX* options = nullptr;
    const std::string digest = "SHA" + alg.substr(2);
    must(EVP_DigestSignInit_ex(ctx, &options, digest.c_str(), nullptr, nullptr, key_.get(), nullptr) == 1, "sign init");
    if (alg.starts_with("PS")) {
        EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING);
        EVP_PKEY_CTX_set_rsa_pss_saltlen(options, RSA_PSS_SALTLEN_DIGEST);
    }
    std::size_t size = 0;
    must(EVP_DigestSign(ctx, nullptr, &size, message, input.size()) == 1, "sign size");
    std::string out(size, '\0');
    must(EVP_DigestSign(ctx, reinterpret_cast<unsigned char*>(out.data()), &size, message, input.size()) == 1, "sign");
    EVP_MD_CTX_free(ctx);
    out.resize(size);
    if (group_.empty()) return out;
    const auto* p = reinterpret_cast<const unsigned char*>(out.data());
    ECDSA_SIG* sig = d2i_ECDSA_SIG(nullptr, &p, static_cast<long>(out.size()));
    must(sig != nullptr, "DER");
    std::string raw(2 * field_, '\0');
    BN_bn2binpad(ECDSA_SIG_get0_r(sig), reinterpret_cast<unsigned char*>(raw.data()), static_cast<int>(field_));
    BN_bn2binpad(ECDSA_SIG_get0_s(sig), reinterpret_cast<unsigned char*>(raw.data()) + field_, static_cast<int>(field_));
    ECDSA_SIG_free(sig);
    return raw;
}

std::string signer::token(const std::string& alg, const std::string& header, const std::string& claims) const {
    const std::string input = b64::encode(std::string_view(header)) + "." + b64::encode(std::string_view(claims));
    return input + "." + b64::encode(std::string_view(sign(alg, input)));
}

std::string jwks(const std::string& keys) { return R"({"keys":[)" + keys + "]}"; }

}  // namespace callgate::auth_oidc::test

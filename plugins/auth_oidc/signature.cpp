// SPDX-License-Identifier: Apache-2.0
#include "plugins/auth_oidc/signature.hpp"

#include <algorithm>
#include <array>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <stdexcept>
#include <vector>

namespace callgate::auth_oidc {
namespace {

template <auto Free>
struct freer {
    template <class T>
    void operator()(T* p) const noexcept {
        Free(p);
    }
};
using bignum = std::unique_ptr<BIGNUM, freer<BN_free>>;
using param_builder = std::unique_ptr<OSSL_PARAM_BLD, freer<OSSL_PARAM_BLD_free>>;
using params = std::unique_ptr<OSSL_PARAM, freer<OSSL_PARAM_free>>;
using pkey_context = std::unique_ptr<EVP_PKEY_CTX, freer<EVP_PKEY_CTX_free>>;
using digest_context = std::unique_ptr<EVP_MD_CTX, freer<EVP_MD_CTX_free>>;
using ecdsa_signature = std::unique_ptr<ECDSA_SIG, freer<ECDSA_SIG_free>>;

/// Lives as long as the process: plugins are never unloaded, and threads of the host may be inside.
OSSL_LIB_CTX* library() {
    static OSSL_LIB_CTX* const ctx = [] {
        OSSL_LIB_CTX* c = OSSL_LIB_CTX_new();
        if (c == nullptr || OSSL_PROVIDER_load(c, "default") == nullptr) throw std::runtime_error("OpenSSL's default provider cannot be loaded");
        return c;
    }();
    return ctx;
}

struct quiet_errors {
    quiet_errors() { ERR_set_mark(); }
    quiet_errors(const quiet_errors&) = delete;
    quiet_errors& operator=(const quiet_errors&) = delete;
    ~quiet_errors() { ERR_pop_to_mark(); }
};

struct algorithm_row {
    std::string_view name;
    key_type key;
    const char* digest;
};
constexpr std::array<algorithm_row, 10> algorithms = {{{"RS256", key_type::rsa, "SHA256"},
                                                       {"RS384", key_type::rsa, "SHA384"},
                                                       {"RS512", key_type::rsa, "SHA512"},
                                                       {"PS256", key_type::rsa, "SHA256"},
                                                       {"PS384", key_type::rsa, "SHA384"},
                                                       {"PS512", key_type::rsa, "SHA512"},
                                                       {"ES256", key_type::p256, "SHA256"},
                                                       {"ES384", key_type::p384, "SHA384"},
                                                       {"ES512", key_type::p521, "SHA512"},
                                                       {"EdDSA", key_type::ed25519, nullptr}}};

const algorithm_row& row(algorithm a) noexcept { return algorithms[static_cast<std::size_t>(a)]; }

bool is_pss(algorithm a) noexcept { return a == algorithm::ps256 || a == algorithm::ps384 || a == algorithm::ps512; }

struct curve_row {
    const char* group;
    std::size_t field_bytes;
};
curve_row curve_of(key_type t) noexcept {
    switch (t) {
        case key_type::p384: return {"secp384r1", 48};
        case key_type::p521: return {"secp521r1", 66};
        default: return {"prime256v1", 32};
    }
}

bignum number(verification_key::bytes b) { return bignum(BN_bin2bn(b.data(), static_cast<int>(b.size()), nullptr)); }

std::shared_ptr<EVP_PKEY> import(const char* type, OSSL_PARAM* values) {
    pkey_context ctx(EVP_PKEY_CTX_new_from_name(library(), type, nullptr));
    EVP_PKEY* key = nullptr;
    if (!ctx || EVP_PKEY_fromdata_init(ctx.get()) != 1 || EVP_PKEY_fromdata(ctx.get(), &key, EVP_PKEY_PUBLIC_KEY, values) != 1) return nullptr;
    std::shared_ptr<EVP_PKEY> out(key, [](EVP_PKEY* p) { EVP_PKEY_free(p); });
    pkey_context check(EVP_PKEY_CTX_new_from_pkey(library(), key, nullptr));
    if (!check || EVP_PKEY_public_check_quick(check.get()) != 1) return nullptr;
    return out;
}

/// r||s of the exact length to the DER that OpenSSL reads; empty when it is not that.
std::vector<unsigned char> to_der(verification_key::bytes raw, std::size_t field_bytes) {
    if (raw.size() != 2 * field_bytes) return {};
    ecdsa_signature sig(ECDSA_SIG_new());
    bignum r = number(raw.first(field_bytes)), s = number(raw.subspan(field_bytes));
    if (!sig || !r || !s || ECDSA_SIG_set0(sig.get(), r.get(), s.get()) != 1) return {};
    // set0 took them over.
    static_cast<void>(r.release());
    static_cast<void>(s.release());
    const int size = i2d_ECDSA_SIG(sig.get(), nullptr);
    if (size <= 0) return {};
    std::vector<unsigned char> out(static_cast<std::size_t>(size));
    unsigned char* p = out.data();
    i2d_ECDSA_SIG(sig.get(), &p);
    return out;
}

}  // namespace

std::optional<algorithm> algorithm_from(std::string_view name) noexcept {
    for (std::size_t i = 0; i < algorithms.size(); ++i)
        if (algorithms[i].name == name) return static_cast<algorithm>(i);
    return std::nullopt;
}
std::string_view to_string(algorithm a) noexcept { return row(a).name; }
key_type key_type_for(algorithm a) noexcept { return row(a).key; }

std::optional<verification_key> verification_key::rsa(bytes n, bytes e, std::string& why) {
    const quiet_errors quiet;
    if (n.size() > 1025 || e.size() > 64) {
        why = "RSA numbers are too long";
        return std::nullopt;
    }
    const bignum modulus = number(n), exponent = number(e);
    if (!modulus || !exponent) throw std::bad_alloc();
    const int bits = BN_num_bits(modulus.get());
    if (bits < 2048 || bits > 8192 || !BN_is_odd(modulus.get())) {
        why = "RSA modulus has " + std::to_string(bits) + " bits or is even; 2048 to 8192 bits are accepted";
        return std::nullopt;
    }
    if (!BN_is_odd(exponent.get()) || BN_is_one(exponent.get()) || BN_num_bits(exponent.get()) > 32) {
        why = "RSA exponent is even, 1 or above 2^32";
        return std::nullopt;
    }
    const param_builder b(OSSL_PARAM_BLD_new());
    if (!b || OSSL_PARAM_BLD_push_BN(b.get(), OSSL_PKEY_PARAM_RSA_N, modulus.get()) != 1 ||
        OSSL_PARAM_BLD_push_BN(b.get(), OSSL_PKEY_PARAM_RSA_E, exponent.get()) != 1)
        throw std::bad_alloc();
    const params values(OSSL_PARAM_BLD_to_param(b.get()));
    verification_key key;
    key.pkey_ = import("RSA", values.get());
    if (!key.pkey_) {
        why = "OpenSSL refuses this RSA key";
        return std::nullopt;
    }
    return key;
}

std::optional<verification_key> verification_key::ec(key_type curve, bytes x, bytes y, std::string& why) {
    const quiet_errors quiet;
    const auto c = curve_of(curve);
    if (x.size() != c.field_bytes || y.size() != c.field_bytes) {
        why = "EC coordinates must have " + std::to_string(c.field_bytes) + " bytes each";
        return std::nullopt;
    }
    std::vector<std::uint8_t> point{4};
    point.insert(point.end(), x.begin(), x.end());
    point.insert(point.end(), y.begin(), y.end());
    const param_builder b(OSSL_PARAM_BLD_new());
    if (!b || OSSL_PARAM_BLD_push_utf8_string(b.get(), OSSL_PKEY_PARAM_GROUP_NAME, c.group, 0) != 1 ||
        OSSL_PARAM_BLD_push_octet_string(b.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size()) != 1)
        throw std::bad_alloc();
    const params values(OSSL_PARAM_BLD_to_param(b.get()));
    verification_key key;
    key.type_ = curve;
    key.pkey_ = import("EC", values.get());
    if (!key.pkey_) {
        why = "EC point is not on its curve";
        return std::nullopt;
    }
    return key;
}

std::optional<verification_key> verification_key::ed25519(bytes x, std::string& why) {
    verification_key key;
    key.type_ = key_type::ed25519;
    if (x.size() != key.ed25519_.size()) {
        why = "Ed25519 key must have 32 bytes";
        return std::nullopt;
    }
    std::copy(x.begin(), x.end(), key.ed25519_.begin());
    if (crypto::is_weak_public_key(key.ed25519_)) {
        why = "Ed25519 key is of small order or not on the curve";
        return std::nullopt;
    }
    return key;
}

bool verification_key::verify(algorithm a, std::string_view input, bytes signature) const noexcept try {
    if (key_type_for(a) != type_) return false;
    const auto* message = reinterpret_cast<const unsigned char*>(input.data());
    if (a == algorithm::eddsa)
        return signature.size() == 64 && crypto::verify({message, input.size()}, signature.first<64>(), ed25519_);

    const quiet_errors quiet;
    std::vector<unsigned char> der;
    if (type_ != key_type::rsa) {
        der = to_der(signature, curve_of(type_).field_bytes);
        if (der.empty()) return false;
        signature = der;
    } else if (signature.size() != static_cast<std::size_t>(EVP_PKEY_get_size(pkey_.get()))) {
        return false;
    }
    const digest_context ctx(EVP_MD_CTX_new());
    EVP_PKEY_CTX* options = nullptr;
    if (!ctx || EVP_DigestVerifyInit_ex(ctx.get(), &options, row(a).digest, library(), nullptr, pkey_.get(), nullptr) != 1) return false;
    if (is_pss(a) && (EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING) != 1 ||
                      EVP_PKEY_CTX_set_rsa_pss_saltlen(options, RSA_PSS_SALTLEN_DIGEST) != 1))
        return false;
    return EVP_DigestVerify(ctx.get(), signature.data(), signature.size(), message, input.size()) == 1;
} catch (...) {
    return false;
}

}  // namespace callgate::auth_oidc

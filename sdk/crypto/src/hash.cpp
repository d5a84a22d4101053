// SPDX-License-Identifier: Apache-2.0
#include <callgate/crypto/hash.hpp>

#include <openssl/evp.h>
#include <sodium.h>

#include <memory>
#include <stdexcept>

#include "sdk/crypto/src/sha512.hpp"

namespace callgate::crypto {
namespace {

digest_bytes digest(std::span<const std::uint8_t> in, const EVP_MD* kind) {
    digest_bytes out{};
    unsigned size = 0;
    if (::EVP_Digest(in.data(), in.size(), out.data(), &size, kind, nullptr) != 1 || size != out.size())
        throw std::runtime_error("OpenSSL computes no SHA-2 digest: check its providers (openssl list -digest-algorithms)");
    return out;
}
std::span<const std::uint8_t> bytes_of(std::string_view in) {
    return {reinterpret_cast<const std::uint8_t*>(in.data()), in.size()};
}

struct free_context {
    void operator()(EVP_MD_CTX* c) const noexcept { ::EVP_MD_CTX_free(c); }
};

}  // namespace

void sha512_of_two(std::span<const std::uint8_t> first, std::span<const std::uint8_t> second, std::span<std::uint8_t, 64> out) noexcept {
    // Fetching a digest and making a context cost as much as hashing half a request: both are kept, the digest to
    // the end of the process, since threads may still verify while it exits.
    static EVP_MD* const kind = ::EVP_MD_fetch(nullptr, "SHA512", nullptr);
    thread_local const std::unique_ptr<EVP_MD_CTX, free_context> context{::EVP_MD_CTX_new()};
    unsigned size = 0;
    if (kind != nullptr && context && ::EVP_DigestInit_ex2(context.get(), kind, nullptr) == 1 &&
        ::EVP_DigestUpdate(context.get(), first.data(), first.size()) == 1 &&
        ::EVP_DigestUpdate(context.get(), second.data(), second.size()) == 1 &&
        ::EVP_DigestFinal_ex(context.get(), out.data(), &size) == 1 && size == out.size())
        return;
    crypto_hash_sha512_state state;
    ::crypto_hash_sha512_init(&state);
    ::crypto_hash_sha512_update(&state, first.data(), first.size());
    ::crypto_hash_sha512_update(&state, second.data(), second.size());
    ::crypto_hash_sha512_final(&state, out.data());
}

digest_bytes sha512_256(std::span<const std::uint8_t> in) { return digest(in, ::EVP_sha512_256()); }
digest_bytes sha512_256(std::string_view in) { return sha512_256(bytes_of(in)); }
digest_bytes sha256(std::span<const std::uint8_t> in) { return digest(in, ::EVP_sha256()); }
digest_bytes sha256(std::string_view in) { return sha256(bytes_of(in)); }

}  // namespace callgate::crypto

// SPDX-License-Identifier: Apache-2.0
#include <callgate/crypto/hash.hpp>

#include <openssl/evp.h>

#include <stdexcept>

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

}  // namespace

digest_bytes sha512_256(std::span<const std::uint8_t> in) { return digest(in, ::EVP_sha512_256()); }
digest_bytes sha512_256(std::string_view in) { return sha512_256(bytes_of(in)); }
digest_bytes sha256(std::span<const std::uint8_t> in) { return digest(in, ::EVP_sha256()); }
digest_bytes sha256(std::string_view in) { return sha256(bytes_of(in)); }

}  // namespace callgate::crypto

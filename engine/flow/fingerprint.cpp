// SPDX-License-Identifier: Apache-2.0
#include "engine/flow/fingerprint.hpp"

#include <callgate/crypto/random.hpp>
#include <sodium.h>

#include <cstring>

namespace callgate::flow {

static_assert(crypto_shorthash_KEYBYTES == 16 && crypto_shorthash_BYTES == 8);

fingerprint_key::fingerprint_key() { crypto::random_bytes(key_); }

std::uint64_t fingerprint_key::of(std::string_view text) const noexcept {
    std::array<std::uint8_t, 8> hash;
    ::crypto_shorthash(hash.data(), reinterpret_cast<const unsigned char*>(text.data()), text.size(), key_.data());
    std::uint64_t n = 0;
    std::memcpy(&n, hash.data(), sizeof n);
    return n == 0 ? 1 : n;
}

std::uint64_t fingerprint_key::of(std::string_view first, std::string_view second) const noexcept {
    // Hashing the pair of hashes keeps ("ab","c") and ("a","bc") apart.
    const std::array<std::uint64_t, 2> both{of(first), of(second)};
    return of(std::string_view(reinterpret_cast<const char*>(both.data()), sizeof both));
}

}  // namespace callgate::flow

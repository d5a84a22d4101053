// SPDX-License-Identifier: Apache-2.0
#include <callgate/crypto/ed25519.hpp>
#include <callgate/crypto/random.hpp>

#include <sodium.h>

#include <cassert>
#include <stdexcept>
#include <string>

namespace callgate::crypto {

signing_key signing_key::from_seed(std::span<const std::uint8_t> seed) {
    if (seed.size() != crypto_sign_SEEDBYTES) throw std::invalid_argument("Ed25519 seed has " + std::to_string(seed.size()) + " bytes, not 32");
    signing_key k;
    k.secret_ = secret(crypto_sign_SECRETKEYBYTES);
    ::crypto_sign_seed_keypair(k.public_.data(), k.secret_.data(), seed.data());
    return k;
}

signing_key signing_key::generate() {
    secret seed(crypto_sign_SEEDBYTES);
    random_bytes({seed.data(), seed.size()});
    return from_seed(seed.bytes());
}

void signing_key::sign(std::span<const std::uint8_t> message, std::span<std::uint8_t, 64> signature) const noexcept {
    assert(!secret_.empty() && "signing with an empty key");
    ::crypto_sign_detached(signature.data(), nullptr, message.data(), message.size(), secret_.data());
}

bool verify_any(std::span<const std::uint8_t> message, std::span<const std::uint8_t, 64> signature,
                const key_bytes& public_key) noexcept {
    return ::crypto_sign_verify_detached(signature.data(), message.data(), message.size(), public_key.data()) == 0;
}

bool is_weak_public_key(const key_bytes& public_key) noexcept {
    return ::crypto_core_ed25519_is_valid_point(public_key.data()) != 1;
}

}  // namespace callgate::crypto

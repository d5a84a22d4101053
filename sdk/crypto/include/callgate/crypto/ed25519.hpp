// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstdint>
#include <span>

#include <callgate/crypto/secret.hpp>

/// Ed25519 (RFC 8032) over libsodium.
namespace callgate::crypto {

using key_bytes = std::array<std::uint8_t, 32>;
using signature_bytes = std::array<std::uint8_t, 64>;

/// Secret key with its public half, expanded once from the seed.
class signing_key {
  public:
    /// `seed` has 32 bytes.
    static signing_key from_seed(std::span<const std::uint8_t> seed);
    static signing_key generate();
    [[nodiscard]] const key_bytes& public_key() const noexcept { return public_; }
    [[nodiscard]] std::span<const std::uint8_t> seed() const noexcept { return secret_.bytes().first(32); }
    /// Any thread.
    void sign(std::span<const std::uint8_t> message, std::span<std::uint8_t, 64> signature) const noexcept;

  private:
    secret secret_;  // 64 bytes: seed, public key
    key_bytes public_{};
};

/// False also for small-order and non-canonical keys and signatures (libsodium's rules).
/// For keys seen for the first time; known_key.hpp is for those that come again. Any thread.
[[nodiscard]] bool verify_any(std::span<const std::uint8_t> message, std::span<const std::uint8_t, 64> signature,
                              const key_bytes& public_key) noexcept;
/// verify_any under its short name.
[[nodiscard]] inline bool verify(std::span<const std::uint8_t> message, std::span<const std::uint8_t, 64> signature,
                                 const key_bytes& public_key) noexcept {
    return verify_any(message, signature, public_key);
}
/// True for keys no honest signer has: small order or not on the curve. To be refused when loaded.
[[nodiscard]] bool is_weak_public_key(const key_bytes& public_key) noexcept;

}  // namespace callgate::crypto

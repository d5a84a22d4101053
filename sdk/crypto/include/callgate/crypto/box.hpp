// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include <callgate/crypto/ed25519.hpp>

/// NaCl box with a kept shared key, in the xkv1 envelope of nkeys (protocol.md 1.4):
/// "xkv1" | 24-byte nonce | 16-byte tag | ciphertext.
namespace callgate::crypto {

inline constexpr std::size_t xkv1_overhead = 4 + 24 + 16;

[[nodiscard]] bool looks_sealed(std::span<const std::uint8_t> payload) noexcept;

/// crypto_box_beforenm; nullopt for low-order peer keys. `own_secret` is the raw 32-byte scalar.
[[nodiscard]] std::optional<secret> agree(std::span<const std::uint8_t, 32> own_secret, const key_bytes& peer_public);
[[nodiscard]] key_bytes curve_public(std::span<const std::uint8_t, 32> own_secret) noexcept;

/// Writes message.size() + xkv1_overhead bytes to `out`; random nonce. Any thread.
void seal(std::span<const std::uint8_t> message, std::span<const std::uint8_t> shared, std::uint8_t* out) noexcept;
/// As seal with the given nonce: for test vectors.
void seal_with_nonce(std::span<const std::uint8_t> message, std::span<const std::uint8_t> shared,
                     std::span<const std::uint8_t, 24> nonce, std::uint8_t* out) noexcept;
/// Writes sealed.size() - xkv1_overhead bytes; nullopt when too short, not xkv1, or the tag is wrong.
[[nodiscard]] std::optional<std::size_t> open(std::span<const std::uint8_t> sealed, std::span<const std::uint8_t> shared,
                                              std::uint8_t* out) noexcept;

}  // namespace callgate::crypto

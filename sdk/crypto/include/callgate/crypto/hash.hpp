// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string_view>

/// Digests of public data (FIPS 180-4), over OpenSSL. Any thread. They throw std::runtime_error only when
/// OpenSSL cannot allocate or its provider lacks the digest, which is a broken installation.
namespace callgate::crypto {

using digest_bytes = std::array<std::uint8_t, 32>;

/// SHA-512/256: a truncated SHA-512 with an initial value of its own; neither SHA-256 nor SHA-512 cut short.
[[nodiscard]] digest_bytes sha512_256(std::span<const std::uint8_t> in);
[[nodiscard]] digest_bytes sha512_256(std::string_view in);
[[nodiscard]] digest_bytes sha256(std::span<const std::uint8_t> in);
[[nodiscard]] digest_bytes sha256(std::string_view in);

}  // namespace callgate::crypto

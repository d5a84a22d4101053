// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

/// base64url without padding (RFC 4648 section 5), canonical only.
namespace callgate::crypto::base64url {

[[nodiscard]] constexpr std::size_t encoded_size(std::size_t bytes) noexcept { return bytes / 3 * 4 + (bytes % 3 ? bytes % 3 + 1 : 0); }
/// Upper bound of what decode() writes.
[[nodiscard]] constexpr std::size_t decoded_size(std::size_t chars) noexcept { return chars / 4 * 3 + (chars % 4 ? chars % 4 - 1 : 0); }

/// Writes exactly encoded_size(in.size()) characters; returns their number.
std::size_t encode(std::span<const std::uint8_t> in, char* out) noexcept;
[[nodiscard]] std::string encode(std::span<const std::uint8_t> in);
[[nodiscard]] std::string encode(std::string_view in);

/// Number of bytes written, or nullopt for a character outside the alphabet, a length of 1 mod 4, or
/// non-zero trailing bits. `out` holds decoded_size(in.size()). `in` and `out` may not overlap.
[[nodiscard]] std::optional<std::size_t> decode(std::string_view in, std::uint8_t* out) noexcept;
[[nodiscard]] std::optional<std::string> decode(std::string_view in);

}  // namespace callgate::crypto::base64url

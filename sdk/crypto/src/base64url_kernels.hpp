// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/crypto/base64url.hpp>

/// The two ways encode() and decode() work; tests and benchmarks compare them. Any thread.
namespace callgate::crypto::base64url {

std::size_t encode_scalar(std::span<const std::uint8_t> in, char* out) noexcept;
[[nodiscard]] std::optional<std::size_t> decode_scalar(std::string_view in, std::uint8_t* out) noexcept;

/// Does this CPU have AVX2? Always false where the code was not built for x86-64.
[[nodiscard]] bool has_avx2() noexcept;
/// Only where has_avx2(). Encodes whole blocks of 24 bytes, never the last few bytes; returns how many bytes, a
/// multiple of 24, are in `out` as characters.
std::size_t encode_blocks_avx2(std::span<const std::uint8_t> in, char* out) noexcept;
/// Only where has_avx2(). Decodes whole blocks of 32 characters, stopping before the first block with a character
/// outside the alphabet; returns how many characters, a multiple of 32, were decoded. Writes nothing behind them.
std::size_t decode_blocks_avx2(std::string_view in, std::uint8_t* out) noexcept;

}  // namespace callgate::crypto::base64url

// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <span>

namespace callgate::crypto {

/// SHA-512 of `first` followed by `second`. OpenSSL's code is a quarter faster than libsodium's, which stands in
/// should OpenSSL have no memory or no such digest. Any thread.
void sha512_of_two(std::span<const std::uint8_t> first, std::span<const std::uint8_t> second, std::span<std::uint8_t, 64> out) noexcept;

}  // namespace callgate::crypto

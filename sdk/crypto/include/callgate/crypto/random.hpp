// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <span>

namespace callgate::crypto {

/// Fills with bytes of the system's generator. Any thread; never fails (init() aborts without randomness).
void random_bytes(std::span<std::uint8_t> out) noexcept;

}  // namespace callgate::crypto

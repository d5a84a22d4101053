// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstdint>
#include <string_view>

namespace callgate::flow {

/// SipHash-2-4 under a random key of this object: clients that choose the input cannot choose the output, so
/// they cannot make entries collide.
class fingerprint_key {
  public:
    fingerprint_key();
    /// Never 0.
    [[nodiscard]] std::uint64_t of(std::string_view text) const noexcept;
    [[nodiscard]] std::uint64_t of(std::string_view first, std::string_view second) const noexcept;

  private:
    std::array<std::uint8_t, 16> key_{};
};

}  // namespace callgate::flow

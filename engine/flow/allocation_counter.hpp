// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>

namespace callgate::flow::testing {

/// How often this thread has called operator new since the counter was made. Its source replaces the global operators of
/// the binary it is linked into: for tests only.
class allocation_counter {
  public:
    allocation_counter() noexcept;
    [[nodiscard]] std::size_t count() const noexcept;

  private:
    std::size_t begin_;
};

}  // namespace callgate::flow::testing

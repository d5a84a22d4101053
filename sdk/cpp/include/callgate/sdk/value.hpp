// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <callgate/abi/base.h>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

/// Value types of the ABI as C++ sees them. No thread, no state.
namespace callgate::sdk {

[[nodiscard]] constexpr std::string_view view(cg_str s) noexcept {
    return s.size == 0 || s.data == nullptr ? std::string_view{} : std::string_view{s.data, s.size};
}
[[nodiscard]] constexpr std::span<const std::uint8_t> view(cg_bytes b) noexcept {
    return b.size == 0 || b.data == nullptr ? std::span<const std::uint8_t>{} : std::span<const std::uint8_t>{b.data, b.size};
}
/// Borrows; what `s` points to must outlive the use of the result.
[[nodiscard]] constexpr cg_str to_c(std::string_view s) noexcept { return {s.data(), s.size()}; }
[[nodiscard]] constexpr cg_bytes to_c(std::span<const std::uint8_t> b) noexcept { return {b.data(), b.size()}; }
[[nodiscard]] inline std::span<const cg_str> view(cg_str_list l) noexcept {
    return l.items == nullptr ? std::span<const cg_str>{} : std::span<const cg_str>{l.items, l.count};
}

/// What the ABI's rule 2 asks of a reader: min(theirs, mine) bytes into a zeroed local, so that a shorter
/// struct of an older peer reads as "absent" and a longer one of a newer peer is cut. NULL reads as all zero.
template <class T>
[[nodiscard]] T copy_in(const T* theirs) noexcept {
    static_assert(std::is_trivially_copyable_v<T>);
    T mine{};
    if (theirs == nullptr) return mine;
    const std::size_t size = std::min<std::size_t>(theirs->struct_size, sizeof(T));
    std::memcpy(&mine, theirs, size);
    mine.struct_size = static_cast<std::uint32_t>(size);
    return mine;
}

/// A zeroed struct with struct_size set.
template <class T>
[[nodiscard]] T make() noexcept {
    T t{};
    t.struct_size = sizeof(T);
    return t;
}

/// A failure with an ABI status. Thrown out of plugin code it becomes the error completion, or the error
/// text, of the call it happened in. The text says what was wrong and what to do; never a secret.
class status_error : public std::runtime_error {
  public:
    status_error(cg_status code, const std::string& text, std::string where = {})
        : std::runtime_error(text), code_(code), where_(std::move(where)) {}
    [[nodiscard]] cg_status code() const noexcept { return code_; }
    /// file:line, key or URL; may be empty.
    [[nodiscard]] const std::string& where() const noexcept { return where_; }

  private:
    cg_status code_;
    std::string where_;
};

}  // namespace callgate::sdk

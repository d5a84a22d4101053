// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/base.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include "engine/base/error.hpp"

/// Reading what a plugin wrote, by rules 2, 3 and 5 of the ABI (sdk/docs/abi.md). Any thread.
/// Pointers are believed (a plugin shares our address space); sizes, counts and strides are not.
namespace callgate::host {

/// Copy of a size-prefixed struct: the fields both sides know, zero for the rest. False when `theirs` is
/// null or its struct_size is smaller than the prefix itself.
template <class T>
[[nodiscard]] bool read_struct(const T* theirs, T& mine) noexcept {
    static_assert(std::is_trivially_copyable_v<T>);
    std::memset(static_cast<void*>(&mine), 0, sizeof(T));
    if (theirs == nullptr) return false;
    std::uint32_t size = 0;
    std::memcpy(&size, theirs, sizeof size);
    if (size < sizeof size) return false;
    std::memcpy(static_cast<void*>(&mine), theirs, size < sizeof(T) ? size : sizeof(T));
    return true;
}

/// Element `index` of an array with a stride; elements of value structs have no size prefix. Stride 0 means
/// "the size of the first version", and a stride below the element's copies what is there.
template <class T>
[[nodiscard]] T read_element(const T* base, std::size_t index, std::size_t stride) noexcept {
    static_assert(std::is_trivially_copyable_v<T>);
    if (stride == 0) stride = sizeof(T);
    T mine{};
    std::memcpy(static_cast<void*>(&mine), reinterpret_cast<const unsigned char*>(base) + index * stride,
                stride < sizeof(T) ? stride : sizeof(T));
    return mine;
}

inline std::string_view view(cg_str s) noexcept { return s.data == nullptr ? std::string_view{} : std::string_view(s.data, s.size); }
inline cg_str to_c(std::string_view s) noexcept { return {s.data(), s.size()}; }
/// At most `limit` bytes; the rest is cut off.
inline std::string bounded(cg_str s, std::size_t limit) { return std::string(view(s).substr(0, limit)); }

/// Into a plugin's buffer, cut to it; a null or short `to` is left alone.
inline void write_error(cg_errbuf* to, cg_status code, std::string_view text) noexcept {
    if (to == nullptr || to->struct_size < sizeof(cg_errbuf)) return;
    to->code = code;
    const auto n = to->text.cap < text.size() ? to->text.cap : text.size();
    if (n != 0 && to->text.data != nullptr) std::memcpy(to->text.data, text.data(), n);
    to->text.size = to->text.data == nullptr ? 0 : n;
}

inline errc to_errc(cg_status s) noexcept {
    switch (s) {
        case CG_E_INVALID: return errc::invalid;
        case CG_E_UNSUPPORTED: return errc::unsupported;
        case CG_E_NOT_FOUND: return errc::not_found;
        case CG_E_UNAVAILABLE: return errc::unavailable;
        case CG_E_DEADLINE: return errc::deadline;
        case CG_E_CANCELLED: return errc::cancelled;
        case CG_E_BUSY: return errc::busy;
        case CG_E_PERMISSION: return errc::permission;
        case CG_E_ABI: return errc::abi;
        default: return errc::internal;
    }
}

/// Says something about the question, nothing about the health of whom was asked: one caller's mistakes must not open its breaker.
inline bool is_callers_fault(cg_status s) noexcept { return s == CG_E_INVALID || s == CG_E_NOT_FOUND || s == CG_E_BUSY || s == CG_E_COMPACTED; }

/// "CG_E_BUSY"; unknown values read as CG_E_INTERNAL.
std::string_view status_name(cg_status s) noexcept;

}  // namespace callgate::host

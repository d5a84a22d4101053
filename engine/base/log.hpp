// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

namespace callgate::log {

enum class level : std::uint8_t { trace, debug, info, warn, error };

/// One name/value pair of a structured record. Values from the wire are escaped on output.
struct field {
    std::string_view key;
    std::string value;
    field(std::string_view k, std::string v) : key(k), value(std::move(v)) {}
    field(std::string_view k, std::string_view v) : key(k), value(v) {}
    field(std::string_view k, const char* v) : key(k), value(v) {}
    template <class T>
        requires std::is_arithmetic_v<T>
    field(std::string_view k, T v) : key(k), value(std::to_string(v)) {}
};

enum class format : std::uint8_t { json, text };

/// Call once at start, before threads. Records go to standard error, one line each.
void configure(level minimum, format f);
/// Any thread; takes effect at once.
void set_level(level minimum);
[[nodiscard]] bool enabled(level l) noexcept;
/// Any thread. Never pass a credential, seed, token or request body.
void write(level l, std::string_view message, std::span<const field> fields);

inline void write(level l, std::string_view m, std::initializer_list<field> f) {
    if (enabled(l)) write(l, m, std::span<const field>(f.begin(), f.size()));
}
inline void debug(std::string_view m, std::initializer_list<field> f = {}) { write(level::debug, m, f); }
inline void info(std::string_view m, std::initializer_list<field> f = {}) { write(level::info, m, f); }
inline void warn(std::string_view m, std::initializer_list<field> f = {}) { write(level::warn, m, f); }
inline void error(std::string_view m, std::initializer_list<field> f = {}) { write(level::error, m, f); }

}  // namespace callgate::log

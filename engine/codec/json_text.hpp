// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace callgate::codec {

/// Appends a JSON string with its quotes, escaped as Go's encoding/json does (protocol.md 2.2): `<`, `>`, `&`,
/// U+2028 and U+2029 as \uXXXX, control characters as \n, \r, \t or \u00XX; each byte that is not part of
/// valid UTF-8 becomes \ufffd.
void append_json_string(std::string& out, std::string_view text);
void append_json_number(std::string& out, std::int64_t value);
/// `["a","b"]`
void append_json_strings(std::string& out, std::span<const std::string> list);

}  // namespace callgate::codec

// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

/// Text from the wire on its way into a log or an audit line. Any thread; no state.
namespace callgate {

/// Length in bytes of the well-formed UTF-8 sequence at the front of `text` (Unicode 15, table 3-7): 1 to 4, or 0
/// when the first byte begins none or `text` is empty.
[[nodiscard]] std::size_t utf8_sequence(std::string_view text) noexcept;

/// Appends `text` as the inside of a JSON string (RFC 8259 section 7), without the quotes. Well-formed UTF-8 stands as
/// it is, so that names can be searched for; `"` and `\` get a backslash. As \uXXXX: what could break a line or
/// steer a terminal (U+0000 to U+001F, U+007F to U+009F, U+2028, U+2029), what is not seen or turns the order of
/// reading (bidi controls, zero width and other ignorable code points; above U+FFFF as two units), and each byte that
/// is not part of well-formed UTF-8, by its value.
void append_escaped(std::string& out, std::string_view text);

}  // namespace callgate

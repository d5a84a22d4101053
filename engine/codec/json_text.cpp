// SPDX-License-Identifier: Apache-2.0
#include "engine/codec/json_text.hpp"

#include <array>
#include <charconv>

namespace callgate::codec {
namespace {

constexpr char hex[] = "0123456789abcdef";

// Length of the valid UTF-8 sequence at the front of s (Unicode 15, table 3-7), 0 = none.
std::size_t sequence(std::string_view s) noexcept {
    const auto b = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
    const auto tail = [&](std::size_t i, unsigned lo = 0x80, unsigned hi = 0xbf) { return i < s.size() && b(i) >= lo && b(i) <= hi; };
    const unsigned c = b(0);
    if (c < 0x80) return 1;
    if (c >= 0xc2 && c <= 0xdf) return tail(1) ? 2 : 0;
    if (c >= 0xe0 && c <= 0xef) {
        const unsigned lo = c == 0xe0 ? 0xa0u : 0x80u, hi = c == 0xed ? 0x9fu : 0xbfu;
        return tail(1, lo, hi) && tail(2) ? 3 : 0;
    }
    if (c >= 0xf0 && c <= 0xf4) {
        const unsigned lo = c == 0xf0 ? 0x90u : 0x80u, hi = c == 0xf4 ? 0x8fu : 0xbfu;
        return tail(1, lo, hi) && tail(2) && tail(3) ? 4 : 0;
    }
    return 0;
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
    out += '"';
    while (!text.empty()) {
        const auto c = static_cast<unsigned char>(text[0]);
        const std::size_t n = sequence(text);
        if (n == 0) {
            out += "\\ufffd";
            text.remove_prefix(1);
            continue;
        }
        if (n > 1) {
            // U+2028 and U+2029 end a line in JavaScript.
            if (n == 3 && c == 0xe2 && text[1] == '\x80' && (text[2] == '\xa8' || text[2] == '\xa9'))
                out += text[2] == '\xa8' ? "\\u2028" : "\\u2029";
            else
                out += text.substr(0, n);
        } else if (c == '"' || c == '\\') {
            out += '\\';
            out += static_cast<char>(c);
        } else if (c == '\n') {
            out += "\\n";
        } else if (c == '\r') {
            out += "\\r";
        } else if (c == '\t') {
            out += "\\t";
        } else if (c < 0x20 || c == '<' || c == '>' || c == '&') {
            out += "\\u00";
            out += hex[c >> 4];
            out += hex[c & 15];
        } else {
            out += static_cast<char>(c);
        }
        text.remove_prefix(n);
    }
    out += '"';
}

void append_json_number(std::string& out, std::int64_t value) {
    std::array<char, 24> digits;
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
    out.append(digits.data(), end);
}

void append_json_strings(std::string& out, std::span<const std::string> list) {
    char separator = '[';
    if (list.empty()) out += separator;
    for (const auto& s : list) {
        out += separator;
        append_json_string(out, s);
        separator = ',';
    }
    out += ']';
}

}  // namespace callgate::codec

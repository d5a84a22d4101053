// SPDX-License-Identifier: Apache-2.0
#include "engine/codec/json_text.hpp"

#include <array>
#include <charconv>

#include "engine/base/escape.hpp"

namespace callgate::codec {
namespace {

constexpr char hex[] = "0123456789abcdef";

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
    out += '"';
    while (!text.empty()) {
        const auto c = static_cast<unsigned char>(text[0]);
        const std::size_t n = utf8_sequence(text);
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

// SPDX-License-Identifier: Apache-2.0
#include "engine/base/escape.hpp"

namespace callgate {
namespace {

void append_unit(std::string& out, unsigned unit) {
    constexpr char hex[] = "0123456789abcdef";
    out += "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) out += hex[(unit >> shift) & 15];
}

}  // namespace

std::size_t utf8_sequence(std::string_view s) noexcept {
    if (s.empty()) return 0;
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

void append_escaped(std::string& out, std::string_view text) {
    while (!text.empty()) {
        const unsigned c = static_cast<unsigned char>(text[0]);
        const std::size_t n = utf8_sequence(text);
        const unsigned second = n > 1 ? static_cast<unsigned char>(text[1]) : 0u;
        if (n == 0 || (n == 1 && (c < 0x20 || c == 0x7f))) {
            append_unit(out, c);
        } else if (c == 0xc2 && second < 0xa0) {
            append_unit(out, second);
        } else if (n == 3 && text.starts_with("\xe2\x80\xa8")) {
            append_unit(out, 0x2028);
        } else if (n == 3 && text.starts_with("\xe2\x80\xa9")) {
            append_unit(out, 0x2029);
        } else {
            if (c == '"' || c == '\\') out += '\\';
            out += text.substr(0, n);
        }
        text.remove_prefix(n == 0 ? 1 : n);
    }
}

}  // namespace callgate

// SPDX-License-Identifier: Apache-2.0
#include "engine/base/escape.hpp"

#include <algorithm>
#include <iterator>

namespace callgate {
namespace {

struct range {
    char32_t first, last;
};

// Unicode 15, in order: Default_Ignorable_Code_Point (DerivedCoreProperties), with it what else of Cf, Zl and Zp shows
// nothing itself. Two names that look alike, or a line that reads in another order than it stands, hide who came in.
constexpr range unseen[] = {
    {0x00ad, 0x00ad},    // soft hyphen
    {0x034f, 0x034f},    // combining grapheme joiner
    {0x061c, 0x061c},    // Arabic letter mark: bidi
    {0x115f, 0x1160},    // Hangul fillers
    {0x17b4, 0x17b5},    // Khmer inherent vowels
    {0x180b, 0x180f},    // Mongolian selectors, vowel separator
    {0x200b, 0x200f},    // zero width space and joiners, LRM, RLM
    {0x2028, 0x202e},    // line and paragraph separator; embeddings and overrides: bidi
    {0x2060, 0x206f},    // word joiner, invisible operators; isolates: bidi
    {0x3164, 0x3164},    // Hangul filler
    {0xfe00, 0xfe0f},    // variation selectors
    {0xfeff, 0xfeff},    // byte order mark
    {0xffa0, 0xffa0},    // halfwidth Hangul filler
    {0xfff0, 0xfffb},    // unassigned and ignorable; interlinear annotation
    {0x13430, 0x1343f},  // hieroglyph format controls
    {0x1bca0, 0x1bca3},  // shorthand format controls
    {0x1d173, 0x1d17a},  // musical format controls
    {0xe0000, 0xe0fff},  // tags, variation selectors
};

bool is_unseen(char32_t c) noexcept {
    const auto* r = std::upper_bound(std::begin(unseen), std::end(unseen), c, [](char32_t v, const range& x) { return v < x.first; });
    return r != std::begin(unseen) && c <= std::prev(r)->last;
}

// Of a sequence that utf8_sequence accepted.
char32_t code_point(std::string_view s) noexcept {
    const auto b = [&](std::size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(s[i])); };
    switch (s.size()) {
        case 1: return b(0);
        case 2: return (b(0) & 0x1f) << 6 | (b(1) & 0x3f);
        case 3: return (b(0) & 0x0f) << 12 | (b(1) & 0x3f) << 6 | (b(2) & 0x3f);
        default: return (b(0) & 0x07) << 18 | (b(1) & 0x3f) << 12 | (b(2) & 0x3f) << 6 | (b(3) & 0x3f);
    }
}

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
        const auto well_formed = utf8_sequence(text);
        const auto n = std::max<std::size_t>(well_formed, 1);
        const char32_t c = well_formed == 0 ? static_cast<unsigned char>(text[0]) : code_point(text.substr(0, n));
        if (well_formed == 0 || c < 0x20 || (c >= 0x7f && c < 0xa0) || is_unseen(c)) {
            if (c > 0xffff) append_unit(out, 0xd800u + ((c - 0x10000u) >> 10));
            append_unit(out, c > 0xffff ? 0xdc00u + ((c - 0x10000u) & 0x3ffu) : c);
        } else {
            if (c == '"' || c == '\\') out += '\\';
            out += text.substr(0, n);
        }
        text.remove_prefix(n);
    }
}

}  // namespace callgate

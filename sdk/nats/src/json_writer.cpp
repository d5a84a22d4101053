// SPDX-License-Identifier: Apache-2.0
#include <callgate/nats/json_writer.hpp>

#include <cmath>

namespace callgate::nats {
namespace {

constexpr char hex[] = "0123456789abcdef";

// Length of the well-formed UTF-8 sequence at the start of `s` (RFC 3629), 0 when there is none.
std::size_t sequence_length(std::string_view s) noexcept {
    const auto at = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
    const auto continues = [&](std::size_t i, unsigned low = 0x80, unsigned high = 0xbf) {
        return i < s.size() && at(i) >= low && at(i) <= high;
    };
    const unsigned lead = at(0);
    if (lead < 0x80) return 1;
    if (lead >= 0xc2 && lead <= 0xdf) return continues(1) ? 2 : 0;
    if (lead >= 0xe0 && lead <= 0xef)
        return continues(1, lead == 0xe0 ? 0xa0 : 0x80, lead == 0xed ? 0x9f : 0xbf) && continues(2) ? 3 : 0;
    if (lead >= 0xf0 && lead <= 0xf4)
        return continues(1, lead == 0xf0 ? 0x90 : 0x80, lead == 0xf4 ? 0x8f : 0xbf) && continues(2) && continues(3) ? 4 : 0;
    return 0;
}

void append_control(std::string& out, unsigned char c) {
    switch (c) {
        case '\b': out += "\\b"; return;
        case '\f': out += "\\f"; return;
        case '\n': out += "\\n"; return;
        case '\r': out += "\\r"; return;
        case '\t': out += "\\t"; return;
        default:
            out += "\\u00";
            out += hex[c >> 4];
            out += hex[c & 15];
    }
}

}  // namespace

void append_json_string(std::string& out, std::string_view in, bool html_safe) {
    out += '"';
    while (!in.empty()) {
        const auto c = static_cast<unsigned char>(in[0]);
        const std::size_t length = sequence_length(in);
        if (length == 0) {
            out += "\\ufffd";
            in.remove_prefix(1);
            continue;
        }
        if (c < 0x20 || (html_safe && (c == '<' || c == '>' || c == '&'))) {
            append_control(out, c);
        } else if (c == '"' || c == '\\') {
            out += '\\';
            out += static_cast<char>(c);
        } else if (in.starts_with("\xe2\x80\xa8") || in.starts_with("\xe2\x80\xa9")) {
            out += in[2] == '\xa8' ? "\\u2028" : "\\u2029";
        } else {
            out += in.substr(0, length);
        }
        in.remove_prefix(length);
    }
    out += '"';
}

void json_writer::real(double v) {
    char buffer[64];
    const double size = std::fabs(v);
    const bool exponent = size != 0 && (size < 1e-6 || size >= 1e21);
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, v, exponent ? std::chars_format::scientific : std::chars_format::fixed).ptr;
    std::string text(buffer, end);
    // Go writes e-07 as e-7.
    if (const auto e = text.find("e-0"); e != std::string::npos) text.erase(e + 2, 1);
    raw(text);
}

std::string indent_json(std::string_view compact) {
    std::string out;
    std::size_t level = 0;
    const auto line = [&] {
        out += '\n';
        out.append(2 * level, ' ');
    };
    bool quoted = false;
    for (std::size_t i = 0; i < compact.size(); ++i) {
        const char c = compact[i];
        if (quoted) {
            out += c;
            if (c == '\\' && i + 1 < compact.size()) out += compact[++i];
            else if (c == '"') quoted = false;
            continue;
        }
        const bool closes = c == '}' || c == ']';
        const bool was_empty = closes && i > 0 && (compact[i - 1] == '{' || compact[i - 1] == '[');
        if (closes && level > 0) --level;
        if (closes && !was_empty) line();
        out += c;
        quoted = c == '"';
        if (c == ':') out += ' ';
        if (c == '{' || c == '[') {
            ++level;
            if (i + 1 < compact.size() && compact[i + 1] != '}' && compact[i + 1] != ']') line();
        }
        if (c == ',') line();
    }
    return out;
}

}  // namespace callgate::nats

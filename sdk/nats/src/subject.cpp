// SPDX-License-Identifier: Apache-2.0
#include <callgate/nats/subject.hpp>

#include <algorithm>
#include <cstddef>

namespace callgate::nats {
namespace {

// Takes the first token off `rest`. Callers stop when `done` is set.
struct token_reader {
    std::string_view rest;
    bool done = false;
    std::string_view next() noexcept {
        const auto dot = rest.find('.');
        const auto token = rest.substr(0, dot);
        if (dot == std::string_view::npos) {
            done = true;
            rest = {};
        } else {
            rest.remove_prefix(dot + 1);
        }
        return token;
    }
};

constexpr bool is_blank_or_control(char c) noexcept {
    const auto u = static_cast<unsigned char>(c);
    return u <= 0x20 || u == 0x7f;
}

}  // namespace

bool is_valid_subject(std::string_view subject) noexcept {
    if (std::ranges::any_of(subject, is_blank_or_control)) return false;
    token_reader r{subject};
    while (!r.done) {
        const auto token = r.next();
        if (token.empty() || (token == ">" && !r.done)) return false;
    }
    return true;
}

bool is_literal_subject(std::string_view subject) noexcept {
    if (!is_valid_subject(subject)) return false;
    token_reader r{subject};
    while (!r.done) {
        const auto token = r.next();
        if (token == "*" || token == ">") return false;
    }
    return true;
}

bool is_valid_permission(std::string_view text, bool with_queue) noexcept {
    const auto blank = text.find(' ');
    if (blank == std::string_view::npos) return is_valid_subject(text);
    return with_queue && is_valid_subject(text.substr(0, blank)) && is_valid_subject(text.substr(blank + 1));
}

bool is_safe_token(std::string_view token) noexcept {
    return !token.empty() && std::ranges::all_of(token, [](char c) {
        const auto u = static_cast<unsigned char>(c);
        return u > 0x20 && u <= 0x7e && c != '.' && c != '*' && c != '>';
    });
}

bool is_subset(std::string_view inner, std::string_view outer) noexcept {
    token_reader i{inner}, o{outer};
    while (true) {
        const auto mine = i.next(), other = o.next();
        if (other == ">") return true;
        if (mine == ">" || (other != "*" && mine != other)) return false;
        if (i.done || o.done) return i.done && o.done;
    }
}

bool overlaps(std::string_view a, std::string_view b) noexcept {
    token_reader x{a}, y{b};
    while (true) {
        const auto s = x.next(), t = y.next();
        if (s == ">" || t == ">") return true;
        if (s != "*" && t != "*" && s != t) return false;
        if (x.done || y.done) return x.done && y.done;
    }
}

}  // namespace callgate::nats

// SPDX-License-Identifier: Apache-2.0
#include "plugins/auth_oidc/cache_control.hpp"

#include <algorithm>

namespace callgate::auth_oidc {
namespace {

/// tchar of RFC 9110, 5.6.2.
bool is_token_char(char c) noexcept {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

bool is_space(char c) noexcept { return c == ' ' || c == '\t'; }

std::string_view take_token(std::string_view& in) noexcept {
    const auto n = static_cast<std::size_t>(std::find_if_not(in.begin(), in.end(), is_token_char) - in.begin());
    const auto out = in.substr(0, n);
    in.remove_prefix(n);
    return out;
}

/// What stands between the quotes, escapes and all; nullopt when it does not end.
std::optional<std::string_view> take_quoted(std::string_view& in) noexcept {
    for (std::size_t i = 1; i < in.size(); ++i) {
        if (in[i] == '\\') {
            ++i;
        } else if (in[i] == '"') {
            const auto out = in.substr(1, i - 1);
            in.remove_prefix(i + 1);
            return out;
        }
    }
    return std::nullopt;
}

void skip_space(std::string_view& in) noexcept {
    while (!in.empty() && is_space(in.front())) in.remove_prefix(1);
}

bool same(std::string_view name, std::string_view lower) noexcept {
    return std::equal(name.begin(), name.end(), lower.begin(), lower.end(),
                      [](char a, char b) { return (a >= 'A' && a <= 'Z' ? static_cast<char>(a + 32) : a) == b; });
}

std::optional<std::chrono::seconds> parse_delta(std::string_view text) noexcept {
    if (text.empty()) return std::nullopt;
    std::int64_t n = 0;
    for (const char c : text) {
        if (c < '0' || c > '9') return std::nullopt;
        n = std::min<std::int64_t>(n * 10 + (c - '0'), max_delta_seconds.count());
    }
    return std::chrono::seconds(n);
}

}  // namespace

void cache_control::directive(std::string_view name, std::optional<std::string_view> argument) noexcept {
    // no-cache may name fields that it is about; as other caches do, that is not told apart.
    if (same(name, "no-store") || same(name, "no-cache")) stale_ = true;
    if (!same(name, "max-age")) return;
    const auto age = parse_delta(argument.value_or(""));
    if (age)
        max_age_ = std::min(*age, max_age_.value_or(*age));
    else
        stale_ = true;
}

void cache_control::read(std::string_view value) noexcept {
    bytes_ += std::min(value.size(), max_cache_control_bytes + 1);
    if (bytes_ > max_cache_control_bytes) stale_ = true;
    // Once stale nothing makes it fresh again.
    while (!stale_) {
        skip_space(value);
        if (value.empty()) return;
        if (value.front() == ',') {
            value.remove_prefix(1);
            continue;
        }
        const auto name = take_token(value);
        std::optional<std::string_view> argument;
        if (!value.empty() && value.front() == '=') {
            value.remove_prefix(1);
            const bool quoted = !value.empty() && value.front() == '"';
            argument = quoted ? take_quoted(value) : take_token(value);
            if (!argument || (argument->empty() && !quoted)) stale_ = true;
        }
        skip_space(value);
        if (name.empty() || ++directives_ > max_cache_directives || (!value.empty() && value.front() != ',')) stale_ = true;
        directive(name, argument);
    }
}

std::optional<std::chrono::seconds> cache_control::lifetime() const noexcept { return stale_ ? std::chrono::seconds(0) : max_age_; }

std::optional<std::chrono::seconds> parse_age(std::string_view value) noexcept {
    value = value.substr(0, value.find(','));
    skip_space(value);
    while (!value.empty() && is_space(value.back())) value.remove_suffix(1);
    return parse_delta(value);
}

std::optional<std::chrono::seconds> fresh_for(const sdk::http_response_view& response) noexcept {
    cache_control c;
    response.each_header("Cache-Control", [&](std::string_view value) { c.read(value); });
    const auto lifetime = c.lifetime();
    if (!lifetime) return std::nullopt;
    const auto age = parse_age(response.header("Age")).value_or(std::chrono::seconds(0));
    return std::max(*lifetime - age, std::chrono::seconds(0));
}

}  // namespace callgate::auth_oidc

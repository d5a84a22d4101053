// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <charconv>

#include "engine/policy/document.hpp"

namespace callgate::policy {

namespace {

// A seed that stands where a number or a name should gets into the message that quotes it, and from there into logs.
void mask_seeds(std::string& text) {
    constexpr std::size_t seed_chars = 58;  // protocol.md 1.1: SO, SA, SU, SN, SC, SX and 56 characters of base32
    const auto base32 = [](char c) { return (c >= 'A' && c <= 'Z') || (c >= '2' && c <= '7'); };
    std::size_t begin = 0;
    for (std::size_t end = 0; end <= text.size(); ++end) {
        if (end < text.size() && base32(text[end])) continue;
        // Somewhat shorter or longer is a seed that was copied badly.
        if (const auto run = end - begin; run + 8 >= seed_chars && text[begin] == 'S') {
            std::fill_n(text.begin() + static_cast<std::ptrdiff_t>(begin) + 2, run - 2, '*');
        }
        begin = end + 1;
    }
}

// Keys and some texts repeat what the file says; a message is one line whatever that is.
std::string one_line(std::string text) {
    mask_seeds(text);
    constexpr std::size_t longest = 1024;
    if (text.size() > longest) {
        text.resize(longest);
        while (!text.empty() && (static_cast<unsigned char>(text.back()) & 0xc0) == 0x80) text.pop_back();
        if (!text.empty() && static_cast<unsigned char>(text.back()) >= 0xc0) text.pop_back();
        text += "...";
    }
    for (char& c : text) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
    }
    return text;
}

}  // namespace

void reporter::error(int line, std::string key, std::string text) const {
    out_->push_back({finding::severity::error, file_, line, one_line(std::move(key)), one_line(std::move(text))});
}

void reporter::warning(int line, std::string key, std::string text) const {
    out_->push_back({finding::severity::warning, file_, line, one_line(std::move(key)), one_line(std::move(text))});
}

std::size_t reporter::errors() const noexcept {
    return static_cast<std::size_t>(
        std::ranges::count_if(*out_, [](const finding& f) { return f.level == finding::severity::error; }));
}

section::section(const reporter& to, const node& value, std::string path, key_table table)
    : to_(&to), value_(&value), path_(std::move(path)), table_(table) {
    if (value.type == node::kind::null) return;
    if (!value.is_mapping()) {
        to.error(value.line, path_, fmt::format("must be a mapping with the keys {}, not {}", fmt::join(table.keys, ", "), value.shown()));
        return;
    }
    for (const auto& m : value.members) {
        if (std::ranges::find(table.keys, std::string_view(m.key)) != table.keys.end()) continue;
        if (m.key == "<<") continue;  // reported when it was parsed
        const auto near = nearest(m.key, table.keys);
        node name;
        name.type = node::kind::scalar;
        name.text = m.key;
        auto shown = name.shown();
        shown = shown.substr(1, shown.size() - 2);
        to.error(m.line, path_of(shown),
                 near.empty() ? fmt::format("unknown key; known here: {}", fmt::join(table.keys, ", "))
                              : fmt::format("unknown key; did you mean \"{}\"?", near));
    }
}

const node* section::find(std::string_view key) const {
    // A key that is read but not in the table would be refused for every user: a defect of ours.
    assert(std::ranges::find(table_.keys, key) != table_.keys.end());
    const node* n = value_->find(key);
    return n;
}

const node* section::required(std::string_view key) const {
    const node* n = find(key);
    if (n == nullptr || n->type == node::kind::null) {
        to_->error(n != nullptr ? n->line : value_->line, path_of(key), "is missing");
        return nullptr;
    }
    return n;
}

std::string section::path_of(std::string_view key) const { return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key); }

int section::line_of(std::string_view key) const {
    for (const auto& m : value_->members) {
        if (m.key == key) return m.line;
    }
    return value_->line;
}

const node* section::scalar(std::string_view key, std::string_view expected) const {
    const node* n = find(key);
    if (n == nullptr) return nullptr;
    if (n->is_scalar() && !n->text.empty()) return n;
    error(key, fmt::format("must be {}, not {}", expected, n->is_scalar() ? "an empty text" : n->shown()));
    return nullptr;
}

bool section::text(std::string_view key, std::string& out) const {
    const node* n = scalar(key, "a text");
    if (n == nullptr) return false;
    if (std::ranges::any_of(n->text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; })) {
        error(key, "contains a control character or line break");
        return false;
    }
    out = n->text;
    return true;
}

bool section::flag(std::string_view key, bool& out) const {
    const node* n = scalar(key, "true or false");
    if (n == nullptr) return false;
    const auto v = n->as_bool();
    if (!v) error(key, fmt::format("must be true or false, not {}", n->shown()));
    if (v) out = *v;
    return v.has_value();
}

bool section::read_integer(std::string_view key, std::int64_t& out, std::int64_t low, std::int64_t high) const {
    const node* n = scalar(key, fmt::format("a whole number from {} to {}", low, high));
    if (n == nullptr) return false;
    const auto v = n->as_integer();
    if (!v || *v < low || *v > high) {
        error(key, fmt::format("must be a whole number from {} to {}, not {}", low, high, n->shown()));
        return false;
    }
    out = *v;
    return true;
}

bool section::fraction(std::string_view key, double& out, double low, double high) const {
    const node* n = scalar(key, fmt::format("a number from {} to {}", low, high));
    if (n == nullptr) return false;
    double v = 0;
    const char* end = n->text.data() + n->text.size();
    const auto parsed = std::from_chars(n->text.data(), end, v);
    if (n->quoted || parsed.ec != std::errc{} || parsed.ptr != end || !(v >= low && v <= high)) {
        error(key, fmt::format("must be a number from {} to {}, not {}", low, high, n->shown()));
        return false;
    }
    out = v;
    return true;
}

bool section::duration(std::string_view key, std::int64_t& out_ns, std::int64_t low_ns, std::int64_t high_ns) const {
    const auto expected = fmt::format("a duration from {} to {} such as \"30s\", \"500ms\" or \"1h30m\"", duration_text(low_ns), duration_text(high_ns));
    const node* n = scalar(key, expected);
    if (n == nullptr) return false;
    const auto v = parse_duration(n->text);
    if (!v || *v < low_ns || *v > high_ns) {
        error(key, fmt::format("must be {}, not {}", expected, n->shown()));
        return false;
    }
    out_ns = *v;
    return true;
}

bool section::size(std::string_view key, std::size_t& out, std::int64_t low, std::int64_t high) const {
    const auto expected = fmt::format("a size from {} to {} bytes such as \"64KiB\" or \"1MiB\"", low, high);
    const node* n = scalar(key, expected);
    if (n == nullptr) return false;
    const auto v = parse_size(n->text);
    if (!v || *v < low || *v > high) {
        error(key, fmt::format("must be {}, not {}", expected, n->shown()));
        return false;
    }
    out = static_cast<std::size_t>(*v);
    return true;
}

bool section::texts(std::string_view key, std::vector<std::string>& out) const {
    const node* n = find(key);
    if (n == nullptr) return false;
    std::vector<std::string> read;
    if (n->is_scalar() && !n->text.empty()) {
        read.push_back(n->text);
    } else if (n->is_sequence()) {
        for (std::size_t i = 0; i < n->items.size(); ++i) {
            const node& item = n->items[i];
            if (!item.is_scalar() || item.text.empty()) {
                to_->error(item.line, fmt::format("{}[{}]", path_of(key), i), fmt::format("must be a text, not {}", item.is_scalar() ? "an empty text" : item.shown()));
                return false;
            }
            read.push_back(item.text);
        }
    } else {
        error(key, fmt::format("must be a list of texts, not {}", n->is_scalar() ? "an empty text" : n->shown()));
        return false;
    }
    out = std::move(read);
    return true;
}

std::span<const node> section::required_items(std::string_view key, std::string_view expected) const {
    const node* n = required(key);
    if (n == nullptr) return {};
    if (!n->is_sequence() || n->items.empty()) error(key, fmt::format("must be {}, not {}", expected, n->is_sequence() ? "an empty list" : n->shown()));
    return n->items;
}

std::span<const member> section::required_members(std::string_view key, std::string_view expected) const {
    const node* n = required(key);
    if (n == nullptr) return {};
    if (!n->is_mapping() || n->members.empty()) error(key, fmt::format("must be {}, not {}", expected, n->is_mapping() ? "an empty mapping" : n->shown()));
    return n->members;
}

std::optional<std::size_t> section::word(std::string_view key, std::span<const std::string_view> words) const {
    const node* n = scalar(key, fmt::format("one of {}", fmt::join(words, ", ")));
    if (n == nullptr) return std::nullopt;
    const auto found = std::ranges::find(words, std::string_view(n->text));
    if (found == words.end()) {
        const auto near = n->from_environment ? std::string_view{} : nearest(n->text, words);
        error(key, fmt::format("must be one of {}, not {}{}", fmt::join(words, ", "), n->shown(),
                               near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near)));
        return std::nullopt;
    }
    return static_cast<std::size_t>(found - words.begin());
}

}  // namespace callgate::policy

// SPDX-License-Identifier: Apache-2.0
#include "engine/policy/document.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>

namespace callgate::policy {

std::string finding::message() const {
    std::string where = file;
    if (line > 0) where += fmt::format(":{}", line);
    if (!key.empty()) where += (where.empty() ? "" : ": ") + key;
    return where.empty() ? text : where + ": " + text;
}

bool has_error(std::span<const finding> findings) noexcept {
    return std::ranges::any_of(findings, [](const finding& f) { return f.level == finding::severity::error; });
}

// ---- node ------------------------------------------------------------------------------------------
const node* node::find(std::string_view key) const noexcept {
    for (const auto& m : members) {
        if (m.key == key) return &m.value;
    }
    return nullptr;
}

std::optional<bool> node::as_bool() const noexcept {
    if (!is_scalar() || quoted) return std::nullopt;
    if (text == "true") return true;
    if (text == "false") return false;
    return std::nullopt;
}

std::optional<std::int64_t> node::as_integer() const noexcept {
    if (!is_scalar() || quoted || text.empty()) return std::nullopt;
    const bool negative = text.front() == '-';
    // "0644" and "+1" mean different things to different YAML readers, so they are words here.
    if (text.size() > 1u + negative && text[negative] == '0') return std::nullopt;
    std::int64_t v = 0;
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), v);
    if (ec != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return v;
}

std::string node::shown() const {
    switch (type) {
        case kind::null: return "nothing";
        case kind::sequence: return "a list";
        case kind::mapping: return "a mapping";
        case kind::scalar: break;
    }
    if (from_environment) return "the value taken from the environment";
    std::string out = "\"";
    for (const char c : std::string_view(text).substr(0, 64)) {
        const auto u = static_cast<unsigned char>(c);
        out += u < 0x20 || u == 0x7f ? '?' : c;
    }
    // A cut through a UTF-8 sequence would make the message itself invalid.
    if (text.size() > 64) {
        while (!out.empty() && (static_cast<unsigned char>(out.back()) & 0xc0) == 0x80) out.pop_back();
        if (!out.empty() && static_cast<unsigned char>(out.back()) >= 0xc0) out.pop_back();
        out += "...";
    }
    return out + "\"";
}

// ---- files and environment --------------------------------------------------------------------------
std::optional<std::string> read_document(const std::string& path, std::vector<finding>& out) {
    const reporter to(path, out);
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        to.error(0, {}, fmt::format("cannot be opened: {}", std::strerror(errno)));
        return std::nullopt;
    }
    struct stat st {};
    std::optional<std::string> text;
    if (::fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        to.error(0, {}, "not a regular file");
    } else {
        text.emplace();
        char buffer[16384];
        ssize_t n = 0;
        while (text->size() <= max_document_bytes && (n = ::read(fd, buffer, sizeof buffer)) > 0) {
            text->append(buffer, static_cast<std::size_t>(n));
        }
        if (n < 0) {
            to.error(0, {}, fmt::format("cannot be read: {}", std::strerror(errno)));
            text.reset();
        }
    }
    ::close(fd);
    return text;
}

namespace {

void expand(node& n, const std::string& path, const reporter& to) {
    if (n.is_scalar()) {
        std::string out;
        std::size_t at = 0;
        bool changed = false;
        while (true) {
            const auto start = n.text.find("${", at);
            if (start == std::string::npos) break;
            changed = true;
            if (start > 0 && n.text[start - 1] == '$') {
                out.append(n.text, at, start - at).append("{");
                at = start + 2;
                continue;
            }
            const auto end = n.text.find('}', start);
            const auto name = end == std::string::npos ? std::string{} : n.text.substr(start + 2, end - start - 2);
            const bool valid = !name.empty() && !(name.front() >= '0' && name.front() <= '9') &&
                               std::ranges::all_of(name, [](char c) {
                                   return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
                               });
            if (!valid) {
                to.error(n.line, path, "${ must be followed by the name of an environment variable and }; write $${ for the two characters themselves");
                return;
            }
            const char* value = std::getenv(name.c_str());
            if (value == nullptr) {
                to.error(n.line, path, fmt::format("environment variable {} is not set", name));
                return;
            }
            out.append(n.text, at, start - at).append(value);
            n.from_environment = true;
            at = end + 1;
        }
        if (!changed) return;
        n.text = out.append(n.text, at);
        if (n.text.size() > max_document_bytes) to.error(n.line, path, "too long after its environment variables were put in");
        return;
    }
    for (std::size_t i = 0; i < n.items.size(); ++i) expand(n.items[i], fmt::format("{}[{}]", path, i), to);
    for (auto& m : n.members) expand(m.value, path.empty() ? m.key : path + "." + m.key, to);
}

void append_json_string(std::string& out, std::string_view text) {
    out += '"';
    for (const char c : text) {
        const auto u = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (u < 0x20) {
            out += fmt::format("\\u{:04x}", u);
        } else {
            out += c;
        }
    }
    out += '"';
}

bool is_json_number(std::string_view t) {
    std::size_t i = !t.empty() && t[0] == '-';
    const auto digits = [&] {
        const auto start = i;
        while (i < t.size() && t[i] >= '0' && t[i] <= '9') ++i;
        return i - start;
    };
    const auto first = i;
    const auto whole = digits();
    if (whole == 0 || (whole > 1 && t[first] == '0')) return false;
    if (i < t.size() && t[i] == '.') {
        ++i;
        if (digits() == 0) return false;
    }
    if (i < t.size() && (t[i] == 'e' || t[i] == 'E')) {
        ++i;
        if (i < t.size() && (t[i] == '+' || t[i] == '-')) ++i;
        if (digits() == 0) return false;
    }
    return i == t.size();
}

void append_json(std::string& out, const node& n) {
    switch (n.type) {
        case node::kind::null: out += "null"; return;
        case node::kind::scalar:
            if (!n.quoted && (n.as_bool() || is_json_number(n.text))) {
                out += n.text;
            } else {
                append_json_string(out, n.text);
            }
            return;
        case node::kind::sequence:
            out += '[';
            for (std::size_t i = 0; i < n.items.size(); ++i) {
                if (i > 0) out += ',';
                append_json(out, n.items[i]);
            }
            out += ']';
            return;
        case node::kind::mapping:
            out += '{';
            for (std::size_t i = 0; i < n.members.size(); ++i) {
                if (i > 0) out += ',';
                append_json_string(out, n.members[i].key);
                out += ':';
                append_json(out, n.members[i].value);
            }
            out += '}';
            return;
    }
}

struct unit {
    std::string_view suffix;
    std::int64_t factor;
};

// Sum of <digits><unit>; `bare` allows digits alone. Every unit at most once, no fractions, no overflow.
std::optional<std::int64_t> parse_units(std::string_view text, std::span<const unit> units, bool bare) noexcept {
    std::int64_t total = 0;
    std::size_t last_unit = units.size() + 1;
    if (text.empty()) return std::nullopt;
    while (!text.empty()) {
        std::int64_t v = 0;
        const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), v);
        if (ec != std::errc{} || v < 0 || text.front() == '-') return std::nullopt;
        text.remove_prefix(static_cast<std::size_t>(end - text.data()));
        std::size_t chars = 0;
        while (chars < text.size() && !(text[chars] >= '0' && text[chars] <= '9')) ++chars;
        const auto suffix = text.substr(0, chars);
        text.remove_prefix(chars);
        if (suffix.empty()) {
            if (!bare || total != 0 || last_unit <= units.size() || !text.empty()) return std::nullopt;
            return v;
        }
        const auto found = std::ranges::find(units, suffix, &unit::suffix);
        if (found == units.end()) return std::nullopt;
        const auto index = static_cast<std::size_t>(found - units.begin());
        if (last_unit <= units.size() && index >= last_unit) return std::nullopt;  // largest first
        last_unit = index;
        std::int64_t part = 0;
        if (__builtin_mul_overflow(v, found->factor, &part) || __builtin_add_overflow(total, part, &total)) return std::nullopt;
    }
    return total;
}

constexpr unit duration_units[] = {{"ns", 1},           {"us", 1'000},           {"ms", 1'000'000}, {"s", 1'000'000'000},
                                   {"m", 60'000'000'000}, {"h", 3'600'000'000'000}, {"d", 86'400'000'000'000}};
constexpr unit size_units[] = {{"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}};

}  // namespace

void expand_environment(node& root, const std::string& file, std::vector<finding>& out) {
    expand(root, {}, reporter(file, out));
}

std::string to_json(const node& value) {
    std::string out;
    append_json(out, value);
    return out;
}

std::optional<std::int64_t> parse_duration(std::string_view text) noexcept {
    if (text == "0") return 0;
    return parse_units(text, duration_units, false);
}

std::optional<std::int64_t> parse_size(std::string_view text) noexcept { return parse_units(text, size_units, true); }

std::string duration_text(std::int64_t ns) {
    std::string out;
    for (auto u = std::rbegin(duration_units); u != std::rend(duration_units); ++u) {
        if (ns >= u->factor) {
            out += fmt::format("{}{}", ns / u->factor, u->suffix);
            ns %= u->factor;
        }
    }
    return out.empty() ? "0s" : out;
}

std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates) {
    std::string_view best;
    const std::size_t limit = std::max<std::size_t>(1, std::min<std::size_t>(word.size(), 24) / 3);
    std::size_t best_distance = limit + 1;
    if (word.size() > 64) return best;
    for (const auto candidate : candidates) {
        // Two neighbours swapped count as one slip: that is the commonest one.
        std::vector<std::size_t> before, last, row(candidate.size() + 1);
        for (std::size_t j = 0; j <= candidate.size(); ++j) row[j] = j;
        for (std::size_t i = 1; i <= word.size(); ++i) {
            before = std::move(last);
            last = row;
            row[0] = i;
            for (std::size_t j = 1; j <= candidate.size(); ++j) {
                row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (word[i - 1] != candidate[j - 1])});
                if (i > 1 && j > 1 && word[i - 1] == candidate[j - 2] && word[i - 2] == candidate[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
            }
        }
        if (row.back() < best_distance) {
            best_distance = row.back();
            best = candidate;
        }
    }
    return best;
}

}  // namespace callgate::policy

// SPDX-License-Identifier: Apache-2.0
#include "engine/policy/condition.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace callgate::policy {

std::optional<std::array<std::uint8_t, 16>> parse_address(std::string_view text) noexcept {
    char buffer[INET6_ADDRSTRLEN + 1];
    text = text.substr(0, text.find('%'));  // a zone ("fe80::1%eth0") says which link, not which address
    if (text.empty() || text.size() >= sizeof buffer) return std::nullopt;
    std::memcpy(buffer, text.data(), text.size());
    buffer[text.size()] = '\0';
    std::array<std::uint8_t, 16> out{};
    if (::inet_pton(AF_INET, buffer, out.data() + 12) == 1) {
        out[10] = out[11] = 0xff;
        return out;
    }
    if (::inet_pton(AF_INET6, buffer, out.data()) == 1) return out;
    return std::nullopt;
}

bool network::contains(const std::array<std::uint8_t, 16>& a) const noexcept {
    const unsigned whole = bits / 8, rest = bits % 8;
    if (std::memcmp(a.data(), address.data(), whole) != 0) return false;
    return rest == 0 || ((a[whole] ^ address[whole]) >> (8 - rest)) == 0;
}

std::optional<network> parse_network(std::string_view text, std::string& why) {
    const auto slash = text.find('/');
    const auto address = text.find('%') == std::string_view::npos ? parse_address(text.substr(0, slash)) : std::nullopt;
    if (!address) {
        why = "not a network; write for example 10.0.0.0/8, 2001:db8::/32 or one address";
        return std::nullopt;
    }
    const bool v4 = text.substr(0, slash).find(':') == std::string_view::npos;
    network out{*address, 128};
    if (slash != std::string_view::npos) {
        const auto digits = text.substr(slash + 1);
        unsigned n = 0;
        const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), n);
        if (ec != std::errc{} || end != digits.data() + digits.size() || n > (v4 ? 32u : 128u)) {
            why = fmt::format("the number behind the slash must be 0 to {}", v4 ? 32 : 128);
            return std::nullopt;
        }
        out.bits = v4 ? n + 96 : n;
    }
    for (unsigned bit = out.bits; bit < 128; ++bit) {
        if ((out.address[bit / 8] >> (7 - bit % 8)) & 1) {
            why = "has bits set behind its prefix; write the first address of the network";
            return std::nullopt;
        }
    }
    return out;
}

bool glob_matches(std::string_view pattern, std::string_view text) noexcept {
    std::size_t p = 0, t = 0, star = std::string_view::npos, resume = 0;
    while (t < text.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            resume = t;
        } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
            ++p;
            ++t;
        } else if (star != std::string_view::npos) {
            p = star + 1;
            t = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.size() && pattern[p] == '*') ++p;
    return p == pattern.size();
}

// ---- evaluation --------------------------------------------------------------------------------------
namespace {

bool equals(const operand& wanted, std::string_view text) noexcept {
    const auto* s = std::get_if<std::string>(&wanted);
    return s != nullptr && *s == text;
}

bool equals(const operand& wanted, const simdjson::dom::element& value) noexcept {
    if (const auto* s = std::get_if<std::string>(&wanted)) {
        std::string_view text;
        return !value.get_string().get(text) && text == *s;
    }
    if (const auto* n = std::get_if<std::int64_t>(&wanted)) {
        std::int64_t number = 0;
        return !value.get_int64().get(number) && number == *n;
    }
    bool flag = false;
    return !value.get_bool().get(flag) && flag == std::get<bool>(wanted);
}

bool text_test(const condition& c, std::string_view text) noexcept {
    if (text.empty()) return false;
    switch (c.op) {
        case condition::op::in:
        case condition::op::has: return std::ranges::any_of(c.values, [&](const operand& v) { return equals(v, text); });
        case condition::op::glob:
            return std::ranges::any_of(c.values, [&](const operand& v) { return glob_matches(std::get<std::string>(v), text); });
        case condition::op::cidr: {
            const auto address = parse_address(text);
            return address && std::ranges::any_of(c.networks, [&](const network& n) { return n.contains(*address); });
        }
        case condition::op::exists: break;
    }
    return false;
}

bool claim_test(const condition& c, const facts& f) noexcept {
    const auto value = f.claims ? f.claims->find(c.field.path) : std::nullopt;
    if (c.op == condition::op::exists) return value.has_value() == c.expected;
    if (!value) return false;
    std::string_view text;
    switch (c.op) {
        case condition::op::in: return std::ranges::any_of(c.values, [&](const operand& v) { return equals(v, *value); });
        case condition::op::has: {
            simdjson::dom::array items;
            // Issuers write a list of one as the value itself (as RFC 7519 allows for "aud").
            if (value->get_array().get(items)) return std::ranges::any_of(c.values, [&](const operand& v) { return equals(v, *value); });
            for (const auto item : items) {
                if (std::ranges::any_of(c.values, [&](const operand& v) { return equals(v, item); })) return true;
            }
            return false;
        }
        default: return !value->get_string().get(text) && text_test(c, text);
    }
}

}  // namespace

bool condition::holds(const facts& f) const {
    switch (shape) {
        case shape::always: return true;
        case shape::all: return std::ranges::all_of(parts, [&](const condition& c) { return c.holds(f); });
        case shape::any: return std::ranges::any_of(parts, [&](const condition& c) { return c.holds(f); });
        case shape::not_: return !parts.front().holds(f);
        case shape::time: return std::ranges::any_of(windows, [&](const time_window& w) { return w.holds(f.now_unix_s); });
        case shape::test: break;
    }
    switch (field.type) {
        case field_type::claim: return claim_test(*this, f);
        case field_type::flag: return flag_of(field.id, f) == std::get<bool>(values.front());
        case field_type::list: {
            const auto list = list_of(field.id, f);
            if (op == op::exists) return list.empty() != expected;
            return std::ranges::any_of(list, [&](std::string_view t) { return text_test(*this, t); });
        }
        case field_type::text: break;
    }
    const auto text = text_of(field.id, f);
    return op == op::exists ? text.empty() != expected : text_test(*this, text);
}

std::int64_t condition::next_boundary(std::int64_t unix_s) const {
    std::int64_t best = INT64_MAX;
    for (const auto& w : windows) best = std::min(best, w.next_boundary(unix_s));
    for (const auto& p : parts) best = std::min(best, p.next_boundary(unix_s));
    return best;
}

bool condition::asks_time() const { return !windows.empty() || std::ranges::any_of(parts, &condition::asks_time); }

// ---- reading -----------------------------------------------------------------------------------------
namespace {

constexpr std::size_t max_glob_bytes = 256;
constexpr std::size_t max_values = 4096;
constexpr std::string_view operator_words[] = {"equals", "in", "glob", "cidr", "has", "exists"};

struct test_reader {
    const condition_context& context;
    const field& f;
    std::string path;

    void error(const node& at, std::string text) const { context.to->error(at.line, path, std::move(text)); }

    [[nodiscard]] std::span<const std::string_view> words() const {
        if (f.id == field_id::kind) return kind_words;
        if (f.id == field_id::tls) return tls_words;
        return {};
    }

    std::optional<operand> value_of(const node& n) const {
        if (!n.is_scalar() || n.text.empty()) {
            error(n, n.type == node::kind::null ? "compares with nothing; write {exists: false} to ask for absence"
                                                : fmt::format("must be a text, number, true or false, not {}", n.is_scalar() ? "an empty text" : n.shown()));
            return std::nullopt;
        }
        if (f.type == field_type::flag || f.type == field_type::claim) {
            if (const auto b = n.as_bool()) return operand(*b);
        }
        if (f.type == field_type::flag) {
            error(n, fmt::format("is true or false, not {}", n.shown()));
            return std::nullopt;
        }
        if (f.type == field_type::claim) {
            if (const auto i = n.as_integer()) return operand(*i);
        }
        if (const auto known = words(); !known.empty() && std::ranges::find(known, std::string_view(n.text)) == known.end()) {
            const auto near = nearest(n.text, known);
            error(n, fmt::format("must be one of {}, not {}{}", fmt::join(known, ", "), n.shown(), near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near)));
            return std::nullopt;
        }
        if (f.id == field_id::backend && std::ranges::find(context.backends, n.text) == context.backends.end()) {
            const std::vector<std::string_view> known(context.backends.begin(), context.backends.end());
            const auto near = nearest(n.text, known);
            error(n, fmt::format("no backend is named {}{}", n.shown(), near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near)));
            return std::nullopt;
        }
        return operand(n.text);
    }

    std::vector<const node*> items(const node& n, bool scalar_too) const {
        std::vector<const node*> out;
        if (n.is_sequence()) {
            for (const auto& item : n.items) out.push_back(&item);
        } else if (scalar_too && n.is_scalar()) {
            out.push_back(&n);
        }
        if (out.empty()) error(n, fmt::format("must be a list with at least one value, not {}", n.is_sequence() ? "an empty list" : n.shown()));
        if (out.size() > max_values) {
            error(n, fmt::format("more than {} values", max_values));
            out.resize(max_values);
        }
        return out;
    }

    condition read(std::string_view word, const node& n) const {
        condition c;
        c.shape = condition::shape::test;
        c.field = f;
        const bool text_like = f.type == field_type::text || f.type == field_type::claim;
        const auto wrong = [&](std::string_view instead) {
            error(n, fmt::format("{} cannot be asked of {}; {}", word, f.name, instead));
            c.shape = condition::shape::always;
        };
        if (word == "equals" || word == "in") {
            c.op = condition::op::in;
            if (f.type == field_type::list) {
                wrong("it is a list, use has");
                return c;
            }
            if (word == "equals") {
                if (auto v = value_of(n)) c.values.push_back(std::move(*v));
            } else if (f.type == field_type::flag) {
                wrong("write true or false");
            } else {
                for (const node* item : items(n, false)) {
                    if (auto v = value_of(*item)) c.values.push_back(std::move(*v));
                }
            }
            // Addresses have many spellings; only their bytes compare.
            if (f.id == field_id::client_host && !c.values.empty()) {
                c.op = condition::op::cidr;
                for (const auto& v : c.values) add_network(c, n, std::get<std::string>(v), false);
                c.values.clear();
            }
        } else if (word == "glob") {
            c.op = condition::op::glob;
            if (!text_like || !words().empty() || f.id == field_id::client_host) {
                wrong(f.id == field_id::client_host ? "use cidr" : f.type == field_type::list ? "use has" : "use in");
                return c;
            }
            for (const node* item : items(n, true)) {
                if (!item->is_scalar() || item->text.empty() || item->text.size() > max_glob_bytes) {
                    error(*item, fmt::format("a glob is a text of 1 to {} bytes with * and ?", max_glob_bytes));
                } else {
                    c.values.emplace_back(item->text);
                }
            }
        } else if (word == "cidr") {
            c.op = condition::op::cidr;
            if (f.type != field_type::claim && f.id != field_id::client_host) {
                wrong("it is not an address");
                return c;
            }
            for (const node* item : items(n, true)) {
                if (item->is_scalar()) {
                    add_network(c, *item, item->text, true);
                } else {
                    error(*item, fmt::format("must be a network such as 10.0.0.0/8, not {}", item->shown()));
                }
            }
        } else if (word == "has") {
            c.op = condition::op::has;
            if (f.type != field_type::list && f.type != field_type::claim) {
                wrong("it is not a list, use equals or in");
                return c;
            }
            for (const node* item : items(n, true)) {
                if (auto v = value_of(*item)) c.values.push_back(std::move(*v));
            }
        } else {
            c.op = condition::op::exists;
            if (f.type == field_type::flag) {
                wrong("it is always there, write true or false");
                return c;
            }
            const auto b = n.as_bool();
            if (!b) error(n, fmt::format("exists is true or false, not {}", n.shown()));
            c.expected = b.value_or(true);
        }
        return c;
    }

    void add_network(condition& c, const node& at, std::string_view text, bool prefix) const {
        std::string why;
        if (!prefix && text.find('/') != std::string_view::npos) {
            error(at, "is a network; write {cidr: [...]}");
            return;
        }
        if (auto net = parse_network(text, why)) {
            c.networks.push_back(*net);
        } else {
            error(at, fmt::format("{}: {}", at.is_scalar() ? at.shown() : "address", why));
        }
    }
};

condition parse_test(const std::string& name, const node& value, const std::string& path, int line, const condition_context& context) {
    condition out;
    out.shape = condition::shape::all;
    const auto f = parse_field(name);
    if (!f) {
        const auto near = nearest(name, field_names());
        context.to->error(line, path, near.empty() ? "unknown field; known are backend, issuer, subject, claims.<path>, k8s.<name>, connection.<name>, tags, time, and all, any, not"
                                                   : fmt::format("unknown field; did you mean \"{}\"?", near));
        return out;
    }
    if (!check_field(*f, line, path, context)) return out;
    const test_reader reader{context, *f, path};
    if (value.is_sequence()) {
        reader.error(value, f->type == field_type::list ? "must be {has: ...}" : "is a list; write {in: [...]}");
        return out;
    }
    if (!value.is_mapping()) {
        out.parts.push_back(reader.read(f->type == field_type::list ? "has" : "equals", value));
        return out;
    }
    if (value.members.empty()) reader.error(value, fmt::format("asks nothing; use one of {}", fmt::join(operator_words, ", ")));
    for (const auto& m : value.members) {
        if (std::ranges::find(operator_words, std::string_view(m.key)) == std::end(operator_words)) {
            const auto near = nearest(m.key, operator_words);
            context.to->error(m.line, path + "." + m.key, near.empty() ? fmt::format("unknown operator; known are {}", fmt::join(operator_words, ", "))
                                                                       : fmt::format("unknown operator; did you mean \"{}\"?", near));
            continue;
        }
        out.parts.push_back(test_reader{context, *f, path + "." + m.key}.read(m.key, m.value));
    }
    return out;
}

}  // namespace

bool check_field(const field& f, int line, const std::string& path, const condition_context& context) {
    if (f.of_identity() && !context.identity_known) {
        context.to->error(line, path, fmt::format("{} is not known yet when a route is chosen; use connection.<name> here and the rest in policy.rules", f.name));
        return false;
    }
    if (f.needs_pinned_servers() && !context.servers_pinned) {
        context.to->error(line, path, fmt::format("{} is what the asking server says, and anybody who reaches the callout subject can claim to be one; set callout.servers to discovered or to a list of server keys", f.name));
        return false;
    }
    return true;
}

condition parse_condition(const node& when, const std::string& path, const condition_context& context) {
    condition out;
    out.shape = condition::shape::all;
    if (when.is_scalar() && when.text == "always") {
        out.shape = condition::shape::always;
        return out;
    }
    if (!when.is_mapping() || when.members.empty()) {
        context.to->error(when.line, path, fmt::format("must be a mapping of fields to what they must be, or the word always, not {}",
                                                       when.is_mapping() ? "an empty mapping" : when.shown()));
        return out;
    }
    for (const auto& m : when.members) {
        const auto sub = path + "." + m.key;
        if (m.key == "all" || m.key == "any") {
            condition c;
            c.shape = m.key == "all" ? condition::shape::all : condition::shape::any;
            if (!m.value.is_sequence() || m.value.items.empty()) {
                context.to->error(m.line, sub, fmt::format("must be a list of conditions, not {}", m.value.is_sequence() ? "an empty list" : m.value.shown()));
                continue;
            }
            for (std::size_t i = 0; i < m.value.items.size(); ++i) {
                c.parts.push_back(parse_condition(m.value.items[i], fmt::format("{}[{}]", sub, i), context));
            }
            out.parts.push_back(std::move(c));
        } else if (m.key == "not") {
            condition c;
            c.shape = condition::shape::not_;
            c.parts.push_back(parse_condition(m.value, sub, context));
            out.parts.push_back(std::move(c));
        } else if (m.key == "time") {
            condition c;
            c.shape = condition::shape::time;
            if (!context.identity_known) context.to->error(m.line, sub, "is asked in policy.rules, where a grant can end with the window; a route has none");
            c.windows = parse_time_windows(m.value, sub, *context.to);
            out.parts.push_back(std::move(c));
        } else {
            out.parts.push_back(parse_test(m.key, m.value, sub, m.line, context));
        }
    }
    // One test under one `all` is the common case; do not walk through two empty levels for it.
    while (out.shape == condition::shape::all && out.parts.size() == 1) {
        condition only = std::move(out.parts.front());
        out = std::move(only);
    }
    return out;
}

}  // namespace callgate::policy

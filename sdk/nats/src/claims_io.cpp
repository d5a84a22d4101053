// SPDX-License-Identifier: Apache-2.0
#include "claims_io.hpp"

namespace callgate::nats {
namespace {

std::string trimmed_lower(std::string_view s) {
    while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
    while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
    std::string out(s);
    for (char& c : out)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return out;
}

// Seeds begin with S, private keys with P; somebody will paste one where a public key belongs.
bool looks_private(std::string_view s) {
    return s.size() >= 50 && (s[0] == 'S' || s[0] == 'P') &&
           std::ranges::all_of(s.substr(0, 50), [](char c) { return (c >= 'A' && c <= 'Z') || (c >= '2' && c <= '7'); });
}

}  // namespace

std::string quoted_text(std::string_view text) {
    if (looks_private(text)) return "(" + std::to_string(text.size()) + " characters that look like a seed)";
    std::string out;
    append_json_string(out, text.substr(0, 80), false);
    return out;
}

void object_reader::cidr_texts(std::string_view name, std::vector<std::string>& v) {
    const auto* e = take(name);
    if (e == nullptr) return;
    if (!e->is_string()) return read_texts(*e, name, v);
    std::string_view rest = e->get_string().value_unsafe();
    while (true) {
        const auto comma = rest.find(',');
        auto one = trimmed_lower(rest.substr(0, comma));
        if (!one.empty() && std::ranges::find(v, one) == v.end()) v.push_back(std::move(one));
        if (comma == std::string_view::npos) return;
        rest.remove_prefix(comma + 1);
    }
}

void object_reader::finish(unknown_members* sink) {
    for (const auto& m : members_) {
        if (m.taken) continue;
        if (std::ranges::find(asked_, folded_name(m.name)) != asked_.end())
            return fail(errc::bad_json, quoted_text(m.name), "is written in another case than the standard has it");
        if (sink != nullptr) sink->emplace(m.name, json_text(m.value));
    }
}

}  // namespace callgate::nats

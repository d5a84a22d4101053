// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/config_references.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

namespace callgate::runtime {

using policy::node;

namespace {

bool is_reference(std::string_view text) {
    if (!text.starts_with("${") || !text.ends_with("}") || text.size() < 4) return false;
    const auto name = text.substr(2, text.size() - 3);
    return !(name.front() >= '0' && name.front() <= '9') && std::ranges::all_of(name, [](char c) {
        return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    });
}
std::string variable(const std::string& reference) { return reference.substr(2, reference.size() - 3); }

void set_aside(node& n) {
    if (n.is_scalar()) {
        if (!is_reference(n.text) || std::getenv(variable(n.text).c_str()) == nullptr) return;
        n.text.insert(n.text.begin(), '$');  // $${ is how the file writes ${ itself
        n.from_environment = true;           // so that nobody shows it or takes it for a literal
        return;
    }
    for (auto& i : n.items) set_aside(i);
    for (auto& m : n.members) set_aside(m.value);
}

void collect(const node& n, const std::string& path, std::vector<config_reference>& out) {
    if (n.is_scalar() && n.from_environment && is_reference(n.text)) out.push_back({path, n.quoted});
    for (std::size_t i = 0; i < n.items.size(); ++i) collect(n.items[i], fmt::format("{}[{}]", path, i), out);
    for (const auto& m : n.members) collect(m.value, path.empty() ? m.key : path + "." + m.key, out);
}

}  // namespace

void set_aside_references(node& root) {
    for (auto& part : root.members)
        if (part.key == "keys" || part.key == "backends" || part.key == "stores" || part.key == "modules" || part.key == "audit_sinks")
            for (auto& instance : part.value.members)
                for (auto& setting : instance.value.members)
                    if (setting.key == "config") set_aside(setting.value);
}

std::vector<config_reference> references_in(const node& config) {
    std::vector<config_reference> out;
    collect(config, {}, out);
    return out;
}

std::string value_json(const std::string& reference, bool quoted) {
    const char* value = std::getenv(variable(reference).c_str());
    node n;
    n.type = node::kind::scalar;
    n.text = value == nullptr ? "" : value;
    n.quoted = quoted;
    return policy::to_json(n);
}

}  // namespace callgate::runtime

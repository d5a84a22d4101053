// SPDX-License-Identifier: Apache-2.0
#include "plugins/auth_oidc/strict_json.hpp"

#include <algorithm>
#include <vector>

namespace callgate::auth_oidc {
namespace {

/// Depth is bounded by the parser before this walks.
bool unique_members(const simdjson::dom::element& e) {
    if (e.is_array()) {
        for (const auto v : simdjson::dom::array(e))
            if (!unique_members(v)) return false;
        return true;
    }
    if (!e.is_object()) return true;
    std::vector<std::string_view> names;
    for (const auto field : simdjson::dom::object(e)) {
        names.push_back(field.key);
        if (!unique_members(field.value)) return false;
    }
    std::sort(names.begin(), names.end());
    return std::adjacent_find(names.begin(), names.end()) == names.end();
}

}  // namespace

bool parse_strict(simdjson::dom::parser& parser, std::string_view text, simdjson::dom::object& out) {
    // simdjson copies its input, and a null pointer is no source even for nothing.
    if (text.empty()) return false;
    if (parser.max_depth() != max_json_depth || parser.capacity() < text.size()) {
        if (parser.allocate(std::max<std::size_t>(text.size(), 4096), max_json_depth) != simdjson::SUCCESS) return false;
    }
    simdjson::dom::element root;
    if (parser.parse(text.data(), text.size(), true).get(root) != simdjson::SUCCESS) return false;
    return root.get(out) == simdjson::SUCCESS && unique_members(root);
}

}  // namespace callgate::auth_oidc

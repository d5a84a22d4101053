// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <simdjson.h>
#include <string_view>

/// JSON from strangers: UTF-8, at most 32 levels, no object with a member twice, an object on top.
/// Included by sources only.
namespace callgate::auth_oidc {

inline constexpr std::size_t max_json_depth = 32;

/// The object lives in `parser` until its next parse. nullopt-like: false when the text is not that.
[[nodiscard]] bool parse_strict(simdjson::dom::parser& parser, std::string_view text, simdjson::dom::object& out);

/// Text of a member; nullopt when absent or not a string.
[[nodiscard]] inline std::optional<std::string_view> text_of(const simdjson::dom::object& o, std::string_view name) {
    std::string_view v;
    if (o.at_key(name).get(v) != simdjson::SUCCESS) return std::nullopt;
    return v;
}
[[nodiscard]] inline bool has(const simdjson::dom::object& o, std::string_view name) {
    return o.at_key(name).error() == simdjson::SUCCESS;
}

}  // namespace callgate::auth_oidc

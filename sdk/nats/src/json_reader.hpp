// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/nats/error.hpp>
#include <simdjson.h>

#include <string>
#include <string_view>

/// Strict reading of untrusted JSON. On-Demand parsing would only check what is touched, so the whole
/// document is walked: UTF-8, no duplicate members, at most json_max_depth levels.
namespace callgate::nats {

inline constexpr unsigned json_max_depth = 64;

/// The root, which lives as long as `parser` does and until its next parse. `what` names the text in errors.
[[nodiscard]] result<simdjson::dom::element> parse_strict(simdjson::dom::parser& parser, std::string_view text, std::string_view what);
/// As above; the root is an object.
[[nodiscard]] result<simdjson::dom::object> parse_strict_object(simdjson::dom::parser& parser, std::string_view text, std::string_view what);

/// Compact JSON of a value, spelled as json_writer does, members in the order in which they came.
[[nodiscard]] std::string json_text(simdjson::dom::element value);

/// Lower case as Go's encoding/json folds names: it takes "Sub" for "sub", and so must count as the same name.
[[nodiscard]] std::string folded_name(std::string_view name);

}  // namespace callgate::nats

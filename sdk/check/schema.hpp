// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

namespace callgate::check {
/// Empty when `json` fits the JSON Schema (draft 7), as the daemon checks it before create; else what is wrong, with the
/// key. An empty schema takes everything.
[[nodiscard]] std::string check_schema(const std::string& schema, const std::string& json);
}  // namespace callgate::check

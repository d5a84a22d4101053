// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <vector>

namespace callgate::runtime {

/// One thing a JSON value breaks of a JSON Schema (draft 7).
struct schema_violation {
    std::string where;  ///< "files.issuer", "issuers[0].url"; empty = the value itself
    std::string text;
};
/// Empty = valid. A schema or value that is no JSON, or a schema that cannot be used, is a violation too.
/// At most 64 of them. Start-up only.
[[nodiscard]] std::vector<schema_violation> validate_json(const std::string& schema_json, const std::string& value_json);

}  // namespace callgate::runtime

// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "engine/host/plugin_host.hpp"
#include "engine/runtime/config.hpp"

namespace callgate::runtime {

/// Options of an instance with everything its plugin's schema decides: secrets sealed, other references replaced.
struct resolved_instance {
    instance_options options;
    std::shared_ptr<host::secret_vault> secrets;  ///< may be null
};
/// Resolves and checks; `section` is a name of instance_sections.hpp. Empty `value`: there is an error among the findings, which name
/// file, line and key. [control]; reads the files of secrets.
struct resolve_outcome {
    std::optional<resolved_instance> value;
    std::vector<finding> findings;
};
[[nodiscard]] resolve_outcome resolve_instance(const instance_options& o, const std::string& schema_json, const config& c, const std::string& section);

}  // namespace callgate::runtime

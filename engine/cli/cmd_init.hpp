// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <iosfwd>
#include <string>

#include "engine/cli/folder.hpp"
#include "engine/cli/init_plan.hpp"

namespace callgate::cli {

/// `callgate init DIR`: makes a deployment or completes and checks the one that is there. What was made
/// and what to do next goes to `out`; secrets go to files only.
[[nodiscard]] result<void> run_init(const std::string& directory, const init_request& request, std::ostream& out,
                                    folder::step_hook hook = {});

}  // namespace callgate::cli

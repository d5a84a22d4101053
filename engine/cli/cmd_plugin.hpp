// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <iosfwd>
#include <string>
#include <vector>

#include "engine/base/error.hpp"

namespace callgate::cli {

/// `callgate plugin list`: what is in the directories, without running any of it. Exit status 1 when one of
/// them does not fit.
[[nodiscard]] int run_plugin_list(const std::vector<std::string>& directories, std::ostream& out);

/// `callgate plugin inspect FILE|NAME`: loads it (in a child process first) and shows its manifest and schemas.
[[nodiscard]] result<void> run_plugin_inspect(const std::string& file_or_name, const std::vector<std::string>& directories, std::ostream& out);

}  // namespace callgate::cli

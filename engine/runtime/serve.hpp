// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <vector>

#include "engine/host/plugin_host.hpp"
#include "engine/runtime/config.hpp"

namespace callgate::runtime {

/// The daemon: runs until SIGTERM or SIGINT (drain, exit 0) or a start failure (exit 1, reason on stderr).
/// SIGHUP reloads; a second SIGTERM ends at once.
int serve(const std::string& config_path);

/// `callgate check`: the loader's findings, then every plugin is loaded and asked about its part of the
/// configuration (schema, then create without start). Nothing is contacted.
[[nodiscard]] std::vector<finding> check(const std::string& config_path);

/// Directories to look for plugins in when the configuration names none: beside the executable, in a build
/// tree and as installed.
[[nodiscard]] std::vector<std::string> default_plugin_directories();

/// How the plugin host is told of a configuration.
[[nodiscard]] host::library_options plugin_libraries(const config& c);
[[nodiscard]] host::instance_options host_options(const instance_options& o, const config& c);

}  // namespace callgate::runtime

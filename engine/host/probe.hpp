// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <chrono>
#include <string>
#include <vector>

#include "engine/base/error.hpp"

/// A plugin runs code while it is loaded (constructors, the entry function). It does so in a child process
/// first, so that one that crashes, hangs or exits there is an error text and not the end of the daemon.
namespace callgate::host {

struct probe_options {
    /// Program and arguments in front of the path. Empty = no probe.
    std::vector<std::string> command = {"/proc/self/exe", "plugin-probe"};
    std::chrono::milliseconds timeout{10'000};
};

/// [control] Blocks until the child ended or the timeout is over. Errors: abi with "crashed while loading
/// (SIGSEGV)", "did not finish loading within 10 s", or what run_plugin_probe said.
[[nodiscard]] result<void> probe_plugin(const std::string& path, const probe_options& options);

/// The child's side, called by the CLI for `callgate plugin-probe PATH`: loads, negotiates, says what is wrong
/// on standard output. Returns the exit status: 0 fits, 3 does not.
int run_plugin_probe(const char* path);

}  // namespace callgate::host

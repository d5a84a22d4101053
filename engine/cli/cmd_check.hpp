// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <iosfwd>
#include <string>

namespace callgate::cli {

/// `callgate check FILE`: reads it and asks every plugin about its part; nothing is contacted. Every finding
/// goes to `err`, one a line. Exit status: 0 without errors, else 1.
[[nodiscard]] int run_check(const std::string& path, std::ostream& out, std::ostream& err);

}  // namespace callgate::cli

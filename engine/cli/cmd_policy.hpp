// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <iosfwd>
#include <string>

namespace callgate::cli {

/// `callgate policy test CONFIG [CASES]`: the cases in the configuration, then those of a file of cases,
/// against its policy. Exit status: 0 when all hold, else 1.
[[nodiscard]] int run_policy_test(const std::string& config_path, const std::string& cases_path, std::ostream& out, std::ostream& err);

}  // namespace callgate::cli

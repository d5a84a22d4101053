// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <vector>

#include "engine/policy/policy.hpp"
#include "engine/policy/test_case.hpp"
#include "engine/runtime/config.hpp"

namespace callgate::runtime {

/// What `callgate policy test FILE` prints: cases in the order of the file. Passed = no error among the
/// findings, at least one case, and all of them passed.
struct policy_test_outcome {
    std::vector<policy::case_result> cases;
    std::vector<finding> findings;  ///< about the file itself
    [[nodiscard]] bool passed() const noexcept;
};
/// `tests:` of a YAML file (other top-level keys are errors) against a compiled policy. CLI only.
[[nodiscard]] policy_test_outcome run_policy_test_file(const policy::compiled& policy, const std::string& path);
[[nodiscard]] policy_test_outcome run_policy_test_text(const policy::compiled& policy, const std::string& text, const std::string& name);

}  // namespace callgate::runtime

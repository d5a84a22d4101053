// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/policy_test_file.hpp"

#include <algorithm>

namespace callgate::runtime {
namespace {

constexpr auto file_table = policy::keys_of("policy_test_file", "tests");

}  // namespace

bool policy_test_outcome::passed() const noexcept {
    return !policy::has_error(findings) && !cases.empty() && std::ranges::all_of(cases, &policy::case_result::passed);
}

policy_test_outcome run_policy_test_text(const policy::compiled& policy, const std::string& text, const std::string& name) {
    policy_test_outcome out;
    const auto tree = policy::parse_yaml(text, name, out.findings);
    if (!tree) return out;
    const policy::reporter to(name, out.findings);
    const policy::section root(to, *tree, {}, file_table);
    const auto* tests = root.required("tests");
    if (tests == nullptr) return out;
    const auto cases = policy::parse_test_cases(*tests, "tests", to);
    if (cases.empty() && !policy::has_error(out.findings)) root.error("tests", "holds no case, so it would prove nothing");
    for (const auto& c : cases) out.cases.push_back(policy::run_case(policy, c));
    return out;
}

policy_test_outcome run_policy_test_file(const policy::compiled& policy, const std::string& path) {
    policy_test_outcome out;
    const auto text = policy::read_document(path, out.findings);
    return text ? run_policy_test_text(policy, *text, path) : out;
}

}  // namespace callgate::runtime

// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/cmd_policy.hpp"

#include <ostream>

#include "engine/cli/findings.hpp"
#include "engine/runtime/policy_test_file.hpp"

namespace callgate::cli {

int run_policy_test(const std::string& config_path, const std::string& cases_path, std::ostream& out, std::ostream& err) {
    // Loading runs the cases of the configuration itself: one whose cases fail is refused everywhere alike.
    const auto loaded = runtime::load_config(config_path);
    const auto errors = print_findings(loaded.findings, err);
    if (!loaded.value || !loaded.value->policy || errors != 0) {
        err << config_path << ": the policy cannot be used as it is\n";
        return 1;
    }
    out << config_path << ": its own cases hold\n";
    if (cases_path.empty()) return 0;

    const auto outcome = runtime::run_policy_test_file(*loaded.value->policy, cases_path);
    print_findings(outcome.findings, err);
    std::size_t failed = 0;
    for (const auto& c : outcome.cases) {
        out << (c.passed ? "ok    " : "FAIL  ") << cases_path << ':' << c.line << ": " << c.name << '\n';
        if (c.passed) continue;
        ++failed;
        for (const auto& d : c.differences) out << "        " << d << '\n';
    }
    out << cases_path << ": " << outcome.cases.size() << " cases, " << failed << " failed\n";
    return outcome.passed() ? 0 : 1;
}

}  // namespace callgate::cli

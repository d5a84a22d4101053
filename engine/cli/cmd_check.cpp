// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/cmd_check.hpp"

#include <ostream>
#include <vector>

#include "engine/runtime/config.hpp"
#include "engine/runtime/serve.hpp"

namespace callgate::cli {
namespace {

int say(const std::string& path, const std::vector<runtime::finding>& findings, const char* good, std::ostream& out, std::ostream& err) {
    std::size_t errors = 0;
    for (const auto& f : findings) {
        const bool is_error = f.level == runtime::finding::severity::error;
        errors += is_error ? 1 : 0;
        err << (is_error ? "error: " : "warning: ") << f.message() << '\n';
    }
    if (errors == 0) {
        out << path << ": " << good << '\n';
        return 0;
    }
    err << path << ": " << errors << (errors == 1 ? " error\n" : " errors\n");
    return 1;
}

}  // namespace

int run_check(const std::string& path, std::ostream& out, std::ostream& err) {
    return say(path, runtime::check(path), "good", out, err);
}

// Loading runs the policy's cases: a configuration whose cases fail is refused everywhere alike.
int run_policy_test(const std::string& path, std::ostream& out, std::ostream& err) {
    return say(path, runtime::load_config(path).findings, "every case of the policy holds", out, err);
}

}  // namespace callgate::cli

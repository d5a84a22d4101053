// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/cmd_check.hpp"

#include <ostream>

#include "engine/cli/findings.hpp"
#include "engine/runtime/serve.hpp"

namespace callgate::cli {

int run_check(const std::string& path, std::ostream& out, std::ostream& err) {
    const auto errors = print_findings(runtime::check(path), err);
    if (errors == 0) {
        out << path << ": good\n";
        return 0;
    }
    err << path << ": " << errors << (errors == 1 ? " error\n" : " errors\n");
    return 1;
}

}  // namespace callgate::cli

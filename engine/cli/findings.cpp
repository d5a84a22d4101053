// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/findings.hpp"

#include <ostream>

namespace callgate::cli {

std::size_t print_findings(std::span<const policy::finding> findings, std::ostream& err) {
    std::size_t errors = 0;
    for (const auto& f : findings) {
        const bool is_error = f.level == policy::finding::severity::error;
        errors += is_error ? 1 : 0;
        err << (is_error ? "error: " : "warning: ") << f.message() << '\n';
    }
    return errors;
}

}  // namespace callgate::cli

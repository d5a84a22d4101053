// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <iosfwd>
#include <span>

#include "engine/policy/document.hpp"

namespace callgate::cli {

/// One a line, "error: file:line: key: text". Returns the number of errors.
std::size_t print_findings(std::span<const policy::finding> findings, std::ostream& err);

}  // namespace callgate::cli

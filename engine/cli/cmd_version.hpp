// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <iosfwd>

namespace callgate::cli {

/// `callgate version`: of callgate, the compiler, and the cryptographic libraries in use.
void run_version(std::ostream& out);

}  // namespace callgate::cli

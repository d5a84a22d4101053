// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <iosfwd>

#include "engine/cli/password.hpp"

namespace callgate::cli {

/// `callgate passwd`: reads a password and prints its argon2id hash for users.yaml of auth_static.
[[nodiscard]] result<void> run_passwd(argon2_cost cost, std::ostream& out);

}  // namespace callgate::cli

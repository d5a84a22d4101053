// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/cmd_passwd.hpp"

#include <ostream>

#include "engine/cli/terminal.hpp"

namespace callgate::cli {

result<void> run_passwd(argon2_cost cost, std::ostream& out) {
    auto password = read_password(max_password_bytes);
    if (!password) return password.error();
    auto hash = argon2id(password->text(), cost);
    if (!hash) return hash.error();
    out << *hash << '\n';
    return {};
}

}  // namespace callgate::cli

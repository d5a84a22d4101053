// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/cmd_version.hpp"

#include <openssl/crypto.h>
#include <sodium.h>

#include <callgate/abi/base.h>
#include <ostream>

namespace callgate::cli {

void run_version(std::ostream& out) {
    out << "callgate " << CALLGATE_VERSION << "\nplugin ABI " << CG_ABI_MAJOR << '.' << CG_ABI_MINOR << "\nlibsodium "
        << sodium_version_string() << '\n' << OpenSSL_version(OPENSSL_VERSION) << "\ncompiler " << __VERSION__ << '\n';
}

}  // namespace callgate::cli

// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/process.hpp"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <callgate/crypto/secret.hpp>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace callgate::cli {

void harden_process() {
    ::umask(077);
    const rlimit none{0, 0};
    // A process that may leave its keys in a core file is worse than one that does not start.
    if (::setrlimit(RLIMIT_CORE, &none) != 0 || ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
        std::fprintf(stderr, "callgate: cannot switch core dumps off (%s): keys could end in a core file\n", std::strerror(errno));
        std::exit(1);
    }
    crypto::init();
}

}  // namespace callgate::cli

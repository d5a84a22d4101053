// SPDX-License-Identifier: Apache-2.0
// Stands in for `callgate plugin-probe PATH`.
#include <cstdio>
#include <cstring>

#include "engine/host/probe.hpp"

int main(int argc, char** argv) {
    if (argc == 3 && std::strcmp(argv[1], "plugin-probe") == 0) return callgate::host::run_plugin_probe(argv[2]);
    std::fprintf(stderr, "usage: %s plugin-probe PATH\n", argv[0]);
    return 2;
}

// SPDX-License-Identifier: Apache-2.0
// example_seed FILE: a new account seed, for the conformance checks of the key provider.
#include <callgate/crypto/box.hpp>
#include <callgate/nats/nkey.hpp>
#include <cstdio>
#include <fstream>
#include <sys/stat.h>

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    callgate::crypto::init();
    ::umask(077);
    std::remove(argv[1]);
    const auto pair = callgate::nats::key_pair::generate(callgate::nats::key_type::account);
    std::ofstream out(argv[1], std::ios::binary);
    out << pair.seed_text().text() << '\n';
    return out.flush() ? 0 : 1;
}

// SPDX-License-Identifier: Apache-2.0
// example_seed FOLDER: seeds for the conformance checks of the key provider: issuer.nk, a new one each time, and rfc8032.nk, the
// first secret key of RFC 8032 7.1, whose signatures are printed there.
#include <array>
#include <callgate/crypto/box.hpp>
#include <callgate/nats/nkey.hpp>
#include <cstdio>
#include <fstream>
#include <sys/stat.h>

namespace {

using callgate::nats::key_pair;
using callgate::nats::key_type;

constexpr std::array<std::uint8_t, 32> rfc8032_test_1 = {0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4,
                                                        0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60};

bool write(const std::string& file, const key_pair& pair) {
    std::remove(file.c_str());
    std::ofstream out(file, std::ios::binary);
    out << pair.seed_text().text() << '\n';
    return bool(out.flush());
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    callgate::crypto::init();
    ::umask(077);
    const std::string folder = argv[1];
    const bool done = write(folder + "/issuer.nk", key_pair::generate(key_type::account)) &&
                      write(folder + "/rfc8032.nk", key_pair::from_raw_seed(key_type::account, rfc8032_test_1).value());
    return done ? 0 : 1;
}

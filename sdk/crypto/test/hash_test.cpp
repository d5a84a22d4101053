// SPDX-License-Identifier: Apache-2.0
#include <callgate/crypto/hash.hpp>
#include <gtest/gtest.h>

#include <cstdio>
#include <string>

using namespace callgate::crypto;

namespace {
std::string hex(const digest_bytes& d) {
    std::string out;
    char buffer[3];
    for (auto b : d) {
        std::snprintf(buffer, sizeof buffer, "%02x", b);
        out += buffer;
    }
    return out;
}
}  // namespace

// FIPS 180-4 example values for "abc"
TEST(hash, published_vectors) {
    EXPECT_EQ(hex(sha512_256("abc")), "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23");
    EXPECT_EQ(hex(sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    EXPECT_EQ(hex(sha512_256("")), "c672b8d1ef56ed28ab87c3622c5114069bdd3ad7b8f9737498d0c01ecef0967a");
}

// SPDX-License-Identifier: Apache-2.0
#include "sdk/crypto/src/base64url_kernels.hpp"

#include <array>
#include <cstring>

namespace callgate::crypto::base64url {
namespace {

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

// Two characters for each 12-bit value: half the look-ups of one character for each 6-bit value.
constexpr auto pairs = [] {
    std::array<std::array<char, 2>, 4096> t{};
    for (std::size_t i = 0; i < t.size(); ++i) t[i] = {alphabet[i >> 6], alphabet[i & 63]};
    return t;
}();

// A value no sum of four valid entries reaches marks what is outside of the alphabet.
constexpr std::uint32_t invalid = 0x80000000u;
struct decode_tables {
    std::array<std::uint32_t, 256> first, second, third, fourth;
};
constexpr auto tables = [] {
    decode_tables t{};
    for (std::size_t i = 0; i < 256; ++i) t.first[i] = t.second[i] = t.third[i] = t.fourth[i] = invalid;
    for (std::size_t i = 0; i < alphabet.size(); ++i) {
        const auto c = static_cast<unsigned char>(alphabet[i]);
        const auto v = static_cast<std::uint32_t>(i);
        t.first[c] = v << 18;
        t.second[c] = v << 12;
        t.third[c] = v << 6;
        t.fourth[c] = v;
    }
    return t;
}();

}  // namespace

std::size_t encode_scalar(std::span<const std::uint8_t> in, char* out) noexcept {
    const std::uint8_t* p = in.data();
    std::size_t n = in.size();
    char* o = out;
    for (; n >= 3; n -= 3, p += 3, o += 4) {
        std::memcpy(o, pairs[static_cast<std::size_t>(p[0] << 4 | p[1] >> 4)].data(), 2);
        std::memcpy(o + 2, pairs[static_cast<std::size_t>((p[1] & 15) << 8 | p[2])].data(), 2);
    }
    if (n == 2) {
        std::memcpy(o, pairs[static_cast<std::size_t>(p[0] << 4 | p[1] >> 4)].data(), 2);
        o[2] = alphabet[static_cast<std::size_t>((p[1] & 15) << 2)];
        o += 3;
    } else if (n == 1) {
        std::memcpy(o, pairs[static_cast<std::size_t>(p[0] << 4)].data(), 2);
        o += 2;
    }
    return static_cast<std::size_t>(o - out);
}

std::optional<std::size_t> decode_scalar(std::string_view in, std::uint8_t* out) noexcept {
    const auto* p = reinterpret_cast<const unsigned char*>(in.data());
    std::size_t n = in.size();
    if (n % 4 == 1) return std::nullopt;
    std::uint8_t* o = out;
    std::uint32_t seen = 0;
    for (; n >= 4; n -= 4, p += 4, o += 3) {
        const std::uint32_t v = tables.first[p[0]] | tables.second[p[1]] | tables.third[p[2]] | tables.fourth[p[3]];
        seen |= v;
        o[0] = static_cast<std::uint8_t>(v >> 16);
        o[1] = static_cast<std::uint8_t>(v >> 8);
        o[2] = static_cast<std::uint8_t>(v);
    }
    if (n != 0) {
        std::uint32_t v = tables.first[p[0]] | tables.second[p[1]];
        std::uint32_t unused = 0xffff;
        *o++ = static_cast<std::uint8_t>(v >> 16);
        if (n == 3) {
            v |= tables.third[p[2]];
            unused = 0xff;
            *o++ = static_cast<std::uint8_t>(v >> 8);
        }
        seen |= v;
        if ((v & unused) != 0) return std::nullopt;
    }
    if ((seen & invalid) != 0) return std::nullopt;
    return static_cast<std::size_t>(o - out);
}

}  // namespace callgate::crypto::base64url

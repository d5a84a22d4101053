// SPDX-License-Identifier: Apache-2.0
#include <callgate/crypto/base64url.hpp>

#include "sdk/crypto/src/base64url_kernels.hpp"

namespace callgate::crypto::base64url {

std::size_t encode(std::span<const std::uint8_t> in, char* out) noexcept {
    std::size_t done = 0;
    if (has_avx2()) done = encode_blocks_avx2(in, out);
    return done / 3 * 4 + encode_scalar(in.subspan(done), out + done / 3 * 4);
}

std::string encode(std::span<const std::uint8_t> in) {
    std::string s(encoded_size(in.size()), '\0');
    encode(in, s.data());
    return s;
}

std::string encode(std::string_view in) {
    return encode(std::span{reinterpret_cast<const std::uint8_t*>(in.data()), in.size()});
}

std::optional<std::size_t> decode(std::string_view in, std::uint8_t* out) noexcept {
    std::size_t done = 0;
    if (has_avx2()) done = decode_blocks_avx2(in, out);
    // A character that the blocks refused stands at the beginning of the rest: there is one place that says no.
    const auto rest = decode_scalar(in.substr(done), out + done / 4 * 3);
    if (!rest) return std::nullopt;
    return done / 4 * 3 + *rest;
}

std::optional<std::string> decode(std::string_view in) {
    std::string s(decoded_size(in.size()), '\0');
    const auto n = decode(in, reinterpret_cast<std::uint8_t*>(s.data()));
    if (!n) return std::nullopt;
    s.resize(*n);
    return s;
}

}  // namespace callgate::crypto::base64url

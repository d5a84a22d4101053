// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>
#include <vector>

#include "sdk/crypto/src/base64url_kernels.hpp"

namespace b64 = callgate::crypto::base64url;

// Scalar and block code must agree: on each verdict, on each byte decoded, on each character encoded.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    std::vector<std::uint8_t> a(b64::decoded_size(size)), b(b64::decoded_size(size));
    const auto m = b64::decode_scalar(text, a.data()), n = b64::decode(text, b.data());
    if (m != n || (m && a != b)) std::abort();

    std::vector<char> x(b64::encoded_size(size)), y(b64::encoded_size(size));
    if (b64::encode_scalar({data, size}, x.data()) != b64::encode({data, size}, y.data()) || x != y) std::abort();
    const auto back = b64::decode(std::string_view{y.data(), y.size()});
    if (!back || *back != text) std::abort();
    return 0;
}

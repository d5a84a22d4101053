// SPDX-License-Identifier: Apache-2.0
#include <callgate/crypto/base64url.hpp>

#include <cstdlib>
#include <string_view>

// What decodes must encode to the very text it came from: one text for each byte string.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    namespace b64 = callgate::crypto::base64url;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    if (const auto bytes = b64::decode(text); bytes && b64::encode(std::string_view{*bytes}) != text) std::abort();
    if (b64::decode(b64::encode(text)) != text) std::abort();
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
#include <callgate/nats/nkey.hpp>

#include <cstdlib>

using namespace callgate::nats;

// Public keys, seeds, base32: canonical text only, and the reader without errors agrees with the one that has them.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto key = decode_public(text);
    if (key && encode_public(*key) != text) std::abort();
    if (key && !is_public(text, key->type)) std::abort();
    for (auto type : {key_type::operator_, key_type::account, key_type::user, key_type::server, key_type::cluster, key_type::curve})
        if (is_public(text, type) != (key.has_value() && key->type == type)) std::abort();
    if (const auto pair = key_pair::from_seed(text); pair && pair->seed_text().text() != text) std::abort();
    if (const auto bytes = base32_decode(text); bytes && base32_encode(*bytes) != text) std::abort();
    (void)verify(text, "message", {data, size < 64 ? size : 64});
    return 0;
}

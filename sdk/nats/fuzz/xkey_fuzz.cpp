// SPDX-License-Identifier: Apache-2.0
#include <callgate/nats/nkey.hpp>

#include <array>
#include <cstdlib>

using namespace callgate::nats;

namespace {
key_pair fixed(std::uint8_t first) {
    const std::array<std::uint8_t, 32> raw{first};
    return std::move(key_pair::from_raw_seed(key_type::curve, raw).value());
}
}  // namespace

// Hostile boxes never open; honest ones always do.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const key_pair own = fixed(1), peer = fixed(2);
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    if (own.open(text, peer.public_text())) std::abort();
    (void)own.open(text, text.substr(0, public_key_chars));
    const auto sealed = own.seal(text, peer.public_text());
    if (!sealed || peer.open(*sealed, own.public_text()).value() != text) std::abort();
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
// Whatever stands where a token should: what is read of it are pieces of it, and reading it again with the
// same buffers reads the same.
#include <cstdlib>

#include "plugins/auth_oidc/token.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace callgate::auth_oidc;
    static token_reader reader;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    token first;
    const auto form = reader.read(text, first);
    const std::string iss(first.iss);
    if (form == token_form::jws) {
        if (!text.starts_with(first.signing_input) || first.payload.size() > size) std::abort();
        (void)reader.claim_is("roles", {std::string("admin"), true, std::int64_t{1}});
    }
    token second;
    if (reader.read(text, second) != form || second.iss != iss || second.exp != first.exp) std::abort();
    return 0;
}

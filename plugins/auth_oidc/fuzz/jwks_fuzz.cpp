// SPDX-License-Identifier: Apache-2.0
// Whatever a key set holds: it is refused with a reason, or its keys can be looked up and used.
#include <callgate/crypto/secret.hpp>
#include <cstdlib>

#include "plugins/auth_oidc/jwks.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace callgate::auth_oidc;
    callgate::crypto::init();
    parsed_jwks out;
    std::string fault;
    if (!parse_jwks({reinterpret_cast<const char*>(data), size}, out, fault)) {
        if (fault.empty()) std::abort();
        return 0;
    }
    if (out.keys.empty() || out.keys.size() > max_jwks_keys) std::abort();
    const key_set set(std::move(out.keys));
    for (const auto& k : set.keys())
        for (const auto a : {algorithm::rs256, algorithm::ps512, algorithm::es256, algorithm::es512, algorithm::eddsa}) {
            if (!k.kid.empty() && !set.find(k.kid, a).kid_known) std::abort();
            if (k.key.verify(a, "input", {data, size < 64 ? size : 64})) std::abort();
        }
    return 0;
}

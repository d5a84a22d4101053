// SPDX-License-Identifier: Apache-2.0
#include <callgate/crypto/base64url.hpp>
#include <callgate/nats/jwt.hpp>

#include <array>
#include <cstdlib>

using namespace callgate::nats;

namespace {

key_pair fixed(key_type type) {
    const std::array<std::uint8_t, 32> raw{1, 2, 3};
    return std::move(key_pair::from_raw_seed(type, raw).value());
}
const key_pair& signer_of(const any_claims& claims) {
    static const key_pair account = fixed(key_type::account), op = fixed(key_type::operator_), server = fixed(key_type::server);
    if (std::holds_alternative<operator_claims>(claims)) return op;
    if (std::holds_alternative<authorization_request_claims>(claims)) return server;
    return account;
}

// Whatever could be read must validate without harm, and what can be signed again must read as the same.
void use(const any_claims& claims) {
    (void)validate(claims, 1'800'000'000);
    (void)to_json(claims);
    (void)go_jti(base_of(claims));
    const auto token = encode(claims, signer_of(claims), 1'800'000'000);
    if (!token) return;
    auto first = decode(*token);
    if (!first) std::abort();
    const auto again = encode(*first, signer_of(claims), 1'800'000'000);
    if (!again) std::abort();
    auto second = decode(*again);
    if (!second) std::abort();
    // Flat JetStream limits beside tiers count for the jti of an account but are not read back.
    base_of(*first).jti.clear();
    base_of(*second).jti.clear();
    if (*first != *second) std::abort();
}

}  // namespace

// The first byte chooses: a token as it comes, or a payload that gets a signature the fuzzer could not find.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
    if (data[0] == 't') {
        if (const auto claims = decode(text)) use(*claims);
        if (const auto claims = decode_generic(text)) use(*claims);
        if (const auto token = decode_unverified(text)) use(token->claims);
        return 0;
    }
    const auto unsigned_token = std::string(jwt_header_b64) + '.' + callgate::crypto::base64url::encode(text) + '.' + std::string(86, 'A');
    if (const auto token = decode_unverified(unsigned_token)) use(token->claims);
    return 0;
}

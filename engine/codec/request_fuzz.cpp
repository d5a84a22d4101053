// SPDX-License-Identifier: Apache-2.0
// Input '{...' is a claim, wrapped into a token so that the fuzzer gets behind base64; anything else is a token.
// Claims are extracted although the signature cannot hold: that code must survive what nobody signed too.
#include <callgate/crypto/base64url.hpp>
#include <callgate/nats/jwt.hpp>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "engine/codec/request_reader.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace callgate;
    static const auto pool = std::make_shared<arena_pool>(std::size_t{256} << 20);
    static codec::request_reader reader;
    std::string token(reinterpret_cast<const char*>(data), size);
    if (token.starts_with('{'))
        token = std::string(nats::jwt_header_b64) + "." + crypto::base64url::encode(token) + "." + std::string(86, 'A');
    arena memory(pool, std::size_t{16} << 20);
    if (!reader.open(token, memory)) return 0;
    if (reader.verify() && token.ends_with(std::string(86, 'A'))) std::abort();
    if (const auto c = reader.claims(memory)) {
        // Every view must lie in memory that is still there.
        std::size_t sum = c->aud.size() + c->user_nkey.size() + c->json.size();
        for (const auto list : {c->server.tags, c->client.tags, c->tls.chain_pem})
            for (const auto s : list) sum += s.empty() ? 0 : static_cast<unsigned char>(s.back());
        if (sum == SIZE_MAX) std::abort();
    }
    reader.forget();
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
#include <callgate/nats/creds.hpp>

#include <cstdlib>

using namespace callgate::nats;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto c = parse_creds(text);
    const auto token = parse_decorated_jwt(text);
    if (c && (!token || *token != c->jwt)) std::abort();
    if (c && !c->seed.empty() && !key_pair::from_seed(c->seed.text())) std::abort();
    const auto any = parse_decorated_nkey(text);
    const auto user = parse_decorated_user_nkey(text);
    if (user && (!any || any->public_text() != user->public_text())) std::abort();
    return 0;
}

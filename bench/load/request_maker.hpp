// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/crypto/box.hpp>
#include <callgate/nats/nkey.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/load/credentials.hpp"

namespace callgate::load {

/// A nats-server that exists in the generator only: its keys, and the constant parts of its requests.
struct simulated_server {
    /// `service_xkey`: public curve key of the callout service; empty: requests are not sealed. Throws std::runtime_error
    /// when it is no such key.
    simulated_server(std::size_t index, std::string_view service_xkey);

    std::string name, hash;  ///< hash: 8 base62 characters, second part of the reply subject
    nats::key_pair id;
    std::optional<nats::key_pair> xkey;
    crypto::secret shared;  ///< with the service's xkey; empty without
};

struct made_request {
    std::string wire;             ///< PUB or HPUB, complete
    crypto::key_bytes user_nkey;  ///< fresh for each request
    std::uint32_t server = 0;
};

/// Eight base62 characters, as a server writes them, from which the request is found again without a table.
void encode_inbox_id(std::uint64_t index, char* out) noexcept;
[[nodiscard]] std::optional<std::uint64_t> decode_inbox_id(std::string_view id) noexcept;

/// Writes requests as nats-server 2.15.1 does (protocol.md 3.4, 3.5): member order, client kinds, headers. What differs: the
/// user nkey is 32 random bytes, of which nobody needs the private half. After construction const and usable by any thread.
class request_maker {
  public:
    /// sub: auth_callout.issuer (config mode) or the callout account (operator mode): an A key. Throws std::runtime_error.
    request_maker(std::string sub, std::string_view service_xkey, std::vector<credential> credentials, std::size_t servers);

    /// iat and life (the server's authorization.timeout) in seconds. The client, its address, name and credential follow from
    /// `client`.
    [[nodiscard]] made_request make(std::uint64_t index, std::uint64_t client, std::int64_t iat_s, std::int64_t life_s) const;
    [[nodiscard]] const std::vector<simulated_server>& servers() const noexcept { return servers_; }
    [[nodiscard]] bool sealed() const noexcept { return !servers_.front().shared.empty(); }

  private:
    std::string claims_json(const simulated_server& server, std::uint64_t client, std::string_view user_nkey, std::int64_t iat_s, std::int64_t life_s) const;

    std::string sub_;
    std::vector<credential> credentials_;
    std::vector<std::optional<nats::key_pair>> signers_;  // of each credential that signs a nonce
    std::vector<simulated_server> servers_;
};

}  // namespace callgate::load

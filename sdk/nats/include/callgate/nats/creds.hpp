// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/crypto/secret.hpp>
#include <callgate/nats/error.hpp>
#include <callgate/nats/nkey.hpp>
#include <string>
#include <string_view>

/// Creds files (protocol.md 2.11).
namespace callgate::nats {

struct creds {
    std::string jwt;
    crypto::secret seed;  ///< 58 characters; empty in a file that has only a token (bearer)
};
/// The decorated file text. Refuses a non-user JWT and a seed that is not of its subject.
[[nodiscard]] result<crypto::secret> format_creds(std::string_view user_jwt, const key_pair& user);
/// Sentinel creds of a bearer user may be handed to everybody; same format.
[[nodiscard]] result<creds> parse_creds(std::string_view text);
/// Only the token: first decorated block, or the whole text.
[[nodiscard]] result<std::string> parse_decorated_jwt(std::string_view text);
/// SO, SA or SU seed; `text` may be a creds file or a bare seed file.
[[nodiscard]] result<key_pair> parse_decorated_nkey(std::string_view text);
/// SU only.
[[nodiscard]] result<key_pair> parse_decorated_user_nkey(std::string_view text);

}  // namespace callgate::nats

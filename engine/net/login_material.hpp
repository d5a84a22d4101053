// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/crypto/secret.hpp>
#include <callgate/nats/nkey.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "engine/base/error.hpp"
#include "engine/net/nats_link.hpp"
#include "engine/net/server_url.hpp"

namespace callgate::net {

/// What one CONNECT needs, read from the files just before it and destroyed after it.
struct login_material {
    std::string jwt;                     ///< creds
    std::optional<nats::key_pair> key;   ///< signs the nonce; creds with a seed, and nkey
    bool nkey_login = false;             ///< send the public key instead of a JWT
    /// user and password, or token, as JSON members for the CONNECT object; NUL-terminated, guarded.
    crypto::secret members;
};

/// Reads the files of `login`. User information of the URL is used only with no_credentials.
[[nodiscard]] result<login_material> load_login(const credentials& login, const server_url& url);

/// `text` as the inside of a JSON string, appended to `out`.
void append_json_escaped(std::string_view text, std::string& out);

}  // namespace callgate::net

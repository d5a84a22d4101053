// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace callgate::load {

/// What one client logs in with.
struct credential {
    enum class kind : std::uint8_t { user, token, jwt, nkey } what = kind::token;
    std::string name;    ///< user
    std::string secret;  ///< password, token, JWT text; empty for nkey
    std::string seed;    ///< nkey and, unless the JWT is a bearer token, jwt: SU..., signs the server's nonce
};

/// One credential a line: `user NAME PASSWORD`, `token TEXT`, `jwt TEXT [SEED]`, `nkey SEED`; the password is the rest of
/// the line. Empty lines and those that begin with # are left out. Throws std::runtime_error that names source and line (never the
/// secret) when a line is none of these, when it is longer than 64 KiB, or when there is no credential at all.
[[nodiscard]] std::vector<credential> parse_credentials(std::string_view text, std::string_view source);
/// Reads the file, at most 64 MiB.
[[nodiscard]] std::vector<credential> read_credentials(const std::string& path);

}  // namespace callgate::load

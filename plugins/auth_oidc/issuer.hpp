// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/sdk/plugin.hpp>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "plugins/auth_oidc/signature.hpp"
#include "plugins/auth_oidc/token.hpp"

namespace callgate::auth_oidc {

enum class key_origin : std::uint8_t { file, url, discovery };

struct issuer_options {
    std::string issuer;  ///< compared byte for byte with `iss`
    std::vector<std::string> audiences;
    std::vector<algorithm> algorithms;
    key_origin origin = key_origin::discovery;
    std::string jwks;                       ///< path or URL
    std::vector<std::string> jwks_origins;  ///< where discovery may point besides the issuer's own origin
    std::string ca_file;
    std::chrono::seconds leeway{30};
    std::chrono::seconds max_age{0};  ///< since iat; 0 = no limit
    std::vector<std::pair<std::string, std::vector<claim_value>>> required_claims;
    bool allow_http_loopback = false;
};

struct options {
    std::vector<issuer_options> issuers;
    std::chrono::nanoseconds refresh = std::chrono::hours(1);          ///< when the issuer's Cache-Control says nothing
    std::chrono::nanoseconds refresh_min = std::chrono::minutes(1);    ///< the least and the most that it can ask for
    std::chrono::nanoseconds refresh_max = std::chrono::hours(1);
    std::chrono::nanoseconds min_refresh_interval = std::chrono::seconds(10);
    std::chrono::nanoseconds max_stale = std::chrono::hours(24);
    std::chrono::nanoseconds fetch_timeout = std::chrono::seconds(5);
    std::size_t max_token = 64 * 1024;
};

/// Throws sdk::status_error that names the key at fault.
[[nodiscard]] options read_options(const sdk::create_args& args);

/// "https://host:port", lower case, without a default port; empty when `url` is not plain http(s) with a
/// host, or holds user information, spaces or control characters.
[[nodiscard]] std::string origin_of(std::string_view url);
/// Why keys must not be fetched from there; empty when they may. https, or http to loopback where allowed.
[[nodiscard]] std::string url_fault(std::string_view url, bool allow_http_loopback);

}  // namespace callgate::auth_oidc

// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

/// Reading a compact JWS with claims (RFC 7515, RFC 7519). Nothing here is verified yet.
namespace callgate::auth_oidc {

inline constexpr std::size_t max_token_bytes = 1024 * 1024;
inline constexpr std::size_t max_claims_bytes = 64 * 1024;

struct token {
    std::string_view signing_input;
    std::vector<std::uint8_t> signature;
    // header
    std::string_view alg, kid, typ;
    bool has_crit = false;
    bool has_foreign_key = false;  ///< jku, x5u or jwk: a key the token brings along
    bool bad_header_type = false;  ///< alg, kid or typ is not text
    // claims
    std::string payload;  ///< JSON text
    std::string_view iss, sub, jti;
    std::vector<std::string_view> aud;
    std::optional<std::int64_t> exp, nbf, iat;  ///< fractions cut off
    std::string_view bad_claim;                 ///< first registered claim of a wrong type; empty
};

using claim_value = std::variant<std::string, bool, std::int64_t>;

enum class token_form : std::uint8_t {
    jws,
    foreign,    ///< not a compact JWS at all: another backend's business
    malformed,  ///< is meant to be one, and is not well formed
};

/// Keeps buffers between tokens. One thread at a time.
class token_reader {
  public:
    token_reader();
    token_reader(token_reader&&) noexcept;
    ~token_reader();

    /// The views in `out` live until the next read, and as long as `text`.
    [[nodiscard]] token_form read(std::string_view text, token& out);
    /// Of the token read last: the claim is one of `accepted`, or a list that has one of them.
    [[nodiscard]] bool claim_is(const std::string& name, const std::vector<claim_value>& accepted) const;

  private:
    struct impl;
    std::unique_ptr<impl> impl_;
};

}  // namespace callgate::auth_oidc

// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "engine/base/arena.hpp"

/// Builds what goes back to nats-server (protocol.md 2.1, 2.7, 3.6).
namespace callgate::codec {

/// A token without its signature: header "." payload in an arena, with room behind for "." signature.
struct unsigned_token {
    char* text = nullptr;  ///< nullptr: the arena is exhausted
    std::size_t size = 0;
    [[nodiscard]] explicit operator bool() const noexcept { return text != nullptr; }
    [[nodiscard]] std::span<const std::uint8_t> signing_input() const noexcept {
        return {reinterpret_cast<const std::uint8_t*>(text), size};
    }
    /// Appends the signature; the whole token. The signing input stays as it is.
    [[nodiscard]] std::string_view finish(std::span<const std::uint8_t, 64> signature) const noexcept;
};

/// A user JWT of a callout. `limits` are not among its members: the server ignores them here (3.7).
struct user_jwt {
    std::string_view aud;  ///< config mode: account name; operator mode: empty
    std::string_view iss;  ///< public key of the signer, A...
    std::string_view name, sub, issuer_account;
    std::int64_t exp = 0, iat = 0;  ///< unix seconds
    /// Signer is a scoped key: permissions and limits must be absent (2.6.2) and the lists are not looked at.
    bool scoped = false;
    std::span<const std::string> pub_allow, pub_deny, sub_allow, sub_deny, tags;
    bool has_resp = false;
    std::int64_t resp_max = 0, resp_ttl_ns = 0;
};

/// Exactly one of jwt and error is set.
struct authorization_response {
    std::string_view aud;  ///< server id
    std::string_view iss;
    std::string_view sub;  ///< user nkey
    std::string_view jwt, error, issuer_account;
    std::int64_t iat = 0;
};

/// One thread; keeps a buffer, which never outlives a call with content. Each token has a fresh random jti of
/// 160 bits (2.3: any unique string).
class response_writer {
  public:
    response_writer() = default;
    response_writer(const response_writer&) = delete;
    response_writer& operator=(const response_writer&) = delete;

    [[nodiscard]] unsigned_token write(const user_jwt& claims, arena& memory);
    [[nodiscard]] unsigned_token write(const authorization_response& claims, arena& memory);

  private:
    void begin(std::string_view aud, std::int64_t exp, std::int64_t iat, std::string_view iss, std::string_view name, std::string_view sub);
    void append_jti();
    [[nodiscard]] unsigned_token encode(arena& memory);

    std::string json_;
    std::array<std::uint8_t, 1024> random_{};
    std::size_t random_left_ = 0;
};

}  // namespace callgate::codec

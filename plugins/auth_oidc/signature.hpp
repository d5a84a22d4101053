// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/crypto/ed25519.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

struct evp_pkey_st;

/// JWS signatures (RFC 7518 section 3, RFC 8037). RSA and ECDSA by OpenSSL in a library context of this
/// plugin's own, Ed25519 by libsodium. What OpenSSL leaves in the thread's error queue is removed again:
/// TLS code on the same thread reads that queue.
namespace callgate::auth_oidc {

enum class algorithm : std::uint8_t { rs256, rs384, rs512, ps256, ps384, ps512, es256, es384, es512, eddsa };
enum class key_type : std::uint8_t { rsa, p256, p384, p521, ed25519 };

/// Case-sensitive, as RFC 7515 wants it. "none", HS* and everything else: nullopt.
[[nodiscard]] std::optional<algorithm> algorithm_from(std::string_view name) noexcept;
[[nodiscard]] std::string_view to_string(algorithm a) noexcept;
[[nodiscard]] key_type key_type_for(algorithm a) noexcept;

/// A public key, checked and ready. Immutable; copies share the key; any thread.
class verification_key {
  public:
    using bytes = std::span<const std::uint8_t>;
    /// Big-endian, of 2048 to 8192 bits; e odd, 3 to 2^32 - 1. Else nullopt and `why`.
    static std::optional<verification_key> rsa(bytes n, bytes e, std::string& why);
    /// Coordinates of the field's exact length, on the curve.
    static std::optional<verification_key> ec(key_type curve, bytes x, bytes y, std::string& why);
    /// 32 bytes, not of small order.
    static std::optional<verification_key> ed25519(bytes x, std::string& why);

    [[nodiscard]] key_type type() const noexcept { return type_; }
    /// False also when the algorithm does not fit the key, or an ECDSA signature is not exactly r||s.
    [[nodiscard]] bool verify(algorithm a, std::string_view input, bytes signature) const noexcept;

  private:
    verification_key() = default;
    key_type type_ = key_type::rsa;
    std::shared_ptr<evp_pkey_st> pkey_;
    crypto::key_bytes ed25519_{};
};

}  // namespace callgate::auth_oidc

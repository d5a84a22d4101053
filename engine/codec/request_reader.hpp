// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/crypto/ed25519.hpp>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "engine/base/arena.hpp"
#include "engine/base/error.hpp"

/// Wire forms of the auth callout (protocol.md 2.1, 3.5, 3.6): no policy, no I/O, no clock.
namespace callgate::codec {

/// Bounds of what is read. A token holds at most 1 MiB of text (protocol.md 2.1).
inline constexpr std::size_t max_token_bytes = std::size_t{1} << 20;
inline constexpr std::size_t max_json_depth = 64;
inline constexpr std::size_t max_object_members = 1024;
inline constexpr std::size_t max_array_elements = 4096;

struct request_server {
    std::string_view name, host, id, version, cluster, xkey;
    std::span<const std::string_view> tags;
};
struct request_client {
    std::string_view host, user, name, name_tag, kind, type, mqtt_id, nonce;
    std::uint64_t id = 0;
    std::span<const std::string_view> tags;
};
struct request_connect {
    std::string_view jwt, nkey, sig, auth_token, user, pass, name, lang, version;
    std::int64_t protocol = 0;
};
struct request_tls {
    bool present = false;   ///< the client speaks TLS
    bool verified = false;  ///< nats-server checked the chain at handshake time
    std::string_view version, cipher;
    std::span<const std::string_view> chain_pem;  ///< verified_chains[0], else certs; leaf first
};
/// An authorization_request. All views lie in the arena it was read into.
struct request_claims {
    std::string_view iss, aud, sub;
    std::int64_t exp = 0, iat = 0;  ///< unix seconds; exp is always present
    std::string_view user_nkey;
    request_server server;
    request_client client;
    request_connect connect;
    request_tls tls;
    std::string_view json;  ///< the whole claim as it came
};

/// Reads the token of a request in three steps, so that nothing but `iss` is looked at before the signature
/// holds: open, verify, claims. Everything is taken for hostile: any client inside the callout account may
/// have written it. One thread; keeps its parser's memory for the next token.
class request_reader {
  public:
    request_reader();
    ~request_reader();
    request_reader(const request_reader&) = delete;
    request_reader& operator=(const request_reader&) = delete;

    /// Strict: three chunks, canonical base64url, header typ JWT and alg ed25519-nkey, one JSON object in valid
    /// UTF-8 without duplicate members, within the bounds above, `iss` a string. errc::invalid says what was
    /// wrong and where, never with a value of the token; errc::busy when the arena is exhausted.
    [[nodiscard]] result<void> open(std::string_view token, arena& memory);
    /// `iss` of the opened token as it came.
    [[nodiscard]] std::string_view issuer() const noexcept;
    /// `iss` is the public key of a server (N...).
    [[nodiscard]] bool issuer_is_server() const noexcept;
    /// Ed25519 by `iss` over header "." payload (protocol.md 2.1, version 2 rule).
    [[nodiscard]] bool verify() const noexcept { return verify(crypto::verify_any); }
    /// The same with a verifier of the caller's: (text, signature, key) -> bool.
    template <class Verifier>
    [[nodiscard]] bool verify(Verifier&& by) const {
        const auto s = to_verify();
        return s.ready && by(s.text, s.signature, s.key);
    }
    /// `iss` of the opened token as key, when issuer_is_server().
    [[nodiscard]] const crypto::key_bytes& issuer_key() const noexcept;
    /// The claims of the opened token: type authorization_request, version 2, right types, exp and iat present.
    [[nodiscard]] result<request_claims> claims(arena& memory);
    /// Wipes what the parser keeps of the token. Call when done with it, whatever the outcome.
    void forget() noexcept;

  private:
    struct signed_text {
        bool ready;
        std::span<const std::uint8_t> text;
        std::span<const std::uint8_t, 64> signature;
        const crypto::key_bytes& key;
    };
    [[nodiscard]] signed_text to_verify() const noexcept;
    struct state;
    std::unique_ptr<state> state_;
};

}  // namespace callgate::codec

// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <callgate/crypto/ed25519.hpp>
#include <callgate/nats/error.hpp>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

/// NKeys (protocol.md section 1): canonical text only, public keys of exactly 56 and seeds of exactly
/// 58 characters, checksum always checked.
namespace callgate::nats {

enum class key_type : std::uint8_t {
    operator_ = 14 << 3,
    account = 0,
    user = 20 << 3,
    server = 13 << 3,
    cluster = 2 << 3,
    curve = 23 << 3,
};

inline constexpr std::size_t public_key_chars = 56;
inline constexpr std::size_t seed_chars = 58;

[[nodiscard]] std::string_view to_string(key_type t) noexcept;  ///< "operator", "account", ...
[[nodiscard]] char letter(key_type t) noexcept;                 ///< 'O', 'A', 'U', 'N', 'C', 'X'

struct public_key {
    key_type type = key_type::user;
    crypto::key_bytes bytes{};
    friend bool operator==(const public_key&, const public_key&) = default;
};

/// Writes exactly 56 characters. No allocation.
void encode_public(key_type type, std::span<const std::uint8_t, 32> key, char* out) noexcept;
[[nodiscard]] std::string encode_public(const public_key& key);
/// Any type.
[[nodiscard]] result<public_key> decode_public(std::string_view text);
/// Of that type only.
[[nodiscard]] result<public_key> decode_public(std::string_view text, key_type expected);
/// No allocation, no error text: for checks on the wire.
[[nodiscard]] bool is_public(std::string_view text, key_type expected) noexcept;

/// A key pair, made of a seed. Move-only; the seed lives in guarded memory.
class key_pair {
  public:
    static result<key_pair> from_seed(std::string_view text);
    static result<key_pair> from_raw_seed(key_type type, std::span<const std::uint8_t> seed32);
    static key_pair generate(key_type type);

    [[nodiscard]] key_type type() const noexcept { return public_.type; }
    [[nodiscard]] const public_key& public_part() const noexcept { return public_; }
    [[nodiscard]] const std::string& public_text() const noexcept { return text_; }
    /// 58 characters in guarded memory.
    [[nodiscard]] crypto::secret seed_text() const;
    /// 32 raw seed bytes; for a curve key that is the X25519 scalar.
    [[nodiscard]] std::span<const std::uint8_t> raw_seed() const noexcept;

    /// not_a_signer on a curve key.
    [[nodiscard]] result<crypto::signature_bytes> sign(std::string_view message) const;
    /// For batches (crypto::sign_batch); nullptr for a curve key. Lives as long as this pair.
    [[nodiscard]] const crypto::signing_key* signer() const noexcept { return type() == key_type::curve ? nullptr : &signer_; }
    /// Curve keys only: xkv1 envelope to and from a peer's X... key (a key agreement each time; cache
    /// crypto::agree where it matters).
    [[nodiscard]] result<std::string> seal(std::string_view message, std::string_view recipient_xkey) const;
    [[nodiscard]] result<std::string> open(std::string_view sealed, std::string_view sender_xkey) const;

  private:
    key_pair() = default;
    public_key public_;
    std::string text_;
    crypto::signing_key signer_;  // Ed25519 kinds
    crypto::secret scalar_;       // curve kind
};

/// bad_signature, or not_a_signer for a curve key.
[[nodiscard]] result<void> verify(std::string_view public_text, std::string_view message,
                                  std::span<const std::uint8_t> signature);

/// base32 (RFC 4648, upper case, no padding), canonical only.
[[nodiscard]] std::string base32_encode(std::span<const std::uint8_t> in);
[[nodiscard]] result<std::vector<std::uint8_t>> base32_decode(std::string_view in);
[[nodiscard]] std::uint16_t crc16_xmodem(std::span<const std::uint8_t> in) noexcept;

}  // namespace callgate::nats

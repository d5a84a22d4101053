// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include <callgate/crypto/ed25519.hpp>

/// Ed25519 verification for public keys that are used again and again: multiples of the key are computed once,
/// a verification then only adds about seventy points. Public data only: all of it runs in variable time.
namespace callgate::crypto {

/// A public key and the table of its multiples. Immutable: any thread, also at the same time.
class known_key {
  public:
    /// Memory one key holds, in bytes, up to its allocator's rounding.
    static const std::size_t table_bytes;

    /// Takes about half a millisecond. nullptr for a key under which libsodium accepts nothing: small order,
    /// not on the curve, or not canonical. Throws std::bad_alloc.
    [[nodiscard]] static std::unique_ptr<const known_key> make(const key_bytes& public_key);
    ~known_key();
    known_key(const known_key&) = delete;
    known_key& operator=(const known_key&) = delete;

    [[nodiscard]] const key_bytes& public_key() const noexcept { return public_; }

  private:
    friend struct known_key_access;
    struct table;
    known_key(const key_bytes& public_key, std::unique_ptr<table> multiples) noexcept;
    key_bytes public_;
    std::unique_ptr<table> table_;
};

enum class verification : std::uint8_t {
    refused,       ///< by table and by libsodium
    by_table,      ///< good
    by_libsodium,  ///< good, but the table said no: a fault of memory or of this code. Worth a line in the log and a new table
};

/// Accepts exactly what verify_any accepts: what the table refuses is put to libsodium, and the table refuses on its
/// own S >= L, R of small order and R that is not canonical. A signature that is refused costs both.
[[nodiscard]] verification verify_known(std::span<const std::uint8_t> message, std::span<const std::uint8_t, 64> signature,
                                        const known_key& key) noexcept;

}  // namespace callgate::crypto

// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "plugins/auth_static/hash_memory.hpp"

/// Password hashes: argon2id in the PHC string format (RFC 9106) and bcrypt ($2b$, $2y$).
namespace callgate::auth_static {

inline constexpr std::size_t max_password_bytes = 1024;
/// bcrypt reads no further; a longer password is refused rather than cut.
inline constexpr std::size_t max_bcrypt_password_bytes = 72;

enum class hash_kind : std::uint8_t { argon2id, bcrypt };

/// A hash whose form and costs have been checked.
struct password_hash {
    hash_kind kind = hash_kind::argon2id;
    std::string text;
    std::uint32_t memory_kib = 0;  ///< argon2id
    std::uint32_t passes = 0;      ///< argon2id
    std::uint32_t lanes = 0;       ///< argon2id
    std::uint32_t cost = 0;        ///< bcrypt, log2 of the rounds

    /// Same work for a verification.
    [[nodiscard]] bool same_cost(const password_hash& o) const noexcept {
        return kind == o.kind && memory_kib == o.memory_kib && passes == o.passes && lanes == o.lanes && cost == o.cost;
    }
};

/// Accepts version 19 of argon2id with 8 KiB to 1 GiB, 1 to 64 passes and 1 to 16 lanes, and bcrypt of cost
/// 4 to 16; otherwise nullopt and `why`, which never holds the hash.
[[nodiscard]] std::optional<password_hash> parse_password_hash(std::string_view text, std::string& why);

/// Bytes of working memory that checking against `hash` takes.
[[nodiscard]] std::size_t memory_for(const password_hash& hash) noexcept;

/// The whole cost in every case, also when the password is too long or holds a NUL, which never match.
/// Blocks for as long as the hash costs: worker threads only. Works in `memory`, which it grows only when it is
/// smaller than memory_for(hash), and wipes what it has written there. Throws std::bad_alloc.
[[nodiscard]] bool verify_password(const password_hash& hash, std::string_view password, hash_memory& memory);

/// For a thread that is about to lower its priority: runs each kind of hash once at the least cost, so that its code,
/// stack and heap are faulted in. A few milliseconds.
void warm_up_hashing();

/// A hash of the same cost that no password matches.
[[nodiscard]] password_hash unmatchable_like(const password_hash& model);

/// argon2id; the defaults are the second recommendation of RFC 9106. Throws std::bad_alloc.
[[nodiscard]] std::string hash_password(std::string_view password, std::uint32_t memory_kib = 65536, std::uint32_t passes = 3);

}  // namespace callgate::auth_static

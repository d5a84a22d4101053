// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/crypto/secret.hpp>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "engine/base/error.hpp"

/// Passwords: made, and hashed for nats-server (bcrypt) and auth_static (argon2id). Any thread.
namespace callgate::cli {

/// 32 characters of base64url: 192 bits.
[[nodiscard]] crypto::secret random_password();

/// "$2a$..": the only bcrypt prefix nats-server takes for a hash. The salt is a keyed digest of password
/// and `user` under `salt_key`, so that the same inputs give the same server configuration again.
/// Refuses passwords above 72 bytes, which bcrypt would cut.
[[nodiscard]] result<std::string> bcrypt_2a(std::string_view password, std::string_view user,
                                            std::span<const std::uint8_t> salt_key);

struct argon2_cost {
    std::uint64_t iterations = 2;
    std::uint64_t memory_kib = 19'456;  ///< 19 MiB
};
inline constexpr std::uint64_t argon2_max_iterations = 64;
inline constexpr std::uint64_t argon2_max_memory_kib = 1'048'576;
inline constexpr std::size_t max_password_bytes = 1024;

/// "$argon2id$v=19$m=..": crypto_pwhash_str with a random salt.
[[nodiscard]] result<std::string> argon2id(std::string_view password, argon2_cost cost);

}  // namespace callgate::cli

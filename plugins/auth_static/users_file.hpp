// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <callgate/crypto/ed25519.hpp>
#include <callgate/sdk/value.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <unordered_map>
#include <vector>

#include "plugins/auth_static/password.hpp"

namespace callgate::auth_static {

inline constexpr std::size_t max_users_file_bytes = 16 * 1024 * 1024;
inline constexpr std::size_t max_users = 100'000;

using digest = std::array<std::uint8_t, 32>;

struct user_entry {
    std::string user;
    std::optional<password_hash> password;
    std::vector<digest> tokens;             ///< SHA-256 of each token
    std::vector<std::string> nkeys;         ///< U...
    std::string attributes_json = "{}";
};
using entry_ptr = std::shared_ptr<const user_entry>;

/// Immutable; read by all shards at once.
class user_table {
  public:
    /// Throws sdk::status_error when two entries share a user name, a token or an nkey.
    explicit user_table(std::vector<user_entry> users);

    /// nullptr when there is no such user. Names are no secret to whoever can ask for hashes, so an
    /// ordinary lookup.
    [[nodiscard]] entry_ptr by_user(std::string_view user) const;
    /// Time depends neither on how much of a digest matches nor on which entry it is.
    [[nodiscard]] entry_ptr by_token(std::string_view token) const;
    [[nodiscard]] entry_ptr by_nkey(std::string_view nkey) const;

    [[nodiscard]] bool has_passwords() const noexcept { return unmatchable_.has_value(); }
    [[nodiscard]] bool has_tokens() const noexcept { return !by_token_.empty(); }
    [[nodiscard]] bool has_nkeys() const noexcept { return !by_nkey_.empty(); }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    /// What an unknown user is checked against: costs as most of the table, matches nothing.
    [[nodiscard]] const password_hash& unmatchable() const noexcept { return *unmatchable_; }
    /// Bytes that the hash with the greatest need works in; 0 without passwords.
    [[nodiscard]] std::size_t hash_memory_bytes() const noexcept { return hash_memory_bytes_; }

  private:
    struct token_slot {
        digest sha256;
        entry_ptr entry;
    };
    struct text_hash {
        using is_transparent = void;
        std::size_t operator()(std::string_view s) const noexcept { return std::hash<std::string_view>{}(s); }
    };
    [[nodiscard]] std::uint64_t slot_of(const digest& sha256) const;

    std::unordered_map<std::string, entry_ptr, text_hash, std::equal_to<>> by_user_;
    std::unordered_map<std::string, entry_ptr, text_hash, std::equal_to<>> by_nkey_;
    std::unordered_multimap<std::uint64_t, token_slot> by_token_;
    digest salt_{};
    std::optional<password_hash> unmatchable_;
    std::size_t size_ = 0;
    std::size_t hash_memory_bytes_ = 0;
};

/// The users file (YAML; format in README.md). `name` is used in messages. Throws sdk::status_error whose
/// where() is "name:line"; the text never holds a hash. users_yaml.cpp.
[[nodiscard]] std::vector<user_entry> parse_users(const std::string& text, const std::string& name);

/// What tells one state of a file from another.
struct file_stamp {
    std::int64_t mtime_ns = 0, ctime_ns = 0;
    std::uint64_t size = 0, inode = 0, device = 0;
    friend bool operator==(const file_stamp&, const file_stamp&) = default;
};
/// nullopt when there is no such file.
[[nodiscard]] std::optional<file_stamp> stamp_of(const std::string& path);

struct loaded_users {
    std::unique_ptr<const user_table> table;
    file_stamp stamp;
    std::string warning;  ///< about the file's mode; may be empty
};
/// Reads, checks and parses. Throws sdk::status_error with file and line. Refused: not a regular file,
/// writable by others, foreign owner, more than 16 MiB. CG_E_UNAVAILABLE means that reading was disturbed (no
/// descriptor left, an I/O error, a write meanwhile): the same file may be read a moment later. [control]
[[nodiscard]] loaded_users load_users(const std::string& path);
/// Why a file with these attributes is not to be trusted; empty when it is. `self` is the effective user.
[[nodiscard]] std::string file_fault(const struct stat& st, uid_t self);

}  // namespace callgate::auth_static

// SPDX-License-Identifier: Apache-2.0
#include "plugins/auth_static/password.hpp"

#include <callgate/crypto/secret.hpp>
#include <algorithm>
#include <array>
#include <charconv>
#include <crypt.h>
#include <memory>
#include <new>
#include <sodium.h>

namespace callgate::auth_static {
namespace {

constexpr std::string_view bcrypt_alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
constexpr std::string_view base64_alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool all_of(std::string_view text, std::string_view alphabet) { return text.find_first_not_of(alphabet) == std::string_view::npos; }

/// "m=65536," at the front of `text`; cuts it off.
bool take_number(std::string_view& text, std::string_view name, char end, std::uint32_t min, std::uint32_t max, std::uint32_t& out) {
    if (!text.starts_with(name)) return false;
    text.remove_prefix(name.size());
    const auto [p, ec] = std::from_chars(text.data(), text.data() + text.size(), out);
    const auto used = static_cast<std::size_t>(p - text.data());
    if (ec != std::errc{} || used == 0 || text.front() == '0' || used >= text.size() || *p != end) return false;
    text.remove_prefix(used + 1);
    return out >= min && out <= max;
}

std::optional<password_hash> parse_argon2id(std::string_view text, std::string& why) {
    password_hash h;
    h.text = text;
    if (text.size() >= crypto_pwhash_STRBYTES) {
        why = "the argon2id hash is longer than 127 characters";
        return std::nullopt;
    }
    auto rest = text.substr(std::string_view("$argon2id$").size());
    std::uint32_t version = 0;
    if (!take_number(rest, "v=", '$', 19, 19, version) || !take_number(rest, "m=", ',', 8, 1u << 20, h.memory_kib) ||
        !take_number(rest, "t=", ',', 1, 64, h.passes) || !take_number(rest, "p=", '$', 1, 16, h.lanes)) {
        why = "the argon2id hash must start with $argon2id$v=19$m=M,t=T,p=P$ with M of 8 to 1048576 KiB, T of 1 to 64, P of 1 to 16";
        return std::nullopt;
    }
    const auto dollar = rest.find('$');
    const auto salt = rest.substr(0, dollar);
    const auto digest = dollar == std::string_view::npos ? std::string_view{} : rest.substr(dollar + 1);
    if (h.memory_kib < 8 * h.lanes || salt.size() < 11 || digest.size() < 22 || !all_of(salt, base64_alphabet) || !all_of(digest, base64_alphabet)) {
        why = "the argon2id hash has no salt of at least 8 bytes and digest of at least 16 bytes in base64 without padding, or less than 8 KiB a lane";
        return std::nullopt;
    }
    return h;
}

std::optional<password_hash> parse_bcrypt(std::string_view text, std::string& why) {
    password_hash h;
    h.kind = hash_kind::bcrypt;
    h.text = text;
    const auto cost = text.substr(4, 2);
    const auto [p, ec] = std::from_chars(cost.data(), cost.data() + cost.size(), h.cost);
    if (text.size() != 60 || ec != std::errc{} || p != cost.data() + 2 || text[6] != '$' || h.cost < 4 || h.cost > 16 ||
        !all_of(text.substr(7), bcrypt_alphabet)) {
        why = "the bcrypt hash must have 60 characters, $2b$CC$ and salt and digest, with a cost of 04 to 16";
        return std::nullopt;
    }
    return h;
}

bool verify_bcrypt(const password_hash& hash, std::string_view password) {
    // crypt_r reads a C string: what it cannot see whole still costs the same, and never matches.
    const bool whole = password.size() <= max_bcrypt_password_bytes && password.find('\0') == std::string_view::npos;
    auto phrase = crypto::secret(max_bcrypt_password_bytes + 1);
    std::copy_n(password.data(), std::min(password.size(), max_bcrypt_password_bytes), reinterpret_cast<char*>(phrase.data()));
    auto work = std::make_unique<crypt_data>();
    const char* out = ::crypt_r(reinterpret_cast<const char*>(phrase.data()), hash.text.c_str(), work.get());
    const bool same = out != nullptr && crypto::equal_constant_time(out, hash.text);
    crypto::wipe(work.get(), sizeof *work);
    return same && whole;
}

}  // namespace

std::optional<password_hash> parse_password_hash(std::string_view text, std::string& why) {
    std::optional<password_hash> hash;
    if (text.starts_with("$argon2id$")) {
        hash = parse_argon2id(text, why);
    } else if (text.starts_with("$2b$") || text.starts_with("$2y$")) {
        hash = parse_bcrypt(text, why);
    } else {
        why = "not a password hash; use argon2id ($argon2id$v=19$...) or bcrypt ($2b$...), never the password itself";
    }
    return hash;
}

bool verify_password(const password_hash& hash, std::string_view password) {
    if (hash.kind == hash_kind::bcrypt) return verify_bcrypt(hash, password);
    const bool whole = password.size() <= max_password_bytes;
    const auto shown = password.substr(0, max_password_bytes);
    return crypto_pwhash_str_verify(hash.text.c_str(), shown.data() == nullptr ? "" : shown.data(), shown.size()) == 0 && whole;
}

password_hash unmatchable_like(const password_hash& model) {
    const auto letters = [](std::string_view alphabet, std::size_t n) {
        std::string out;
        for (std::size_t i = 0; i < n; ++i) out += alphabet[randombytes_uniform(static_cast<std::uint32_t>(alphabet.size()))];
        return out;
    };
    password_hash h = model;
    if (model.kind == hash_kind::bcrypt) {
        // The 22nd character of the salt carries 2 bits: one of ".Oeu". The 31 after it are the digest.
        h.text = model.text.substr(0, 7) + letters(bcrypt_alphabet, 21) + letters(".Oeu", 1) + letters(bcrypt_alphabet, 31);
    } else {
        // Canonical base64 of 16 and 32 random bytes: the last character carries 2 and 4 bits.
        h.text = model.text.substr(0, model.text.find('$', model.text.find(",p="))) + "$" + letters(base64_alphabet, 21) + letters("AQgw", 1) +
                 "$" + letters(base64_alphabet, 42) + letters("AEIMQUYcgkosw048", 1);
    }
    return h;
}

std::string hash_password(std::string_view password, std::uint32_t memory_kib, std::uint32_t passes) {
    std::array<char, crypto_pwhash_STRBYTES> out{};
    if (crypto_pwhash_str_alg(out.data(), password.data(), password.size(), passes, std::size_t{memory_kib} * 1024, crypto_pwhash_ALG_ARGON2ID13) != 0)
        throw std::bad_alloc();
    return out.data();
}

}  // namespace callgate::auth_static

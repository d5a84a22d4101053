// SPDX-License-Identifier: Apache-2.0
#include "plugins/auth_static/password.hpp"

#include <algorithm>
#include <argon2.h>
#include <array>
#include <callgate/crypto/secret.hpp>
#include <charconv>
#include <crypt.h>
#include <new>
#include <sodium.h>
#include <stdexcept>

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

/// What stands behind the parameters of an argon2id hash.
struct argon2_parts {
    std::array<std::uint8_t, crypto_pwhash_STRBYTES> salt, digest;
    std::size_t salt_size = 0, digest_size = 0;
};

/// "salt$digest". Only the one spelling that base64 without padding has for these bytes.
bool decode(std::string_view text, argon2_parts& out) {
    const auto one = [](std::string_view base64, auto& bytes, std::size_t& size) {
        const char* end = nullptr;
        return sodium_base642bin(bytes.data(), bytes.size(), base64.data(), base64.size(), nullptr, &size, &end,
                                 sodium_base64_VARIANT_ORIGINAL_NO_PADDING) == 0 &&
               end == base64.data() + base64.size();
    };
    const auto dollar = text.find('$');
    return dollar != std::string_view::npos && one(text.substr(0, dollar), out.salt, out.salt_size) &&
           one(text.substr(dollar + 1), out.digest, out.digest_size) && out.salt_size >= 8 && out.digest_size >= 16;
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
    argon2_parts parts;
    if (h.memory_kib < 8 * h.lanes || !decode(rest, parts)) {
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

// libargon2's callbacks get no argument of the caller's.
thread_local hash_memory* argon2_memory = nullptr;

int lend_memory(std::uint8_t** out, std::size_t bytes) {
    if (argon2_memory->size() < bytes) return ARGON2_MEMORY_ALLOCATION_ERROR;
    *out = argon2_memory->data();
    return ARGON2_OK;
}

bool verify_argon2id(const password_hash& hash, std::string_view password, hash_memory& memory) {
    const bool whole = password.size() <= max_password_bytes;
    const auto shown = password.substr(0, max_password_bytes);
    const std::string_view text = hash.text;
    argon2_parts expected;
    if (!decode(text.substr(text.find('$', text.find(",p=")) + 1), expected)) return false;
    std::array<std::uint8_t, crypto_pwhash_STRBYTES> digest{};
    argon2_context c{};
    c.out = digest.data();
    c.outlen = static_cast<std::uint32_t>(expected.digest_size);
    // Only written to with ARGON2_FLAG_CLEAR_PASSWORD.
    c.pwd = reinterpret_cast<std::uint8_t*>(const_cast<char*>(shown.data()));
    c.pwdlen = static_cast<std::uint32_t>(shown.size());
    c.salt = expected.salt.data();
    c.saltlen = static_cast<std::uint32_t>(expected.salt_size);
    c.t_cost = hash.passes;
    c.m_cost = hash.memory_kib;
    c.lanes = hash.lanes;
    c.threads = 1;  // more would run at normal priority, and starting them maps memory
    c.version = ARGON2_VERSION_13;
    c.allocate_cbk = lend_memory;
    // libargon2 has wiped it by then.
    c.free_cbk = [](std::uint8_t*, std::size_t) {};
    c.flags = ARGON2_DEFAULT_FLAGS;
    argon2_memory = &memory;
    const int failed = ::argon2_ctx(&c, Argon2_id);
    argon2_memory = nullptr;
    // Not a wrong password: nothing was compared.
    if (failed != ARGON2_OK) throw std::runtime_error(std::string("argon2id: ") + ::argon2_error_message(failed));
    const bool same = sodium_memcmp(digest.data(), expected.digest.data(), expected.digest_size) == 0;
    crypto::wipe(digest.data(), digest.size());
    return same && whole;
}

struct bcrypt_work {
    crypt_data data;
    char phrase[max_bcrypt_password_bytes + 1];
};

bool verify_bcrypt(const password_hash& hash, std::string_view password, hash_memory& memory) {
    // crypt_r reads a C string: what it cannot see whole still costs the same, and never matches.
    const bool whole = password.size() <= max_bcrypt_password_bytes && password.find('\0') == std::string_view::npos;
    auto* work = new (memory.data()) bcrypt_work{};
    std::copy_n(password.data(), std::min(password.size(), max_bcrypt_password_bytes), work->phrase);
    const char* out = ::crypt_r(work->phrase, hash.text.c_str(), &work->data);
    const bool same = out != nullptr && crypto::equal_constant_time(out, hash.text);
    crypto::wipe(work, sizeof *work);
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

std::size_t memory_for(const password_hash& hash) noexcept {
    return hash.kind == hash_kind::bcrypt ? sizeof(bcrypt_work) : std::size_t{hash.memory_kib} * 1024;
}

bool verify_password(const password_hash& hash, std::string_view password, hash_memory& memory) {
    memory.require(memory_for(hash));
    return hash.kind == hash_kind::bcrypt ? verify_bcrypt(hash, password, memory) : verify_argon2id(hash, password, memory);
}

void warm_up_hashing() {
    hash_memory memory;
    for (const char* text : {"$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                             "$2b$04$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"}) {
        std::string why;
        if (const auto hash = parse_password_hash(text, why)) (void)verify_password(*hash, "a", memory);
    }
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

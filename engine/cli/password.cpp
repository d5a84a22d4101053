// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/password.hpp"

#include <crypt.h>
#include <sodium.h>

#include <algorithm>
#include <array>
#include <callgate/crypto/base64url.hpp>
#include <callgate/crypto/random.hpp>
#include <memory>

namespace callgate::cli {
namespace {

// The passwords are 192 random bits, stretching adds nothing; a high cost would only slow every reconnect
// of our own links down, on the server's side.
constexpr unsigned long bcrypt_cost = 8;

}  // namespace

crypto::secret random_password() {
    crypto::secret raw(24);
    crypto::random_bytes({raw.data(), raw.size()});
    crypto::secret text(crypto::base64url::encoded_size(raw.size()));
    crypto::base64url::encode(raw.bytes(), reinterpret_cast<char*>(text.data()));
    return text;
}

result<std::string> bcrypt_2a(std::string_view password, std::string_view user, std::span<const std::uint8_t> salt_key) {
    if (password.empty() || password.size() > 72 || password.find('\0') != std::string_view::npos)
        return make_error(errc::invalid, "bcrypt takes passwords of 1 to 72 bytes without NUL; choose another password");
    std::array<unsigned char, 16> salt{};
    crypto_generichash_state state;
    crypto_generichash_init(&state, salt_key.data(), std::min<std::size_t>(salt_key.size(), crypto_generichash_KEYBYTES_MAX),
                            salt.size());
    crypto_generichash_update(&state, reinterpret_cast<const unsigned char*>(user.data()), user.size());
    const unsigned char separator = 0;
    crypto_generichash_update(&state, &separator, 1);
    crypto_generichash_update(&state, reinterpret_cast<const unsigned char*>(password.data()), password.size());
    crypto_generichash_final(&state, salt.data(), salt.size());
    sodium_memzero(&state, sizeof state);

    char setting[CRYPT_GENSALT_OUTPUT_SIZE];
    if (!crypt_gensalt_rn("$2a$", bcrypt_cost, reinterpret_cast<const char*>(salt.data()), static_cast<int>(salt.size()),
                          setting, sizeof setting))
        return make_error(errc::unsupported, "this system's libcrypt cannot make bcrypt ($2a$) hashes; install libcrypt1 4.4 or newer");
    crypto::secret phrase(password.size() + 1);
    std::copy(password.begin(), password.end(), phrase.data());
    const auto scratch = std::make_unique<crypt_data>();
    const char* hash = crypt_rn(reinterpret_cast<const char*>(phrase.data()), setting, scratch.get(), sizeof(crypt_data));
    std::string out = hash ? hash : "";
    sodium_memzero(scratch.get(), sizeof(crypt_data));
    if (out.rfind("$2a$", 0) != 0)
        return make_error(errc::unsupported, "this system's libcrypt cannot make bcrypt ($2a$) hashes; install libcrypt1 4.4 or newer");
    return out;
}

result<std::string> argon2id(std::string_view password, argon2_cost cost) {
    if (password.empty()) return make_error(errc::invalid, "the password is empty");
    if (password.size() > max_password_bytes)
        return make_error(errc::invalid, "the password is longer than " + std::to_string(max_password_bytes) + " bytes");
    if (cost.iterations < 1 || cost.iterations > argon2_max_iterations || cost.memory_kib < 8 ||
        cost.memory_kib > argon2_max_memory_kib)
        return make_error(errc::invalid, "argon2id takes 1 to " + std::to_string(argon2_max_iterations) +
                                             " iterations and 8 to " + std::to_string(argon2_max_memory_kib) + " KiB");
    char out[crypto_pwhash_argon2id_STRBYTES];
    if (crypto_pwhash_argon2id_str(out, password.data(), password.size(), cost.iterations, cost.memory_kib * 1024) != 0)
        return make_error(errc::unavailable, "not enough memory for argon2id with " + std::to_string(cost.memory_kib) + " KiB");
    return std::string(out);
}

}  // namespace callgate::cli

// SPDX-License-Identifier: Apache-2.0
// Makes what the configurations of the bundled plugins' conformance tests name: seeds, users, issuer keys and tokens. Nothing
// of it is kept in the repository. make_fixtures FOLDER
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <callgate/crypto/base64url.hpp>
#include <callgate/nats/nkey.hpp>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>

#include "sdk/check/rfc8032.hpp"

namespace {

namespace fs = std::filesystem;
using namespace callgate;

fs::path folder;

void write(const fs::path& name, const std::string& text) {
    const auto path = folder / name;
    fs::create_directories(path.parent_path());
    fs::remove(path);
    std::ofstream out(path, std::ios::binary);
    ::chmod(path.c_str(), 0600);
    out << text;
    if (!out.flush()) throw std::runtime_error(path.string() + " cannot be written");
}

std::string seed_of(const nats::key_pair& k) {
    const auto text = k.seed_text();
    return {reinterpret_cast<const char*>(text.bytes().data()), text.bytes().size()};
}

void key_file() {
    const auto& vectors = check::rfc8032_vectors();
    std::string files;
    int n = 0;
    for (const auto& v : vectors) {
        const auto key = nats::key_pair::from_raw_seed(nats::key_type::account, v.seed).value();
        const auto name = "rfc8032_" + std::to_string(++n) + ".nk";
        write("key_file/" + name, seed_of(key) + "\n");
        files += "  rfc8032_" + std::to_string(n) + ": " + name + "\n";
    }
    write("key_file/link.nk", seed_of(nats::key_pair::generate(nats::key_type::user)));
    write("key_file/xkey.nk", seed_of(nats::key_pair::generate(nats::key_type::curve)));
    write("key_file/good.yaml", "files:\n" + files + "  link: link.nk\n  xkey: xkey.nk\n");
    write("key_file/bad.yaml",
          "- {key: files, config: {}}\n- {key: files, config: {files: {}}}\n- {key: files, config: {files: [a.nk]}}\n- {key: gone, config: {files: {gone: gone.nk}}}\n"
          "- {key: fils, config: {fils: {a: xkey.nk}}}\n");
}

void auth_static() {
    char hash[crypto_pwhash_STRBYTES];
    const std::string password = "correct horse";
    // The cheapest argon2id there is: the check asks for thousands of logins.
    if (crypto_pwhash_str_alg(hash, password.c_str(), password.size(), crypto_pwhash_OPSLIMIT_MIN, crypto_pwhash_MEMLIMIT_MIN, crypto_pwhash_ALG_ARGON2ID13) != 0)
        throw std::runtime_error("out of memory for argon2id");
    const std::string token = "token-of-the-robot-0123456789abcdef";
    unsigned char digest[32];
    crypto_hash_sha256(digest, reinterpret_cast<const unsigned char*>(token.data()), token.size());
    char hex[65];
    sodium_bin2hex(hex, sizeof hex, digest, sizeof digest);
    write("auth_static/users.yaml", "users:\n  - {user: alice, password: \"" + std::string(hash) + "\", attributes: {team: blue}}\n  - {user: robot, token_sha256: \"" + hex + "\"}\n");
    write("auth_static/good.yaml", "file: users.yaml\nhash: {threads: 1, queue: 512, per_user: 512, per_host: 512, max_wait: 10s, priority: normal}\n");
    write("auth_static/bad.yaml",
          "- {key: file, config: {}}\n- {key: file, config: {file: \"\"}}\n- {key: gone.yaml, config: {file: gone.yaml}}\n- {key: reload_interval, config: {file: users.yaml, reload_interval: soon}}\n"
          "- {key: hash.threads, config: {file: users.yaml, hash: {threads: 1000}}}\n- {key: hash.priority, config: {file: users.yaml, hash: {priority: highest}}}\n");
    write("auth_static/cases.yaml",
          "- {name: right password, request: {user: alice, pass: " + password + ", credential: " + password + "}, source: pass, verdict: allow, subject: alice}\n"
          "- {name: wrong password, request: {user: alice, pass: wrong, credential: wrong}, source: pass, verdict: deny, reason_id: bad_credentials}\n"
          "- {name: unknown user, request: {user: nobody, pass: wrong, credential: wrong}, source: pass, verdict: deny, reason_id: bad_credentials}\n"
          "- {name: token, request: {auth_token: " + token + ", credential: " + token + "}, source: auth_token, verdict: allow, subject: robot}\n"
          "- {name: nothing, request: {}, verdict: abstain}\n");
}

std::string encoded(const std::string& json) { return crypto::base64url::encode(std::string_view(json)); }

void auth_oidc() {
    const auto key = crypto::signing_key::generate();
    const auto& pub = key.public_key();
    write("auth_oidc/jwks.json", R"({"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k1","use":"sig","alg":"EdDSA","x":")" + crypto::base64url::encode(std::span<const std::uint8_t>(pub)) + "\"}]}\n");
    const auto now = static_cast<long long>(::time(nullptr));
    const auto token = [&](const std::string& audience, long long exp) {
        const auto signed_part = encoded(R"({"alg":"EdDSA","typ":"JWT","kid":"k1"})") + "." +
                                 encoded(R"({"iss":"https://issuer.example","sub":"alice","aud":")" + audience + R"(","iat":)" + std::to_string(now - 60) + R"(,"exp":)" + std::to_string(exp) + "}");
        std::array<std::uint8_t, 64> signature{};
        key.sign({reinterpret_cast<const std::uint8_t*>(signed_part.data()), signed_part.size()}, signature);
        return signed_part + "." + crypto::base64url::encode(std::span<const std::uint8_t>(signature));
    };
    const auto good = token("nats", now + 86'400);
    auto damaged = good;
    damaged[good.find('.') + 10] = damaged[good.find('.') + 10] == 'A' ? 'B' : 'A';
    const auto row = [](const std::string& name, const std::string& t, const std::string& rest) {
        return "- {name: " + name + ", request: {auth_token: \"" + t + "\", credential: \"" + t + "\"}, source: auth_token, " + rest + "}\n";
    };
    write("auth_oidc/cases.yaml", row("good token", good, "verdict: allow, subject: alice") + row("expired", token("nats", now - 3'600), "verdict: deny, reason_id: token_expired") +
                                      row("for another audience", token("mail", now + 86'400), "verdict: deny, reason_id: aud_mismatch") + row("damaged", damaged, "verdict: deny") +
                                      row("not a token", "opaque", "verdict: abstain"));
    write("auth_oidc/good.yaml", "issuers:\n  - {issuer: \"https://issuer.example\", audiences: [nats], jwks_file: jwks.json, algorithms: [EdDSA]}\n");
    write("auth_oidc/bad.yaml",
          "- {key: issuers, config: {}}\n- {key: audiences, config: {issuers: [{issuer: \"https://issuer.example\", jwks_file: jwks.json}]}}\n"
          "- {key: gone.json, config: {issuers: [{issuer: \"https://issuer.example\", audiences: [nats], jwks_file: gone.json}]}}\n"
          "- {key: max_token, config: {max_token: 1, issuers: [{issuer: \"https://issuer.example\", audiences: [nats], jwks_file: jwks.json}]}}\n");
}

void store_sqlite() {
    write("store_sqlite/good.yaml", "path: claims.db\nsynchronous: normal\n");
    write("store_sqlite/bad.yaml", "- {key: path, config: {}}\n- {key: synchronous, config: {path: claims.db, synchronous: sometimes}}\n- {key: pth, config: {pth: claims.db}}\n");
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::cerr << "usage: make_fixtures FOLDER\n";
        return 2;
    }
    try {
        if (sodium_init() < 0) throw std::runtime_error("libsodium does not start");
        ::umask(0077);
        folder = argv[1];
        key_file();
        auth_static();
        auth_oidc();
        store_sqlite();
        return 0;
    } catch (const std::exception& e) {
        std::cerr << "make_fixtures: " << e.what() << "\n";
        return 1;
    }
}

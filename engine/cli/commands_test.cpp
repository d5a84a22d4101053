// SPDX-License-Identifier: Apache-2.0
// The executable as its users meet it, and what jwt decode says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sodium.h>
#include <sys/stat.h>

#include <boost/json.hpp>
#include <callgate/nats/creds.hpp>
#include <callgate/nats/jwt.hpp>

#include "engine/cli/cmd_jwt.hpp"
#include "engine/cli/deployment_test.hpp"
#include "engine/cli/password.hpp"

namespace callgate::cli {
namespace {

namespace json = boost::json;
using testing::HasSubstr;
using testing::Not;
using nats::key_pair;
using nats::key_type;

constexpr std::int64_t now = 1'800'000'000;

test::command_result callgate_command(std::vector<std::string> args, const std::string& input = {}) {
    args.insert(args.begin(), CALLGATE_EXECUTABLE);
    return test::run_command(args, input);
}

std::string user_token(const key_pair& account, const key_pair& user, const std::string& name = "alice", std::int64_t exp = 0) {
    nats::user_claims c;
    c.name = name;
    c.sub = user.public_text();
    c.exp = exp;
    return nats::encode(c, account, now).value();
}

TEST(command_line, usage_errors_end_with_2_failures_with_1) {
    for (const auto& args : std::vector<std::vector<std::string>>{
             {}, {"no-such"}, {"init"}, {"init", "x", "--no-such"}, {"nkey", "gen"}, {"nkey", "gen", "wizard", "--stdout"}, {"nkey", "gen", "user"},
             {"nkey", "gen", "user", "--stdout", "--out", "x"}, {"init", "/tmp/x", "--mode", "both"}, {"jwt"}}) {
        const auto r = callgate_command(args);
        EXPECT_EQ(r.status, 2) << testing::PrintToString(args) << r.err;
        EXPECT_THAT(r.err, Not(testing::IsEmpty()));
    }
    EXPECT_EQ(callgate_command({"jwt", "decode", "/no/such/file"}).status, 1);
    EXPECT_EQ(callgate_command({"init", "/no/such/place/x"}).status, 1);
    EXPECT_EQ(callgate_command({"--help"}).status, 0);
    EXPECT_THAT(callgate_command({"version"}).out, testing::StartsWith("callgate "));
}

TEST(command_line, a_repeated_option_does_not_swallow_the_folder) {
    const callgate::test::temp_dir tmp;
    const auto r = callgate_command({"init", "--account", "ONE", "--account", "TWO", tmp.file("d")});
    EXPECT_EQ(r.status, 0) << r.err;
    EXPECT_TRUE(test::snapshot(tmp.file("d")).contains("keys/two-signing.nk"));
}

TEST(nkey_gen, writes_a_private_file_once_and_prints_the_public_key) {
    const callgate::test::temp_dir tmp;
    for (const char* kind : {"operator", "account", "user", "server", "cluster", "curve"}) {
        const auto file = tmp.file(kind);
        const auto made = callgate_command({"nkey", "gen", kind, "--out", file});
        ASSERT_EQ(made.status, 0) << made.err;
        const auto seed = test::slurp(file);
        const auto pair = key_pair::from_seed(seed.substr(0, seed.size() - 1)).value();
        EXPECT_EQ(nats::to_string(pair.type()), kind);
        EXPECT_EQ(made.out, pair.public_text() + "\n");
        struct stat st{};
        ASSERT_EQ(::stat(file.c_str(), &st), 0);
        EXPECT_EQ(st.st_mode & 07777, 0600u);
        const auto again = callgate_command({"nkey", "gen", kind, "--out", file});
        EXPECT_EQ(again.status, 1);
        EXPECT_THAT(again.err, HasSubstr("never overwritten"));
        EXPECT_EQ(test::slurp(file), seed);
    }
    const auto shown = callgate_command({"nkey", "gen", "account", "--stdout"});
    EXPECT_EQ(key_pair::from_seed(shown.out.substr(0, 58)).value().public_text() + "\n", shown.err);
}

TEST(passwd, hashes_the_first_line_so_that_libsodium_verifies_it) {
    const auto r = callgate_command({"passwd", "--memory-kib", "1024", "--iterations", "1"}, "correct horse\nsecond line\n");
    ASSERT_EQ(r.status, 0) << r.err;
    EXPECT_THAT(r.out, testing::StartsWith("$argon2id$v=19$m=1024,t=1,p=1$"));
    const std::string hash = r.out.substr(0, r.out.size() - 1), word = "correct horse";
    EXPECT_EQ(crypto_pwhash_str_verify(hash.c_str(), word.data(), word.size()), 0);
    EXPECT_NE(crypto_pwhash_str_verify(hash.c_str(), "correct horsf", 13), 0);
    EXPECT_EQ(callgate_command({"passwd"}, "").status, 1);
    EXPECT_EQ(callgate_command({"passwd"}, "\n").status, 1);
    EXPECT_EQ(callgate_command({"passwd"}, std::string(2000, 'x')).status, 1);
    EXPECT_EQ(callgate_command({"passwd", "--memory-kib", "99999999"}, "x\n").status, 1);
}

TEST(password, bcrypt_repeats_for_the_same_inputs_only) {
    const std::vector<std::uint8_t> key(32, 1), other(32, 2);
    const auto a = bcrypt_2a("secret", "callout", key).value();
    EXPECT_EQ(a, bcrypt_2a("secret", "callout", key).value());
    EXPECT_THAT(a, testing::StartsWith("$2a$"));
    EXPECT_EQ(a.size(), 60u);
    const auto salt = [](const std::string& hash) { return hash.substr(0, 29); };
    EXPECT_NE(salt(a), salt(bcrypt_2a("secret", "system", key).value()));
    EXPECT_NE(salt(a), salt(bcrypt_2a("secret", "callout", other).value()));
    EXPECT_NE(salt(a), salt(bcrypt_2a("secret2", "callout", key).value()));
    EXPECT_FALSE(bcrypt_2a(std::string(73, 'x'), "callout", key)) << "bcrypt would cut it";
    EXPECT_FALSE(bcrypt_2a("", "callout", key));
}

TEST(jwt_decode, shows_claims_signature_issues_and_chain) {
    const auto account = key_pair::generate(key_type::account), user = key_pair::generate(key_type::user);
    const auto shown = describe_jwt(user_token(account, user, "alice", now - 10), {}, now);
    ASSERT_TRUE(shown) << shown.error().message();
    const auto o = json::parse(*shown).as_object();
    EXPECT_EQ(o.at("type"), "user");
    EXPECT_EQ(o.at("signature"), "valid");
    EXPECT_EQ(o.at("header").at("alg"), "ed25519-nkey");
    EXPECT_EQ(o.at("claims").at("name"), "alice");
    ASSERT_EQ(o.at("issues").as_array().size(), 1u);
    EXPECT_EQ(o.at("issues").at(0).at("severity"), "time");
    EXPECT_THAT(std::string(o.at("times").at("expires").as_string()), HasSubstr("(over)"));
    EXPECT_THAT(std::string(o.at("chain").as_string()), HasSubstr(account.public_text()));
}

TEST(jwt_decode, says_when_the_signature_is_wrong) {
    const auto account = key_pair::generate(key_type::account), user = key_pair::generate(key_type::user);
    auto token = user_token(account, user);
    const auto other = user_token(account, key_pair::generate(key_type::user));
    token = token.substr(0, token.rfind('.')) + other.substr(other.rfind('.'));
    const auto shown = describe_jwt(token, {}, now);
    ASSERT_TRUE(shown) << shown.error().message();
    EXPECT_EQ(json::parse(*shown).at("signature"), "INVALID");
}

TEST(jwt_decode, tells_which_issuer_it_was) {
    const auto op = key_pair::generate(key_type::operator_), account = key_pair::generate(key_type::account), user = key_pair::generate(key_type::user);
    const auto account_token = [&](const key_pair& key) {
        nats::account_claims a;
        a.sub = key.public_text();
        return nats::encode(a, op, now).value();
    };
    const auto stranger = key_pair::generate(key_type::account);
    const auto shown = describe_jwt(user_token(account, user), {account_token(stranger), account_token(account)}, now);
    ASSERT_TRUE(shown) << shown.error().message();
    const auto issuers = json::parse(*shown).at("issuers").as_array();
    EXPECT_EQ(issuers.at(0).at("issued_this"), false);
    EXPECT_EQ(issuers.at(1).at("issued_this"), true);
}

TEST(jwt_decode, never_prints_secrets) {
    const auto account = key_pair::generate(key_type::account), user = key_pair::generate(key_type::user), server = key_pair::generate(key_type::server);
    const auto token = user_token(account, user);
    const auto creds = nats::format_creds(token, user).value();
    const auto seed = user.seed_text();
    auto shown = describe_jwt(creds.text(), {}, now);
    ASSERT_TRUE(shown) << shown.error().message();
    EXPECT_THAT(*shown, Not(HasSubstr(std::string(seed.text()))));
    EXPECT_THAT(*shown, Not(HasSubstr(token)));

    nats::authorization_request_claims request;
    request.aud = "nats-authorization-request";
    request.sub = account.public_text();
    request.server.id = server.public_text();
    request.user_nkey = user.public_text();
    request.connect.pass = "planted-pass";
    request.connect.auth_token = "planted-token";
    request.connect.jwt = token;
    request.connect.sig = "planted-sig";
    request.client.user = "planted-token";  // as nats-server 2.10 repeats it
    request.client.name = std::string(seed.text());
    shown = describe_jwt(nats::encode(request, server, now).value(), {}, now);
    ASSERT_TRUE(shown) << shown.error().message();
    EXPECT_THAT(*shown, Not(HasSubstr("planted")));
    EXPECT_THAT(*shown, Not(HasSubstr(token)));
    EXPECT_THAT(*shown, Not(HasSubstr(std::string(seed.text()))));
    EXPECT_THAT(*shown, HasSubstr("nats-authorization-request"));

    nats::authorization_response_claims response;
    response.sub = user.public_text();
    response.aud = server.public_text();
    response.jwt = token;
    shown = describe_jwt(nats::encode(response, account, now).value(), {}, now);
    ASSERT_TRUE(shown) << shown.error().message();
    EXPECT_THAT(*shown, Not(HasSubstr(token)));
}

TEST(jwt_decode, refuses_seeds_and_rubbish_with_a_reason) {
    for (const auto type : {key_type::operator_, key_type::account, key_type::user, key_type::server, key_type::cluster, key_type::curve}) {
        const std::string seed(key_pair::generate(type).seed_text().text());
        for (const auto& text : {seed, seed + "\n", "-----BEGIN USER NKEY SEED-----\n" + seed + "\n------END USER NKEY SEED------\n"}) {
            const auto shown = describe_jwt(text, {}, now);
            ASSERT_FALSE(shown);
            EXPECT_THAT(shown.error().message(), HasSubstr("seed, a private key"));
            EXPECT_THAT(shown.error().message(), Not(HasSubstr(seed)));
        }
    }
    for (const std::string text : {"", " \n", "hello", "a.b.c", "eyJ.eyJ.x", "eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0.e30."}) {
        const auto shown = describe_jwt(text, {}, now);
        EXPECT_FALSE(shown) << text;
    }
    EXPECT_EQ(callgate_command({"jwt", "decode"}, std::string(2'000'000, 'x')).status, 1);
}

}  // namespace
}  // namespace callgate::cli

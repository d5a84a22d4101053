// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <callgate/nats/creds.hpp>
#include <callgate/nats/jwt.hpp>
#include <ctime>

#include "engine/net/link_test_rig.hpp"
#include "tests/support/nats_server.hpp"

namespace callgate::net::test {
namespace {

using callgate::test::nats_server;
using callgate::test::server_version;
using callgate::test::temp_dir;

std::string signed_token(const nats::any_claims& claims, const nats::key_pair& signer) {
    auto token = nats::encode(claims, signer, std::time(nullptr));
    if (!token) throw std::runtime_error(token.error().text);
    return *token;
}

/// An operator, a system account and one account, in a server's memory resolver.
struct deployment {
    nats::key_pair op = nats::key_pair::generate(nats::key_type::operator_);
    nats::key_pair system = nats::key_pair::generate(nats::key_type::account);
    nats::key_pair account = nats::key_pair::generate(nats::key_type::account);

    [[nodiscard]] std::string config() const {
        nats::operator_claims o;
        o.sub = op.public_text();
        o.name = "op";
        o.system_account = system.public_text();
        nats::account_claims s, a;
        s.sub = system.public_text();
        s.name = "SYS";
        a.sub = account.public_text();
        a.name = "A";
        return "operator: " + signed_token(o, op) + "\nsystem_account: " + system.public_text() + "\nresolver: MEMORY\nresolver_preload {\n  " +
               system.public_text() + ": " + signed_token(s, op) + "\n  " + account.public_text() + ": " + signed_token(a, op) + "\n}\n";
    }
    [[nodiscard]] std::string user_jwt(const nats::key_pair& user, bool bearer) const {
        nats::user_claims u;
        u.sub = user.public_text();
        u.name = "service";
        u.limits.bearer_token = bearer;
        return signed_token(u, account);
    }
};

class login_on : public testing::TestWithParam<server_version> {};
INSTANTIATE_TEST_SUITE_P(servers, login_on, testing::Values(server_version::v2_10, server_version::v2_15),
                         [](const auto& i) { return i.param == server_version::v2_10 ? "v2_10_27" : "v2_15_1"; });

TEST_P(login_on, creds_are_read_again_at_each_attempt) {
    const deployment d;
    nats_server server(GetParam(), d.config());
    temp_dir dir;
    const auto user = nats::key_pair::generate(nats::key_type::user), stranger = nats::key_pair::generate(nats::key_type::user);
    const deployment foreign;
    const auto good = nats::format_creds(d.user_jwt(user, false), user);
    const auto bad = nats::format_creds(foreign.user_jwt(stranger, false), stranger);
    ASSERT_TRUE(good && bad);
    auto options = to(server.url(), {{"a", {}}});
    options.login = creds_file{dir.write("service.creds", bad->text())};
    options.reconnect_wait_max_ns = 50'000'000;
    rig r(std::move(options));
    ASSERT_TRUE(r.until_error("uthorization")) << r.link->status().last_error;
    dir.write("service.creds", good->text());
    ASSERT_TRUE(r.until_connected()) << r.link->status().last_error;
    // In operator mode only the account's own users hear each other.
    ASSERT_TRUE(r.link->publish("a", bytes("self")));
    r.link->flush();
    EXPECT_TRUE(r.until_messages(1));
}

TEST_P(login_on, a_bearer_token_needs_no_seed) {
    const deployment d;
    nats_server server(GetParam(), d.config());
    temp_dir dir;
    const auto user = nats::key_pair::generate(nats::key_type::user);
    auto options = to(server.url());
    options.login = creds_file{dir.write("bearer.creds", "-----BEGIN NATS USER JWT-----\n" + d.user_jwt(user, true) + "\n------END NATS USER JWT------\n")};
    rig r(std::move(options));
    ASSERT_TRUE(r.until_connected()) << r.link->status().last_error;
}

TEST_P(login_on, an_nkey_seed_logs_in_and_another_does_not) {
    const auto user = nats::key_pair::generate(nats::key_type::user), other = nats::key_pair::generate(nats::key_type::user);
    nats_server server(GetParam(), "authorization { users = [ { nkey: " + user.public_text() + " } ] }");
    temp_dir dir;
    auto options = to(server.url());
    options.login = nkey_seed_file{dir.write("seed", std::string(other.seed_text().text()) + "\n")};
    options.reconnect_wait_max_ns = 50'000'000;
    rig r(std::move(options));
    ASSERT_TRUE(r.until_error("uthorization")) << r.link->status().last_error;
    dir.write("seed", std::string(user.seed_text().text()) + "\n");
    ASSERT_TRUE(r.until_connected()) << r.link->status().last_error;
}

TEST_P(login_on, a_broken_or_missing_file_is_named_without_its_contents) {
    nats_server server(GetParam());
    temp_dir dir;
    auto options = to(server.url());
    options.login = nkey_seed_file{dir.write("seed", "SUBROKENSECRETSEED\n")};
    rig broken(options);
    ASSERT_TRUE(broken.until_error(dir.file("seed")));
    EXPECT_EQ(broken.link->status().last_error.find("BROKENSECRET"), std::string::npos);
    options.login = creds_file{dir.file("absent.creds")};
    rig missing(options);
    ASSERT_TRUE(missing.until_error("No such file")) << missing.link->status().last_error;
}

}  // namespace
}  // namespace callgate::net::test

// SPDX-License-Identifier: Apache-2.0
// Real servers take what init writes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <callgate/nats/creds.hpp>
#include <callgate/nats/jwt.hpp>
#include <filesystem>
#include <sstream>

#include "engine/cli/cmd_init.hpp"
#include "engine/cli/deployment_test.hpp"

namespace callgate::cli {
namespace {

using callgate::test::free_port;
using testing::HasSubstr;

class init_server : public testing::TestWithParam<test::shape> {
  protected:
    callgate::test::temp_dir tmp;
    const std::string dir = tmp.file("d");

    void make(const init_request& r) {
        std::ostringstream out;
        const auto outcome = run_init(dir, r, out);
        ASSERT_TRUE(outcome) << outcome.error().message();
    }
    test::command_result server_check() const {
        return test::run_command({callgate::test::server_binary(GetParam().server), "-t", "-c", dir + "/nats-server.conf"});
    }
    /// A CA, a server certificate for 127.0.0.1 and a client certificate.
    void make_certificates() {
        const auto openssl = [&](std::vector<std::string> args) {
            args.insert(args.begin(), "/usr/bin/openssl");
            const auto done = test::run_command(args);
            ASSERT_EQ(done.status, 0) << done.err;
        };
        test::spit(tmp.file("ext"), "subjectAltName=IP:127.0.0.1\n", 0600);
        openssl({"req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=ca", "-days", "2", "-keyout",
                 tmp.file("ca.key"), "-out", tmp.file("ca.pem")});
        for (const std::string name : {"server", "client"}) {
            openssl({"req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=" + name, "-keyout",
                     tmp.file(name + ".key"), "-out", tmp.file(name + ".csr")});
            openssl({"x509", "-req", "-in", tmp.file(name + ".csr"), "-CA", tmp.file("ca.pem"), "-CAkey", tmp.file("ca.key"), "-CAcreateserial",
                     "-days", "2", "-extfile", tmp.file("ext"), "-out", tmp.file(name + ".pem")});
        }
    }
};

TEST_P(init_server, accepts_the_configuration) {
    make(test::request_for(GetParam(), free_port()));
    const auto checked = server_check();
    EXPECT_EQ(checked.status, 0) << checked.err;
}

#ifdef CALLGATE_CLI_CONFIG
TEST_P(init_server, callgate_reads_its_own_configuration_and_its_policy_cases_hold) {
    auto r = test::request_for(GetParam(), free_port());
    r.accounts = std::vector<std::string>{"APP", "Shop-1"};
    make(r);
    const auto outcome = test::run_command({CALLGATE_EXECUTABLE, "policy", "test", dir + "/callgate.yaml"});
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(outcome.err, "") << "not even a warning";
    test::spit(tmp.file("cases.yaml"), "tests:\n  - name: nobody\n    identity: {backend: users, subject: bob}\n    expect: {account: Shop-1}\n", 0600);
    const auto failing = test::run_command({CALLGATE_EXECUTABLE, "policy", "test", dir + "/callgate.yaml", tmp.file("cases.yaml")});
    EXPECT_EQ(failing.status, 1);
    EXPECT_THAT(failing.out, HasSubstr("FAIL"));
    test::spit(dir + "/callgate.yaml", test::slurp(dir + "/callgate.yaml") + "surprise: 1\n", 0600);
    const auto broken = test::run_command({CALLGATE_EXECUTABLE, "policy", "test", dir + "/callgate.yaml"});
    EXPECT_EQ(broken.status, 1);
    EXPECT_THAT(broken.err, HasSubstr("surprise"));
}
#endif

TEST_P(init_server, starts_with_websocket_mqtt_monitoring_and_several_accounts) {
    const auto port = free_port();
    auto r = test::request_for(GetParam(), port);
    r.websocket = "127.0.0.1:" + std::to_string(free_port());
    r.mqtt = "127.0.0.1:" + std::to_string(free_port());
    r.monitor = "127.0.0.1:" + std::to_string(free_port());
    r.accounts = std::vector<std::string>{"APP", "shop-1"};
    make(r);
    const auto checked = server_check();
    EXPECT_EQ(checked.status, 0) << checked.err;
    const test::deployed_server server(GetParam().server, dir + "/nats-server.conf", port);
    const auto log = server.log();
    EXPECT_THAT(log, HasSubstr("Server is ready"));
    EXPECT_THAT(log, HasSubstr("websocket clients on ws://"));
    EXPECT_THAT(log, HasSubstr("MQTT clients on"));
    EXPECT_THAT(log, testing::Not(HasSubstr("[ERR]")));
    EXPECT_THAT(log, testing::Not(HasSubstr("[FTL]")));
}

TEST_P(init_server, starts_with_mutual_tls) {
    make_certificates();
    const auto port = free_port();
    auto r = test::request_for(GetParam(), port);
    r.tls_cert = tmp.file("server.pem");
    r.tls_key = tmp.file("server.key");
    r.tls_ca = tmp.file("ca.pem");
    r.tls_client_cert = tmp.file("client.pem");
    r.tls_client_key = tmp.file("client.key");
    r.websocket = "127.0.0.1:" + std::to_string(free_port());
    make(r);
    const test::deployed_server server(GetParam().server, dir + "/nats-server.conf", port);
    EXPECT_THAT(server.log(), HasSubstr("TLS required for client connections"));
    EXPECT_THAT(test::slurp(dir + "/callgate.yaml"), HasSubstr("tls://127.0.0.1:" + std::to_string(port)));
    EXPECT_THAT(test::slurp(dir + "/callgate.yaml"), HasSubstr("cert_file: \"" + tmp.file("client.pem")));
}

TEST_P(init_server, starts_again_after_force_config_with_a_resolver_that_has_the_old_accounts) {
    const auto port = free_port();
    const auto r = test::request_for(GetParam(), port);
    make(r);
    { const test::deployed_server first(GetParam().server, dir + "/nats-server.conf", port); }
    auto forced = r;
    forced.force_config = true;
    forced.accounts = std::vector<std::string>{"APP", "SHOP"};
    make(forced);
    const test::deployed_server second(GetParam().server, dir + "/nats-server.conf", port);
    EXPECT_THAT(second.log(), testing::Not(HasSubstr("[ERR]")));
    if (GetParam().mode == deployment_mode::config) return;
    for (const auto& [name, bytes] : test::snapshot(dir + "/jwt")) {
        if (name.starts_with("operator.jwt") || name.ends_with(".previous")) continue;
        const auto key = nats::decode_as<nats::account_claims>(bytes.substr(0, bytes.size() - 1)).value().sub;
        EXPECT_EQ(test::slurp(dir + "/nats-data/jwt/" + key + ".jwt") + "\n", bytes) << name << ": the resolver has the new token";
    }
}

INSTANTIATE_TEST_SUITE_P(servers, init_server, testing::ValuesIn(test::all_shapes()), [](const auto& tested) { return tested.param.name(); });

}  // namespace
}  // namespace callgate::cli

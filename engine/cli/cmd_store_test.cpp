// SPDX-License-Identifier: Apache-2.0
// `callgate store` on a configuration whose store takes settings from the environment, as the daemon does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "engine/cli/deployment_test.hpp"

namespace callgate::cli {
namespace {

using testing::HasSubstr;

class cmd_store : public testing::Test {
  protected:
    const callgate::test::temp_dir tmp;
    const std::string config = tmp.file("callgate.yaml");

    void SetUp() override {
        test::spit(config,
                   "nats: [{name: main, urls: [nats://127.0.0.1:4222], credentials: {user: c, password_file: p}}]\n"
                   "callout: {mode: config, account: AUTH, system_account: SYS, issuer: local/issuer}\n"
                   "keys: {local: {plugin: key_file, config: {files: {issuer: a.nk}}}}\n"
                   "backends: {users: {plugin: auth_static, config: {file: users.yaml}}}\n"
                   "accounts: {APP: {}}\n"
                   "routes: [{name: all, chain: [users]}]\n"
                   "policy: {rules: [{name: all, when: always, grant: {from: claims, store: main, key: \"grants/{{sub}}\"}}]}\n"
                   "stores:\n"
                   "  main:\n"
                   "    plugin: store_sqlite\n"
                   "    timeout: 10ms\n"
                   "    config:\n"
                   "      path: ${CMD_STORE_TEST_PATH}\n"
                   "      history: ${CMD_STORE_TEST_HISTORY}\n",
                   0600);
        ::setenv("CMD_STORE_TEST_PATH", "claims.db", 1);
        ::setenv("CMD_STORE_TEST_HISTORY", "100", 1);
    }
    test::command_result store(std::vector<std::string> args, const std::string& input = {}) const {
        args.insert(args.begin() + 1, {"--config", config});
        args.insert(args.begin(), {CALLGATE_EXECUTABLE, "store"});
        return test::run_command(args, input);
    }
};

TEST_F(cmd_store, settings_from_the_environment_arrive_in_the_plugin_with_their_type) {
    const auto put = store({"put", "grants/alice"}, "{\"a\":1}");
    ASSERT_EQ(put.status, 0) << put.err;
    EXPECT_THAT(put.out, HasSubstr("revision 1"));
    EXPECT_TRUE(std::filesystem::exists(tmp.file("claims.db"))) << "relative to the file's folder";
    const auto got = store({"get", "grants/alice"});
    EXPECT_EQ(got.status, 0) << got.err;
    EXPECT_EQ(got.out, "{\"a\":1}");
}

TEST_F(cmd_store, a_value_of_the_wrong_type_is_named_with_its_line) {
    ::setenv("CMD_STORE_TEST_HISTORY", "many", 1);
    const auto r = store({"get", "grants/alice"});
    EXPECT_EQ(r.status, 1);
    EXPECT_THAT(r.err, HasSubstr("callgate.yaml:14: stores.main.config.history"));
}

}  // namespace
}  // namespace callgate::cli

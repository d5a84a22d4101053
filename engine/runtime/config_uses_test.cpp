// SPDX-License-Identifier: Apache-2.0
// What an instance may use has to be there: found out at load, with file, line and key.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/runtime/config_fixture.hpp"
#include "engine/runtime/config_schema.hpp"

namespace callgate::runtime {
namespace {

using ::testing::HasSubstr;

std::string configured(const std::string& uses, const std::string& plugin_link = "    plugin_link: {credentials: {user: plug, password_file: plug.password}}\n") {
    return R"(nats:
  - name: main
    urls: [nats://127.0.0.1:4222]
    credentials: {user: callgate, password_file: callout.password}
    system: {credentials: {user: sys, password_file: system.password}}
)" + plugin_link +
           R"(callout: {mode: config, account: AUTH, system_account: SYS, issuer: local/issuer, servers: discovered}
keys:
  local: {plugin: key_file, config: {files: {issuer: a.nk}}}
stores:
  main: {plugin: store_sqlite, config: {path: c.db}}
backends:
  users:
    plugin: auth_static
    config: {file: users.yaml}
    uses:
)" + uses + R"(accounts:
  APP: {}
routes:
  - {name: everybody, chain: [users]}
policy:
  rules:
    - {name: everybody, when: always, grant: {account: APP, sub: {allow: [a]}}}
)";
}

std::string errors(const std::string& text) { return testing::messages(load_config_text(text, "c.yaml", "/nonexistent").findings); }

TEST(config_uses, what_is_there_is_taken_with_the_user_for_plugins) {
    const auto o = load_config_text(configured("      [keys/local, store/main, nats/main]\n"), "c.yaml", "/nonexistent");
    ASSERT_TRUE(o.value) << testing::messages(o.findings);
    ASSERT_TRUE(o.value->nats[0].plugin_link);
    EXPECT_EQ(o.value->nats[0].plugin_link->login, net::credentials(net::password_file{"plug", "/nonexistent/plug.password"}));
    EXPECT_EQ(o.value->nats[0].plugin_link->urls, o.value->nats[0].link.urls);
    EXPECT_EQ(o.value->backends[0].uses, (std::vector<std::string>{"keys/local", "store/main", "nats/main"}));
}

TEST(config_uses, names_that_are_not_there_are_refused_with_line_and_key) {
    EXPECT_EQ(errors(configured("      - keys/local\n      - keys/lokal\n      - store/other\n      - nats/mian\n")),
              "c.yaml:18: backends.users.uses[1]: nothing is named \"lokal\" under keys:; did you mean keys/local?\n"
              "c.yaml:19: backends.users.uses[2]: nothing is named \"other\" under stores:\n"
              "c.yaml:20: backends.users.uses[3]: nothing is named \"mian\" under nats:; did you mean nats/main?\n");
    EXPECT_EQ(errors(configured("      [keys/local, keys/local]\n")), "c.yaml:17: backends.users.uses[1]: names keys/local twice\n");
    EXPECT_THAT(errors(configured("      [backends/users]\n")), HasSubstr("backends.users.uses: \"backends/users\" is nothing a plugin can use; write keys/<name>, store/<name> or nats/<cluster>"));
}

TEST(config_uses, a_cluster_without_a_user_for_plugins_is_refused) {
    EXPECT_EQ(errors(configured("      [nats/main]\n", "")),
              "c.yaml:16: backends.users.uses[0]: the cluster \"main\" has no plugin_link: {credentials: ...}, so no plugin may connect to it; give plugins a user of their own there\n");
}

TEST(config_uses, a_secret_of_a_plugin_may_stand_in_a_file_of_its_own) {
    const auto with = [](const std::string& password) { return errors(configured("      [keys/local]\n") + "modules:\n  m: {plugin: m, config: {password: " + password + "}}\n"); };
    EXPECT_EQ(with("file:door.secret"), "");
    EXPECT_THAT(with("hunter2"), HasSubstr("modules.m.config.password: a secret does not belong in the configuration"));
}

TEST(config_uses, plugins_never_log_in_as_the_engine) {
    for (const char* user : {"user: callgate, password_file: callout.password", "user: sys, password_file: system.password"})
        EXPECT_EQ(errors(configured("      []\n", std::string("    plugin_link: {credentials: {") + user + "}}\n")),
                  "c.yaml:6: nats[0].plugin_link: logs in as the engine itself does; plugins need a user of their own, who sees neither logins nor the system account\n");
    EXPECT_THAT(errors(configured("      []\n", "    plugin_link: {}\n")), HasSubstr("c.yaml:6: nats[0].plugin_link.credentials: is missing"));
}

}  // namespace
}  // namespace callgate::runtime

// SPDX-License-Identifier: Apache-2.0
// `modules:` and the one that stands there without being written.
#include <gtest/gtest.h>

#include "engine/runtime/config_fixture.hpp"

namespace callgate::runtime {
namespace {

load_outcome load(const testing::scratch_folder& folder, const std::string& more) {
    folder.write("password", "secret");
    return load_config(folder.write("callgate.yaml", R"(nats: [{name: main, urls: ["nats://127.0.0.1:4222"], credentials: {user: c, password_file: password}}]
callout: {mode: config, account: AUTH, system_account: SYS, issuer: local/issuer}
keys: {local: {plugin: key_file}}
backends: {users: {plugin: auth_static}}
accounts: {APP: {}}
routes: [{name: all, chain: [users]}]
policy: {rules: [{name: all, when: always, grant: {account: APP, sub: {allow: [a]}}}]}
)" + more));
}

std::string modules(const testing::scratch_folder& folder, const std::string& more) {
    const auto loaded = load(folder, more);
    if (!loaded.value) return testing::messages(loaded.findings);
    std::string out = loaded.value->bundled_admin ? "bundled:" : "";
    for (const auto& m : loaded.value->modules) out += " " + m.name + "=" + m.plugin + m.config_json;
    return out;
}

}  // namespace

TEST(config_modules, a_listener_brings_module_admin_unless_the_file_names_another_admin) {
    const testing::scratch_folder f;
    EXPECT_EQ(modules(f, ""), "");
    EXPECT_EQ(modules(f, "admin: {listen: \"unix:a.sock\"}\n"), "bundled: admin=module_admin{}");
    EXPECT_EQ(modules(f, "admin: {listen: \"unix:a.sock\"}\nmodules: {other: {plugin: module_x}}\n"), "bundled: other=module_x{} admin=module_admin{}");
    EXPECT_EQ(modules(f, "admin: {listen: \"unix:a.sock\"}\nmodules: {admin: {plugin: my_admin, config: {a: 1}}}\n"), " admin=my_admin{\"a\":1}");
    EXPECT_EQ(modules(f, "modules: {other: {plugin: module_x}}\n"), " other=module_x{}") << "without a listener there is nothing to serve";
}

TEST(config_modules, faults_name_the_module_and_its_line) {
    const testing::scratch_folder f;
    const auto text = modules(f, "modules:\n  Bad: {plugin: module_x}\n  ok: {plugin: ../x}\n  none: {}\n  much: {plugin: module_x, extra: 1}\n");
    for (const auto* part : {":9: modules.Bad: ", ":10: modules.ok.plugin: ", "modules.none", "modules.much.extra"}) EXPECT_NE(text.find(part), std::string::npos) << part << " in\n" << text;
}

}  // namespace callgate::runtime

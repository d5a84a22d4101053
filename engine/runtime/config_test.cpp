// SPDX-License-Identifier: Apache-2.0
// What a good configuration is read as.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/runtime/config_fixture.hpp"

namespace callgate::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::scratch_folder;

load_outcome load(const std::string& name) {
    testing::set_account_environment();
    return load_config(std::string(CALLGATE_CONFIGS) + "/" + name);
}

TEST(config, minimal_has_the_documented_defaults) {
    const auto o = load("minimal.yaml");
    ASSERT_TRUE(o.value) << testing::messages(o.findings);
    const config& c = *o.value;
    const std::string base = CALLGATE_CONFIGS;
    EXPECT_EQ(c.file, base + "/minimal.yaml");
    EXPECT_EQ(c.base_dir, base);
    ASSERT_EQ(c.nats.size(), 1u);
    EXPECT_EQ(c.nats[0].name, "main");
    EXPECT_THAT(c.nats[0].link.urls, ElementsAre("nats://127.0.0.1:4222"));
    const auto& login = std::get<net::password_file>(c.nats[0].link.login);
    EXPECT_EQ(login.user, "callgate");
    EXPECT_EQ(login.path, base + "/keys/callout.password");
    EXPECT_EQ(c.nats[0].links_per_server, 2u);
    EXPECT_FALSE(c.nats[0].system);
    EXPECT_EQ(c.callout.mode, callout_mode::config);
    EXPECT_EQ(c.callout.issuer, (key_ref{"local", "issuer"}));
    EXPECT_TRUE(c.callout.xkeys.empty());
    EXPECT_EQ(c.callout.leeway_ns, 30'000'000'000);
    EXPECT_EQ(c.callout.max_request_bytes, 1u << 20);
    EXPECT_FALSE(c.callout.silent_deny);
    ASSERT_EQ(c.keys.size(), 1u);
    EXPECT_EQ(c.keys[0].plugin, "key_file");
    EXPECT_EQ(c.keys[0].config_json, R"({"files":{"issuer":"keys/issuer.nk"}})");
    EXPECT_THAT(c.policy->backends(), ElementsAre("users"));
    EXPECT_EQ(c.admission.max_in_flight, 4096u);
    EXPECT_EQ(c.admin.listen, "");
    EXPECT_EQ(c.audit.path, "");
    EXPECT_EQ(c.log.level, "info");
    EXPECT_EQ(c.shards, 0u);
    ASSERT_EQ(c.plugins.directories.size(), 2u);
    EXPECT_TRUE(c.plugins.directories[0].ends_with("/plugins.d"));
}

TEST(config, production_is_read_whole) {
    const auto o = load("production.yaml");
    ASSERT_TRUE(o.value) << testing::messages(o.findings);
    const config& c = *o.value;
    EXPECT_EQ(c.shards, 2u);
    EXPECT_EQ(c.nats[0].link.urls.size(), 3u);
    ASSERT_TRUE(c.nats[0].link.tls);
    EXPECT_EQ(c.nats[0].link.tls->ca_file, c.base_dir + "/tls/ca.pem");
    ASSERT_TRUE(c.nats[0].system);
    EXPECT_EQ(c.nats[0].system->urls, c.nats[0].link.urls) << "the system link goes to the same servers unless told otherwise";
    EXPECT_TRUE(c.nats[0].system->tls);
    EXPECT_EQ(std::get<net::creds_file>(c.nats[0].system->login).path, c.base_dir + "/keys/system.creds");
    EXPECT_EQ(c.callout.mode, callout_mode::operator_);
    EXPECT_EQ(c.callout.servers, server_pinning::discovered);
    EXPECT_THAT(c.callout.xkeys, ElementsAre(key_ref{"local", "xkey"}, key_ref{"local", "xkey-old"}));
    ASSERT_EQ(c.backends.size(), 2u);
    EXPECT_EQ(c.backends[0].timeout_ns, 1'000'000'000);
    EXPECT_EQ(c.backends[1].max_in_flight, 512u);
    // What a variable stands for is put in when the plugin's schema has said that it is no secret.
    EXPECT_EQ(c.backends[0].config_json, R"({"issuers":[{"issuer":"${OIDC_ISSUER}","audiences":["nats"],"algorithms":["RS256","ES256"],"discovery":true}]})");
    ASSERT_EQ(c.backends[0].references.size(), 1u);
    EXPECT_EQ(c.backends[0].references[0].path, "issuers[0].issuer");
    ASSERT_EQ(c.accounts.size(), 2u);
    EXPECT_EQ(c.accounts[1].roles.at("worker"), (key_ref{"local", "services-worker"}));
    EXPECT_EQ(c.audit.path, c.base_dir + "/log/audit.jsonl");
    EXPECT_FALSE(c.audit.fail_closed);
    EXPECT_EQ(c.log.format, "json");
    EXPECT_EQ(c.admin.listen, "127.0.0.1:9222");
}

TEST(config, only_files_that_are_not_there_yet_are_warned_about) {
    for (const std::string name : {"minimal.yaml", "config_mode.yaml", "operator_mode.yaml", "production.yaml"}) {
        const auto o = load(name);
        ASSERT_TRUE(o.value) << name << "\n" << testing::messages(o.findings);
        for (const auto& f : o.findings) {
            EXPECT_EQ(f.level, finding::severity::warning);
            EXPECT_THAT(f.text, HasSubstr("cannot be read yet")) << f.message();
        }
    }
}

TEST(config, a_secret_others_can_read_is_an_error) {
    const scratch_folder dir;
    std::ifstream in(std::string(CALLGATE_CONFIGS) + "/minimal.yaml");
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    const auto file = dir.write("callgate.yaml", text);
    const auto secret = dir.write("keys/callout.password", "secret\n", 0644);
    auto o = load_config(file);
    EXPECT_FALSE(o.value);
    EXPECT_THAT(testing::messages(o.findings), HasSubstr(": nats[0].credentials.password_file: file mode 0644 of " + secret + " lets others read or change the secret; chmod 600"));
    dir.write("keys/callout.password", "secret\n", 0640);
    o = load_config(file);
    EXPECT_TRUE(o.value) << testing::messages(o.findings);
    EXPECT_TRUE(o.findings.empty()) << testing::messages(o.findings, false);
}

TEST(config, a_policy_file_reports_under_its_own_name) {
    const scratch_folder dir;
    std::ifstream in(std::string(CALLGATE_CONFIGS) + "/minimal.yaml");
    std::string text{std::istreambuf_iterator<char>(in), {}};
    text = text.substr(0, text.find("policy:")) + "policy: {file: rules/p.yaml}\n";
    const auto file = dir.write("callgate.yaml", text);
    EXPECT_THAT(testing::messages(load_config(file).findings), HasSubstr("rules/p.yaml: cannot be opened: No such file"));
    const auto policy = dir.write("rules/p.yaml", "rules:\n  - name: r\n    when: always\n    grant: {account: NONE, sub: {allow: [a]}}\n");
    const auto o = load_config(file);
    EXPECT_FALSE(o.value);
    EXPECT_THAT(testing::messages(o.findings), HasSubstr(policy + ":4: rules[0].grant.account: no account is named \"NONE\""));
    dir.write("rules/p.yaml", "rules:\n  - name: r\n    when: always\n    grant: {account: APP, sub: {allow: [a]}}\n");
    EXPECT_TRUE(load_config(file).value);
    dir.write("rules/p.yaml", "file: p.yaml\n");
    EXPECT_THAT(testing::messages(load_config(file).findings), HasSubstr("file: stands beside other keys or in a policy file itself"));
    dir.write("rules/p.yaml", "a: [\n");
    EXPECT_THAT(testing::messages(load_config(file).findings), HasSubstr("not valid YAML"));
}

TEST(config, environment_values_are_checked_like_any_other_and_stay_unseen) {
    ::setenv("CALLGATE_TEST_SHARDS", "hunter2", 1);
    std::ifstream in(std::string(CALLGATE_CONFIGS) + "/minimal.yaml");
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    auto o = load_config_text(text + "shards: ${CALLGATE_TEST_SHARDS}\n", "c.yaml", CALLGATE_CONFIGS);
    EXPECT_THAT(testing::messages(o.findings), HasSubstr("shards: must be a whole number from 0 to 64, not the value taken from the environment"));
    EXPECT_EQ(testing::messages(o.findings, false).find("hunter2"), std::string::npos);
    ::setenv("CALLGATE_TEST_SHARDS", "3", 1);
    o = load_config_text(text + "shards: ${CALLGATE_TEST_SHARDS}\n", "c.yaml", CALLGATE_CONFIGS);
    ASSERT_TRUE(o.value) << testing::messages(o.findings);
    EXPECT_EQ(o.value->shards, 3u);
}

TEST(config, lines_of_an_instances_config_are_kept) {
    const auto o = load("operator_mode.yaml");
    ASSERT_TRUE(o.value) << testing::messages(o.findings);
    const auto& lines = o.value->keys[0].config_lines;
    const auto app = std::ranges::find(lines, "files.app", &std::pair<std::string, int>::first);
    const auto auth = std::ranges::find(lines, "files.auth", &std::pair<std::string, int>::first);
    ASSERT_TRUE(app != lines.end() && auth != lines.end());
    EXPECT_EQ(app->second, auth->second + 2);
}

TEST(config, server_keys_can_be_listed) {
    std::ifstream in(std::string(CALLGATE_CONFIGS) + "/minimal.yaml");
    std::string text{std::istreambuf_iterator<char>(in), {}};
    const auto key = testing::public_key_of(nats::key_type::server);
    text.replace(text.find("  issuer:"), 0, "  servers: [" + key + "]\n");
    const auto o = load_config_text(text, "c.yaml", CALLGATE_CONFIGS);
    ASSERT_TRUE(o.value) << testing::messages(o.findings);
    EXPECT_EQ(o.value->callout.servers, server_pinning::list);
    EXPECT_THAT(o.value->callout.server_list, ElementsAre(key));
}

TEST(config_limits, of_instances_have_defaults_and_keys) {
    const auto text = [](const std::string& more) {
        return "nats: [{name: main, urls: [nats://127.0.0.1:4222], credentials: {user: c, password_file: p}}]\n"
               "callout: {mode: config, account: AUTH, system_account: SYS, issuer: local/issuer}\n"
               "keys: {local: {plugin: key_file, config: {files: {issuer: a.nk}}}}\naccounts: {APP: {}}\n"
               "routes: [{name: all, chain: [users]}]\npolicy: {rules: [{name: all, when: always, grant: {account: APP}}]}\n" + more;
    };
    const auto usual = load_config_text(text("backends: {users: {plugin: auth_static}}\n"), "c.yaml", "/nonexistent");
    ASSERT_TRUE(usual.value) << testing::messages(usual.findings);
    const auto& u = usual.value->backends[0];
    EXPECT_EQ(u.breaker, breaker_settings{});
    EXPECT_EQ(u.breaker.failures, 16u);
    EXPECT_EQ(u.overdue, overdue_settings{});
    EXPECT_EQ(u.cache_ttl_ns, 1'000'000'000);
    EXPECT_EQ(default_max_in_flight(*usual.value), 1024u);
    const auto set = load_config_text(text("backends: {users: {plugin: auth_static, max_in_flight: 10, breaker: {failures: 3, pause: 40s}, overdue: {max: 4, age: 2s}}}\n"
                                           "stores: {main: {plugin: store_sqlite, cache_ttl: 0s}}\n"), "c.yaml", "/nonexistent");
    ASSERT_TRUE(set.value) << testing::messages(set.findings);
    const auto& b = set.value->backends[0];
    EXPECT_EQ(b.breaker, (breaker_settings{3, 40'000'000'000, 40'000'000'000})) << "pauses are never longer than the longest";
    EXPECT_EQ(b.overdue, (overdue_settings{4, 2'000'000'000}));
    EXPECT_EQ(set.value->stores[0].cache_ttl_ns, 0);
}

TEST(config_limits, instances_that_hang_together_leave_room) {
    std::string backends;
    for (int n = 0; n < 7; ++n) backends += "  b" + std::to_string(n) + ": {plugin: auth_static, max_in_flight: " + (n == 0 ? "1024" : "600") + "}\n";
    const auto text = [&](const std::string& list) {
        return "nats: [{name: main, urls: [nats://127.0.0.1:4222], credentials: {user: c, password_file: p}}]\n"
               "callout: {mode: config, account: AUTH, system_account: SYS, issuer: local/issuer}\n"
               "keys: {local: {plugin: key_file, config: {files: {issuer: a.nk}}}}\naccounts: {APP: {}}\n"
               "routes: [{name: all, chain: [b0]}]\npolicy: {rules: [{name: all, when: always, grant: {account: APP}}]}\nbackends:\n" + list;
    };
    const auto refused = load_config_text(text(backends), "c.yaml", "/nonexistent");
    EXPECT_FALSE(refused.value);
    EXPECT_NE(testing::messages(refused.findings).find("c.yaml:8: backends.b0.max_in_flight: with this, all instances under keys and backends may hold 5136 requests, and "
                                                       "admission.max_in_flight is 4096: if they hang together, none is left"), std::string::npos)
        << testing::messages(refused.findings);
    std::string plain;
    for (int n = 0; n < 7; ++n) plain += "  b" + std::to_string(n) + ": {plugin: auth_static}\n";
    const auto usual = load_config_text(text(plain), "c.yaml", "/nonexistent");
    ASSERT_TRUE(usual.value) << testing::messages(usual.findings);
    EXPECT_EQ(default_max_in_flight(*usual.value), 512u) << "an eighth each";
}

}  // namespace
}  // namespace callgate::runtime

// SPDX-License-Identifier: Apache-2.0
// Golden messages: each fault is one change to a good configuration, and the loader says file, line, key and
// what to do. The line is that of the change.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/runtime/config_fixture.hpp"

namespace callgate::runtime {
namespace {

using ::testing::HasSubstr;

constexpr char good[] = R"(nats:
  - name: main
    urls: [nats://127.0.0.1:4222]
    credentials: {user: callgate, password_file: callout.password}
    system: {credentials: {user: sys, password_file: system.password}}
callout:
  mode: config
  account: AUTH
  system_account: SYS
  issuer: local/issuer
  xkeys: [local/xkey]
  servers: discovered
keys:
  local: {plugin: key_file, config: {files: {issuer: a.nk}}}
backends:
  users: {plugin: auth_static, config: {file: users.yaml}}
accounts:
  APP: {}
routes:
  - {name: everybody, chain: [users]}
policy:
  rules:
    - name: everybody
      when: {connection.client_host: {cidr: [10.0.0.0/8]}}
      grant: {account: APP, sub: {allow: [a]}}
)";

std::string changed(const std::string& from, const std::string& to) {
    std::string text = good;
    const auto at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    if (at != std::string::npos) text.replace(at, from.size(), to);
    return text;
}

std::vector<finding> findings_of(const std::string& text) { return load_config_text(text, "c.yaml", "/nonexistent").findings; }

struct fault {
    std::string from, to, message;
};

TEST(config_faults, the_base_is_good) {
    const auto o = load_config_text(good, "c.yaml", "/nonexistent");
    EXPECT_TRUE(o.value) << testing::messages(o.findings);
}

TEST(config_faults, golden_messages) {
    const std::string a_key = testing::public_key_of(nats::key_type::account);
    const fault faults[] = {
        // shape
        {"nats:\n", "gnats:\n", "c.yaml:1: gnats: unknown key; did you mean \"nats\"?"},
        {"policy:\n", "polciy:\n", "c.yaml:21: polciy: unknown key; did you mean \"policy\"?"},
        {"  mode: config\n", "  mode: config\n  mode: operator\n", "c.yaml:8: callout.mode: appears twice in the same mapping, first in line 7; remove one"},
        {"  servers: discovered\n", "  server: discovered\n", "c.yaml:12: callout.server: unknown key; did you mean \"servers\"?"},
        {"callout:\n  mode: config\n", "callout:\n", "c.yaml:6: callout.mode: is missing"},
        {"  mode: config\n", "  mode: configuration\n", "c.yaml:7: callout.mode: must be one of config, operator, not \"configuration\""},
        {"  - name: main\n", "  - nam: main\n", "c.yaml:2: nats[0].nam: unknown key; did you mean \"name\"?"},
        {"  APP: {}\n", "  APP: [x]\n", "c.yaml:18: accounts.APP: must be a mapping with the keys key, signer, roles, not a list"},
        {"accounts:\n  APP: {}\n", "accounts: {}\n", "c.yaml:17: accounts: must be a mapping with the accounts clients may be placed in, not an empty mapping"},
        // nats
        {"nats://127.0.0.1:4222", "http://127.0.0.1:4222", "c.yaml:3: nats[0].urls[0]: must begin with nats:// or tls://; callgate itself does not use WebSocket"},
        {"nats://127.0.0.1:4222", "nats://me:secret@127.0.0.1", "c.yaml:3: nats[0].urls[0]: holds a user; write it under credentials, with the secret in a file"},
        {"nats://127.0.0.1:4222", "nats://127.0.0.1:70000", "c.yaml:3: nats[0].urls[0]: has a port that is not 1 to 65535"},
        {"[nats://127.0.0.1:4222]", "[]", "c.yaml:3: nats[0].urls: is an empty list"},
        {"password_file: callout.password", "password: hunter2", "c.yaml:4: nats[0].credentials.password: a secret does not belong in the configuration; put it into a file of its own and write password_file: <file>, or password: ${VARIABLE} where only a value is taken"},
        {"user: callgate, password_file: callout.password", "user: callgate", "c.yaml:4: nats[0].credentials: user and password_file: <file> belong together"},
        {"user: callgate, password_file: callout.password", "creds: a, nkey: b", "c.yaml:4: nats[0].credentials: must hold exactly one of creds: <file>, nkey: <seed file>, or user and password_file: <file>"},
        {"    system: {credentials: {user: sys, password_file: system.password}}\n", "",
         "c.yaml:11: callout.servers: discovered learns the servers over the system account; add system: {credentials: ...} to every cluster under nats, or list the server keys"},
        // callout
        {"account: AUTH", "account: $SYS", "c.yaml:8: callout.account: the system account cannot be the callout account: whoever is placed there controls every server"},
        {"system_account: SYS", "system_account: AUTH", "c.yaml:9: callout.system_account: is the callout account; they must be two"},
        {"issuer: local/issuer", "issuer: locale/issuer", "c.yaml:10: callout.issuer: no key provider is named \"locale\"; did you mean \"local\"?"},
        {"issuer: local/issuer", "issuer: issuer", "c.yaml:10: callout.issuer: \"issuer\" is not a key; write <name under keys>/<label>, for example local/issuer"},
        {"xkeys: [local/xkey]", "xkeys: [local/issuer]", "c.yaml:11: callout.xkeys: names the issuer; an xkey is a curve key of its own (SX...)"},
        {"servers: discovered", "servers: [NABC]", "c.yaml:12: callout.servers[0]: is not a server's public key (56 characters beginning with N)"},
        {"servers: discovered", "servers: any",
         "c.yaml:24: policy.rules[0].when.connection.client_host: connection.client_host is what the asking server says, and anybody who reaches the callout subject can claim to be one; set callout.servers to discovered or to a list of server keys"},
        {"  servers: discovered\n", "  servers: discovered\n  leeway: 1h\n", "c.yaml:13: callout.leeway: must be a duration from 0s to 5m such as \"30s\", \"500ms\" or \"1h30m\", not \"1h\""},
        {"  servers: discovered\n", "  servers: discovered\n  max_request_bytes: 1KB\n", "c.yaml:13: callout.max_request_bytes: must be a size from 4096 to 1048576 bytes such as \"64KiB\" or \"1MiB\", not \"1KB\""},
        {"  servers: discovered\n", "  servers: discovered\n  max_request_bytes: 2MiB\n", "c.yaml:13: callout.max_request_bytes: must be a size from 4096 to 1048576 bytes such as \"64KiB\" or \"1MiB\", not \"2MiB\""},
        {"mode: config", "mode: operator", "c.yaml:8: callout.account: in operator mode this is the account's public key (56 characters beginning with A)"},
        {"mode: config", "mode: operator", "c.yaml:18: accounts.APP.key: is missing: in operator mode an account is placed by its public key"},
        {"mode: config", "mode: operator", "c.yaml:18: accounts.APP.signer: is missing: in operator mode users are signed by the account key or one of its signing keys"},
        {"mode: config", "mode: operator", "c.yaml:2: nats[0].credentials: in operator mode callgate logs in as one of the account's auth_users; write creds: <file>"},
        {"  mode: config\n  account: AUTH\n  system_account: SYS\n", "  mode: operator\n  account: AUTH\n",
         "c.yaml:6: callout.system_account: is missing: in operator mode the system account's public key must be known, so that no grant ever leads there"},
        // plugins
        {"plugin: key_file", "plugin: ../evil", "c.yaml:14: keys.local.plugin: is the name of a plugin, not a path: 1 to 64 of a-z, 0-9 and _; put its folder under plugins.directories"},
        {"  users: {plugin", "  Users: {plugin", "c.yaml:16: backends.Users: a name is 1 to 64 of a-z, 0-9, _ and -, beginning with a letter"},
        {"config: {file: users.yaml}", "config: users.yaml", "c.yaml:16: backends.users.config: must be a mapping, not \"users.yaml\""},
        {"config: {file: users.yaml}", "max_in_flight: 2000", "c.yaml:16: backends.users.max_in_flight: is more than a quarter of admission.max_in_flight (1024): one instance that hangs would take the place of all others"},
        {"config: {files: {issuer: a.nk}}", "max_in_flight: 0", "c.yaml:14: keys.local.max_in_flight: must be a whole number from 1 to 1048576, not \"0\""},
        {"config: {file: users.yaml}", "timeout: 5ms", "c.yaml:16: backends.users.timeout: must be a duration from 10ms to 1m such as \"30s\", \"500ms\" or \"1h30m\", not \"5ms\""},
        {"config: {file: users.yaml}", "breaker: {failures: -1}", "c.yaml:16: backends.users.breaker.failures: must be a whole number from 0 to 100000, not \"-1\""},
        {"config: {file: users.yaml}", "breaker: {pause: 1ms}", "c.yaml:16: backends.users.breaker.pause: must be a duration from 10ms to 10m such as \"30s\", \"500ms\" or \"1h30m\", not \"1ms\""},
        {"config: {file: users.yaml}", "breaker: {longest_pause: 2h}", "c.yaml:16: backends.users.breaker.longest_pause: must be a duration from 10ms to 1h such as \"30s\", \"500ms\" or \"1h30m\", not \"2h\""},
        {"config: {file: users.yaml}", "breaker: {pause: 2s, longest_pause: 1s}", "c.yaml:16: backends.users.breaker.longest_pause: is shorter than pause"},
        {"config: {file: users.yaml}", "breaker: {failure: 3}", "c.yaml:16: backends.users.breaker.failure: unknown key; did you mean \"failures\"?"},
        {"config: {file: users.yaml}", "overdue: {max: 0}", "c.yaml:16: backends.users.overdue.max: must be a whole number from 1 to 1048576, not \"0\""},
        {"config: {file: users.yaml}", "max_in_flight: 10, overdue: {max: 11}", "c.yaml:16: backends.users.overdue.max: is more than max_in_flight (10), so it would never be reached"},
        {"config: {file: users.yaml}", "overdue: {age: 1h}", "c.yaml:16: backends.users.overdue.age: must be a duration from 100ms to 10m such as \"30s\", \"500ms\" or \"1h30m\", not \"1h\""},
        {"config: {file: users.yaml}", "cache_ttl: 1s", "c.yaml:16: backends.users.cache_ttl: is for claim stores; remove it"},
        {"accounts:\n", "stores: {main: {plugin: store_sqlite, cache_ttl: 2m}}\naccounts:\n", "c.yaml:17: stores.main.cache_ttl: must be a duration from 0s to 1m such as \"30s\", \"500ms\" or \"1h30m\", not \"2m\""},
        {"accounts:\n", "modules: {other: {plugin: module_admin, max_in_flight: 1025}}\naccounts:\n", "c.yaml:17: modules.other.max_in_flight: is more than a quarter of admission.max_in_flight (1024): one instance that hangs would take the place of all others"},
        {"config: {file: users.yaml}", "config: {client_secret: abc}", "c.yaml:16: backends.users.config.client_secret: a secret does not belong in the configuration; put it into a file of its own and write client_secret_file: <file>, or client_secret: ${VARIABLE} where only a value is taken"},
        {"accounts:\n", "plugins: {sha256: {key_file: abc}}\naccounts:\n", "c.yaml:17: plugins.sha256.key_file: must be 64 hexadecimal digits in lower case, as sha256sum prints them"},
        // accounts
        {"APP: {}", "APP: {key: " + a_key + "}", "c.yaml:18: accounts.APP.key: belongs to operator mode; in config mode an account is known by its name alone"},
        {"APP: {}", "APP: {signer: local/app}", "c.yaml:18: accounts.APP.signer: belongs to operator mode; in config mode callout.issuer signs every user"},
        {"APP: {}", "APP: {roles: {reader: local/app}}", "c.yaml:18: accounts.APP.roles: belong to operator mode; config mode has no scoped signing keys, write pub and sub in the rule"},
        {"  APP: {}\n", "  APP: {}\n  AUTH: {}\n", "c.yaml:19: accounts.AUTH: is the callout or the system account; nobody may be placed there, remove it"},
        {"  APP: {}\n", "  APP: {}\n  $SYS: {}\n", "c.yaml:19: accounts.$SYS: is the callout or the system account; nobody may be placed there, remove it"},
        // routes and policy
        {"chain: [users]", "chain: [user]", "c.yaml:20: routes[0].chain[0]: no backend is named \"user\"; did you mean \"users\"?"},
        {"account: APP, sub", "account: AUTH, sub", "c.yaml:25: policy.rules[0].grant.account: \"AUTH\" is the callout account, the system account or one of policy.forbid_accounts; a client placed there could read credentials and deny logins"},
        {"account: APP, sub", "account: APPS, sub", "c.yaml:25: policy.rules[0].grant.account: no account is named \"APPS\"; did you mean \"APP\"?"},
        {"sub: {allow: [a]}", "role: reader", "c.yaml:25: policy.rules[0].grant.role: needs an account's signing key, and those exist in operator mode only; write pub and sub"},
        {"sub: {allow: [a]}", "subs: 5", "c.yaml:25: policy.rules[0].grant.subs: nobody can enforce it for users of an auth callout: nats-server ignores subs, data and payload there; set the limit on the account or the server"},
        {"10.0.0.0/8", "10.0.0.0/99", "c.yaml:24: policy.rules[0].when.connection.client_host.cidr: \"10.0.0.0/99\": the number behind the slash must be 0 to 32"},
        {"  rules:\n", "  tests: [{name: bob, connection: {client_host: 192.0.2.1}, expect: {account: APP}}]\n  rules:\n",
         "c.yaml:22: policy.tests[0]: policy test \"bob\" fails: expected allow, got deny (no_rule): no rule of the policy matches"},
        // admin, audit, log, general
        {"accounts:\n", "admin: {listen: \"0.0.0.0:9222\"}\naccounts:\n", "c.yaml:17: admin.listen: can be reached from other machines, so admin needs token_file or tls.client_ca_file; or listen on unix:<path> or 127.0.0.1"},
        {"accounts:\n", "admin: {listen: \"0.0.0.0:9222\", token_file: t}\naccounts:\n", "c.yaml:17: admin.listen: can be reached from other machines, so admin needs tls: the token would cross the network in clear"},
        {"accounts:\n", "admin: {listen: \"localhost:9222\"}\naccounts:\n", "c.yaml:17: admin.listen: must be unix:<path> or <address>:<port>, for example 127.0.0.1:9222 or [::1]:9222"},
        {"accounts:\n", "admin: {listen: \"unix:/" + std::string(120, 'x') + "\"}\naccounts:\n", "c.yaml:17: admin.listen: the path of a Unix socket has at most 107 bytes, /" + std::string(120, 'x') + " has 121"},
        {"accounts:\n", "admin: {listen: \"127.0.0.1:1\", tls: {cert_file: c}}\naccounts:\n", "c.yaml:17: admin.tls.key_file: is missing"},
        {"accounts:\n", "admin: {listen: \"127.0.0.1:1\", token: abc}\naccounts:\n", "c.yaml:17: admin.token: a secret does not belong in the configuration; put it into a file of its own and write token_file: <file>, or token: ${VARIABLE} where only a value is taken"},
        {"accounts:\n", "audit: {path: a, on_full: drop}\naccounts:\n", "c.yaml:17: audit.on_full: must be one of drop_count, fail_closed, not \"drop\""},
        {"accounts:\n", "log: {level: wran}\naccounts:\n", "c.yaml:17: log.level: must be one of trace, debug, info, warn, error, not \"wran\"; did you mean \"warn\"?"},
        {"accounts:\n", "shards: many\naccounts:\n", "c.yaml:17: shards: must be a whole number from 0 to 64, not \"many\""},
        {"accounts:\n", "drain_limit: 10\naccounts:\n", "c.yaml:17: drain_limit: must be a duration from 100ms to 10m such as \"30s\", \"500ms\" or \"1h30m\", not \"10\""},
        {"accounts:\n", "admission: {age_limit: 2}\naccounts:\n", "c.yaml:17: admission.age_limit: must be a number from 0.05 to 1, not \"2\""},
        {"accounts:\n", "admission: {max_in_flight: 4}\naccounts:\n", "c.yaml:17: admission.max_in_flight: must be a whole number from 16 to 1048576, not \"4\""},
    };
    std::size_t checked = 0;
    for (const auto& f : faults) {
        ++checked;
        const auto found = findings_of(changed(f.from, f.to));
        const bool said = std::ranges::any_of(found, [&](const finding& x) { return x.level == finding::severity::error && x.message() == f.message; });
        EXPECT_TRUE(said) << "missing: " << f.message << "\ngot:\n" << testing::messages(found, false);
    }
    EXPECT_GE(checked, 25u);
}

TEST(config_faults, warnings) {
    const fault warnings[] = {
        {"account: AUTH", "account: $G", "c.yaml:8: callout.account: $G is where clients without an account land; give the callout an account of its own"},
        {"nats://127.0.0.1:4222", "nats://nats.example.com", "c.yaml:3: nats[0].urls: nats.example.com is reached without TLS and the password crosses the network in clear; use tls:// or add tls:"},
        {"  users: {plugin", "  spare: {plugin: auth_static}\n  users: {plugin", "c.yaml:16: backends.spare: is in no route's chain, so it is never asked"},
        {"password_file: callout.password", "password: {file: callout.password}",
         "c.yaml:4: nats[0].credentials.password.file: /nonexistent/callout.password cannot be read yet; it must exist before callgate serve starts"},
    };
    for (const auto& w : warnings) {
        const auto o = load_config_text(changed(w.from, w.to), "c.yaml", "/nonexistent");
        EXPECT_TRUE(o.value) << testing::messages(o.findings);
        EXPECT_THAT(testing::messages(o.findings, false), HasSubstr(w.message + "\n"));
    }
}

TEST(config_faults, the_system_account_is_said_not_guessed) {
    const auto with = [](const std::string& system, const std::string& name) {
        auto text = changed("  system_account: SYS\n", system);
        text.replace(text.find("  APP: {}\n"), 10, "  APP: {}\n  " + name + ": {}\n");
        return load_config_text(text, "c.yaml", "/nonexistent");
    };
    const auto unsaid = with("", "OTHER");
    EXPECT_FALSE(unsaid.value);
    EXPECT_THAT(testing::messages(unsaid.findings),
                HasSubstr("c.yaml:6: callout.system_account: is missing: nobody may ever be placed in the system account, and in config mode only "
                          "nats-server.conf says which it is; write the name behind system_account: there, or $SYS when that file has no such line\n"));
    EXPECT_TRUE(with("  system_account: $SYS\n", "SYS").value) << "an account of that name is an ordinary one when another is the system account";
    for (const std::string name : {"SYS", "Control"})
        EXPECT_THAT(testing::messages(with("  system_account: " + name + "\n", name).findings),
                    HasSubstr("c.yaml:19: accounts." + name + ": is the callout or the system account; nobody may be placed there, remove it"));
    const std::string key = testing::public_key_of(nats::key_type::account);
    EXPECT_THAT(testing::messages(with("  system_account: " + key + "\n", "OTHER").findings),
                HasSubstr("c.yaml:9: callout.system_account: is a public key; in config mode this is the account's name, as system_account in nats-server.conf gives it\n"));
}

TEST(config_faults, all_are_reported_in_one_go_in_the_order_of_the_file) {
    auto text = changed("mode: config", "mode: conf");
    text.replace(text.find("account: APP, sub"), 17, "account: NOPE, sub");
    text.replace(text.find("nats://127"), 7, "gopher:");
    const auto found = findings_of(text + "shards: -1\n");
    std::vector<int> lines;
    for (const auto& f : found) {
        if (f.level == finding::severity::error) lines.push_back(f.line);
    }
    EXPECT_EQ(lines, (std::vector<int>{3, 7, 25, 26})) << testing::messages(found);
}

TEST(config_faults, a_seed_anywhere_is_refused_and_not_repeated) {
    const auto key = nats::key_pair::generate(nats::key_type::account);
    const std::string seed(key.seed_text().text());
    for (const std::string where : {"config: {files: {issuer: a.nk}}", "10.0.0.0/8", "AUTH"}) {
        const auto found = findings_of(changed(where, where.starts_with("config") ? "config: {files: {issuer: " + seed + "}}" : seed));
        EXPECT_THAT(testing::messages(found), HasSubstr("holds the seed of a key")) << where;
    }
    const auto found = findings_of(changed("config: {files: {issuer: a.nk}}", "config: {files: {issuer: " + seed + "}}"));
    EXPECT_EQ(testing::messages(found, false).find(seed), std::string::npos);
}

TEST(config_faults, hostile_files_end_in_findings) {
    for (const std::string text : {"", "a", "[]", "null", "---\n---\n", "{", "nats: {", "\t", "? ", "nats: &a [*a]\n", "nats: !!python/object x\n"}) {
        const auto o = load_config_text(text, "c.yaml", "/nonexistent");
        EXPECT_FALSE(o.value) << text;
        EXPECT_TRUE(policy::has_error(o.findings)) << text;
    }
    EXPECT_THAT(testing::messages(findings_of("")), HasSubstr("c.yaml:1: callout: is missing"));
}

}  // namespace
}  // namespace callgate::runtime

// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/init_callgate_config.hpp"

#include "engine/cli/password.hpp"

namespace callgate::cli {
namespace {

/// A double-quoted YAML scalar; paths and URLs here have no quotes, backslashes or control characters.
/// "${" would be read as an environment variable.
std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '$' && i + 1 < text.size() && text[i + 1] == '{') out += '$';
        out += text[i];
    }
    return out + "\"";
}

std::string list(const std::vector<std::string>& items) {
    std::string out = "[";
    for (const auto& item : items) out += (out.size() > 1 ? ", " : "") + quoted(item);
    return out + "]";
}

std::string nats_section(const init_plan& p) {
    const bool op = p.mode == deployment_mode::operator_;
    const auto login = [&](const std::string& user) {
        return op ? "{creds: keys/" + user + ".creds}" : "{user: " + user + ", password_file: keys/" + user + ".password}";
    };
    std::string out = "# Servers to serve. Credentials are read again at every reconnect.\nnats:\n  - name: main\n";
    out += "    urls: " + list(server_urls(p)) + "\n";
    out += "    credentials: " + login("callout") + "\n";
    if (!p.tls_cert.empty()) {
        out += "    tls: {";
        std::string inner;
        const auto add = [&](const char* key, const std::string& value) {
            if (!value.empty()) inner += (inner.empty() ? "" : ", ") + std::string(key) + ": " + quoted(value);
        };
        add("ca_file", p.tls_ca);
        add("cert_file", p.tls_client_cert);
        add("key_file", p.tls_client_key);
        add("server_name", p.tls_server_name);
        out += inner + "}\n";
    }
    out += "    # A server works off callout answers one after the other on each connection.\n    links_per_server: 2\n";
    out += "    # Finds the servers and kicks logins that cannot be served in time, so that clients try again.\n";
    out += "    system: {credentials: " + login("system") + "}\n";
    return out;
}

}  // namespace

std::vector<std::string> server_urls(const init_plan& p) {
    if (!p.urls.empty()) return p.urls;
    host_port at = p.listen;
    if (at.host == "0.0.0.0" || at.host == "::") at.host = "127.0.0.1";
    return {(p.tls_cert.empty() ? "nats://" : "tls://") + at.text()};
}

std::string callgate_config_text(const init_plan& p, const key_ring& keys) {
    const bool op = p.mode == deployment_mode::operator_;
    std::string out = "# callgate, " + std::string(to_string(p.mode)) +
                      " mode. Written by callgate init; relative paths start at this file's folder.\n"
                      "# Check it after every change: callgate check callgate.yaml\n\n";
    if (!p.plugin_directories.empty()) out += "plugins: {directories: " + list(p.plugin_directories) + "}\n\n";
    out += nats_section(p) + "\n";

    out += "callout:\n  mode: " + std::string(to_string(p.mode)) + "\n";
    if (op) {
        out += "  account: " + keys.id("auth") + "          # AUTH\n";
        out += "  system_account: " + keys.id("sys") + "   # SYS\n";
    } else {
        out += "  account: AUTH\n  system_account: SYS\n";
    }
    out += "  issuer: local/auth\n  xkeys: [local/xkey]        # current first; requests in clear are refused\n"
           "  servers: discovered        # only servers that answer on the system account are believed\n\n";

    out += "keys:\n  local:\n    plugin: key_file\n    config:\n      files:\n";
    out += std::string("        auth: keys/") + (op ? "auth-signing" : "auth") + ".nk\n        xkey: keys/xkey.nk\n";
    if (op)
        for (const auto& account : p.accounts) {
            const auto label = label_of_account(account);
            out += "        " + label + ": keys/" + label + "-signing.nk\n        " + label + "-reader: keys/" + label + "-reader.nk\n";
        }
    out += "\n# Accounts clients may be placed in. Never the callout or the system account.\naccounts:\n";
    for (const auto& account : p.accounts) {
        const auto label = label_of_account(account);
        if (op)
            out += "  " + account + ": {key: " + keys.id(label) + ", signer: local/" + label + ", roles: {reader: local/" + label + "-reader}}\n";
        else
            out += "  " + account + ": {}\n";
    }
    const auto& first = p.accounts.front();
    const auto label = label_of_account(first);
    out += "\n# Who: plugins that know people and tokens.\nbackends:\n  users: {plugin: auth_static, config: {file: users.yaml}}\n\n";
    out += "# Which plugin is asked, and where in the CONNECT the credential is looked for.\nroutes:\n"
           "  - {name: passwords, credential: [pass], chain: [users]}\n\n";
    out += "# What they may do: the first rule whose `when` holds; none = denied.\npolicy:\n  rules:\n"
           "    - name: people\n      when: {backend: users}\n      grant:\n        account: " + first + "\n"
           "        name: \"{{sub}}\"\n"
           "        pub: {allow: [\"" + label + ".{{sub}}.>\"]}\n"
           "        sub: {allow: [\"" + label + ".>\", \"_INBOX.{{sub}}.>\"]}\n"
           "        ttl: 1h\n"
           "  # Cases that must hold, or this file is refused: callgate policy test callgate.yaml\n  tests:\n"
           "    - name: a known user\n      identity: {backend: users, subject: alice}\n"
           "      expect: {account: " + first + ", pub.allow: [\"" + label + ".alice.>\"]}\n"
           "    - name: a name that would widen the subjects\n      identity: {backend: users, subject: \"*\"}\n"
           "      expect: {deny: placeholder_unsafe}\n\n";
    out += "admin: {listen: \"unix:run/admin.sock\"}\naudit: {path: audit.jsonl}\nlog: {level: info, format: text}\n";
    return out;
}

result<std::string> users_text(const init_plan&, const key_ring& keys) {
    auto hash = argon2id(keys.password("alice"), {});
    if (!hash) return hash.error();
    return "# People and services auth_static knows; read again when the file changes. Make hashes with: callgate passwd\n"
           "users:\n  - user: alice\n    password: \"" + *hash + "\"\n";
}

}  // namespace callgate::cli

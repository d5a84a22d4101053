// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/init_server_config.hpp"

#include "engine/cli/password.hpp"

namespace callgate::cli {
namespace {

std::string list(const std::vector<std::string>& items) {
    std::string out = "[";
    for (const auto& item : items) out += (out.size() > 1 ? ", " : "") + server_quoted(item);
    return out + "]";
}

std::string tls_block(const init_plan& p, const std::string& indent) {
    std::string out = indent + "tls {\n";
    out += indent + "  cert_file: " + server_quoted(p.tls_cert) + "\n";
    out += indent + "  key_file: " + server_quoted(p.tls_key) + "\n";
    if (!p.tls_ca.empty()) out += indent + "  ca_file: " + server_quoted(p.tls_ca) + "\n";
    if (!p.tls_client_cert.empty()) out += indent + "  verify: true\n";
    return out + indent + "}\n";
}

std::string listeners(const init_plan& p, const std::string& dir) {
    std::string out = "listen: " + server_quoted(p.listen.text()) + "\n";
    if (p.monitor) out += "# Shows connections and accounts to everybody who reaches it; keep it on loopback.\nhttp: " + server_quoted(p.monitor->text()) + "\n";
    if (!p.tls_cert.empty()) out += "\n" + tls_block(p, "");
    if (p.websocket) {
        out += "\nwebsocket {\n  listen: " + server_quoted(p.websocket->text()) + "\n";
        out += p.tls_cert.empty() ? "  # Browsers' credentials cross the network in clear: give --tls-cert and --tls-key, or put a TLS proxy in front.\n  no_tls: true\n"
                                  : tls_block(p, "  ");
        out += "}\n";
    }
    if (p.mqtt) {
        out += "\n# MQTT keeps its sessions in JetStream.\njetstream {\n  store_dir: " + server_quoted(dir + "/nats-data/jetstream") + "\n}\n";
        out += "mqtt {\n  listen: " + server_quoted(p.mqtt->text()) + "\n";
        if (!p.tls_cert.empty()) out += tls_block(p, "  ");
        out += "}\n";
    }
    return out;
}

std::string operator_section(const init_plan& p, const key_ring& keys, const deployment_tokens& tokens, const std::string& dir) {
    std::string out;
    out += "operator: " + tokens.operator_jwt + "\n";
    out += "system_account: " + keys.id("sys") + "\n";
    out += "resolver {\n  type: full\n  dir: " + server_quoted(dir + "/nats-data/jwt") +
           "\n  allow_delete: false\n  interval: \"2m\"\n}\n";
    out += "# A newer JWT in the resolver's folder wins over these.\nresolver_preload {\n";
    for (const auto& a : tokens.accounts) out += "  # " + a.name + "\n  " + a.key + ": " + a.jwt + "\n";
    out += "}\n\nauthorization {\n  # Seconds a client waits for callgate. A plain number: 2.10 takes \"5s\" as 1.\n  timeout: " +
           std::to_string(p.auth_timeout_s) + "\n}\n";
    if (p.version.has_default_sentinel())
        out += "# Clients without a NATS JWT of their own come to the callout with this one, which allows nothing.\ndefault_sentinel: " +
               server_quoted(tokens.sentinel_jwt) + "\n";
    return out;
}

result<std::string> static_user(const key_ring& keys, const std::string& name, const subject_rights* rights) {
    // The issuer's seed keys the salt, so the hash is the same again on the next run.
    auto hash = bcrypt_2a(keys.password(name), name, keys.key("auth").raw_seed());
    if (!hash) return make_error(hash.error().code, hash.error().text, password_file_of(name));
    std::string out = "      { user: " + server_quoted(name) + ", password: " + server_quoted(*hash);
    if (rights)
        out += ", permissions: {\n        publish: { allow: " + list(rights->publish) + " }\n        subscribe: { allow: " +
               list(rights->subscribe) + " }\n      } ";
    return out + "}\n";
}

result<std::string> config_section(const init_plan& p, const key_ring& keys) {
    const auto callout_may = callout_rights();
    const auto system_may = system_rights();
    auto callout = static_user(keys, "callout", &callout_may);
    auto system = static_user(keys, "system", &system_may);
    auto break_glass = static_user(keys, "break-glass", nullptr);
    for (auto* user : {&callout, &system, &break_glass})
        if (!*user) return user->error();

    std::string out = "system_account: SYS\naccounts {\n";
    out += "  SYS {\n    users: [\n" + *system + "      # Full rights, for emergencies: does not pass the callout.\n" + *break_glass + "    ]\n  }\n";
    out += "  # Nobody but callgate itself is ever placed here.\n  AUTH {\n    users: [\n" + *callout + "    ]\n  }\n";
    for (const auto& account : p.accounts) out += "  " + account + (p.mqtt ? " { jetstream: enabled }\n" : " {}\n");
    out += "}\n\nauthorization {\n  # Seconds a client waits for callgate. A plain number: 2.10 takes \"5s\" as 1.\n  timeout: " +
           std::to_string(p.auth_timeout_s) + "\n  auth_callout {\n";
    out += "    issuer: " + keys.id("auth") + "\n    account: AUTH\n";
    out += "    # Static users that must get in without the callout, all of them.\n    auth_users: [callout, system, break-glass]\n";
    out += "    xkey: " + keys.id("xkey") + "\n";
    if (p.version.has_allowed_accounts()) {
        // Without AUTH in this list the server would not deny its users publishing on the callout subject.
        std::vector<std::string> delegated{std::string(callout_account)};
        delegated.insert(delegated.end(), p.accounts.begin(), p.accounts.end());
        out += "    # Accounts whose static users go to the callout too; AUTH must stay in this list.\n    allowed_accounts: " + list(delegated) + "\n";
    }
    return out + "  }\n}\n";
}

}  // namespace

std::string server_quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    return out + "\"";
}

result<std::string> server_config_text(const init_plan& plan, const key_ring& keys, const deployment_tokens& tokens,
                                       const std::string& dir) {
    std::string out = "# nats-server " + plan.version.text() + ", " + std::string(to_string(plan.mode)) +
                      " mode. Written by callgate init.\n# auth_callout and xkey cannot be changed by a reload: restart the server.\n";
    out += "server_name: callgate-1\n" + listeners(plan, dir) + "\n";
    out += "# One CONNECT line holds a client's whole token; 4096, the default, is too short for many.\nmax_control_line: " +
           std::to_string(plan.max_control_line) + "\n\n";
    if (plan.mode == deployment_mode::operator_) return out + operator_section(plan, keys, tokens, dir);
    auto section = config_section(plan, keys);
    if (!section) return section.error();
    return out + *section;
}

}  // namespace callgate::cli

// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "engine/runtime/config_sections.hpp"

namespace callgate::runtime {

using policy::key_table;
using policy::keys_of;
using policy::node;
using policy::section;

namespace {

constexpr std::int64_t millisecond = 1'000'000;

constexpr auto cluster_table = keys_of("cluster", "name", "urls", "credentials", "tls", "links_per_server", "system", "plugin_link", "reconnect_wait", "reconnect_wait_max", "max_pending_out");
constexpr auto system_table = keys_of("system", "urls", "credentials", "tls");
constexpr auto plugin_link_table = keys_of("plugin_link", "urls", "credentials", "tls");
constexpr auto credentials_table = keys_of("credentials", "creds", "nkey", "user", "password", "password_file");
constexpr auto secret_file_table = keys_of("secret_file", "file");
constexpr auto tls_table = keys_of("tls", "ca_file", "cert_file", "key_file", "server_name");

struct parsed_url {
    std::string scheme, host;
};

// What is wrong with it, or empty.
std::string check_url(const std::string& url, parsed_url& out) {
    const auto sep = url.find("://");
    if (sep == std::string::npos) return "must begin with nats:// or tls://";
    out.scheme = url.substr(0, sep);
    if (out.scheme != "nats" && out.scheme != "tls") return "must begin with nats:// or tls://; callgate itself does not use WebSocket";
    auto rest = url.substr(sep + 3);
    if (rest.find('@') != std::string::npos) return "holds a user; write it under credentials, with the secret in a file";
    if (rest.ends_with('/')) rest.pop_back();
    if (rest.find_first_of("/?# \t") != std::string::npos) return "must be <scheme>://<host>:<port> and nothing else";
    std::string port;
    if (rest.starts_with('[')) {
        const auto close = rest.find(']');
        if (close == std::string::npos) return "has [ without ]";
        out.host = rest.substr(1, close - 1);
        port = rest.substr(close + 1);
        if (!port.empty() && port.front() != ':') return "must have a colon between ] and the port";
        if (!port.empty()) port.erase(0, 1);
    } else {
        const auto colon = rest.find(':');
        out.host = rest.substr(0, colon);
        if (colon != std::string::npos) port = rest.substr(colon + 1);
        if (colon != std::string::npos && port.empty()) return "has a colon without a port";
    }
    if (out.host.empty()) return "names no host";
    if (!port.empty()) {
        unsigned n = 0;
        const auto [end, ec] = std::from_chars(port.data(), port.data() + port.size(), n);
        if (ec != std::errc{} || end != port.data() + port.size() || n == 0 || n > 65535) return "has a port that is not 1 to 65535";
    }
    return {};
}

bool is_local(const std::string& host) { return host == "localhost" || host == "::1" || host.starts_with("127."); }

struct link_reader {
    loading& in;

    void urls(const section& s, net::link_options& link, std::vector<parsed_url>& parsed) const {
        if (!s.texts("urls", link.urls)) return;
        if (link.urls.empty()) s.error("urls", "is an empty list");
        if (link.urls.size() > 64) s.error("urls", "has more than 64 servers");
        for (std::size_t i = 0; i < link.urls.size(); ++i) {
            parsed_url p;
            const auto wrong = check_url(link.urls[i], p);
            const node* list = s.find("urls");
            const int line = list->is_sequence() ? list->items[i].line : list->line;
            // The text is not repeated: what is wrong with a URL may be the password inside it.
            if (!wrong.empty()) in.to.error(line, fmt::format("{}[{}]", s.path_of("urls"), i), wrong);
            if (wrong.empty()) parsed.push_back(std::move(p));
        }
    }

    void tls(const section& s, net::link_options& link) const {
        const node* n = s.find("tls");
        if (n == nullptr) return;
        const section t(in.to, *n, s.path_of("tls"), tls_table);
        net::tls_options o;
        read_file(t, "ca_file", o.ca_file, false, in);
        read_file(t, "cert_file", o.cert_file, false, in);
        read_file(t, "key_file", o.key_file, true, in);
        t.text("server_name", o.server_name);
        if (o.cert_file.empty() != o.key_file.empty()) {
            t.error(o.cert_file.empty() ? "key_file" : "cert_file", "a client certificate needs both cert_file and key_file");
        }
        link.tls = std::move(o);
    }

    void credentials(const section& s, net::link_options& link) const {
        const node* n = s.find("credentials");
        if (n == nullptr) return;
        const section c(in.to, *n, s.path_of("credentials"), credentials_table);
        std::string creds, nkey, user, password;
        read_file(c, "creds", creds, true, in);
        read_file(c, "nkey", nkey, true, in);
        c.text("user", user);
        // A literal password was reported already, with every other literal secret.
        if (const node* p = c.find("password"); p != nullptr && !p->is_scalar()) {
            const section f(in.to, *p, c.path_of("password"), secret_file_table);
            if (f.required("file") != nullptr) read_file(f, "file", password, true, in);
        }
        if (c.find("password") != nullptr && c.find("password_file") != nullptr) c.error("password_file", "stands beside password; keep one");
        read_file(c, "password_file", password, true, in);
        const bool has_password = c.find("password") != nullptr || c.find("password_file") != nullptr;
        const bool named = c.find("user") != nullptr || has_password;
        const int kinds = (c.find("creds") != nullptr) + (c.find("nkey") != nullptr) + named;
        if (kinds != 1) {
            in.to.error(n->line, c.path(), "must hold exactly one of creds: <file>, nkey: <seed file>, or user and password_file: <file>");
        } else if (named && (c.find("user") == nullptr || !has_password)) {
            in.to.error(n->line, c.path(), "user and password_file: <file> belong together");
        } else if (named) {
            link.login = net::password_file{user, password};
        } else if (c.find("nkey") != nullptr) {
            link.login = net::nkey_seed_file{nkey};
        } else {
            link.login = net::creds_file{creds};
        }
    }

    void plaintext_warning(const section& s, const net::link_options& link, const std::vector<parsed_url>& parsed) const {
        if (link.tls || std::ranges::any_of(parsed, [](const parsed_url& p) { return p.scheme == "tls"; })) return;
        const auto remote = std::ranges::find_if(parsed, [](const parsed_url& p) { return !is_local(p.host); });
        if (remote == parsed.end()) return;
        s.warning("urls", fmt::format("{} is reached without TLS{}; use tls:// or add tls:", remote->host,
                                      std::holds_alternative<net::password_file>(link.login) ? " and the password crosses the network in clear" : ""));
    }
};

}  // namespace

void read_nats(const section& root, loading& in) {
    const auto clusters = root.required_items("nats", "a list with at least one NATS cluster");
    std::set<std::string> names;
    for (std::size_t i = 0; i < clusters.size(); ++i) {
        nats_options o;
        o.line = clusters[i].line;
        const section s(in.to, clusters[i], fmt::format("nats[{}]", i), cluster_table);
        if (s.required("name") != nullptr && s.text("name", o.name)) {
            const bool plain = o.name.size() <= 64 && o.name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == std::string::npos;
            if (!plain) s.error("name", "is 1 to 64 letters, digits, _ and -");
            if (!names.insert(o.name).second) s.error("name", fmt::format("another cluster is named \"{}\" already", o.name));
        }
        const link_reader links{in};
        std::vector<parsed_url> parsed;
        o.link.name = o.name;
        if (s.required("urls") != nullptr) links.urls(s, o.link, parsed);
        links.credentials(s, o.link);
        links.tls(s, o.link);
        links.plaintext_warning(s, o.link, parsed);
        s.integer("links_per_server", o.links_per_server, 1, 16);
        s.duration("reconnect_wait", o.link.reconnect_wait_ns, 10 * millisecond, 60'000 * millisecond);
        s.duration("reconnect_wait_max", o.link.reconnect_wait_max_ns, 10 * millisecond, 300'000 * millisecond);
        if (o.link.reconnect_wait_max_ns < o.link.reconnect_wait_ns) s.error("reconnect_wait_max", "is shorter than reconnect_wait");
        s.size("max_pending_out", o.link.max_pending_out, 64 << 10, 1 << 30);
        // Another user of the same cluster.
        const auto other = [&](std::string_view key, const key_table& table) -> std::optional<net::link_options> {
            const node* n = s.find(key);
            if (n == nullptr) return std::nullopt;
            const section y(in.to, *n, s.path_of(key), table);
            net::link_options link = o.link;
            link.name = fmt::format("{}-{}", o.name, key);
            std::vector<parsed_url> own;
            if (y.find("urls") != nullptr) links.urls(y, link, own);
            link.login = net::no_credentials{};
            if (y.required("credentials") != nullptr) links.credentials(y, link);
            if (y.find("tls") != nullptr) links.tls(y, link);
            return link;
        };
        o.system = other("system", system_table);
        o.plugin_link = other("plugin_link", plugin_link_table);
        const auto same_user = [&](const net::link_options& link) {
            return !std::holds_alternative<net::no_credentials>(link.login) && link.login == o.plugin_link->login;
        };
        if (o.plugin_link && (same_user(o.link) || (o.system && same_user(*o.system))))
            s.error("plugin_link", "logs in as the engine itself does; plugins need a user of their own, who sees neither logins nor the system account");
        in.value.nats.push_back(std::move(o));
    }
}

std::vector<key_table> nats_key_tables() { return {cluster_table, system_table, plugin_link_table, credentials_table, secret_file_table, tls_table}; }

}  // namespace callgate::runtime

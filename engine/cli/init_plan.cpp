// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/init_plan.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <set>

namespace callgate::cli {
namespace {

namespace json = boost::json;

constexpr std::int64_t plan_format = 1;

std::optional<int> to_int(std::string_view text) {
    int value = 0;
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || ec != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

bool is_plain(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](unsigned char c) { return c >= 0x20 && c != 0x7f && c != '"' && c != '\\'; });
}

result<void> check_account_names(const std::vector<std::string>& names) {
    if (names.empty() || names.size() > 100)
        return make_error(errc::invalid, "give 1 to 100 accounts", "--account");
    std::set<std::string> seen;
    for (const auto& name : names) {
        const bool word = !name.empty() && name.size() <= 32 && std::isalpha(static_cast<unsigned char>(name[0])) &&
                          std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '-'; });
        if (!word)
            return make_error(errc::invalid, "\"" + name.substr(0, 40) + "\" is no account name here: 1 to 32 letters, digits, - and _, a letter first", "--account");
        std::string lower;
        for (const unsigned char c : name) lower.push_back(static_cast<char>(std::tolower(c)));
        if (lower == "auth" || lower == "sys")
            return make_error(errc::invalid, name + " is made by itself and takes no clients; name another account", "--account");
        if (!seen.insert(lower).second)
            return make_error(errc::invalid, name + " is named twice (upper and lower case count as the same)", "--account");
    }
    return {};
}

result<std::string> existing_file(const std::string& path, const std::string& flag) {
    std::error_code ec;
    const auto full = std::filesystem::absolute(path, ec);
    if (ec || !std::filesystem::is_regular_file(full, ec))
        return make_error(errc::not_found, "no such file: " + path, flag);
    if (!is_plain(full.string())) return make_error(errc::invalid, "quotes, backslashes and control characters cannot stand in this path", flag);
    return full.string();
}

/// Compares the plan made of this call's flags with that of the folder.
class difference {
  public:
    template <class T>
    void add(const char* flag, const T& before, const T& now, const std::string& before_text, const std::string& now_text) {
        if (!(before == now)) text_ += "\n  " + std::string(flag) + ": made with " + before_text + ", now " + now_text;
    }
    void add(const char* flag, const std::string& before, const std::string& now) {
        add(flag, before, now, before.empty() ? "none" : before, now.empty() ? "none" : now);
    }
    void add(const char* flag, const std::optional<host_port>& before, const std::optional<host_port>& now) {
        add(flag, before ? before->text() : std::string{}, now ? now->text() : std::string{});
    }
    void add(const char* flag, const std::vector<std::string>& before, const std::vector<std::string>& now) {
        add(flag, joined(before), joined(now));
    }
    [[nodiscard]] const std::string& text() const { return text_; }

  private:
    static std::string joined(const std::vector<std::string>& list) {
        std::string out;
        for (const auto& item : list) out += (out.empty() ? "" : " ") + item;
        return out;
    }
    std::string text_;
};

std::string differences(const init_plan& before, const init_plan& now) {
    difference d;
    d.add("--server-version", before.version.text(), now.version.text());
    d.add("--account", before.accounts, now.accounts);
    d.add("--listen", before.listen.text(), now.listen.text());
    d.add("--websocket", before.websocket, now.websocket);
    d.add("--mqtt", before.mqtt, now.mqtt);
    d.add("--monitor", before.monitor, now.monitor);
    d.add("--url", before.urls, now.urls);
    d.add("--plugins", before.plugin_directories, now.plugin_directories);
    d.add("--tls-cert", before.tls_cert, now.tls_cert);
    d.add("--tls-key", before.tls_key, now.tls_key);
    d.add("--tls-ca", before.tls_ca, now.tls_ca);
    d.add("--tls-client-cert", before.tls_client_cert, now.tls_client_cert);
    d.add("--tls-client-key", before.tls_client_key, now.tls_client_key);
    d.add("--tls-server-name", before.tls_server_name, now.tls_server_name);
    d.add("--max-control-line", std::to_string(before.max_control_line), std::to_string(now.max_control_line));
    d.add("--auth-timeout", std::to_string(before.auth_timeout_s), std::to_string(now.auth_timeout_s));
    return d.text();
}

result<void> take_flags(const init_request& r, init_plan& p) {
    if (r.mode) {
        if (*r.mode != "config" && *r.mode != "operator")
            return make_error(errc::invalid, "\"" + *r.mode + "\" is no mode: config or operator", "--mode");
        p.mode = *r.mode == "config" ? deployment_mode::config : deployment_mode::operator_;
    }
    if (r.server_version) {
        auto v = parse_server_version(*r.server_version);
        if (!v) return v.error();
        p.version = *v;
    }
    if (r.accounts) p.accounts = *r.accounts;
    const auto endpoint = [](const std::optional<std::string>& flag, const char* name, auto& target) -> result<void> {
        if (!flag) return {};
        auto parsed = parse_host_port(*flag);
        if (!parsed) return make_error(errc::invalid, parsed.error().text, name);
        target = *parsed;
        return {};
    };
    if (auto ok = endpoint(r.listen, "--listen", p.listen); !ok) return ok;
    if (auto ok = endpoint(r.websocket, "--websocket", p.websocket); !ok) return ok;
    if (auto ok = endpoint(r.mqtt, "--mqtt", p.mqtt); !ok) return ok;
    if (auto ok = endpoint(r.monitor, "--monitor", p.monitor); !ok) return ok;
    if (r.urls) p.urls = *r.urls;
    if (r.plugins) {
        p.plugin_directories.clear();
        for (const auto& dir : *r.plugins) p.plugin_directories.push_back(std::filesystem::absolute(dir).string());
    }
    struct { const std::optional<std::string>* flag; std::string* target; const char* name; } files[] = {
        {&r.tls_cert, &p.tls_cert, "--tls-cert"}, {&r.tls_key, &p.tls_key, "--tls-key"}, {&r.tls_ca, &p.tls_ca, "--tls-ca"},
        {&r.tls_client_cert, &p.tls_client_cert, "--tls-client-cert"}, {&r.tls_client_key, &p.tls_client_key, "--tls-client-key"}};
    for (const auto& f : files) {
        if (!*f.flag) continue;
        auto path = existing_file(**f.flag, f.name);
        if (!path) return path.error();
        *f.target = *path;
    }
    if (r.tls_server_name) p.tls_server_name = *r.tls_server_name;
    if (r.max_control_line) p.max_control_line = *r.max_control_line;
    if (r.auth_timeout_s) p.auth_timeout_s = *r.auth_timeout_s;
    return {};
}

result<void> check(const init_plan& p) {
    if (auto ok = check_account_names(p.accounts); !ok) return ok;
    if (p.max_control_line < 4096 || p.max_control_line > 1'048'576)
        return make_error(errc::invalid, "4096 to 1048576 bytes: a client's token must fit in one CONNECT line", "--max-control-line");
    if (p.auth_timeout_s < 1 || p.auth_timeout_s > 60)
        return make_error(errc::invalid, "1 to 60 whole seconds (nats-server before 2.11.2 takes text such as \"5s\" as 1)", "--auth-timeout");
    if (p.tls_cert.empty() != p.tls_key.empty())
        return make_error(errc::invalid, "--tls-cert and --tls-key belong together; give both", "--tls-cert");
    if (p.tls_client_cert.empty() != p.tls_client_key.empty())
        return make_error(errc::invalid, "--tls-client-cert and --tls-client-key belong together; give both", "--tls-client-cert");
    if (!p.tls_client_cert.empty() && (p.tls_cert.empty() || p.tls_ca.empty()))
        return make_error(errc::invalid, "a client certificate needs --tls-cert, --tls-key and --tls-ca: the server checks it with that CA", "--tls-client-cert");
    if (!is_plain(p.tls_server_name)) return make_error(errc::invalid, "not a host name", "--tls-server-name");
    std::set<int> ports;
    for (const auto* e : {&p.websocket, &p.mqtt, &p.monitor})
        if (*e && (!ports.insert((*e)->port).second || (*e)->port == p.listen.port))
            return make_error(errc::invalid, "port " + std::to_string((*e)->port) + " is used twice", "--listen, --websocket, --mqtt, --monitor");
    for (const auto& url : p.urls)
        if (!is_plain(url) || !(url.starts_with("nats://") || url.starts_with("tls://")) || url.find('@') != std::string::npos)
            return make_error(errc::invalid, "\"" + url.substr(0, 80) + "\": write nats://host:port or tls://host:port, without user and password", "--url");
    for (const auto& dir : p.plugin_directories)
        if (!is_plain(dir)) return make_error(errc::invalid, "quotes, backslashes and control characters cannot stand in this path", "--plugins");
    return {};
}

json::value of(const std::vector<std::string>& list) { return json::value_from(list); }
json::value of(const std::optional<host_port>& e) { return e ? json::value(e->text()) : json::value(nullptr); }

}  // namespace

std::string_view to_string(deployment_mode m) noexcept { return m == deployment_mode::config ? "config" : "operator"; }

std::string server_version::text() const {
    return std::to_string(major) + "." + std::to_string(minor) + (patch_given ? "." + std::to_string(patch) : "");
}

result<server_version> parse_server_version(std::string_view text) {
    const auto refuse = [&] {
        return make_error(errc::invalid, "\"" + std::string(text.substr(0, 20)) +
                                             "\": give the series or version of your nats-server, such as 2.10 or 2.15.1; 2.10 is the oldest with a callout",
                          "--server-version");
    };
    if (text.starts_with("v")) text.remove_prefix(1);
    server_version v;
    const auto dot = text.find('.');
    if (dot == std::string_view::npos) return refuse();
    const auto rest = text.substr(dot + 1);
    const auto second = rest.find('.');
    const auto major = to_int(text.substr(0, dot)), minor = to_int(rest.substr(0, second));
    if (!major || !minor || *major != 2 || *minor < 10 || *minor > 99) return refuse();
    v.major = *major;
    v.minor = *minor;
    if (second != std::string_view::npos) {
        const auto patch = to_int(rest.substr(second + 1));
        if (!patch || *patch < 0) return refuse();
        v.patch = *patch;
        v.patch_given = true;
    }
    return v;
}

std::string host_port::text() const {
    return (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + std::to_string(port);
}

result<host_port> parse_host_port(std::string_view text) {
    const auto refuse = [&] {
        return make_error(errc::invalid, "\"" + std::string(text.substr(0, 80)) + "\" is no address: write host:port, such as 127.0.0.1:4222 or [::1]:4222");
    };
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos || colon == 0) return refuse();
    const auto port = to_int(text.substr(colon + 1));
    if (!port || *port < 1 || *port > 65'535) return refuse();
    std::string_view host = text.substr(0, colon);
    const bool bracketed = host.starts_with('[') && host.ends_with(']');
    if (bracketed) host = host.substr(1, host.size() - 2);
    const bool ok = !host.empty() && host.size() <= 253 && std::all_of(host.begin(), host.end(), [&](unsigned char c) {
        return std::isalnum(c) || c == '.' || c == '-' || c == '_' || (bracketed && (c == ':' || c == '%'));
    });
    if (!ok) return refuse();
    return host_port{std::string(host), *port};
}

result<init_plan> make_plan(const init_request& request, const std::optional<init_plan>& before, std::int64_t now_unix_s,
                            const std::string& where) {
    init_plan plan = before.value_or(init_plan{});
    if (auto ok = take_flags(request, plan); !ok) return ok.error();
    if (auto ok = check(plan); !ok) return ok.error();
    if (!before) {
        plan.issued_at = now_unix_s;
        plan.unfinished = true;
        return plan;
    }
    if (plan.mode != before->mode)
        return make_error(errc::invalid, "this folder was made in " + std::string(to_string(before->mode)) +
                                             " mode, which cannot be changed; make a new folder for " +
                                             std::string(to_string(plan.mode)) + " mode", where);
    const std::string changed = differences(*before, plan);
    if (!changed.empty() && !request.force_config)
        return make_error(errc::invalid, "the folder was made with other flags; say --force-config to write its configuration "
                                         "and tokens anew (keys, passwords and users stay), or give the old flags:" + changed, where);
    if (request.force_config) {
        // Resolvers take the account JWT with the greater iat: a re-issue must rise even within a second.
        plan.issued_at = std::max(now_unix_s, before->issued_at + 1);
        plan.unfinished = true;
    }
    return plan;
}

std::string to_json(const init_plan& p) {
    const json::object o{
        {"format", plan_format},
        {"made_by", "callgate init; change it with callgate init --force-config only"},
        {"mode", std::string(to_string(p.mode))},
        {"server_version", p.version.text()},
        {"accounts", of(p.accounts)},
        {"listen", p.listen.text()},
        {"websocket", of(p.websocket)},
        {"mqtt", of(p.mqtt)},
        {"monitor", of(p.monitor)},
        {"urls", of(p.urls)},
        {"plugins", of(p.plugin_directories)},
        {"tls_cert", p.tls_cert},
        {"tls_key", p.tls_key},
        {"tls_ca", p.tls_ca},
        {"tls_client_cert", p.tls_client_cert},
        {"tls_client_key", p.tls_client_key},
        {"tls_server_name", p.tls_server_name},
        {"max_control_line", p.max_control_line},
        {"auth_timeout", p.auth_timeout_s},
        {"issued_at", p.issued_at},
        {"unfinished", p.unfinished}};
    std::string out = "{\n";
    for (const auto& member : o) {
        out += "  " + json::serialize(json::string(member.key())) + ": " + json::serialize(member.value());
        out += &member == &*std::prev(o.end()) ? "\n" : ",\n";
    }
    return out + "}\n";
}

result<init_plan> plan_from_json(std::string_view text, const std::string& where) {
    try {
        const json::object o = json::parse(json::string_view(text.data(), text.size())).as_object();
        if (o.at("format").as_int64() != plan_format)
            return make_error(errc::unsupported, "was written by another version of callgate; use that version", where);
        const auto str = [&](const char* key) { return std::string(o.at(key).as_string()); };
        const auto list = [&](const char* key) { return json::value_to<std::vector<std::string>>(o.at(key)); };
        const auto endpoint = [&](const char* key) -> std::optional<host_port> {
            return o.at(key).is_null() ? std::nullopt : std::optional(parse_host_port(str(key)).value());
        };
        init_plan p;
        p.mode = str("mode") == "config" ? deployment_mode::config : deployment_mode::operator_;
        p.version = parse_server_version(str("server_version")).value();
        p.accounts = list("accounts");
        p.listen = parse_host_port(str("listen")).value();
        p.websocket = endpoint("websocket");
        p.mqtt = endpoint("mqtt");
        p.monitor = endpoint("monitor");
        p.urls = list("urls");
        p.plugin_directories = list("plugins");
        p.tls_cert = str("tls_cert");
        p.tls_key = str("tls_key");
        p.tls_ca = str("tls_ca");
        p.tls_client_cert = str("tls_client_cert");
        p.tls_client_key = str("tls_client_key");
        p.tls_server_name = str("tls_server_name");
        p.max_control_line = o.at("max_control_line").as_int64();
        p.auth_timeout_s = o.at("auth_timeout").as_int64();
        p.issued_at = o.at("issued_at").as_int64();
        p.unfinished = o.at("unfinished").as_bool();
        if (auto ok = check(p); !ok) return make_error(errc::invalid, ok.error().message(), where);
        return p;
    } catch (const std::exception& e) {
        return make_error(errc::invalid, std::string("is not what callgate init writes (") + e.what() +
                                             "); restore it from a backup", where);
    }
}

}  // namespace callgate::cli

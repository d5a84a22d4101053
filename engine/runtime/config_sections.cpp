// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/config_sections.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <callgate/nats/nkey.hpp>
#include <callgate/nats/subject.hpp>
#include <charconv>
#include <filesystem>
#include <set>

namespace callgate::runtime {

using policy::key_table;
using policy::keys_of;
using policy::node;
using policy::section;

namespace {

constexpr std::int64_t millisecond = 1'000'000;
constexpr std::int64_t second = 1000 * millisecond;

constexpr std::string_view root_keys[] = {"nats", "callout", "keys", "backends", "stores", "modules", "audit_sinks", "accounts", "routes", "policy", "plugins", "admission", "admin", "audit", "log", "shards", "drain_limit"};
constexpr auto plugins_table = keys_of("plugins", "directories", "sha256");
constexpr auto instance_table = keys_of("instance", "plugin", "type", "config", "max_in_flight", "timeout", "uses", "breaker", "overdue", "cache_ttl");
constexpr auto breaker_table = keys_of("breaker", "failures", "pause", "longest_pause");
constexpr auto overdue_table = keys_of("overdue", "max", "age");
constexpr auto account_table = keys_of("account", "key", "signer", "roles");
constexpr auto admission_table = keys_of("admission", "max_in_flight", "max_queued", "max_queued_bytes", "age_limit", "default_budget", "kick_after", "kicks_per_second");
constexpr auto admin_table = keys_of("admin", "listen", "token_file", "tls");
constexpr auto admin_tls_table = keys_of("admin_tls", "cert_file", "key_file", "client_ca_file");
constexpr auto audit_table = keys_of("audit", "path", "on_full", "queue", "required");
constexpr auto log_table = keys_of("log", "level", "format");
constexpr auto callout_table = keys_of("callout", "mode", "account", "system_account", "queue", "issuer", "xkeys", "allow_plaintext", "servers", "leeway", "safety", "max_request_bytes", "deny");

// Names that become file names, metric labels and halves of "<provider>/<label>".
bool is_identifier(std::string_view name, bool dash) {
    return !name.empty() && name.size() <= 64 && name.front() >= 'a' && name.front() <= 'z' &&
           std::ranges::all_of(name, [&](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || (dash && c == '-'); });
}

void record_lines(const node& n, const std::string& path, std::vector<std::pair<std::string, int>>& out) {
    if (!path.empty()) out.emplace_back(path, n.line);
    for (std::size_t i = 0; i < n.items.size(); ++i) record_lines(n.items[i], fmt::format("{}[{}]", path, i), out);
    for (const auto& m : n.members) record_lines(m.value, path.empty() ? m.key : path + "." + m.key, out);
}

}  // namespace

const key_table root_table{"root", root_keys};

std::string loading::absolute(const std::string& path) const {
    if (path.empty()) return path;
    const std::filesystem::path p(path);
    return (p.is_absolute() ? p : std::filesystem::path(base_dir) / p).lexically_normal().string();
}

void check_file(const section& s, std::string_view key, const std::string& path, bool secret) {
    struct stat st {};
    if (::stat(path.c_str(), &st) != 0) {
        s.warning(key, fmt::format("{} cannot be read yet; it must exist before callgate serve starts", path));
    } else if (!S_ISREG(st.st_mode)) {
        s.error(key, fmt::format("{} is not a regular file", path));
    } else if (secret && (st.st_mode & 0027) != 0) {
        s.error(key, fmt::format("file mode {:04o} of {} lets others read or change the secret; chmod 600", st.st_mode & 07777u, path));
    }
}

void read_file(const section& s, std::string_view key, std::string& out, bool secret, const loading& in) {
    if (!s.text(key, out)) return;
    out = in.absolute(out);
    check_file(s, key, out, secret);
}

std::optional<key_ref> parse_key_ref(const std::string& text, int line, const std::string& path, const policy::reporter& to) {
    const auto slash = text.find('/');
    key_ref ref{text.substr(0, slash), slash == std::string::npos ? std::string{} : text.substr(slash + 1)};
    if (ref.provider.empty() || ref.label.empty()) {
        to.error(line, path, fmt::format("\"{}\" is not a key; write <name under keys>/<label>, for example local/issuer", text));
        return std::nullopt;
    }
    return ref;
}

// ---- shards, drain_limit, log, audit, plugins --------------------------------------------------------
void read_general(const section& root, loading& in) {
    config& c = in.value;
    root.integer("shards", c.shards, 0, 64);
    root.duration("drain_limit", c.drain_limit_ns, 100 * millisecond, 600 * second);
    if (const node* n = root.find("log")) {
        const section s(in.to, *n, "log", log_table);
        constexpr std::string_view levels[] = {"trace", "debug", "info", "warn", "error"};
        constexpr std::string_view formats[] = {"text", "json"};
        if (const auto w = s.word("level", levels)) c.log.level = levels[*w];
        if (const auto w = s.word("format", formats)) c.log.format = formats[*w];
    }
    if (const node* n = root.find("audit")) {
        const section s(in.to, *n, "audit", audit_table);
        if (s.text("path", c.audit.path) && c.audit.path != "stdout") c.audit.path = in.absolute(c.audit.path);
        s.size("queue", c.audit.queue_bytes, 64 << 10, 1 << 30);
        s.texts("required", c.audit.required);
        constexpr std::string_view choices[] = {"drop_count", "fail_closed"};
        c.audit.fail_closed = s.word("on_full", choices).value_or(0) == 1;
    }
    static const node nothing{};
    const node* n = root.find("plugins");
    const section s(in.to, n ? *n : nothing, "plugins", plugins_table);
    if (s.texts("directories", c.plugins.directories)) {
        for (auto& d : c.plugins.directories) d = in.absolute(d);
    } else {
        std::error_code ignored;
        const auto beside = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path().parent_path();
        c.plugins.directories = {(beside / "plugins.d").string(), (beside / "lib/callgate/plugins").string()};
    }
    if (const node* pins = s.find("sha256"); pins != nullptr && pins->type != node::kind::null) {
        if (!pins->is_mapping()) s.error("sha256", "must be a mapping of plugin names to 64 hexadecimal digits");
        for (const auto& m : pins->members) {
            const bool hex = m.value.is_scalar() && m.value.text.size() == 64 && m.value.text.find_first_not_of("0123456789abcdef") == std::string::npos;
            if (!hex) in.to.error(m.line, "plugins.sha256." + m.key, "must be 64 hexadecimal digits in lower case, as sha256sum prints them");
            c.plugins.sha256.emplace(m.key, m.value.text);
        }
    }
}

// ---- callout -----------------------------------------------------------------------------------------
void read_callout(const section& root, loading& in) {
    callout_options& c = in.value.callout;
    const node* n = root.required("callout");
    if (n == nullptr) return;
    const section s(in.to, *n, "callout", callout_table);
    constexpr std::string_view modes[] = {"config", "operator"};
    if (s.required("mode") != nullptr) {
        if (const auto w = s.word("mode", modes)) c.mode = *w == 1 ? callout_mode::operator_ : callout_mode::config;
    }
    if (s.required("account") != nullptr) s.text("account", c.account);
    s.text("system_account", c.system_account);
    if (s.text("queue", c.queue) && !nats::is_literal_subject(c.queue)) s.error("queue", "must be a queue group name: no blank, no wildcard");
    std::string ref;
    if (s.required("issuer") != nullptr && s.text("issuer", ref)) {
        if (auto k = parse_key_ref(ref, s.line_of("issuer"), s.path_of("issuer"), in.to)) c.issuer = std::move(*k);
    }
    std::vector<std::string> refs;
    s.texts("xkeys", refs);
    for (const auto& text : refs) {
        if (auto k = parse_key_ref(text, s.line_of("xkeys"), s.path_of("xkeys"), in.to)) {
            if (std::ranges::find(c.xkeys, *k) != c.xkeys.end()) s.error("xkeys", fmt::format("names {} twice", text));
            c.xkeys.push_back(std::move(*k));
        }
    }
    if (c.xkeys.size() > 8) s.error("xkeys", "has more than 8 keys; each one costs a key agreement for every server, remove those rotated out");
    if (s.flag("allow_plaintext", c.allow_plaintext) && c.allow_plaintext && c.xkeys.empty()) s.warning("allow_plaintext", "has no effect without xkeys");

    if (const node* servers = s.find("servers")) {
        constexpr std::string_view words[] = {"any", "discovered"};
        if (servers->is_sequence()) {
            c.servers = server_pinning::list;
            s.texts("servers", c.server_list);
            if (servers->items.empty()) s.error("servers", "is an empty list: every request would be refused");
            for (std::size_t i = 0; i < c.server_list.size(); ++i) {
                if (!nats::is_public(c.server_list[i], nats::key_type::server)) {
                    in.to.error(servers->items[i].line, fmt::format("callout.servers[{}]", i), "is not a server's public key (56 characters beginning with N)");
                }
            }
        } else if (const auto w = s.word("servers", words)) {
            c.servers = *w == 1 ? server_pinning::discovered : server_pinning::any;
        }
    }
    s.duration("leeway", c.leeway_ns, 0, 300 * second);
    s.duration("safety", c.safety_ns, 1 * millisecond, 10 * second);
    // More than codec::max_token_bytes would be accepted here and still never be decoded.
    s.size("max_request_bytes", c.max_request_bytes, 4 << 10, 1 << 20);
    constexpr std::string_view denies[] = {"error", "silent"};
    c.silent_deny = s.word("deny", denies).value_or(0) == 1;
}

// ---- keys, backends, stores, modules -----------------------------------------------------------------
namespace {
void read_limits(const section& s, instance_options& i, bool store, loading& in) {
    if (const node* n = s.find("breaker")) {
        const section b(in.to, *n, s.path_of("breaker"), breaker_table);
        b.integer("failures", i.breaker.failures, 0, 100'000);
        b.duration("pause", i.breaker.pause_ns, 10 * millisecond, 600 * second);
        const bool longest = b.duration("longest_pause", i.breaker.longest_pause_ns, 10 * millisecond, 3600 * second);
        if (i.breaker.longest_pause_ns < i.breaker.pause_ns) {
            if (longest) b.error("longest_pause", "is shorter than pause");
            else i.breaker.longest_pause_ns = i.breaker.pause_ns;
        }
    }
    if (const node* n = s.find("overdue")) {
        const section o(in.to, *n, s.path_of("overdue"), overdue_table);
        o.integer("max", i.overdue.max, 1, 1 << 20);
        if (i.max_in_flight != 0 && i.overdue.max > i.max_in_flight) o.error("max", fmt::format("is more than max_in_flight ({}), so it would never be reached", i.max_in_flight));
        o.duration("age", i.overdue.age_ns, 100 * millisecond, 600 * second);
    }
    if (s.find("cache_ttl") == nullptr) return;
    if (!store) s.error("cache_ttl", "is for claim stores; remove it");
    else s.duration("cache_ttl", i.cache_ttl_ns, 0, 60 * second);
}
}  // namespace

void read_instances(const section& root, std::string_view key, std::vector<instance_options>& out, loading& in) {
    for (const auto& m : root.required_members(key, "a mapping of names to plugin instances")) {
        instance_options i;
        i.name = m.key;
        i.line = m.line;
        const auto path = fmt::format("{}.{}", key, m.key);
        if (!is_identifier(m.key, true)) in.to.error(m.line, path, "a name is 1 to 64 of a-z, 0-9, _ and -, beginning with a letter");
        const section s(in.to, m.value, path, instance_table);
        // The name becomes part of a file name, so nothing else may be in it.
        if (s.required("plugin") != nullptr && s.text("plugin", i.plugin) && !is_identifier(i.plugin, false)) {
            s.error("plugin", "is the name of a plugin, not a path: 1 to 64 of a-z, 0-9 and _; put its folder under plugins.directories");
        }
        if (s.text("type", i.type) && !is_identifier(i.type, false)) s.error("type", "is 1 to 64 of a-z, 0-9 and _");
        s.integer("max_in_flight", i.max_in_flight, 1, 1 << 20);
        s.duration("timeout", i.timeout_ns, 10 * millisecond, 60 * second);
        read_limits(s, i, key == "stores", in);
        s.texts("uses", i.uses);
        for (std::size_t n = 0; n < i.uses.size(); ++n) {
            const std::string_view use = i.uses[n];
            const auto name = use.substr(std::min(use.find('/'), use.size() - 1) + 1);
            const bool cluster = use.starts_with("nats/");  // named as read_nats has it; check_together looks it up
            const node* list = s.find("uses");
            i.uses_lines.push_back(n < list->items.size() ? list->items[n].line : list->line);
            if (!cluster && ((!use.starts_with("keys/") && !use.starts_with("store/")) || !is_identifier(name, true)))
                s.error("uses", fmt::format("\"{}\" is nothing a plugin can use; write keys/<name>, store/<name> or nats/<cluster>", use));
        }
        const node* config = s.find("config");
        if (config != nullptr && config->type != node::kind::null && !config->is_mapping()) {
            s.error("config", fmt::format("must be a mapping, not {}", config->shown()));
            config = nullptr;
        }
        i.config_json = config != nullptr && config->is_mapping() ? policy::to_json(*config) : "{}";
        if (config != nullptr) record_lines(*config, {}, i.config_lines);
        out.push_back(std::move(i));
    }
}

// ---- accounts ----------------------------------------------------------------------------------------
void read_accounts(const section& root, loading& in) {
    for (const auto& m : root.required_members("accounts", "a mapping with the accounts clients may be placed in")) {
        account_options a;
        a.name = m.key;
        a.line = m.line;
        const bool printable = !m.key.empty() && m.key.size() <= 256 && std::ranges::all_of(m.key, [](char c) {
            const auto u = static_cast<unsigned char>(c);
            return u > 0x20 && u != 0x7f;
        });
        if (!printable) in.to.error(m.line, "accounts", "a name is 1 to 256 bytes without blank or control character");
        const section s(in.to, m.value, "accounts." + m.key, account_table);
        s.text("key", a.key);
        std::string ref;
        if (s.text("signer", ref)) a.signer = parse_key_ref(ref, s.line_of("signer"), s.path_of("signer"), in.to);
        if (const node* roles = s.find("roles"); roles != nullptr && roles->type != node::kind::null) {
            if (!roles->is_mapping()) s.error("roles", fmt::format("must be a mapping of role names to scoped signing keys, not {}", roles->shown()));
            for (const auto& r : roles->members) {
                const auto path = fmt::format("{}.{}", s.path_of("roles"), r.key);
                if (!r.value.is_scalar()) {
                    in.to.error(r.line, path, fmt::format("must be a key such as local/reader, not {}", r.value.shown()));
                } else if (auto k = parse_key_ref(r.value.text, r.line, path, in.to)) {
                    a.roles.emplace(r.key, std::move(*k));
                }
            }
        }
        in.value.accounts.push_back(std::move(a));
    }
}

// ---- admission, admin --------------------------------------------------------------------------------
void read_admission(const section& root, loading& in) {
    const node* n = root.find("admission");
    if (n == nullptr) return;
    admission_options& a = in.value.admission;
    const section s(in.to, *n, "admission", admission_table);
    s.integer("max_in_flight", a.max_in_flight, 16, 1 << 20);
    s.integer("max_queued", a.max_queued, 16, 1 << 22);
    s.size("max_queued_bytes", a.max_queued_bytes, 1 << 20, std::int64_t{4} << 30);
    s.fraction("age_limit", a.age_limit, 0.05, 1);
    s.duration("default_budget", a.default_budget_ns, 100 * millisecond, 60 * second);
    s.fraction("kick_after", a.kick_after, 0.05, 1);
    s.integer("kicks_per_second", a.kicks_per_second, 0, 100'000);
}

// Without it the listener would have no routes.
void add_admin_module(const section& root, config& c) {
    if (c.admin.listen.empty() || std::ranges::any_of(c.modules, [](const auto& m) { return m.name == "admin"; })) return;
    instance_options i;
    i.name = "admin";
    i.plugin = "module_admin";
    i.config_json = "{}";
    i.line = root.line_of("admin");
    c.modules.push_back(std::move(i));
    c.bundled_admin = true;
}

void add_audit_sink(const section& root, loading& in) {
    config& c = in.value;
    const node* n = root.find("audit");
    if (n == nullptr) return;
    const auto line_of = [&](std::string_view key) {
        const auto m = std::ranges::find(n->members, key, &policy::member::key);
        return m == n->members.end() ? root.line_of("audit") : m->line;
    };
    const auto error = [&](std::string_view key, std::string text) { in.to.error(line_of(key), fmt::format("audit.{}", key), std::move(text)); };
    const auto named = [&](std::string_view name) { return std::ranges::find(c.audit_sinks, name, &instance_options::name) != c.audit_sinks.end(); };
    if (!c.audit.path.empty()) {
        if (named("audit")) return error("path", "stands for the sink audit (audit_file), but audit_sinks has one of that name; write the path there, or rename that one");
        instance_options i;
        i.name = "audit";
        i.plugin = "audit_file";
        node path;
        path.type = node::kind::scalar;
        path.quoted = true;
        path.text = c.audit.path;
        node settings;
        settings.type = node::kind::mapping;
        settings.members.push_back({"path", line_of("path"), std::move(path)});
        i.config_json = policy::to_json(settings);
        i.line = line_of("path");
        i.config_lines.emplace_back("path", i.line);
        c.audit_sinks.push_back(std::move(i));
    }
    if (c.audit_sinks.empty()) return error("path", "is missing: there is no sink for records; write path: <file>, or list sinks under audit_sinks");
    for (const auto& name : c.audit.required)
        if (!named(name)) error("required", fmt::format("no audit sink is named \"{}\"; sinks are those under audit_sinks, and audit for audit.path", name));
    if (!c.audit.required.empty() && !c.audit.fail_closed) in.to.warning(line_of("required"), "audit.required", "has no effect without on_full: fail_closed");
}

void read_admin(const section& root, loading& in) {
    const node* n = root.find("admin");
    if (n == nullptr) return;
    admin_options& a = in.value.admin;
    const section s(in.to, *n, "admin", admin_table);
    read_file(s, "token_file", a.token_file, true, in);
    if (const node* tls = s.find("tls")) {
        const section t(in.to, *tls, "admin.tls", admin_tls_table);
        t.required("cert_file");
        t.required("key_file");
        read_file(t, "cert_file", a.cert_file, false, in);
        read_file(t, "key_file", a.key_file, true, in);
        read_file(t, "client_ca_file", a.client_ca_file, false, in);
    }
    if (s.required("listen") == nullptr || !s.text("listen", a.listen)) return;
    if (a.listen.starts_with("unix:")) {
        const auto path = in.absolute(a.listen.substr(5));
        a.listen = "unix:" + path;
        if (path.empty()) s.error("listen", "names no socket; write unix:/run/callgate/admin.sock");
        if (path.size() >= sizeof(sockaddr_un::sun_path)) s.error("listen", fmt::format("the path of a Unix socket has at most {} bytes, {} has {}", sizeof(sockaddr_un::sun_path) - 1, path, path.size()));
        return;
    }
    const auto colon = a.listen.rfind(':');
    unsigned port = 65536;
    if (colon != std::string::npos) {
        const char* end = a.listen.data() + a.listen.size();
        const auto parsed = std::from_chars(a.listen.data() + colon + 1, end, port);
        if (parsed.ec != std::errc{} || parsed.ptr != end) port = 65536;
    }
    auto host = a.listen.substr(0, colon == std::string::npos ? 0 : colon);
    const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
    if (bracketed) host = host.substr(1, host.size() - 2);
    in_addr v4{};
    in6_addr v6{};
    const bool is_v4 = !bracketed && ::inet_pton(AF_INET, host.c_str(), &v4) == 1;
    const bool is_v6 = bracketed && ::inet_pton(AF_INET6, host.c_str(), &v6) == 1;
    if (port > 65535 || (!is_v4 && !is_v6)) {
        s.error("listen", "must be unix:<path> or <address>:<port>, for example 127.0.0.1:9222 or [::1]:9222");
        return;
    }
    const bool loopback = is_v4 ? (ntohl(v4.s_addr) >> 24) == 127 : IN6_IS_ADDR_LOOPBACK(&v6) != 0;
    if (loopback) return;
    if (a.token_file.empty() && a.client_ca_file.empty()) {
        s.error("listen", "can be reached from other machines, so admin needs token_file or tls.client_ca_file; or listen on unix:<path> or 127.0.0.1");
    } else if (a.cert_file.empty()) {
        s.error("listen", "can be reached from other machines, so admin needs tls: the token would cross the network in clear");
    }
}

std::vector<key_table> nats_key_tables();

std::vector<key_table> known_mappings() {
    std::vector<key_table> all{root_table, plugins_table, instance_table, breaker_table, overdue_table, account_table, admission_table, admin_table, admin_tls_table, audit_table, log_table, callout_table};
    for (const auto& t : nats_key_tables()) all.push_back(t);
    for (const auto& t : policy::key_tables()) all.push_back(t);
    return all;
}

}  // namespace callgate::runtime

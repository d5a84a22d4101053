// SPDX-License-Identifier: Apache-2.0
#include "engine/policy/test_case.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "engine/policy/compile.hpp"
#include "engine/policy/fields.hpp"
#include "engine/policy/time_window.hpp"

namespace callgate::policy {
namespace {

constexpr std::int64_t second = 1'000'000'000;
// Friday, 2027-01-15T08:00:00Z. Only rules with time windows look at it, and their cases can say `now`.
constexpr std::int64_t default_now = 1'800'000'000;

constexpr auto test_table = keys_of("policy_test", "name", "now", "identity", "connection", "stored", "expect");
constexpr auto identity_table = keys_of("test_identity", "backend", "issuer", "subject", "claims", "expires_in");
constexpr auto connection_table = keys_of("test_connection", "kind", "tls", "client_host", "user", "client_name", "mqtt_id", "lang", "version", "nkey",
                                          "server_id", "server_name", "server_cluster", "server_tags", "client_tags", "server_pinned",
                                          "has_auth_token", "has_pass", "has_jwt", "has_nkey_signature");
constexpr auto expect_table = keys_of("test_expect", "allow", "deny", "rule", "route", "account", "role", "name", "pub.allow", "pub.deny", "sub.allow", "sub.deny", "tags", "resp", "ttl");
constexpr auto expect_resp_table = keys_of("response", "max", "ttl");

constexpr std::string_view text_keys[] = {"client_host", "user", "client_name", "mqtt_id", "lang", "version", "nkey", "server_id", "server_name", "server_cluster"};
constexpr std::string_view list_keys[] = {"pub.allow", "pub.deny", "sub.allow", "sub.deny", "tags"};

void read_identity(const node& n, const std::string& path, const reporter& to, test_case& c) {
    const section s(to, n, path, identity_table);
    s.text("backend", c.identity.backend);
    s.text("issuer", c.identity.issuer);
    s.text("subject", c.identity.subject);
    if (const node* claims = s.find("claims"); claims != nullptr && claims->type != node::kind::null) {
        if (claims->is_mapping()) {
            c.identity.attributes_json = to_json(*claims);
        } else {
            s.error("claims", fmt::format("must be a mapping, not {}", claims->shown()));
        }
    }
    std::int64_t ns = 0;
    if (s.duration("expires_in", ns, 0, max_document_bytes * second)) c.expires_in_s = ns / second;
}

// {main: {grants/alice: {version: 1, ...}}}
void read_stored(const node& n, const std::string& path, const reporter& to, test_case& c) {
    if (!n.is_mapping()) return to.error(n.line, path, fmt::format("must be a mapping of stores to keys and their documents, not {}", n.shown()));
    for (const auto& store : n.members) {
        if (!store.value.is_mapping()) {
            to.error(store.line, path + "." + store.key, fmt::format("must be a mapping of keys to documents, not {}", store.value.shown()));
            continue;
        }
        for (const auto& document : store.value.members) c.stored[store.key + "/" + document.key] = to_json(document.value);
    }
}

void read_connection(const node& n, const std::string& path, const reporter& to, connection_values& v) {
    const section s(to, n, path, connection_table);
    if (const auto w = s.word("kind", kind_words)) v.kind = static_cast<client_kind>(*w + 1);
    if (const auto w = s.word("tls", tls_words)) v.tls = static_cast<tls_state>(*w);
    for (const auto key : text_keys) {
        std::string text;
        if (s.text(key, text)) v.texts.emplace(key, std::move(text));
    }
    s.texts("server_tags", v.server_tags);
    s.texts("client_tags", v.client_tags);
    s.flag("server_pinned", v.server_pinned);
    s.flag("has_auth_token", v.has_auth_token);
    s.flag("has_pass", v.has_pass);
    s.flag("has_jwt", v.has_jwt);
    s.flag("has_nkey_signature", v.has_nkey_signature);
}

void read_expect(const node& n, const std::string& path, const reporter& to, test_case& c) {
    const section s(to, n, path, expect_table);
    const auto optional_text = [&](std::string_view key, std::optional<std::string>& out) {
        std::string text;
        if (s.text(key, text)) out = std::move(text);
    };
    if (s.find("allow") != nullptr) s.flag("allow", c.allow);
    if (s.find("deny") != nullptr) {
        if (s.find("allow") != nullptr) s.error("deny", "stands beside allow; keep one");
        c.allow = false;
        if (const auto w = s.word("deny", reason_ids())) c.deny = reason_ids()[*w];
    }
    optional_text("rule", c.rule);
    optional_text("route", c.route);
    optional_text("account", c.account);
    optional_text("role", c.role);
    optional_text("name", c.user_name);
    for (const auto key : list_keys) {
        std::vector<std::string> list;
        if (s.texts(key, list)) c.lists.emplace(key, std::move(list));
    }
    if (const node* resp = s.find("resp")) {
        const section r(to, *resp, s.path_of("resp"), expect_resp_table);
        response_permission p{1, 120 * second};
        r.integer("max", p.max, 1, 1'000'000);
        r.duration("ttl", p.ttl_ns, 0, 24 * 3600 * second);
        c.resp = p;
    }
    std::int64_t ns = 0;
    if (s.duration("ttl", ns, 0, max_document_bytes * second)) c.ttl_s = ns / second;
    const bool about_grant = c.account || c.role || c.user_name || !c.lists.empty() || c.resp || c.ttl_s;
    if (!c.allow && about_grant) to.error(n.line, path, "expects a denial and parts of a grant; keep one");
    if (n.is_mapping() && n.members.empty()) to.error(n.line, path, "expects nothing; write what must come out, at least allow: true or deny: <reason>");
}

std::string joined(std::vector<std::string> list) {
    std::ranges::sort(list);
    return fmt::format("[{}]", fmt::join(list, ", "));
}

const std::vector<std::string>& list_of(const grant& g, std::string_view key) {
    if (key == "pub.allow") return g.pub_allow;
    if (key == "pub.deny") return g.pub_deny;
    if (key == "sub.allow") return g.sub_allow;
    if (key == "sub.deny") return g.sub_deny;
    return g.tags;
}

}  // namespace

std::vector<test_case> parse_test_cases(const node& tests, const std::string& path, const reporter& to) {
    std::vector<test_case> out;
    if (tests.type == node::kind::null) return out;
    if (!tests.is_sequence()) {
        to.error(tests.line, path, fmt::format("must be a list of cases, not {}", tests.shown()));
        return out;
    }
    for (std::size_t i = 0; i < tests.items.size(); ++i) {
        const auto errors = to.errors();
        test_case c;
        c.index = i;
        c.line = tests.items[i].line;
        const section s(to, tests.items[i], fmt::format("{}[{}]", path, i), test_table);
        if (s.required("name") != nullptr) s.text("name", c.name);
        if (std::string text; s.text("now", text)) {
            c.now_unix_s = parse_moment(text);
            if (!c.now_unix_s) s.error("now", fmt::format("must be a moment such as 2027-01-15T08:00:00Z or 2027-01-15T09:00:00+01:00, not {}", s.find("now")->shown()));
        }
        if (const node* n = s.find("identity")) read_identity(*n, s.path_of("identity"), to, c);
        if (const node* n = s.find("connection")) read_connection(*n, s.path_of("connection"), to, c.connection);
        if (const node* n = s.find("stored")) read_stored(*n, s.path_of("stored"), to, c);
        if (const node* n = s.required("expect")) read_expect(*n, s.path_of("expect"), to, c);
        if (to.errors() == errors) out.push_back(std::move(c));
    }
    return out;
}

case_result run_case(const compiled& policy, const test_case& c) {
    connection view;
    const auto text = [&](std::string_view key) {
        const auto found = c.connection.texts.find(key);
        return found == c.connection.texts.end() ? std::string_view{} : std::string_view(found->second);
    };
    view.kind = c.connection.kind;
    view.tls = c.connection.tls;
    view.client_host = text("client_host");
    view.user = text("user");
    view.client_name = text("client_name");
    view.mqtt_id = text("mqtt_id");
    view.lang = text("lang");
    view.version = text("version");
    view.nkey = text("nkey");
    view.server_id = text("server_id");
    view.server_name = text("server_name");
    view.server_cluster = text("server_cluster");
    const std::vector<std::string_view> server_tags(c.connection.server_tags.begin(), c.connection.server_tags.end());
    const std::vector<std::string_view> client_tags(c.connection.client_tags.begin(), c.connection.client_tags.end());
    view.server_tags = server_tags;
    view.client_tags = client_tags;
    view.server_pinned = c.connection.server_pinned;
    view.has_auth_token = c.connection.has_auth_token;
    view.has_pass = c.connection.has_pass;
    view.has_jwt = c.connection.has_jwt;
    view.has_nkey_signature = c.connection.has_nkey_signature;
    const auto test_now = c.now_unix_s.value_or(default_now);
    identity who = c.identity;
    if (c.expires_in_s) who.credential_exp = test_now + *c.expires_in_s;

    case_result r;
    r.name = c.name;
    r.line = c.line;
    const route* taken = policy.find_route(view);
    decision d;
    if (taken == nullptr) {
        d.reason_id = "no_route";
        d.reason = "no route takes this connection";
    } else {
        d = policy.decide(view, who, test_now, 0);
        if (d.stored) {
            const auto document = c.stored.find(d.stored->store + "/" + d.stored->key);
            if (document != c.stored.end()) {
                d = policy.admit_stored(view, who, d, document->second, test_now, 0);
            } else {
                d.reason_id = "no_stored_grant";
                d.reason = fmt::format("the case's `stored` has no {} in store {}", d.stored->key, d.stored->store);
            }
        }
    }
    const auto verdict = [](bool allow, std::string_view reason) { return allow ? std::string("allow") : reason.empty() ? "deny" : fmt::format("deny ({})", reason); };
    const auto differs = [&](std::string_view what, const std::string& expected, const std::string& actual) {
        if (expected != actual) r.differences.push_back(fmt::format("{}: expected {}, got {}", what, expected, actual));
    };
    r.expected = verdict(c.allow, c.deny);
    r.actual = verdict(d.allow, d.reason_id);
    if (d.allow != c.allow || (!c.allow && !c.deny.empty() && d.reason_id != c.deny)) {
        r.differences.push_back(fmt::format("expected {}, got {}{}", r.expected, r.actual, d.reason.empty() ? "" : ": " + d.reason));
    }
    if (c.rule) differs("rule", *c.rule, d.rule);
    if (c.route) differs("route", *c.route, taken ? taken->name : "none");
    if (d.allow) {
        r.actual += fmt::format(" account={} role={} name={} pub={} pub.deny={} sub={} sub.deny={} tags={} ttl={}", d.grant.account,
                                d.grant.role.empty() ? "-" : d.grant.role, d.grant.name, joined(d.grant.pub_allow), joined(d.grant.pub_deny),
                                joined(d.grant.sub_allow), joined(d.grant.sub_deny), joined(d.grant.tags), duration_text((d.grant.exp - test_now) * second));
    }
    const bool compare = c.allow && d.allow;
    const auto optional_text = [&](std::string_view what, const std::optional<std::string>& expected, const std::string& actual) {
        if (!expected) return;
        r.expected += fmt::format(" {}={}", what, *expected);
        if (compare) differs(what, *expected, actual);
    };
    optional_text("account", c.account, d.grant.account);
    optional_text("role", c.role, d.grant.role);
    optional_text("name", c.user_name, d.grant.name);
    for (const auto& [key, list] : c.lists) {
        r.expected += fmt::format(" {}={}", key, joined(list));
        if (compare) differs(key, joined(list), joined(list_of(d.grant, key)));
    }
    if (c.resp) {
        const auto shown = [](const std::optional<response_permission>& p) { return p ? fmt::format("max {} ttl {}", p->max, duration_text(p->ttl_ns)) : std::string("none"); };
        r.expected += fmt::format(" resp={}", shown(c.resp));
        if (compare) differs("resp", shown(c.resp), shown(d.grant.resp));
    }
    if (c.ttl_s) {
        r.expected += fmt::format(" ttl={}", duration_text(*c.ttl_s * second));
        if (compare) differs("ttl", duration_text(*c.ttl_s * second), duration_text((d.grant.exp - test_now) * second));
    }
    r.passed = r.differences.empty();
    return r;
}

std::span<const key_table> test_key_tables() noexcept {
    static constexpr key_table tables[] = {test_table, identity_table, connection_table, expect_table};
    return tables;
}

}  // namespace callgate::policy

// SPDX-License-Identifier: Apache-2.0
#include "engine/policy/compile.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <callgate/nats/subject.hpp>
#include <set>

#include "engine/base/claim_key.hpp"
#include "engine/policy/rules.hpp"
#include "engine/policy/test_case.hpp"

namespace callgate::policy {
namespace {

constexpr std::int64_t second = 1'000'000'000;

constexpr auto route_table = keys_of("route", "name", "when", "credential", "chain");
constexpr auto chain_step_table = keys_of("chain_step", "backend", "on_unavailable");
constexpr auto policy_table = keys_of("policy", "file", "max_ttl", "allow_long_ttl", "jitter", "forbid_accounts", "rules", "tests");
constexpr auto rule_table = keys_of("rule", "name", "when", "grant", "deny");
constexpr auto grant_table = keys_of("grant", "account", "role", "name", "pub", "sub", "resp", "ttl", "tags", "encode", "default_permissions", "from", "store", "key");
constexpr auto permission_table = keys_of("permission", "allow", "deny");
constexpr auto response_table = keys_of("response", "max", "ttl");

constexpr std::string_view default_subject_name = "{{sub}}";

// Keys of a user JWT people look for, and why they are not here (protocol.md 3.7).
struct refused_key {
    std::string_view key, why;
};
constexpr refused_key refused_grant_keys[] = {
    {"subs", "nobody can enforce it for users of an auth callout: nats-server ignores subs, data and payload there; set the limit on the account or the server"},
    {"data", "nobody can enforce it for users of an auth callout: nats-server ignores subs, data and payload there; set the limit on the account or the server"},
    {"payload", "nobody can enforce it for users of an auth callout: nats-server ignores subs, data and payload there; set the limit on the account or the server"},
    {"src", "nats-server does not check it for users of an auth callout; write when: {connection.client_host: {cidr: [...]}}"},
    {"allowed_connection_types", "nats-server does not check it for users of an auth callout; write when: {connection.kind: {in: [...]}}"},
    {"times", "nats-server does not check it for users of an auth callout; write when: {time: {zone: ..., from: ..., to: ...}}, and the grant ends with the window"},
    {"times_location", "nats-server does not check it for users of an auth callout; write when: {time: {zone: ..., from: ..., to: ...}}"},
    {"bearer_token", "has no meaning for users of an auth callout; remove it"},
};

class compiler {
  public:
    compiler(const environment& env, std::vector<finding>& out) : env_(env), out_(out), set_(std::make_shared<rule_set>()) {}

    void routes(const source& from);
    void policy(const source& from);
    std::shared_ptr<rule_set> take() { return std::move(set_); }

  private:
    void route_of(const node& n, const std::string& path, const reporter& to);
    void rule_of(const node& n, const std::string& path, const reporter& to);
    void grant_of(const node& n, const std::string& path, const reporter& to, grant_template& g);
    void stored_grant_of(const section& s, grant_template& g);
    void subjects(const section& s, std::string_view key, bool with_queue, std::vector<text_template>& into);
    void check_literal_grant(const section& s, grant_template& g);
    std::optional<text_template> text(const section& s, std::string_view key, std::string_view otherwise);
    void unique_name(const section& s, std::set<std::string>& seen, std::string& name);
    [[nodiscard]] condition_context context(const reporter& to, bool identity_known) const {
        return {&to, identity_known, env_.servers_pinned, env_.backends};
    }

    const environment& env_;
    std::vector<finding>& out_;
    std::shared_ptr<rule_set> set_;
    std::set<std::string> route_names_, rule_names_;
    std::string route_behind_, rule_behind_;  // first one that always holds
};

void compiler::unique_name(const section& s, std::set<std::string>& seen, std::string& name) {
    if (s.required("name") == nullptr || !s.text("name", name)) return;
    if (name.size() > 64) s.error("name", "is longer than 64 bytes");
    if (!seen.insert(name).second) s.error("name", fmt::format("another one is named \"{}\" already", name));
}

// ---- routes ------------------------------------------------------------------------------------------
void compiler::routes(const source& from) {
    const reporter to(from.file, out_);
    if (from.tree == nullptr || !from.tree->is_sequence() || from.tree->items.empty()) {
        to.error(from.tree ? from.tree->line : 0, from.path, "must be a list with at least one route: which backends are asked about which connections");
        return;
    }
    for (std::size_t i = 0; i < from.tree->items.size(); ++i) route_of(from.tree->items[i], fmt::format("{}[{}]", from.path, i), to);
}

void compiler::route_of(const node& n, const std::string& path, const reporter& to) {
    const section s(to, n, path, route_table);
    guarded_route r;
    unique_name(s, route_names_, r.route.name);
    if (!route_behind_.empty()) {
        to.warning(n.line, path, fmt::format("is never reached: route \"{}\" before it takes every connection", route_behind_));
    }
    if (const node* when = s.find("when")) {
        r.when = parse_condition(*when, s.path_of("when"), context(to, false));
    }
    if (r.when.shape == condition::shape::always && route_behind_.empty()) route_behind_ = r.route.name;

    std::vector<std::string> words;
    if (s.find("credential") == nullptr) {
        r.route.credentials = {credential_source::auth_token, credential_source::pass, credential_source::nkey, credential_source::jwt};
    } else if (s.texts("credential", words)) {
        if (words.empty()) s.error("credential", "is an empty list; leave the key out for auth_token, pass, nkey, jwt");
        for (const auto& w : words) {
            const auto found = std::ranges::find(credential_words, std::string_view(w));
            if (found == std::end(credential_words)) {
                const auto near = nearest(w, credential_words);
                s.error("credential", fmt::format("\"{}\" is not one of {}{}", w, fmt::join(credential_words, ", "), near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near)));
                continue;
            }
            const auto source = static_cast<credential_source>(found - std::begin(credential_words));
            if (std::ranges::find(r.route.credentials, source) != r.route.credentials.end()) s.error("credential", fmt::format("names {} twice", w));
            r.route.credentials.push_back(source);
        }
    }

    const auto chain = s.required_items("chain", "a list with at least one backend");
    for (std::size_t i = 0; i < chain.size(); ++i) {
        const node& item = chain[i];
        const auto at = fmt::format("{}[{}]", s.path_of("chain"), i);
        chain_step step;
        if (item.is_scalar()) {
            step.backend = item.text;
        } else {
            const section c(to, item, at, chain_step_table);
            if (c.required("backend") == nullptr || !c.text("backend", step.backend)) continue;
            constexpr std::string_view then[] = {"stop", "next"};
            step.next_on_unavailable = c.word("on_unavailable", then).value_or(0) == 1;
        }
        if (std::ranges::find(env_.backends, step.backend) == env_.backends.end()) {
            const std::vector<std::string_view> known(env_.backends.begin(), env_.backends.end());
            const auto near = nearest(step.backend, known);
            to.error(item.line, at, fmt::format("no backend is named \"{}\"{}", step.backend, near.empty() ? "; add it under backends:" : fmt::format("; did you mean \"{}\"?", near)));
        }
        if (std::ranges::any_of(r.route.chain, [&](const chain_step& other) { return other.backend == step.backend; })) {
            to.error(item.line, at, fmt::format("backend \"{}\" stands in this chain already", step.backend));
        }
        if (std::ranges::find(set_->backends_, step.backend) == set_->backends_.end()) set_->backends_.push_back(step.backend);
        r.route.chain.push_back(std::move(step));
    }
    set_->routes_.push_back(std::move(r));
}

// ---- policy ------------------------------------------------------------------------------------------
void compiler::policy(const source& from) {
    const reporter to(from.file, out_);
    if (from.tree == nullptr) {
        to.error(0, from.path, "is missing: without rules nobody gets in");
        return;
    }
    const section s(to, *from.tree, from.path, policy_table);
    if (s.find("file") != nullptr) s.error("file", "stands beside other keys or in a policy file itself; a policy is either here or in one other file");
    bool long_ttl = false;
    s.flag("allow_long_ttl", long_ttl);
    std::int64_t max_ttl = set_->max_ttl_s_ * second;
    if (s.duration("max_ttl", max_ttl, min_ttl_s * second, max_long_ttl_s * second)) {
        if (max_ttl > max_plain_ttl_s * second && !long_ttl) {
            s.error("max_ttl", "is longer than 24h: a grant cannot be taken back before it ends without a revocation; write allow_long_ttl: true if that is meant");
        }
        set_->max_ttl_s_ = max_ttl / second;
    }
    s.fraction("jitter", set_->max_jitter_, 0, 0.9);
    std::vector<std::string> forbid;
    s.texts("forbid_accounts", forbid);
    for (const auto& name : forbid) {
        if (std::ranges::none_of(env_.accounts, [&](const known_account& a) { return a.name == name || a.key == name; })) {
            s.error("forbid_accounts", fmt::format("no account is named \"{}\"", name));
        }
    }
    set_->accounts_ = make_account_table(env_, forbid);

    const auto rules = s.required_items("rules", "a list with at least one rule");
    for (std::size_t i = 0; i < rules.size(); ++i) {
        rule_of(rules[i], fmt::format("{}[{}]", s.path_of("rules"), i), to);
    }

    const node* tests = s.find("tests");
    std::vector<test_case> cases;
    if (tests != nullptr) cases = parse_test_cases(*tests, s.path_of("tests"), to);
    if (has_error(out_)) return;  // what the cases would say follows from those
    for (const auto& c : cases) {
        const auto result = run_case(*set_, c);
        if (!result.passed) {
            to.error(c.line, fmt::format("{}[{}]", s.path_of("tests"), c.index),
                     fmt::format("policy test \"{}\" fails: {}", c.name, fmt::join(result.differences, "; ")));
        }
    }
}

void compiler::rule_of(const node& n, const std::string& path, const reporter& to) {
    const section s(to, n, path, rule_table);
    rule r;
    unique_name(s, rule_names_, r.name);
    if (!rule_behind_.empty()) to.warning(n.line, path, fmt::format("is never reached: rule \"{}\" before it always matches", rule_behind_));
    if (const node* when = s.required("when")) r.when = parse_condition(*when, s.path_of("when"), context(to, true));
    r.timed = r.when.asks_time();
    set_->timed_ = set_->timed_ || r.timed;
    if (s.find("when") != nullptr && r.when.shape == condition::shape::always && rule_behind_.empty()) rule_behind_ = r.name;
    const node* grant = s.find("grant");
    if (s.find("deny") != nullptr && s.flag("deny", r.deny) && !r.deny) s.error("deny", "can only be true; write grant: instead");
    if ((grant != nullptr) == (s.find("deny") != nullptr)) {
        to.error(n.line, path, grant != nullptr ? "has both grant and deny; keep one" : "has neither grant nor deny: true");
    }
    if (grant != nullptr) grant_of(*grant, s.path_of("grant"), to, r.grant);
    set_->rules_.push_back(std::move(r));
}

std::optional<text_template> compiler::text(const section& s, std::string_view key, std::string_view otherwise) {
    std::string written(otherwise);
    if (s.find(key) != nullptr && !s.text(key, written)) return std::nullopt;
    return text_template::parse(written, s.line_of(key), s.path_of(key), context(s.to(), true));
}

void compiler::subjects(const section& s, std::string_view key, bool with_queue, std::vector<text_template>& into) {
    const node* list = s.find(key);
    if (list == nullptr) return;
    std::vector<std::string> written;
    if (!s.texts(key, written)) return;
    if (written.size() > max_grant_subjects) s.error(key, fmt::format("has more than {} subjects", max_grant_subjects));
    for (std::size_t i = 0; i < written.size() && i < max_grant_subjects; ++i) {
        const auto path = list->is_sequence() ? fmt::format("{}[{}]", s.path_of(key), i) : s.path_of(key);
        const int line = list->is_sequence() ? list->items[i].line : s.line_of(key);
        auto t = text_template::parse(written[i], line, path, context(s.to(), true));
        if (!t) continue;
        const auto sample = t->sample();
        if (sample.size() > max_subject_bytes || !nats::is_valid_permission(sample, with_queue)) {
            s.to().error(line, path, fmt::format("\"{}\" is not a valid subject{}", sample,
                                                 !with_queue && sample.find(' ') != std::string::npos ? "; a queue group can only stand under sub" : ""));
        }
        into.push_back(std::move(*t));
    }
}

void compiler::grant_of(const node& n, const std::string& path, const reporter& to, grant_template& g) {
    // The reason is worth more than "unknown key", so these leave the mapping before it is checked.
    node kept = n;
    std::erase_if(kept.members, [&](const member& m) {
        const auto refused = std::ranges::find(refused_grant_keys, std::string_view(m.key), &refused_key::key);
        if (refused == std::end(refused_grant_keys)) return false;
        to.error(m.line, fmt::format("{}.{}", path, m.key), std::string(refused->why));
        return true;
    });
    const section s(to, kept, path, grant_table);
    if (s.find("from") != nullptr || s.find("store") != nullptr || s.find("key") != nullptr) return stored_grant_of(s, g);
    if (s.required("account") != nullptr) {
        if (auto t = text(s, "account", {})) g.account = std::move(*t);
    }
    if (s.text("role", g.role) && g.role.find("{{") != std::string::npos) s.error("role", "cannot hold a placeholder; write one rule for each role");
    if (auto t = text(s, "name", default_subject_name)) g.name = std::move(*t);
    s.flag("default_permissions", g.account_defaults);
    constexpr std::string_view encodings[] = {"base32"};
    g.encode = s.word("encode", encodings).has_value();

    g.ttl_s = set_->max_ttl_s_;
    std::int64_t ttl = 0;
    if (s.duration("ttl", ttl, min_ttl_s * second, max_long_ttl_s * second)) {
        g.ttl_s = ttl / second;
        if (g.ttl_s > set_->max_ttl_s_) s.error("ttl", fmt::format("is longer than policy.max_ttl ({})", duration_text(set_->max_ttl_s_ * second)));
    }
    std::vector<std::string> tags;
    if (s.texts("tags", tags)) {
        for (std::size_t i = 0; i < tags.size(); ++i) {
            if (auto t = text_template::parse(tags[i], s.line_of("tags"), fmt::format("{}[{}]", s.path_of("tags"), i), context(to, true))) {
                g.tags.push_back(std::move(*t));
            }
        }
    }
    const auto permission = [&](std::string_view key, std::vector<text_template>& allow, std::vector<text_template>& deny) {
        const node* p = s.find(key);
        if (p == nullptr) return;
        const section list(to, *p, s.path_of(key), permission_table);
        subjects(list, "allow", key == "sub", allow);
        subjects(list, "deny", key == "sub", deny);
        if (allow.empty() && !deny.empty()) {
            to.error(p->line, s.path_of(key), "denies some and allows nothing; if all other subjects are meant write allow: [\">\"]");
        }
    };
    permission("pub", g.pub_allow, g.pub_deny);
    permission("sub", g.sub_allow, g.sub_deny);
    if (const node* resp = s.find("resp")) {
        const section r(to, *resp, s.path_of("resp"), response_table);
        response_permission p{1, 120 * second};
        r.integer("max", p.max, 1, 1'000'000);
        r.duration("ttl", p.ttl_ns, 1'000'000, 24 * 3600 * second);
        g.resp = p;
    }
    check_literal_grant(s, g);
}

void compiler::stored_grant_of(const section& s, grant_template& g) {
    constexpr std::string_view sources[] = {"claims"};
    constexpr std::string_view encodings[] = {"base32"};
    stored_template t;
    if (s.required("from") != nullptr) s.word("from", sources);
    for (const std::string_view key : {"account", "role", "name", "pub", "sub", "resp", "ttl", "tags", "default_permissions"}) {
        if (s.find(key) != nullptr) s.error(key, "stands beside from: claims; the stored document says what is granted");
    }
    if (s.required("store") != nullptr && s.text("store", t.store)) {
        const std::vector<std::string_view> known(env_.stores.begin(), env_.stores.end());
        if (std::ranges::find(known, std::string_view(t.store)) == known.end()) {
            const auto near = nearest(t.store, known);
            s.error("store", fmt::format("no claim store is named \"{}\"{}", t.store, near.empty() ? "; add it under stores:" : fmt::format("; did you mean \"{}\"?", near)));
        }
        if (std::ranges::find(set_->stores_, t.store) == set_->stores_.end()) set_->stores_.push_back(t.store);
    }
    if (s.required("key") != nullptr) {
        if (auto k = text(s, "key", {})) {
            t.key = std::move(*k);
            const auto sample = t.key.sample();
            if (const auto fault = claim_key_fault(sample); !fault.empty()) s.error("key", fmt::format("\"{}\" {}", sample, fault));
            if (t.key.is_literal()) s.warning("key", "has no placeholder: everybody whom the rule matches gets the same grant");
        }
    }
    t.encode = s.word("encode", encodings).has_value();
    g.stored = std::move(t);
}

void compiler::check_literal_grant(const section& s, grant_template& g) {
    const bool listed = s.find("pub") != nullptr || s.find("sub") != nullptr || s.find("resp") != nullptr;
    if (!g.role.empty() && listed) s.error("role", "brings its own permissions; remove pub, sub and resp");
    if (!g.role.empty() && !env_.operator_mode) s.error("role", "needs an account's signing key, and those exist in operator mode only; write pub and sub");
    if (g.account_defaults && (listed || !g.role.empty())) s.error("default_permissions", "stands beside other permissions; keep one kind");
    if (g.role.empty() && !listed && !g.account_defaults) {
        s.to().warning(s.line(), s.path(), "allows nothing: neither publish nor subscribe; write pub and sub, role, or default_permissions: true");
    }
    if (!g.role.empty()) {
        // nats-server substitutes name and tags raw into the role's subjects.
        if (!nats::is_safe_token(g.name.sample())) s.error("name", "must be one subject token because the role's subjects may contain it");
        for (const auto& t : g.tags) {
            if (!nats::is_safe_token(t.sample())) s.error("tags", fmt::format("\"{}\" must be one subject token because the role's subjects may contain it", t.sample()));
        }
    }
    if (!g.account.is_literal()) {
        if (!g.role.empty() && std::ranges::none_of(env_.accounts, [&](const known_account& a) { return std::ranges::find(a.roles, g.role) != a.roles.end(); })) {
            s.error("role", fmt::format("no account has a role named \"{}\"", g.role));
        }
        return;
    }
    const auto& account = g.account.literal();
    if (account.empty()) return;
    const auto* known = set_->accounts_.find(account);
    if (set_->accounts_.is_forbidden(account) || (known != nullptr && known->forbidden)) {
        s.error("account", fmt::format("\"{}\" is the callout account, the system account or one of policy.forbid_accounts; a client placed there could read credentials and deny logins", account));
    } else if (known == nullptr) {
        std::vector<std::string_view> names;
        for (const auto& a : env_.accounts) names.push_back(a.name);
        const auto near = nearest(account, names);
        s.error("account", fmt::format("no account is named \"{}\"{}", account, near.empty() ? "; add it under accounts:" : fmt::format("; did you mean \"{}\"?", near)));
    } else if (!g.role.empty() && !known->has_role(g.role)) {
        const std::vector<std::string_view> names(known->roles.begin(), known->roles.end());
        const auto near = nearest(g.role, names);
        s.error("role", fmt::format("account \"{}\" has no role named \"{}\"{}", account, g.role, near.empty() ? "; add it under accounts" : fmt::format("; did you mean \"{}\"?", near)));
    }
}

}  // namespace

std::shared_ptr<const compiled> compile(const source& routes, const source& policy, const environment& env, std::vector<finding>& out) {
    compiler c(env, out);
    c.routes(routes);
    c.policy(policy);
    if (has_error(out)) return nullptr;
    return c.take();
}

std::span<const key_table> key_tables() noexcept {
    static const std::vector<key_table> all = [] {
        std::vector<key_table> t{route_table, chain_step_table, policy_table, rule_table, grant_table, permission_table, response_table, time_window_table()};
        const auto tests = test_key_tables();
        t.insert(t.end(), tests.begin(), tests.end());
        return t;
    }();
    return all;
}

std::span<const std::string_view> reason_ids() noexcept {
    static constexpr std::string_view ids[] = {
        "no_rule", "rule_denies", "account_unknown", "account_forbidden", "placeholder_missing", "placeholder_unsafe", "too_many_subjects",
        "invalid_subject", "credential_expired", "role_unknown", "unsafe_name", "no_route", "claims_invalid", "role_permissions", "window_ends", "no_stored_grant", "stored_grant_invalid"};
    return ids;
}

}  // namespace callgate::policy

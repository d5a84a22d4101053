// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <callgate/nats/subject.hpp>
#include <limits>
#include <unordered_set>

#include "engine/base/claim_key.hpp"
#include "engine/policy/rules.hpp"

namespace callgate::policy {
namespace {

// The user JWT's name is shown by CONNZ and logs; with a scoped key the server also puts it into subjects.
std::optional<refusal> check_name(const std::string& name, bool scoped) {
    if (name.empty()) return refusal{"unsafe_name", "the name is empty"};
    if (name.size() > max_name_bytes) return refusal{"unsafe_name", fmt::format("the name is longer than {} bytes", max_name_bytes)};
    if (scoped && !nats::is_safe_token(name)) {
        return refusal{"unsafe_name", "nats-server puts the name into the role's subjects, so it must be one subject token without dot, wildcard, blank, control or non-ASCII character"};
    }
    const bool control = std::ranges::any_of(name, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
    if (control || !simdjson::validate_utf8(name.data(), name.size())) return refusal{"unsafe_name", "the name has a control character or is not UTF-8"};
    return std::nullopt;
}

std::optional<refusal> check_tag(const std::string& tag, bool scoped) {
    if (tag.empty() || tag.size() > max_name_bytes) return refusal{"unsafe_name", fmt::format("a tag is empty or longer than {} bytes", max_name_bytes)};
    if (scoped && !nats::is_safe_token(tag)) return refusal{"unsafe_name", "nats-server puts tags into the role's subjects, so each must be one subject token"};
    const bool control = std::ranges::any_of(tag, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
    if (control || !simdjson::validate_utf8(tag.data(), tag.size())) return refusal{"unsafe_name", "a tag has a control character or is not UTF-8"};
    return std::nullopt;
}

bool is_utf8(std::string_view text) { return simdjson::validate_utf8(text.data(), text.size()); }

void remove_repeated(std::vector<std::string>& list) {
    std::unordered_set<std::string_view> seen;
    std::vector<std::string> kept;
    kept.reserve(list.size());
    seen.reserve(list.size());
    for (auto& s : list) {
        if (seen.contains(s)) continue;
        kept.push_back(std::move(s));
        seen.insert(kept.back());  // reserved above: short strings do not move any more
    }
    list = std::move(kept);
}

// NATS reads an absent allow list as "everything"; here it means nothing. With `resp` the server itself
// refuses all other publishes (protocol.md 2.7).
void close_open_ends(grant& g) {
    if (g.pub_allow.empty() && !g.resp) g.pub_deny.assign(1, ">");
    if (g.sub_allow.empty()) g.sub_deny.assign(1, ">");
}

decision refuse(refusal r, std::string rule = {}) {
    decision d;
    d.reason_id = r.id;
    d.reason = std::move(r.text);
    d.rule = std::move(rule);
    return d;
}

}  // namespace

bool account_table::entry::has_role(std::string_view role) const noexcept { return std::ranges::find(roles, role) != roles.end(); }

const account_table::entry* account_table::find(std::string_view name) const noexcept {
    const auto found = by_name.find(name);
    return found == by_name.end() ? nullptr : &found->second;
}

bool account_table::is_forbidden(std::string_view name_or_key) const noexcept {
    return std::ranges::find(forbidden_ids, name_or_key) != forbidden_ids.end();
}

account_table make_account_table(const environment& env, const std::vector<std::string>& also_forbidden) {
    account_table t;
    for (const auto& a : env.accounts) t.by_name[a.name].roles = a.roles;
    std::vector<std::string> ids = also_forbidden;
    ids.insert(ids.end(), {env.callout_account, env.system_account, "$SYS"});
    for (const auto& id : ids) {
        if (id.empty()) continue;
        t.forbidden_ids.push_back(id);
        for (const auto& a : env.accounts) {
            if (a.name != id && a.key != id) continue;
            t.by_name[a.name].forbidden = true;
            t.forbidden_ids.push_back(a.name);
            if (!a.key.empty()) t.forbidden_ids.push_back(a.key);
        }
    }
    // A second name for a forbidden key leads to the same account.
    for (const auto& a : env.accounts) {
        if (!a.key.empty() && t.is_forbidden(a.key)) t.by_name[a.name].forbidden = true;
        if (t.is_forbidden(a.name)) t.by_name[a.name].forbidden = true;
    }
    return t;
}

const route* rule_set::find_route(const connection& c) const {
    const facts f{&c, nullptr, nullptr, 0};
    for (const auto& r : routes_) {
        if (r.when.holds(f)) return &r.route;
    }
    return nullptr;
}

std::optional<refusal> rule_set::place(std::string_view account, std::string_view role) const {
    if (accounts_.is_forbidden(account)) {
        return refusal{"account_forbidden", "nobody is placed in the callout account, the system account or one of policy.forbid_accounts"};
    }
    const auto* known = accounts_.find(account);
    if (known == nullptr) return refusal{"account_unknown", "the account is not one of the configuration's accounts"};
    if (known->forbidden) {
        return refusal{"account_forbidden", "nobody is placed in the callout account, the system account or one of policy.forbid_accounts"};
    }
    if (!role.empty() && !known->has_role(role)) return refusal{"role_unknown", fmt::format("the account has no role {}", role)};
    return std::nullopt;
}

std::optional<refusal> rule_set::expire(std::int64_t ttl_s, std::int64_t credential_exp, std::int64_t until, std::int64_t now, double jitter, std::int64_t& exp) const {
    std::int64_t life = std::min(ttl_s, max_ttl_s_);
    if (credential_exp != 0) {
        // Compared before subtracting: a hostile exp near the ends of the range must not wrap.
        if (credential_exp < now + min_lifetime_s) return refusal{"credential_expired", fmt::format("the credential ends in less than {} seconds", min_lifetime_s)};
        life = std::min(life, credential_exp - now);
    }
    if (until != INT64_MAX) {
        if (until < now + min_lifetime_s) return refusal{"window_ends", fmt::format("its time window ends in less than {} seconds", min_lifetime_s)};
        life = std::min(life, until - now);
    }
    const double share = std::clamp(jitter, 0.0, 1.0) * max_jitter_;
    const auto shortened = life - static_cast<std::int64_t>(static_cast<double>(life) * share);
    exp = now + std::max(shortened, std::min(life, min_lifetime_s));
    return std::nullopt;
}

std::optional<refusal> rule_set::fill(const grant_template& t, const facts& f, std::int64_t until, double jitter, grant& out) const {
    const bool scoped = !t.role.empty();
    if (auto r = t.account.expand_one(f, insertion::free_text, out.account)) return r;
    if (auto r = place(out.account, t.role)) return r;
    out.role = t.role;
    if (auto r = expire(t.ttl_s, f.who->credential_exp, until, f.now_unix_s, jitter, out.exp)) return r;

    // What ends up in a subject is one token; a name or tag nobody substitutes may be any text.
    const auto in_subject = t.encode ? insertion::encoded : insertion::one_token;
    const auto beside = scoped ? in_subject : insertion::free_text;
    if (auto r = t.name.expand_one(f, beside, out.name)) {
        if (r->id == "placeholder_unsafe") r->id = "unsafe_name";
        return r;
    }
    if (auto r = check_name(out.name, scoped)) return r;
    for (const auto& tag : t.tags) {
        if (auto r = tag.expand(f, beside, max_list_values, out.tags)) return r;
        if (out.tags.size() > max_list_values) return refusal{"too_many_subjects", fmt::format("more than {} tags", max_list_values)};
    }
    for (const auto& tag : out.tags) {
        if (auto r = check_tag(tag, scoped)) return r;
    }

    std::size_t total = 0;
    const std::pair<const std::vector<text_template>*, std::vector<std::string>*> lists[] = {
        {&t.pub_allow, &out.pub_allow}, {&t.pub_deny, &out.pub_deny}, {&t.sub_allow, &out.sub_allow}, {&t.sub_deny, &out.sub_deny}};
    for (const auto& [from, into] : lists) {
        for (const auto& subject : *from) {
            if (subject.is_literal()) {
                into->push_back(subject.literal());
                ++total;
            } else {
                const auto before = into->size();
                if (auto r = subject.expand(f, in_subject, max_grant_subjects, *into)) return r;
                total += into->size() - before;
                const bool sub = into == &out.sub_allow || into == &out.sub_deny;
                for (auto i = before; i < into->size(); ++i) {
                    if (!nats::is_valid_permission((*into)[i], sub)) return refusal{"invalid_subject", fmt::format("\"{}\" is not a valid subject once filled in", subject.sample())};
                }
            }
            if (total > max_grant_subjects) return refusal{"too_many_subjects", fmt::format("more than {} subjects in one grant", max_grant_subjects)};
        }
        if (into->size() > 1) remove_repeated(*into);
    }
    out.resp = t.resp;
    if (!scoped && !t.account_defaults) close_open_ends(out);
    return std::nullopt;
}

std::int64_t rule_set::decides_until(std::size_t rule, const facts& f) const {
    constexpr int max_boundaries = 256;  // a grant over more of them ends early rather than cost more
    const auto horizon = f.now_unix_s + max_ttl_s_;
    facts later = f;
    for (int n = 0; n < max_boundaries; ++n) {
        auto next = std::numeric_limits<std::int64_t>::max();
        for (std::size_t i = 0; i <= rule; ++i) {
            if (rules_[i].timed) next = std::min(next, rules_[i].when.next_boundary(later.now_unix_s));
        }
        if (next > horizon) return INT64_MAX;
        later.now_unix_s = next;
        // Rules before it that ask for no time did not hold and will not.
        for (std::size_t i = 0; i <= rule; ++i) {
            if (rules_[i].timed && rules_[i].when.holds(later) != (i == rule)) return next;
        }
    }
    return later.now_unix_s;
}

decision rule_set::decide(const connection& c, const identity& who, std::int64_t now_unix_s, double jitter) const {
    claims_view claims;
    if (!claims.parse(who.attributes_json)) {
        return refuse({"claims_invalid", "the backend's attributes are not one JSON object of at most 64 KiB and 64 levels without duplicate members"});
    }
    const facts f{&c, &who, &claims, now_unix_s};
    for (std::size_t i = 0; i < rules_.size(); ++i) {
        const auto& r = rules_[i];
        if (!r.when.holds(f)) continue;
        if (r.deny) return refuse({"rule_denies", fmt::format("rule {} denies", r.name)}, r.name);
        decision d;
        d.rule = r.name;
        if (r.grant.stored) {
            auto& s = d.stored.emplace();
            s.store = r.grant.stored->store;
            if (timed_) s.until_unix_s = decides_until(i, f);
            auto why = r.grant.stored->key.expand_one(f, r.grant.stored->encode ? insertion::encoded : insertion::key_segment, s.key);
            if (!why && !claim_key_fault(s.key).empty()) why = refusal{"placeholder_unsafe", fmt::format("the key of the stored grant {}", claim_key_fault(s.key))};
            if (!why) return d;
            why->text = fmt::format("rule {}: {}", r.name, why->text);
            return refuse(std::move(*why), r.name);
        }
        if (auto why = fill(r.grant, f, timed_ ? decides_until(i, f) : INT64_MAX, jitter, d.grant)) {
            why->text = fmt::format("rule {}: {}", r.name, why->text);
            return refuse(std::move(*why), r.name);
        }
        d.allow = true;
        d.reason_id = "ok";
        return d;
    }
    return refuse({"no_rule", "no rule of the policy matches"});
}

decision rule_set::admit(const connection&, const identity& who, const backend_grant& asked, std::int64_t now_unix_s, double jitter) const {
    decision d;
    d.grant = asked.what;
    grant& g = d.grant;
    const bool scoped = !g.role.empty();
    const auto fail = [&](refusal r) {
        r.text = fmt::format("grant of backend {}: {}", who.backend, r.text);
        return refuse(std::move(r));
    };
    if (auto r = place(g.account, g.role)) return fail(std::move(*r));
    if (scoped && (!g.pub_allow.empty() || !g.pub_deny.empty() || !g.sub_allow.empty() || !g.sub_deny.empty() || g.resp)) {
        return fail({"role_permissions", "a role brings its own permissions; nats-server refuses a user that has both"});
    }
    if (g.exp != 0 && g.exp < now_unix_s + min_lifetime_s) return fail({"credential_expired", fmt::format("the grant ends in less than {} seconds", min_lifetime_s)});
    const std::int64_t bound = g.exp != 0 && (who.credential_exp == 0 || g.exp < who.credential_exp) ? g.exp : who.credential_exp;
    if (auto r = expire(max_ttl_s_, bound, INT64_MAX, now_unix_s, jitter, g.exp)) return fail(std::move(*r));
    if (g.name.empty()) g.name = who.subject;
    if (auto r = check_name(g.name, scoped)) return fail(std::move(*r));
    if (g.tags.size() > max_list_values) return fail({"too_many_subjects", fmt::format("more than {} tags", max_list_values)});
    for (const auto& tag : g.tags) {
        if (auto r = check_tag(tag, scoped)) return fail(std::move(*r));
    }
    if (g.pub_allow.size() + g.pub_deny.size() + g.sub_allow.size() + g.sub_deny.size() > max_grant_subjects) {
        return fail({"too_many_subjects", fmt::format("more than {} subjects", max_grant_subjects)});
    }
    for (auto* list : {&g.pub_allow, &g.pub_deny, &g.sub_allow, &g.sub_deny}) {
        const bool sub = list == &g.sub_allow || list == &g.sub_deny;
        for (const auto& s : *list) {
            if (s.size() > max_subject_bytes || !nats::is_valid_permission(s, sub) || !is_utf8(s)) {
                return fail({"invalid_subject", "one of its subjects is not valid (empty token, blank, control character, > not at the end)"});
            }
        }
    }
    if (g.resp && (g.resp->max < 1 || g.resp->ttl_ns < 0)) return fail({"invalid_subject", "its response permission is not bounded"});
    if (!scoped) close_open_ends(g);
    d.allow = true;
    d.reason_id = "ok";
    return d;
}

}  // namespace callgate::policy

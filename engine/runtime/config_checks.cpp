// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <callgate/nats/nkey.hpp>
#include <map>

#include "engine/runtime/config_sections.hpp"
#include "engine/runtime/instance_sections.hpp"

namespace callgate::runtime {

using policy::node;
using policy::section;

namespace {

constexpr std::string_view secret_names[] = {"password", "passwd", "passphrase", "secret", "client_secret", "token", "auth_token", "api_key", "seed", "private_key", "pin"};

// SU..., SA..., SO..., SN..., SC..., SX...: 58 characters of base32
bool holds_seed(std::string_view text) {
    const auto base32 = [](char c) { return (c >= 'A' && c <= 'Z') || (c >= '2' && c <= '7'); };
    std::size_t run = 0;
    for (std::size_t i = 0; i <= text.size(); ++i) {
        if (i < text.size() && base32(text[i])) {
            ++run;
            continue;
        }
        if (run >= nats::seed_chars) {
            const auto word = text.substr(i - run, run);
            if (word.size() == nats::seed_chars && word[0] == 'S' && std::string_view("AUONCX").find(word[1]) != std::string_view::npos) return true;
        }
        run = 0;
    }
    return false;
}

// `key` is empty where names mean something else: rules, and the labels under `files` of a key provider.
void refuse_secrets(const node& n, const std::string& path, std::string_view key, const policy::reporter& to) {
    if (n.is_scalar() && !n.text.empty() && !n.from_environment) {
        // "file:PATH" is how a plugin's own secrets are written (ext/draft/secrets.h).
        const bool elsewhere = n.text.starts_with("file:") && path.find(".config.") != std::string::npos;
        if (!elsewhere && std::ranges::find(secret_names, key) != std::end(secret_names)) {
            to.error(n.line, path, fmt::format("a secret does not belong in the configuration; put it into a file of its own and write {}_file: <file>, or {}: ${{VARIABLE}} where only a value is taken", key, key));
        } else if (holds_seed(n.text)) {
            to.error(n.line, path, "holds the seed of a key: consider that key lost, make a new one and keep its seed in a file of its own");
        }
    }
    for (std::size_t i = 0; i < n.items.size(); ++i) refuse_secrets(n.items[i], fmt::format("{}[{}]", path, i), key, to);
    for (const auto& m : n.members) {
        const bool rules = path.empty() && (m.key == "policy" || m.key == "routes" || m.key == "rules" || m.key == "tests");
        const bool labels = path.ends_with(".files") || path.find(".required_claims") != std::string::npos;
        const bool unnamed = rules || labels || (key.empty() && !path.empty());
        // An empty key is handed down: nothing below rules is named like a setting.
        refuse_secrets(m.value, path.empty() ? m.key : path + "." + m.key, unnamed ? std::string_view{} : std::string_view(m.key), to);
    }
}

class checker {
  public:
    checker(const section& root, loading& in) : root_(root), in_(in), c_(in.value), operator_mode_(in.value.callout.mode == callout_mode::operator_) {}

    void run() {
        callout();
        accounts();
        links();
        backends();
        uses();
        budgets();
    }

  private:
    // Reports at a nested key, with the line where it stands.
    void error(std::initializer_list<std::string_view> path, std::string text) const { at(path, std::move(text), true); }
    void warning(std::initializer_list<std::string_view> path, std::string text) const { at(path, std::move(text), false); }
    void at(std::initializer_list<std::string_view> path, std::string text, bool is_error) const {
        std::string joined;
        const node* n = root_.find(*path.begin());
        int line = root_.line_of(*path.begin());
        for (auto p = path.begin(); p != path.end(); ++p) {
            joined += (joined.empty() ? "" : ".") + std::string(*p);
            if (p == path.begin() || n == nullptr) continue;
            const auto member = std::ranges::find(n->members, *p, &policy::member::key);
            if (member == n->members.end()) {
                n = nullptr;
            } else {
                line = member->line;
                n = &member->value;
            }
        }
        if (is_error) {
            in_.to.error(line, std::move(joined), std::move(text));
        } else {
            in_.to.warning(line, std::move(joined), std::move(text));
        }
    }

    void provider(const key_ref& ref, std::initializer_list<std::string_view> path) const {
        if (ref.provider.empty()) return;
        if (std::ranges::find(c_.keys, ref.provider, &instance_options::name) != c_.keys.end()) return;
        std::vector<std::string_view> names;
        for (const auto& k : c_.keys) names.push_back(k.name);
        const auto near = policy::nearest(ref.provider, names);
        error(path, fmt::format("no key provider is named \"{}\"{}", ref.provider, near.empty() ? "; add it under keys:" : fmt::format("; did you mean \"{}\"?", near)));
    }

    void callout() {
        auto& o = c_.callout;
        provider(o.issuer, {"callout", "issuer"});
        for (const auto& x : o.xkeys) provider(x, {"callout", "xkeys"});
        if (!o.issuer.label.empty() && std::ranges::find(o.xkeys, o.issuer) != o.xkeys.end()) error({"callout", "xkeys"}, "names the issuer; an xkey is a curve key of its own (SX...)");
        if (operator_mode_) {
            if (!o.account.empty() && !nats::is_public(o.account, nats::key_type::account)) error({"callout", "account"}, "in operator mode this is the account's public key (56 characters beginning with A)");
            if (o.system_account.empty()) {
                error({"callout", "system_account"}, "is missing: in operator mode the system account's public key must be known, so that no grant ever leads there");
            } else if (!nats::is_public(o.system_account, nats::key_type::account)) {
                error({"callout", "system_account"}, "in operator mode this is the account's public key (56 characters beginning with A)");
            }
        } else {
            // Only nats-server.conf knows it, and a wrong guess lets a grant lead there.
            if (o.system_account.empty()) {
                error({"callout", "system_account"}, "is missing: nobody may ever be placed in the system account, and in config mode only nats-server.conf says which it is; write the name behind system_account: there, or $SYS when that file has no such line");
            } else if (nats::is_public(o.system_account, nats::key_type::account)) {
                error({"callout", "system_account"}, "is a public key; in config mode this is the account's name, as system_account in nats-server.conf gives it");
            }
            if (nats::is_public(o.account, nats::key_type::account)) warning({"callout", "account"}, "looks like a public key; in config mode this is the account's name in nats-server.conf");
            if (o.account == "$SYS") error({"callout", "account"}, "the system account cannot be the callout account: whoever is placed there controls every server");
            if (o.account == "$G") warning({"callout", "account"}, "$G is where clients without an account land; give the callout an account of its own");
        }
        if (!o.account.empty() && o.account != "$SYS" && o.account == o.system_account) error({"callout", "system_account"}, "is the callout account; they must be two");
        if (o.servers == server_pinning::discovered && std::ranges::any_of(c_.nats, [](const nats_options& n) { return !n.system; })) {
            error({"callout", "servers"}, "discovered learns the servers over the system account; add system: {credentials: ...} to every cluster under nats, or list the server keys");
        }
    }

    void accounts() {
        std::map<std::string, std::string> by_key;
        for (const auto& a : c_.accounts) {
            const std::string_view name = a.name;
            const auto& identity = operator_mode_ ? a.key : a.name;
            if (!identity.empty() && (identity == c_.callout.account || identity == c_.callout.system_account || a.name == "$SYS")) {
                error({"accounts", name}, "is the callout or the system account; nobody may be placed there, remove it");
            }
            if (a.signer) provider(*a.signer, {"accounts", name, "signer"});
            for (const auto& [role, key] : a.roles) provider(key, {"accounts", name, "roles", role});
            if (!operator_mode_) {
                if (!a.key.empty()) error({"accounts", name, "key"}, "belongs to operator mode; in config mode an account is known by its name alone");
                if (a.signer) error({"accounts", name, "signer"}, "belongs to operator mode; in config mode callout.issuer signs every user");
                if (!a.roles.empty()) error({"accounts", name, "roles"}, "belong to operator mode; config mode has no scoped signing keys, write pub and sub in the rule");
                continue;
            }
            if (a.key.empty()) {
                error({"accounts", name, "key"}, "is missing: in operator mode an account is placed by its public key");
            } else if (!nats::is_public(a.key, nats::key_type::account)) {
                error({"accounts", name, "key"}, "is not an account's public key (56 characters beginning with A)");
            } else if (const auto [same, fresh] = by_key.emplace(a.key, a.name); !fresh) {
                error({"accounts", name, "key"}, fmt::format("is the key of \"{}\" already; one account has one name", same->second));
            }
            if (!a.signer) error({"accounts", name, "signer"}, "is missing: in operator mode users are signed by the account key or one of its signing keys");
        }
    }

    void links() {
        const node* list = root_.find("nats");
        for (std::size_t i = 0; i < c_.nats.size(); ++i) {
            const auto& n = c_.nats[i];
            const auto path = fmt::format("nats[{}]", i);
            if (operator_mode_ && (std::holds_alternative<net::password_file>(n.link.login) || std::holds_alternative<net::nkey_seed_file>(n.link.login))) {
                in_.to.error(n.line, path + ".credentials", "in operator mode callgate logs in as one of the account's auth_users; write creds: <file>");
            }
            if (list->items[i].find("credentials") == nullptr) {
                in_.to.warning(n.line, path, "has no credentials: callgate would log in as an anonymous client, and those are called out themselves");
            }
        }
    }

    void backends() {
        for (const auto& b : c_.backends) {
            const bool used = c_.policy == nullptr || std::ranges::find(c_.policy->backends(), b.name) != c_.policy->backends().end();
            if (!used) warning({"backends", b.name}, "is in no route's chain, so it is never asked");
        }
        for (const auto& s : c_.stores) {
            const bool used = c_.policy == nullptr || std::ranges::find(c_.policy->stores(), s.name) != c_.policy->stores().end();
            if (!used) warning({"stores", s.name}, "is in no rule's grant, so it is never looked into");
        }
    }

    // Found out when the plugin asks, it would be found out at night.
    void uses() {
        const auto names_of = [](const auto& list) {
            std::vector<std::string_view> names;
            for (const auto& e : list) names.push_back(e.name);
            return names;
        };
        const auto keys = names_of(c_.keys), stores = names_of(c_.stores), clusters = names_of(c_.nats);
        const auto look = [&](std::string_view part, const instance_options& i) {
            for (std::size_t n = 0; n < i.uses.size(); ++n) {
                const std::string_view use = i.uses[n];
                const auto slash = std::min(use.find('/'), use.size() - 1);
                const auto kind = use.substr(0, slash), name = use.substr(slash + 1);
                const auto* among = kind == "keys" ? &keys : kind == "store" ? &stores : kind == "nats" ? &clusters : nullptr;
                if (among == nullptr) continue;  // reported already
                const auto say = [&](std::string text) { in_.to.error(i.uses_lines[n], fmt::format("{}.{}.uses[{}]", part, i.name, n), std::move(text)); };
                if (std::ranges::find(*among, name) == among->end()) {
                    const auto near = policy::nearest(name, *among);
                    say(fmt::format("nothing is named \"{}\" under {}:{}", name, kind == "store" ? "stores" : kind,
                                    near.empty() ? std::string() : fmt::format("; did you mean {}/{}?", kind, near)));
                } else if (kind == "nats" && !std::ranges::find(c_.nats, name, &nats_options::name)->plugin_link) {
                    say(fmt::format("the cluster \"{}\" has no plugin_link: {{credentials: ...}}, so no plugin may connect to it; give plugins a user of their own there", name));
                } else if (std::ranges::find(i.uses.begin(), i.uses.begin() + static_cast<std::ptrdiff_t>(n), use) != i.uses.begin() + static_cast<std::ptrdiff_t>(n)) {
                    say(fmt::format("names {} twice", use));
                }
            }
        };
        for (const auto& s : instance_sections)
            for (const auto& i : c_.*s.list) look(s.name, i);
    }

    void budgets() {
        const auto limit = c_.admission.max_in_flight / 4;
        const auto usual = default_max_in_flight(c_);
        std::uint64_t holding = 0;  // requests, when each of them hangs
        std::pair<std::string_view, const instance_options*> largest;
        for (const auto& s : instance_sections) {
            for (const auto& i : c_.*s.list) {
                if (i.max_in_flight > limit) {
                    error({s.name, i.name, "max_in_flight"}, fmt::format("is more than a quarter of admission.max_in_flight ({}): one instance that hangs would take the place of all others", limit));
                    continue;
                }
                if (s.abi_kind != CG_KIND_KEY_PROVIDER && s.abi_kind != CG_KIND_AUTH_BACKEND) continue;
                holding += i.max_in_flight != 0 ? i.max_in_flight : usual;
                if (i.max_in_flight != 0 && (largest.second == nullptr || i.max_in_flight > largest.second->max_in_flight)) largest = {s.name, &i};
            }
        }
        if (holding > c_.admission.max_in_flight && largest.second != nullptr) {
            error({largest.first, largest.second->name, "max_in_flight"},
                  fmt::format("with this, all instances under keys and backends may hold {} requests, and admission.max_in_flight is {}: if they hang together, none is left", holding, c_.admission.max_in_flight));
        }
        if (c_.admission.kick_after < c_.admission.age_limit) warning({"admission", "kick_after"}, "is below age_limit: clients would be kicked while their request could still be served");
    }

    const section& root_;
    loading& in_;
    config& c_;
    bool operator_mode_;
};

}  // namespace

std::uint32_t default_max_in_flight(const config& c) noexcept {
    const auto holders = static_cast<std::uint32_t>(std::max<std::size_t>(4, c.keys.size() + c.backends.size()));
    return std::max(1u, c.admission.max_in_flight / holders);
}

void refuse_literal_secrets(const node& root, const policy::reporter& to) { refuse_secrets(root, {}, {}, to); }

void check_together(const section& root, loading& in) { checker(root, in).run(); }

}  // namespace callgate::runtime

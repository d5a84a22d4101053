// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/assembly.hpp"

#include <algorithm>
#include <callgate/nats/nkey.hpp>

namespace callgate::runtime {
namespace {

class binder {
  public:
    binder(const config& c, const std::map<std::string, provider_view>& providers, flow::flow_config& out) : config_(c) {
        for (const auto& [name, view] : providers) {
            index_[name] = static_cast<std::uint32_t>(out.providers.size());
            out.providers.push_back(view.port);
            views_[name] = &view;
        }
    }

    result<flow::key_binding> bind(const key_ref& ref, nats::key_type expected, const std::string& where) const {
        auto fail = [&](errc code, std::string text) { return make_error(code, std::move(text), config_.file + ": " + where); };
        const auto v = views_.find(ref.provider);
        if (v == views_.end()) return fail(errc::not_found, "key provider \"" + ref.provider + "\" is not under keys:");
        const auto k = v->second->keys.find(ref.label);
        if (k == v->second->keys.end()) {
            std::string known;
            for (const auto& [label, key] : v->second->keys) known += (known.empty() ? "" : ", ") + label;
            return fail(errc::not_found, "key provider \"" + ref.provider + "\" has no key \"" + ref.label + "\"; it has: " + (known.empty() ? "none" : known));
        }
        auto pub = nats::decode_public(k->second.nkey, expected);
        if (!pub)
            return fail(errc::invalid, "key " + ref.text() + " is " + k->second.nkey + ", but this place needs a key of kind " +
                                           std::string(nats::to_string(expected)));
        flow::key_binding b;
        b.provider = index_.at(ref.provider);
        b.key = k->second.handle;
        b.nkey = k->second.nkey;
        b.public_bytes = pub->bytes;
        b.verify = !v->second->in_tree;
        return b;
    }

  private:
    const config& config_;
    std::map<std::string, std::uint32_t> index_;
    std::map<std::string, const provider_view*> views_;
};

}  // namespace

result<std::shared_ptr<const flow::flow_config>> assemble(const config& c, const std::map<std::string, provider_view>& providers,
                                                          const std::map<std::string, std::shared_ptr<flow::auth_port>>& backends,
                                                          std::size_t shards,
                                                          const std::map<std::string, std::shared_ptr<flow::store_port>>& stores) {
    auto out = std::make_shared<flow::flow_config>();
    const binder keys(c, providers, *out);
    const auto& co = c.callout;

    auto issuer = keys.bind(co.issuer, nats::key_type::account, "callout.issuer");
    if (!issuer) return issuer.error();
    out->issuer = *issuer;
    out->operator_mode = co.mode == callout_mode::operator_;
    out->callout_account = co.account;
    if (out->operator_mode) {
        out->request_subject_key = co.account;
        out->response_issuer_account = issuer->nkey != co.account;
    } else {
        out->request_subject_key = issuer->nkey;
    }
    for (std::size_t i = 0; i < co.xkeys.size(); ++i) {
        auto x = keys.bind(co.xkeys[i], nats::key_type::curve, "callout.xkeys[" + std::to_string(i) + "]");
        if (!x) return x.error();
        out->xkeys.push_back(*x);
    }
    out->allow_plaintext = co.allow_plaintext;
    out->servers = co.servers == server_pinning::any ? flow::pinning::any : flow::pinning::known_only;
    out->leeway_ns = co.leeway_ns;
    out->safety_ns = co.safety_ns;
    out->max_request_bytes = co.max_request_bytes;
    out->silent_deny = co.silent_deny;

    out->forbidden_placements = {co.account, "$SYS"};
    if (!co.system_account.empty()) out->forbidden_placements.push_back(co.system_account);

    for (const auto& a : c.accounts) {
        const auto where = "accounts." + a.name;
        const auto& identity = out->operator_mode ? a.key : a.name;
        // A client placed there reads everybody's credentials and can deny every login (review.md 4.1).
        if (identity == co.account || (!co.system_account.empty() && identity == co.system_account) || identity == "$SYS")
            return make_error(errc::permission, "\"" + a.name + "\" is the callout or the system account; nobody may be placed there", c.file + ": " + where);
        flow::account_binding b;
        b.placement = identity;
        if (out->operator_mode) {
            if (!a.signer) return make_error(errc::invalid, "signer is missing: the account's key or one of its signing keys", c.file + ": " + where);
            auto s = keys.bind(*a.signer, nats::key_type::account, where + ".signer");
            if (!s) return s.error();
            b.signer = *s;
            b.set_issuer_account = s->nkey != a.key;
            for (const auto& [role, ref] : a.roles) {
                auto r = keys.bind(ref, nats::key_type::account, where + ".roles." + role);
                if (!r) return r.error();
                if (r->nkey == a.key)
                    return make_error(errc::invalid, "a role is a scoped signing key, not the account's identity key", c.file + ": " + where + ".roles." + role);
                b.roles.emplace(role, *r);
            }
        } else {
            b.signer = out->issuer;
        }
        out->accounts.emplace(a.name, std::move(b));
    }

    out->policy = c.policy;
    for (const auto& name : c.policy->backends()) {
        const auto b = backends.find(name);
        if (b == backends.end()) return make_error(errc::not_found, "backend \"" + name + "\" is used by a route but not under backends:", c.file + ": routes");
        out->backends.push_back(b->second);
    }
    for (const auto& name : c.policy->stores()) {
        const auto s = stores.find(name);
        if (s == stores.end()) return make_error(errc::not_found, "claim store \"" + name + "\" is used by a rule but not under stores:", c.file + ": policy");
        out->stores.push_back(s->second);
    }
    const auto& ad = c.admission;
    out->max_in_flight = ad.max_in_flight;
    out->max_queued = ad.max_queued;
    out->max_queued_bytes = ad.max_queued_bytes;
    out->age_limit = ad.age_limit;
    out->kick_after = ad.kick_after;
    out->default_budget_ns = ad.default_budget_ns;
    // Servers and clients feel the sum. 0 stays "never"; fewer kicks than shards still are one for each.
    const auto share = ad.kicks_per_second / std::max<std::size_t>(shards, 1);
    out->kicks_per_second = ad.kicks_per_second == 0 ? 0 : static_cast<std::uint32_t>(std::max<std::size_t>(share, 1));
    return std::shared_ptr<const flow::flow_config>(std::move(out));
}

}  // namespace callgate::runtime

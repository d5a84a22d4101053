// SPDX-License-Identifier: Apache-2.0
// Grants that lie in a claim store. Whoever may write there is trusted as little as a backend: what is read is judged as strictly
// as what a rule says.
#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <set>

#include "engine/policy/document.hpp"
#include "engine/policy/rules.hpp"

namespace callgate::policy {
namespace {

namespace dom = simdjson::dom;

constexpr std::size_t max_document = 64 * 1024;
constexpr std::size_t max_levels = 8;
constexpr std::int64_t second = 1'000'000'000;
constexpr std::uint64_t known_version = 1;

struct stored_document {
    grant what;
    std::int64_t ttl_s = 0;  // 0 = the policy's
    bool account_defaults = false;
};

class reader {
  public:
    // Empty when the document can be used, else what is wrong with it.
    std::string read(std::string_view json, stored_document& out) {
        if (json.size() > max_document) return fmt::format("is larger than {} bytes", max_document);
        // simdjson copies into padded memory of the parser, which is the thread's.
        thread_local dom::parser parser(max_document);
        if (parser.allocate(max_document, max_levels)) return "cannot be read: out of memory";
        dom::object root;
        if (parser.parse(json.data(), json.size()).get_object().get(root)) return "is not one JSON object";
        bool versioned = false;
        members(root, "", [&](std::string_view key, const dom::element& v) {
            if (key == "version") {
                std::uint64_t n = 0;
                if (v.get_uint64().get(n) || n != known_version) fail("version", fmt::format("must be {}: this callgate knows no other", known_version));
                versioned = true;
            } else if (key == "account") text("account", v, out.what.account);
            else if (key == "role") text("role", v, out.what.role);
            else if (key == "name") text("name", v, out.what.name);
            else if (key == "pub") permission("pub", v, out.what.pub_allow, out.what.pub_deny);
            else if (key == "sub") permission("sub", v, out.what.sub_allow, out.what.sub_deny);
            else if (key == "resp") response(v, out.what);
            else if (key == "ttl") {
                std::int64_t ns = 0;
                if (duration("ttl", v, min_ttl_s * second, max_long_ttl_s * second, ns)) out.ttl_s = ns / second;
            } else if (key == "tags") list("tags", v, out.what.tags);
            else if (key == "default_permissions") {
                if (v.get_bool().get(out.account_defaults)) fail("default_permissions", "must be true or false");
            } else return false;
            return true;
        });
        if (!versioned) fail("version", fmt::format("is missing; write {}", known_version));
        if (out.what.account.empty()) fail("account", "is missing");
        const bool listed = !out.what.pub_allow.empty() || !out.what.sub_allow.empty() || out.what.resp;
        if (out.account_defaults && (listed || !out.what.role.empty())) fail("default_permissions", "stands beside other permissions");
        return fault_;
    }

  private:
    void fail(std::string_view key, std::string_view why) {
        if (fault_.empty()) fault_ = fmt::format("{}: {}", key, why);
    }
    template <class Each>
    void members(const dom::object& object, std::string_view inside, Each&& each) {
        std::set<std::string_view> seen;
        for (const auto& m : object) {
            // Names are repeated in a message only when they are ours: the document may hold anything.
            if (!seen.insert(m.key).second) return fail(inside.empty() ? "document" : inside, "has a member twice");
            if (!each(m.key, m.value)) return fail(inside.empty() ? "document" : inside, "has a member that is not known");
        }
    }
    void text(std::string_view key, const dom::element& v, std::string& out) {
        std::string_view t;
        if (v.get_string().get(t) || t.empty() || t.size() > max_subject_bytes) return fail(key, fmt::format("must be a text of 1 to {} bytes", max_subject_bytes));
        out = t;
    }
    void list(std::string_view key, const dom::element& v, std::vector<std::string>& out) {
        dom::array items;
        if (v.get_array().get(items)) return fail(key, "must be a list of texts");
        for (const auto item : items) {
            if (out.size() == max_grant_subjects) return fail(key, fmt::format("has more than {} entries", max_grant_subjects));
            text(key, item, out.emplace_back());
        }
    }
    void permission(std::string_view key, const dom::element& v, std::vector<std::string>& allow, std::vector<std::string>& deny) {
        dom::object object;
        if (v.get_object().get(object)) return fail(key, "must be an object with allow and deny");
        members(object, key, [&](std::string_view name, const dom::element& e) {
            if (name != "allow" && name != "deny") return false;
            list(key, e, name == "allow" ? allow : deny);
            return true;
        });
        if (allow.empty() && !deny.empty()) fail(key, "denies some and allows nothing; if all other subjects are meant write allow: [\">\"]");
    }
    bool duration(std::string_view key, const dom::element& v, std::int64_t low, std::int64_t high, std::int64_t& ns) {
        std::string_view t;
        if (!v.get_string().get(t)) {
            if (const auto n = parse_duration(t); n && *n >= low && *n <= high) {
                ns = *n;
                return true;
            }
        }
        fail(key, fmt::format("must be a duration from {} to {} such as \"30s\" or \"1h\"", duration_text(low), duration_text(high)));
        return false;
    }
    void response(const dom::element& v, grant& g) {
        dom::object object;
        if (v.get_object().get(object)) return fail("resp", "must be an object with max and ttl");
        response_permission p{1, 120 * second};
        members(object, "resp", [&](std::string_view name, const dom::element& e) {
            if (name == "max") {
                if (e.get_int64().get(p.max) || p.max < 1 || p.max > 1'000'000) fail("resp", "max must be a whole number from 1 to 1000000");
            } else if (name == "ttl") duration("resp", e, 1'000'000, 24 * 3600 * second, p.ttl_ns);
            else return false;
            return true;
        });
        g.resp = p;
    }

    std::string fault_;
};

}  // namespace

decision rule_set::admit_stored(const connection& c, const identity& who, const decision& asked, std::string_view document, std::int64_t now_unix_s,
                                double jitter) const {
    const auto deny = [&](std::string id, std::string_view why) {
        decision d;
        d.rule = asked.rule;
        d.reason_id = std::move(id);
        d.reason = asked.stored ? fmt::format("stored grant {} of store {}: {}", asked.stored->key, asked.stored->store, why) : std::string(why);
        return d;
    };
    if (!asked.stored) return deny("stored_grant_invalid", "no rule asked for a stored grant");
    stored_document found;
    if (const auto fault = reader().read(document, found); !fault.empty()) return deny("stored_grant_invalid", fault);
    const auto until = asked.stored->until_unix_s;
    if (until != INT64_MAX && until < now_unix_s + min_lifetime_s) return deny("window_ends", fmt::format("the rule's time window ends in less than {} seconds", min_lifetime_s));
    backend_grant judged{std::move(found.what)};
    auto& g = judged.what;
    const bool allows_nothing = g.pub_allow.empty() && g.sub_allow.empty() && !g.resp;
    if (found.ttl_s != 0) g.exp = now_unix_s + std::min(found.ttl_s, max_ttl_s_);
    if (until != INT64_MAX && (g.exp == 0 || until < g.exp)) g.exp = until;
    auto d = admit(c, who, judged, now_unix_s, jitter);
    d.rule = asked.rule;
    if (!d.allow) return deny(d.reason_id, d.reason);
    // What admit() closed stays open for what the account gives everybody.
    if (found.account_defaults && allows_nothing) {
        d.grant.pub_deny.clear();
        d.grant.sub_deny.clear();
    }
    return d;
}

}  // namespace callgate::policy

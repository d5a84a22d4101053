// SPDX-License-Identifier: Apache-2.0
#include <callgate/nats/jwt.hpp>
#include <callgate/nats/subject.hpp>

#include <algorithm>
#include <charconv>

#include "claim_issues.hpp"
#include "claims_io.hpp"
#include "url.hpp"

namespace callgate::nats {
namespace {

constexpr std::int64_t no_limit = -1;
constexpr std::int64_t whole_percentage = 100;

void check_times(issue_list& out, const claims_base& c, std::int64_t now) {
    if (c.exp > 0 && now > c.exp) out.time_check("claim is expired");
    if (c.nbf > 0 && c.nbf > now) out.time_check("claim is not yet valid");
}

bool is_version_text(std::string_view text) {
    int parts = 0;
    while (true) {
        const auto dot = text.find('.');
        const auto part = text.substr(0, dot);
        unsigned n = 0;
        const auto [end, e] = std::from_chars(part.data(), part.data() + part.size(), n);
        if (e != std::errc{} || end != part.data() + part.size()) return false;
        ++parts;
        if (dot == std::string_view::npos) return parts == 3;
        text.remove_prefix(dot + 1);
    }
}

void check_service_url(issue_list& out, const std::string& text) {
    if (text.empty()) return;
    const auto url = read_url(text);
    const auto name = "operator service url " + quoted_text(text);
    if (!url) return out.error(name + " is not a URL");
    if (url->has_userinfo) out.error(name + ": credentials are not supported");
    if (!url->path.empty()) out.error(name + ": paths are not supported");
    if (url->scheme != "nats" && url->scheme != "tls" && url->scheme != "ws" && url->scheme != "wss")
        out.error(name + ": only nats, tls, ws and wss are supported");
}

void check(issue_list& out, const operator_claims& c, std::int64_t now) {
    check_times(out, c, now);
    if (!c.account_server_url.empty() && !read_url(c.account_server_url))
        out.error("account_server_url " + quoted_text(c.account_server_url) + " is no URL with a scheme");
    for (const auto& url : c.operator_service_urls) check_service_url(out, url);
    for (const auto& key : c.signing_keys)
        if (!is_public(key, key_type::operator_)) out.error(quoted_text(key) + " is not an operator public key");
    if (!c.system_account.empty() && !is_public(c.system_account, key_type::account))
        out.error(quoted_text(c.system_account) + " is not an account public key");
    if (!c.assert_server_version.empty() && !is_version_text(c.assert_server_version))
        out.error("assert_server_version " + quoted_text(c.assert_server_version) + " is not <major>.<minor>.<update>");
}

void check_mappings(issue_list& out, const account_claims& c) {
    for (const auto& [source, targets] : c.mappings) {
        check_subject(out, source, "mapping");
        std::map<std::string, std::int64_t> sums;  // "" is the group without a cluster
        for (const auto& t : targets) {
            check_subject(out, t.subject, "mapping " + quoted_text(source));
            const auto weight = t.weight == 0 ? whole_percentage : t.weight;
            if (weight < 0 || weight > whole_percentage) out.error("mapping " + quoted_text(source) + ": weight " + std::to_string(weight) + " is above 100");
            else sums[t.cluster] += weight;
        }
        for (const auto& [cluster, sum] : sums)
            if (sum > whole_percentage)
                out.error("mapping " + quoted_text(source) + (cluster.empty() ? "" : " in cluster " + quoted_text(cluster)) + ": weights sum up to more than 100");
    }
}

void check_authorization(issue_list& out, const external_authorization& a) {
    if (!a.allowed_accounts.empty() && a.auth_users.empty()) out.error("external authorization has accounts without users");
    for (const auto& user : a.auth_users)
        if (!is_public(user, key_type::user)) out.error("auth_users: " + quoted_text(user) + " is not a user public key");
    for (const auto& account : a.allowed_accounts) {
        if (account == "*") {
            if (a.allowed_accounts.size() > 1) out.error("allowed_accounts is either a list of accounts or \"*\" alone");
        } else if (!is_public(account, key_type::account)) {
            out.error("allowed_accounts: " + quoted_text(account) + " is not an account public key");
        }
    }
    if (!a.xkey.empty() && !is_public(a.xkey, key_type::curve)) out.error("xkey " + quoted_text(a.xkey) + " is not a curve public key");
}

bool has_no_limits(const account_claims& c) {
    account_limits none;
    none.subs = none.data = none.payload = none.imports = none.exports = none.conn = none.leaf = 0;
    none.wildcards = false;
    return c.limits == none && c.jetstream == jetstream_limits{} && c.tiered_limits.empty();
}

void check_account_limits(issue_list& out, const account_claims& c) {
    if (!c.tiered_limits.empty() && c.jetstream != jetstream_limits{}) out.error("JetStream limits and tiered JetStream limits exclude each other");
    if (c.tiered_limits.contains("")) out.error("a JetStream tier has no name");
    if (c.limits.imports != no_limit && static_cast<std::int64_t>(c.imports.size()) > c.limits.imports)
        out.error("the account has more imports than the operator allows");
    if (c.limits.exports == no_limit) return;
    if (static_cast<std::int64_t>(c.exports.size()) > c.limits.exports) out.error("the account has more exports than the operator allows");
    if (c.limits.wildcards) return;
    for (const auto& e : c.exports)
        if (is_valid_subject(e.subject) && !is_literal_subject(e.subject))
            out.error("export " + quoted_text(e.subject) + " has wildcards, which the operator does not allow");
}

void check_trace(issue_list& out, const trace_claim& t) {
    if (!is_literal_subject(t.dest)) out.error("trace dest " + quoted_text(t.dest) + " is not a subject to publish to");
    if (t.sampling < 0 || t.sampling > whole_percentage) out.error("trace sampling " + std::to_string(t.sampling) + " is not within 0 and 100");
}

void check(issue_list& out, const account_claims& c, std::int64_t now) {
    check_times(out, c, now);
    check_imports(out, c.imports, c.sub);
    check_exports(out, c.exports);
    check_permissions(out, c.default_permissions);
    check_mappings(out, c);
    check_authorization(out, c.authorization);
    if (c.trace) check_trace(out, *c.trace);
    check_account_limits(out, c);
    for (const auto& k : c.signing_keys)
        if (!is_public(k.key, key_type::account)) out.error("signing key " + quoted_text(k.key) + " is not an account public key");
    check_description(out, c.description, c.info_url);
    if (!c.cluster_traffic.empty() && c.cluster_traffic != "system" && c.cluster_traffic != "owner")
        out.error("cluster_traffic " + quoted_text(c.cluster_traffic) + " is neither system nor owner");
    if (is_public(c.iss, key_type::account) && !has_no_limits(c)) out.warning("a self-signed account should not have operator limits");
}

void check(issue_list& out, const user_claims& c, std::int64_t now) {
    check_times(out, c, now);
    check_user_limits(out, c.limits);
    if (!c.issuer_account.empty() && !is_public(c.issuer_account, key_type::account)) out.error("account_id is not an account public key");
}

void check(issue_list& out, const activation_claims& c, std::int64_t now) {
    check_times(out, c, now);
    check_activation(out, c);
}

void check(issue_list& out, const authorization_request_claims& c, std::int64_t now) {
    if (c.user_nkey.empty()) out.error("user_nkey is required");
    else if (!is_public(c.user_nkey, key_type::user)) out.error("user_nkey " + quoted_text(c.user_nkey) + " is not a user public key");
    check_times(out, c, now);
}

void check(issue_list& out, const authorization_response_claims& c, std::int64_t now) {
    if (!is_public(c.sub, key_type::user)) out.error("Subject must be a user public key");
    if (!is_public(c.aud, key_type::server)) out.error("Audience must be a server public key");
    if (c.error.empty() && c.jwt.empty()) out.error("Error or Jwt is required");
    if (!c.error.empty() && !c.jwt.empty()) out.error("Only Error or Jwt can be set");
    if (!c.issuer_account.empty() && !is_public(c.issuer_account, key_type::account)) out.error("issuer_account is not an account public key");
    check_times(out, c, now);
}

void check(issue_list& out, const generic_claims& c, std::int64_t now) { check_times(out, c, now); }

}  // namespace

std::vector<issue> validate(const any_claims& claims, std::int64_t now_unix_s) {
    issue_list out;
    std::visit([&](const auto& c) { check(out, c, now_unix_s); }, claims);
    return std::move(out.items());
}

bool is_blocking(const std::vector<issue>& issues, bool include_time) noexcept {
    return std::ranges::any_of(issues, [&](const issue& i) {
        return i.level == issue::severity::error || (include_time && i.level == issue::severity::time_check);
    });
}

}  // namespace callgate::nats

// SPDX-License-Identifier: Apache-2.0
#include <callgate/crypto/hash.hpp>
#include <callgate/nats/jwt.hpp>

#include <algorithm>

namespace callgate::nats {
namespace {

constexpr const char* everybody = "*";

// A key of an account's list speaks for the account only in claims that say so.
const std::string* issuer_account(const any_claims& claims) {
    if (const auto* u = std::get_if<user_claims>(&claims)) return &u->issuer_account;
    if (const auto* a = std::get_if<activation_claims>(&claims)) return &a->issuer_account;
    return nullptr;
}

// The part of a subject before its first wildcard.
std::string_view clean_subject(std::string_view subject) {
    for (std::size_t start = 0; start <= subject.size();) {
        const auto dot = std::min(subject.find('.', start), subject.size());
        const auto token = subject.substr(start, dot - start);
        if (token == "*" || token == ">") return start == 0 ? std::string_view{"_"} : subject.substr(0, start - 1);
        start = dot + 1;
    }
    return subject;
}

}  // namespace

std::string activation_claims::hash_id() const {
    if (iss.empty() || sub.empty() || subject.empty()) return {};
    auto text = base32_encode(crypto::sha256(iss + '.' + sub + '.' + std::string(clean_subject(subject))));
    text.resize((text.size() + 7) / 8 * 8, '=');
    return text;
}

bool did_sign(const operator_claims& op, const any_claims& claims) {
    const auto& base = base_of(claims);
    if (base.iss.empty()) return false;
    if (base.iss == op.sub) return !op.strict_signing_key_usage || base.sub == op.sub;
    return std::ranges::find(op.signing_keys, base.iss) != op.signing_keys.end();
}

bool did_sign(const account_claims& account, const any_claims& claims) {
    const auto& base = base_of(claims);
    if (base.iss.empty()) return false;
    if (base.iss == account.sub) return true;
    const auto* speaks_for = issuer_account(claims);
    return speaks_for != nullptr && *speaks_for == account.sub && find_signing_key(account, base.iss) != nullptr;
}

const signing_key* find_signing_key(const account_claims& account, std::string_view key) noexcept {
    const auto it = std::ranges::find(account.signing_keys, key, &signing_key::key);
    return it == account.signing_keys.end() ? nullptr : &*it;
}

result<void> check_scoped_signer(const signing_key& scope, const any_claims& claims) {
    const auto* user = std::get_if<user_claims>(&claims);
    if (user == nullptr) return error{errc::bad_claims, "a scoped signing key signs only users, not claims of type " + std::string(type_name(claims))};
    if (user->iss != scope.key) return error{errc::bad_claims, "issuer " + user->iss + " is not the scoped key " + scope.key};
    if (scope.scoped && !user->limits.is_zero())
        return error{errc::bad_claims, "user " + user->sub + " of a scoped key carries permissions or limits of its own: it must have none"};
    return {};
}

void revoke(std::map<std::string, std::int64_t>& revocations, const std::string& key, std::int64_t at_unix_s) {
    const auto [it, added] = revocations.emplace(key, at_unix_s);
    if (!added) it->second = std::max(it->second, at_unix_s);
}

bool is_revoked(const std::map<std::string, std::int64_t>& revocations, const std::string& key, std::int64_t iat) {
    const auto covers = [&](const std::string& name) {
        const auto it = revocations.find(name);
        return it != revocations.end() && it->second >= iat;
    };
    return covers(everybody) || covers(key);
}

void compact_revocations(std::map<std::string, std::int64_t>& revocations) {
    const auto all = revocations.find(everybody);
    if (all == revocations.end()) return;
    std::erase_if(revocations, [at = all->second](const auto& entry) { return entry.first != everybody && entry.second <= at; });
}

}  // namespace callgate::nats

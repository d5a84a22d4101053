// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/init_tokens.hpp"

#include <callgate/nats/jwt.hpp>

namespace callgate::cli {
namespace {

/// Signs, and refuses to hand out what a server would not take.
result<std::string> issue(const nats::any_claims& claims, const nats::key_pair& signer, std::int64_t now) {
    const std::string name = nats::base_of(claims).name;
    auto token = nats::encode(claims, signer, now);
    if (!token) return make_error(errc::internal, "cannot make the JWT of " + name + ": " + token.error().text);
    auto back = nats::decode(*token);
    if (!back) return make_error(errc::internal, "the JWT of " + name + " does not decode: " + back.error().text);
    for (const auto& issue : nats::validate(*back, now))
        return make_error(errc::internal, "the JWT of " + name + " is not valid: " + issue.text);
    return std::move(*token);
}

nats::permissions permissions_of(const subject_rights& rights) {
    nats::permissions p;
    p.pub.allow = rights.publish;
    p.sub.allow = rights.subscribe;
    return p;
}

nats::user_claims user(const key_ring& keys, const std::string& label) {
    nats::user_claims u;
    u.name = label;
    u.sub = keys.id(label);
    return u;
}

nats::account_claims tenant(const init_plan& plan, const key_ring& keys, const std::string& account) {
    const auto label = label_of_account(account);
    nats::account_claims a;
    a.name = account;
    a.sub = keys.id(label);
    nats::signing_key plain;
    plain.key = keys.id(label + "-signing");
    nats::signing_key reader;
    reader.key = keys.id(label + "-reader");
    reader.scoped = true;
    reader.role = "reader";
    reader.description = "hears " + label + ".> and says nothing";
    reader.scope.perms.sub.allow = {label + ".>"};
    reader.scope.perms.pub.deny = {">"};
    a.signing_keys = {plain, reader};
    if (plan.mqtt) {
        // MQTT sessions live in streams of the client's own account.
        a.jetstream.mem_storage = a.jetstream.disk_storage = -1;
        a.jetstream.streams = a.jetstream.consumer = -1;
    }
    return a;
}

}  // namespace

subject_rights callout_rights() {
    return {{"$SYS._INBOX.>", "_INBOX.callgate.>"}, {"$SYS.REQ.USER.AUTH", "_INBOX.callgate.>"}};
}

subject_rights system_rights() {
    return {{"$SYS.REQ.SERVER.*.KICK", "$SYS.REQ.SERVER.*.CONNZ", "$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.PING.IDZ"},
            {"_INBOX.>", "$SYS.SERVER.*.STATSZ", "$SYS.SERVER.*.SHUTDOWN", "$SYS.ACCOUNT.*.CONNECT", "$SYS.ACCOUNT.*.DISCONNECT"}};
}

result<deployment_tokens> make_tokens(const init_plan& plan, const key_ring& keys) {
    deployment_tokens out;
    const std::int64_t now = plan.issued_at;

    nats::operator_claims op;
    op.name = "callgate";
    op.sub = keys.id("operator");
    op.signing_keys = {keys.id("operator-signing")};
    op.system_account = keys.id("sys");
    auto op_jwt = issue(op, keys.key("operator"), now);
    if (!op_jwt) return op_jwt.error();
    out.operator_jwt = std::move(*op_jwt);

    const auto add_account = [&](const nats::account_claims& claims) -> result<void> {
        auto token = issue(claims, keys.key("operator-signing"), now);
        if (!token) return token.error();
        out.accounts.push_back({claims.name, claims.sub, std::move(*token)});
        return {};
    };
    nats::account_claims sys;
    sys.name = system_account;
    sys.sub = keys.id("sys");
    if (auto ok = add_account(sys); !ok) return ok.error();

    nats::account_claims auth;
    auth.name = callout_account;
    auth.sub = keys.id("auth");
    auth.signing_keys.emplace_back().key = keys.id("auth-signing");
    auth.authorization.auth_users = {keys.id("callout")};
    auth.authorization.xkey = keys.id("xkey");
    for (const auto& account : plan.accounts) auth.authorization.allowed_accounts.push_back(keys.id(label_of_account(account)));
    // An import or export of AUTH would be a way past the deny that nats-server puts on the callout subject.
    auth.limits.imports = auth.limits.exports = 0;
    if (auto ok = add_account(auth); !ok) return ok.error();
    for (const auto& account : plan.accounts)
        if (auto ok = add_account(tenant(plan, keys, account)); !ok) return ok.error();

    auto callout = user(keys, "callout");
    callout.issuer_account = keys.id("auth");
    callout.limits.perms = permissions_of(callout_rights());
    auto sentinel = user(keys, "sentinel");
    sentinel.issuer_account = keys.id("auth");
    sentinel.limits.bearer_token = true;
    sentinel.limits.perms.pub.deny = {">"};
    sentinel.limits.perms.sub.deny = {">"};
    auto system = user(keys, "system");
    system.limits.perms = permissions_of(system_rights());
    const auto break_glass = user(keys, "break-glass");

    struct { const nats::user_claims* claims; const char* signer; std::string* target; } users[] = {
        {&callout, "auth-signing", &out.callout_jwt},
        {&sentinel, "auth-signing", &out.sentinel_jwt},
        {&system, "sys", &out.system_jwt},
        {&break_glass, "sys", &out.break_glass_jwt}};
    for (const auto& u : users) {
        auto token = issue(*u.claims, keys.key(u.signer), now);
        if (!token) return token.error();
        *u.target = std::move(*token);
    }
    return out;
}

}  // namespace callgate::cli

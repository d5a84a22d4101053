// SPDX-License-Identifier: Apache-2.0
// Configurations of nats-server with an auth callout, in the two modes of protocol.md 3.1, and the keys that go with
// them. Both have the same shape, so that a service (scripted or the daemon) can be put behind either.
import { account_jwt, creds_file, deny_all, new_account, new_curve, new_operator, new_user, operator_jwt, user_jwt } from "./identity.mjs";

// timeout: of authorization{}. Rows that wait for it pass 1 (less makes exp fall before now); for all others it only
// has to be longer than a busy machine needs.
// account: the callout account; accounts: text of the others; callout: more keys of auth_callout{};
// authorization: more keys of authorization{}; extra: more top-level text. xkey: true to encrypt.
export function config_mode({ account = "AUTH", accounts = "FOO {}, BAR {}, BAZ {}", auth_users = ["auth"], allowed_accounts, xkey = false,
  auth_account_users = "{user: auth, password: pwd}", users = "", system = true, timeout = 4, authorization = "", extra = "" } = {}) {
  const issuer = new_account();
  const curve = xkey ? new_curve() : null;
  const system_users = system ? ["sys"] : [];
  const global = account === "$G";
  const text = `
accounts {
  ${global ? "" : `${account} { users: [ ${auth_account_users} ] }`}
  ${accounts}
  ${system ? "SYS { users: [ {user: sys, password: pwd} ] }" : ""}
}
${system ? "system_account: SYS" : ""}
authorization {
  timeout: ${timeout}
  ${global ? `users: [ ${[auth_account_users, users].filter(Boolean).join(", ")} ]` : ""}
  auth_callout {
    issuer: ${issuer.public}
    account: "${account}"
    auth_users: [ ${[...auth_users, ...system_users].join(", ")} ]
    ${allowed_accounts ? `allowed_accounts: [ ${allowed_accounts.join(", ")} ]` : ""}
    ${curve ? `xkey: ${curve.public}` : ""}
  }
  ${authorization}
}
${extra}
`;
  return { mode: "config", text, issuer, xkey: curve, account, service_login: { user: "auth", pass: "pwd" }, system_login: { user: "sys", pass: "pwd" } };
}

// accounts: {NAME: {limits, signing_keys: [scope, ...], ...}}: a scope is {} for a plain signing key or {template, role}.
// auth: more claims of the callout account, its conn limit and so on. resolver: "memory" or "full".
// default_sentinel: write it into the configuration (2.15.1).
export function operator_mode({ accounts = {}, allowed_accounts, auth = {}, xkey = false, resolver = "memory", default_sentinel = false,
  sentinel = {}, timeout = 4, operator_claims = {}, extra = "", preload } = {}) {
  const operator = new_operator();
  const made = {};
  const add = (name, options = {}) => {
    const key = new_account();
    const { signing_keys = [], limits, ...claims } = options;
    const signers = signing_keys.map((scope) => Object.assign(new_account(), { scope }));
    const entry = { name, key, signers, limits, claims };
    entry.public = key.public;
    // The JWT with some claims replaced; every call has a fresh iat.
    entry.token = (changes = {}) => {
      const { top = {}, limits: other_limits, ...nats } = changes;
      return account_jwt(key, operator, { name, ...top, limits: { ...limits, ...other_limits }, ...claims,
        ...(signers.length ? { signing_keys: signers.map(({ public: id, scope }) => scope.template
          ? { kind: "user_scope", key: id, role: scope.role ?? "", template: scope.template, description: "" } : id) } : {}), ...nats });
    };
    made[name] = entry;
    return entry;
  };
  const system = add("SYS");
  for (const [name, options] of Object.entries(accounts)) add(name, options);
  const service_user = new_user();
  const curve = xkey ? new_curve() : null;
  const allowed = allowed_accounts?.map((name) => made[name]?.public ?? name);
  const auth_account = add("AUTH", { ...auth, authorization: { auth_users: [service_user.public],
    ...(allowed ? { allowed_accounts: allowed } : {}), ...(curve ? { xkey: curve.public } : {}) } });
  const { scoped, ...sentinel_claims } = sentinel;
  const sentinel_user = new_user();
  const sentinel_jwt = scoped
    ? user_jwt(sentinel_user, auth_account.signers[0], { name: "sentinel", scoped: true, issuer_account: auth_account.public, ...sentinel_claims })
    : user_jwt(sentinel_user, auth_account.key, { name: "sentinel", ...deny_all, ...sentinel_claims });
  const default_user = new_user();
  const default_jwt = user_jwt(default_user, auth_account.key, { name: "default", ...deny_all, bearer_token: true });
  const service_jwt = user_jwt(service_user, auth_account.key, { name: "auth-service" });
  const system_user = new_user();
  const system_jwt = user_jwt(system_user, system.key, { name: "sys" });
  const preloaded = Object.values(made).filter((entry) => !preload || preload.includes(entry.name) || entry.name === "SYS" || entry.name === "AUTH");
  const text = `
operator: ${operator_jwt(operator, { system_account: system.public, ...operator_claims })}
system_account: ${system.public}
resolver: ${resolver === "memory" ? "MEMORY" : resolver === "full" ? "{ type: full, dir: \"./jwt\", allow_delete: true, interval: \"2m\" }" : resolver}
resolver_preload { ${preloaded.map((entry) => `${entry.public}: ${entry.token()}`).join("\n")} }
authorization { timeout: ${timeout} }
${default_sentinel ? `default_sentinel: "${default_jwt}"` : ""}
${extra}
`;
  return { mode: "operator", text, operator, accounts: made, auth: auth_account, issuer: auth_account.key, xkey: curve, account: "AUTH",
    service_user, service_jwt, service_login: { jwt: service_jwt, key: service_user }, service_creds: creds_file(service_jwt, service_user),
    sentinel_user, sentinel_jwt, sentinel: { jwt: sentinel_jwt, key: sentinel_user }, default_user, default_jwt,
    system_login: { jwt: system_jwt, key: system_user } };
}

// Pushes an account JWT (its token with `changes`) as the system user and returns the server's answer {account, code, message}.
export async function push_account(system_client, entry, changes = {}) {
  const reply = JSON.parse((await system_client.request(`$SYS.REQ.ACCOUNT.${entry.public}.CLAIMS.UPDATE`, entry.token(changes))).data);
  if (!reply.data) throw new Error(`push of ${entry.name} failed: ${JSON.stringify(reply.error)}`);
  return reply.data;
}

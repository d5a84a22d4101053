// SPDX-License-Identifier: Apache-2.0
// protocol.md 5A, rows in operator mode over TCP.
import assert from "node:assert/strict";
import { operator_mode } from "../lib/deployment.mjs";
import { deny_all, new_user, now } from "../lib/identity.mjs";
import { row, run_rows, by_both, by_daemon } from "../lib/row.mjs";

const violation = "Authorization Violation";
const callout = "$SYS.REQ.USER.AUTH";

async function push_all(system, entry, changes) {
  return JSON.parse((await system.request("$SYS.REQ.CLAIMS.UPDATE", entry.token(changes))).data);
}

row("A03", "an account update without authorization ends the callout", async (c) => {
  const deployment = operator_mode({ accounts: { TEST: {} }, allowed_accounts: ["TEST"], resolver: "full", xkey: true });
  const server = await c.server(deployment);
  const service = await c.service(server, deployment, [{ when: { auth_token: "secret" }, account: "TEST" }]);
  const system = await c.login(server, deployment.system_login);
  const credential = { ...deployment.sentinel, auth_token: "secret" };
  await c.login(server, credential);
  assert.equal(await service.asked(), 1);
  assert.equal((await push_all(system, deployment.auth, { authorization: {} })).data.code, 200);
  const client = await c.login(server, credential);
  // Since 2.12.12 and 2.14.3; before, the callout stays on until the restart.
  assert.equal(await service.asked(), c.recent ? 1 : 2);
  assert.ok(client);
}, { by: by_both });

row("A13", "basics: service user, identity and signing keys, scopes, accounts not allowed, default sentinel", async (c) => {
  const template = { pub: { allow: ["hello", "$SYS.REQ.USER.INFO"] }, sub: { allow: ["hello", "_INBOX.>"] } };
  const deployment = operator_mode({ accounts: { TEST: { signing_keys: [{}, { template }] }, OTHER: {} }, allowed_accounts: ["TEST"], default_sentinel: c.recent });
  const server = await c.server(deployment);
  const { TEST } = deployment.accounts;
  const answers = {
    secret: { account: "TEST" },
    other: { account: "OTHER" },
    plain_key: { account: "TEST", user_key: TEST.signers[0] },
    scoped_with_limits: { account: "TEST", user_key: TEST.signers[1] },
    scoped: { account: "TEST", user_key: TEST.signers[1], user: { scoped: true } },
    nobody: { account: "TEST", name: "default" },
  };
  const service = await c.scripted(server, deployment, (nats) => answers[nats.connect_opts.auth_token] ?? { error: "no token" });
  const own = await service.connections[0].user_info();
  assert.deepEqual([own.user, own.account], [deployment.service_user.public, deployment.auth.public]);
  if (c.recent) assert.equal(own.user_name, "auth-service");
  assert.deepEqual(own.permissions.publish.deny, [callout]);
  const as = (auth_token) => ({ ...deployment.sentinel, auth_token });
  assert.equal((await c.refused(server, deployment.sentinel)).error, violation);
  const account_of = async (credential) => (await (await c.login(server, credential)).user_info()).account;
  assert.equal(await account_of(as("secret")), TEST.public);
  assert.equal(await account_of(as("plain_key")), TEST.public);
  assert.equal((await c.refused(server, as("other"))).error, violation);
  assert.match(await (async () => (await service.reason(), service.reason()))(), /not permitted as valid account option/i);
  assert.equal((await c.refused(server, as("scoped_with_limits"))).error, violation);
  assert.match(await service.reason(), /scoped users require no permissions or limits set/i);
  const scoped = await (await c.login(server, as("scoped"))).user_info();
  assert.equal(scoped.account, TEST.public);
  assert.deepEqual([...scoped.permissions.publish.allow].sort(), ["$SYS.REQ.USER.INFO", "hello"]);
  assert.deepEqual([...scoped.permissions.subscribe.allow].sort(), ["_INBOX.>", "hello"]);
  if (c.recent) {
    const info = await (await c.login(server, { auth_token: "nobody" })).user_info();
    assert.deepEqual([info.user, info.account], ["default", TEST.public]);
    assert.equal(service.last.claims.nats.connect_opts.jwt, deployment.default_jwt);
  } else {
    await c.refused(server, { auth_token: "nobody" });
  }
});

row("A13", "basics: signing keys, scopes, accounts not allowed, default sentinel", async (c) => {
  const template = { pub: { allow: ["hello", "$SYS.REQ.USER.INFO"] }, sub: { allow: ["hello", "_INBOX.>"] } };
  const deployment = operator_mode({ accounts: { TEST: { signing_keys: [{ signs: true }, { template, role: "greeter" }] }, OTHER: {} },
    allowed_accounts: ["TEST"], default_sentinel: c.recent });
  const server = await c.server(deployment);
  const { TEST } = deployment.accounts;
  await c.service(server, deployment, [...["plain_key", "nobody"].map((auth_token) => ({ when: { auth_token }, account: "TEST" })),
    { when: { auth_token: "scoped" }, account: "TEST", role: "greeter" }, { when: { auth_token: "other" }, account: "OTHER" }]);
  const errors = await c.overhear(server, deployment);
  const as = (auth_token) => ({ ...deployment.sentinel, auth_token });
  assert.equal((await c.refused(server, deployment.sentinel)).error, violation);
  await errors.next();
  const plain = await (await c.login(server, as("plain_key"))).user_info();
  assert.deepEqual([plain.user, plain.account], ["plain_key", TEST.public]);
  assert.equal((await c.refused(server, as("other"))).error, violation);
  assert.match(JSON.parse((await errors.next()).data).reason, /not permitted as valid account option/i);
  const scoped = await (await c.login(server, as("scoped"))).user_info();
  assert.equal(scoped.account, TEST.public);
  assert.deepEqual([...scoped.permissions.publish.allow].sort(), ["$SYS.REQ.USER.INFO", "hello"]);
  assert.deepEqual([...scoped.permissions.subscribe.allow].sort(), ["_INBOX.>", "hello"]);
  if (c.recent) assert.equal((await (await c.login(server, { auth_token: "nobody" })).user_info()).account, TEST.public);
  else await c.refused(server, { auth_token: "nobody" });
}, { by: by_daemon });

const second = 1_000_000_000;
const scope = { pub: { allow: ["foo.>", "$SYS.REQ.USER.INFO"] }, sub: { allow: ["foo.>", "_INBOX.>"] }, resp: { max: 1, ttl: 3 * second }, subs: 10, payload: 512 };

for (const [id, text, allowed] of [["A14", "a scoped user in an account that is listed", ["TEST"]], ["A15", "a scoped user where every account is allowed", ["*"]]]) {
  row(id, text, async (c) => {
    const deployment = operator_mode({ accounts: { TEST: { signing_keys: [{ template: scope, role: "scoped" }] } }, allowed_accounts: allowed,
      auth: { signing_keys: [{ template: deny_all }] }, sentinel: { scoped: true } });
    const server = await c.server(deployment);
    const { TEST } = deployment.accounts;
    const scoped = c.kind === "daemon" ? { role: "scoped" } : { user_key: TEST.signers[0], user: { scoped: true } };
    await c.service(server, deployment, [{ when: { auth_token: "secret" }, account: "TEST", ...scoped }]);
    const credential = { ...deployment.sentinel, auth_token: "secret" };
    const asker = await c.login(server, credential);
    const info = await asker.user_info();
    assert.equal(info.account, TEST.public);
    assert.deepEqual([...info.permissions.publish.allow].sort(), ["$SYS.REQ.USER.INFO", "foo.>"]);
    assert.deepEqual([...info.permissions.subscribe.allow].sort(), ["_INBOX.>", "foo.>"]);
    assert.deepEqual(info.permissions.responses, { max: 1, ttl: 3 * second });
    const answerer = await c.login(server, credential);
    answerer.subscribe("foo.ask", { callback: (message) => answerer.publish(message.reply, "answer") });
    await answerer.flush();
    assert.equal((await asker.request("foo.ask", "question")).data.toString(), "answer");
    answerer.publish("_INBOX.of.nobody", "x");
    await answerer.flush();
    assert.match(answerer.errors.at(-1), /Permissions Violation for Publish to "_INBOX.of.nobody"/i);
  }, { by: by_both });
}

row("A17", "xkey of the callout account: sealed requests, plain and sealed answers", async (c) => {
  const deployment = operator_mode({ accounts: { TEST: {} }, allowed_accounts: ["TEST"], xkey: true });
  const server = await c.server(deployment);
  const service = await c.scripted(server, deployment, (nats) => ({ account: "TEST", plain: nats.connect_opts.user === "plain" }));
  for (const user of ["plain", "sealed"]) {
    const client = await c.login(server, { ...deployment.sentinel, user });
    assert.equal((await client.user_info()).account, deployment.accounts.TEST.public);
    const { message, sealed, claims } = service.last;
    assert.ok(sealed && !message.data.toString().startsWith("eyJ"));
    assert.equal(claims.nats.server_id.xkey, message.headers["Nats-Server-Xkey"]);
    assert.equal(claims.sub, deployment.auth.public);
  }
});

row("A17", "xkey of the callout account: requests are sealed, and so the daemon answers", async (c) => {
  const deployment = operator_mode({ accounts: { TEST: {} }, allowed_accounts: ["TEST"], xkey: true });
  const server = await c.server(deployment);
  const service = await c.service(server, deployment, [{ when: { auth_token: "secret" }, account: "TEST" }]);
  const heard = await c.overhear(server, deployment, callout);
  const client = await c.login(server, { ...deployment.sentinel, auth_token: "secret" });
  assert.equal((await client.user_info()).account, deployment.accounts.TEST.public);
  const request = await heard.next();
  assert.equal(request.data.subarray(0, 4).toString(), "xkv1");
  assert.deepEqual(Object.keys(request.headers), ["Nats-Server-Xkey"]);
  assert.equal((await c.refused(server, { ...deployment.sentinel, auth_token: "other" })).error, violation);
  assert.equal(await service.asked(), 2);
}, { by: by_daemon });

row("A28", "any account allowed: tokens place into several", async (c) => {
  const deployment = operator_mode({ accounts: { A: {}, B: {} }, allowed_accounts: ["*"] });
  const server = await c.server(deployment);
  await c.service(server, deployment, ["A", "B"].map((account) => ({ when: { auth_token: account }, account })));
  assert.equal((await c.refused(server, deployment.sentinel)).error, violation);
  for (const account of ["A", "B"]) {
    const client = await c.login(server, { ...deployment.sentinel, auth_token: account });
    assert.equal((await client.user_info()).account, deployment.accounts[account].public);
  }
}, { by: by_both });

row("A31", "a denial refuses at once, with a scoped sentinel", async (c) => {
  const deployment = operator_mode({ accounts: { TEST: {} }, allowed_accounts: ["TEST"],
    auth: { signing_keys: [{ template: deny_all }] }, sentinel: { scoped: true } });
  const server = await c.server(deployment);
  await c.service(server, deployment, [{ when: { auth_token: "secret" }, account: "TEST" }]);
  for (const credential of [{}, { auth_token: "other" }, { user: "nobody", pass: "x" }]) {
    const result = await c.refused(server, { ...deployment.sentinel, ...credential });
    assert.equal(result.error, violation);
    assert.ok(result.ms < 2500, `after ${result.ms} ms`);
  }
  await c.login(server, { ...deployment.sentinel, auth_token: "secret" });
}, { by: by_daemon });

row("A31", "an empty and an error reply refuse at once, with a scoped sentinel", async (c) => {
  const deployment = operator_mode({ accounts: { TEST: {} }, allowed_accounts: ["TEST"],
    auth: { signing_keys: [{ template: deny_all }] }, sentinel: { scoped: true } });
  const server = await c.server(deployment);
  await c.scripted(server, deployment, (nats) => (nats.connect_opts.user === "empty" ? { empty: true } : { error: "no" }));
  for (const user of ["empty", "error"]) {
    const result = await c.refused(server, { ...deployment.sentinel, user });
    assert.equal(result.error, violation);
    assert.ok(result.ms < 2500, `${user}: after ${result.ms} ms`);
  }
});

row("A32", "revocations pushed to the target account", async (c) => {
  const deployment = operator_mode({ accounts: { TEST: {} }, allowed_accounts: ["TEST"], resolver: "full" });
  const server = await c.server(deployment);
  const { TEST } = deployment.accounts;
  const users = ["one", "two", "three"];
  const service = await c.service(server, deployment, users.map((auth_token) => ({ when: { auth_token }, account: "TEST" })));
  const system = await c.login(server, deployment.system_login);
  const clients = [];
  for (const auth_token of users) clients.push(await c.login(server, { ...deployment.sentinel, auth_token }));
  const [one, ...others] = clients;
  const key = c.kind === "daemon" ? (await service.login_of("one")).user_nkey : (await service.request((nats) => nats.connect_opts.auth_token === "one")).claims.nats.user_nkey;
  assert.equal((await push_all(system, TEST, { revocations: { [key]: now() + 60 } })).data.code, 200);
  assert.match((await one.closed).error, /Authentication Revoked/i);
  for (const client of others) await client.flush();
  assert.equal((await push_all(system, TEST, { description: "no revocations" })).data.code, 200);
  for (const client of others) await client.flush();
  assert.equal((await push_all(system, TEST, { revocations: { "*": now() + 60 } })).data.code, 200);
  for (const client of others) assert.match((await client.closed).error, /Authentication Revoked/i);
}, { by: by_both });

row("A36", "the auth user's JWT with another seed is refused", async (c) => {
  const deployment = operator_mode({ accounts: { TEST: {} }, allowed_accounts: ["TEST"], timeout: 1 });
  const server = await c.server(deployment);
  const service = await c.service(server, deployment, [{ when: { auth_token: "secret" }, account: "TEST" }]);
  const result = await c.refused(server, { jwt: deployment.service_jwt, key: new_user() });
  // The older server asks in an account where nobody listens; 2.15.1 knows the user as one that is never delegated.
  assert.equal(result.ms > 900, !c.recent, `after ${result.ms} ms`);
  assert.equal(await service.asked(), 0);
  assert.ok(server.running);
  await c.login(server, { ...deployment.sentinel, auth_token: "secret" });
}, { by: by_both });

run_rows("5A operator mode");

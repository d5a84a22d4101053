// SPDX-License-Identifier: Apache-2.0
// protocol.md 5A, rows in operator mode over TCP.
import assert from "node:assert/strict";
import { operator_mode } from "../lib/deployment.mjs";
import { deny_all, new_user, now } from "../lib/identity.mjs";
import { row, run_rows } from "../lib/row.mjs";

const violation = "Authorization Violation";
const callout = "$SYS.REQ.USER.AUTH";

async function push_all(system, entry, changes) {
  return JSON.parse((await system.request("$SYS.REQ.CLAIMS.UPDATE", entry.token(changes))).data);
}

row("A03", "an account update without authorization ends the callout", async (c) => {
  const deployment = operator_mode({ accounts: { TEST: {} }, allowed_accounts: ["TEST"], resolver: "full", xkey: true });
  const server = await c.server(deployment);
  const service = await c.scripted(server, deployment, () => ({ account: "TEST" }));
  const system = await c.login(server, deployment.system_login);
  await c.login(server, deployment.sentinel);
  assert.equal(service.count, 1);
  assert.equal((await push_all(system, deployment.auth, { authorization: {} })).data.code, 200);
  const client = await c.login(server, deployment.sentinel);
  // Since 2.12.12 and 2.14.3; before, the callout stays on until the restart.
  assert.equal(service.count, c.recent ? 1 : 2);
  assert.ok(client);
});

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

const second = 1_000_000_000;
const scope = { pub: { allow: ["foo.>", "$SYS.REQ.USER.INFO"] }, sub: { allow: ["foo.>", "_INBOX.>"] }, resp: { max: 1, ttl: 3 * second }, subs: 10, payload: 512 };

for (const [id, text, allowed] of [["A14", "a scoped user in an account that is listed", ["TEST"]], ["A15", "a scoped user where every account is allowed", ["*"]]]) {
  row(id, text, async (c) => {
    const deployment = operator_mode({ accounts: { TEST: { signing_keys: [{ template: scope }] } }, allowed_accounts: allowed,
      auth: { signing_keys: [{ template: deny_all }] }, sentinel: { scoped: true } });
    const server = await c.server(deployment);
    const { TEST } = deployment.accounts;
    await c.scripted(server, deployment, () => ({ account: "TEST", user_key: TEST.signers[0], user: { scoped: true } }));
    const asker = await c.login(server, deployment.sentinel);
    const info = await asker.user_info();
    assert.equal(info.account, TEST.public);
    assert.deepEqual([...info.permissions.publish.allow].sort(), ["$SYS.REQ.USER.INFO", "foo.>"]);
    assert.deepEqual([...info.permissions.subscribe.allow].sort(), ["_INBOX.>", "foo.>"]);
    assert.deepEqual(info.permissions.responses, { max: 1, ttl: 3 * second });
    const answerer = await c.login(server, deployment.sentinel);
    answerer.subscribe("foo.ask", { callback: (message) => answerer.publish(message.reply, "answer") });
    await answerer.flush();
    assert.equal((await asker.request("foo.ask", "question")).data.toString(), "answer");
    answerer.publish("_INBOX.of.nobody", "x");
    await answerer.flush();
    assert.match(answerer.errors.at(-1), /Permissions Violation for Publish to "_INBOX.of.nobody"/i);
  });
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

row("A28", "any account allowed: tokens place into several", async (c) => {
  const deployment = operator_mode({ accounts: { A: {}, B: {} }, allowed_accounts: ["*"] });
  const server = await c.server(deployment);
  await c.service(server, deployment, ["A", "B"].map((account) => ({ when: { auth_token: account }, account })));
  assert.equal((await c.refused(server, deployment.sentinel)).error, violation);
  for (const account of ["A", "B"]) {
    const client = await c.login(server, { ...deployment.sentinel, auth_token: account });
    assert.equal((await client.user_info()).account, deployment.accounts[account].public);
  }
});

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
  const service = await c.scripted(server, deployment, () => ({ account: "TEST" }));
  const system = await c.login(server, deployment.system_login);
  const clients = [];
  for (const user of ["one", "two", "three"]) clients.push(await c.login(server, { ...deployment.sentinel, user }));
  const [one, ...others] = clients;
  const key = (await service.request((nats) => nats.connect_opts.user === "one")).claims.nats.user_nkey;
  assert.equal((await push_all(system, TEST, { revocations: { [key]: now() + 60 } })).data.code, 200);
  assert.match((await one.closed).error, /Authentication Revoked/i);
  for (const client of others) await client.flush();
  assert.equal((await push_all(system, TEST, { description: "no revocations" })).data.code, 200);
  for (const client of others) await client.flush();
  assert.equal((await push_all(system, TEST, { revocations: { "*": now() + 60 } })).data.code, 200);
  for (const client of others) assert.match((await client.closed).error, /Authentication Revoked/i);
});

row("A36", "the auth user's JWT with another seed is refused", async (c) => {
  const deployment = operator_mode({ accounts: { TEST: {} }, allowed_accounts: ["TEST"], timeout: 1 });
  const server = await c.server(deployment);
  const service = await c.scripted(server, deployment, () => ({ account: "TEST" }));
  const result = await c.refused(server, { jwt: deployment.service_jwt, key: new_user() });
  // The older server asks in an account where nobody listens; 2.15.1 knows the user as one that is never delegated.
  assert.equal(result.ms > 900, !c.recent, `after ${result.ms} ms`);
  assert.equal(service.count, 0);
  assert.ok(server.running);
  await c.login(server, deployment.sentinel);
});

run_rows("5A operator mode");

// SPDX-License-Identifier: Apache-2.0
// protocol.md 5F, rows in operator mode: what the two servers were measured to do, bugs included.
import assert from "node:assert/strict";
import http from "node:http";
import { operator_mode, push_account } from "../lib/deployment.mjs";
import { new_account, new_user, now, user_jwt, deny_all } from "../lib/identity.mjs";
import { row, run_rows } from "../lib/row.mjs";

const violation = "Authorization Violation";
const far_future = () => now() + 3600;
const open_scope = { pub: { allow: ["$SYS.REQ.USER.INFO", "foo.>"] }, sub: { allow: ["_INBOX.>", "foo.>"] } };

// A one-hour window on the other side of the day.
function other_half_of_the_day() {
  const hour = (new Date().getUTCHours() + 12) % 24;
  const text = String(hour).padStart(2, "0");
  return [{ start: `${text}:00:00`, end: `${text}:30:00` }];
}

row("F03", "times, src, connection types and limits of a scope template do not bind a callout user", async (c) => {
  const template = { ...open_scope, times: other_half_of_the_day(), times_location: "UTC", src: ["10.0.0.0/8"], allowed_connection_types: ["WEBSOCKET"], subs: 1, payload: 3 };
  const deployment = operator_mode({ accounts: { TEST: { signing_keys: [{ template }] } }, allowed_accounts: ["TEST"] });
  const server = await c.server(deployment);
  await c.scripted(server, deployment, () => ({ account: "TEST", user_key: deployment.accounts.TEST.signers[0], user: { scoped: true } }));
  const client = await c.login(server, deployment.sentinel);
  assert.equal((await client.user_info()).account, deployment.accounts.TEST.public);
  const got = [client.subscribe("foo.a"), client.subscribe("foo.b")];
  for (const [index, subject] of ["foo.a", "foo.b"].entries()) {
    client.publish(subject, "longer than three");
    assert.equal((await got[index].next()).data.toString(), "longer than three");
  }
  assert.deepEqual(client.errors, []);
});

row("F05", "a revocation of * with a future time does not stop new callout logins", async (c) => {
  const deployment = operator_mode({ accounts: { TEST: {} }, allowed_accounts: ["TEST"], resolver: "full" });
  const server = await c.server(deployment);
  await c.scripted(server, deployment, () => ({ account: "TEST" }));
  const system = await c.login(server, deployment.system_login);
  const early = await c.login(server, deployment.sentinel);
  assert.equal((await push_account(system, deployment.accounts.TEST, { revocations: { "*": far_future() } })).code, 200);
  assert.match((await early.closed).error, /Revoked/i);
  const client = await c.login(server, deployment.sentinel);
  assert.equal((await client.user_info()).account, deployment.accounts.TEST.public);
});

row("F06", "the sentinel's own expiry ends the session, whatever the user JWT says", async (c) => {
  const deployment = operator_mode({ accounts: { TEST: {} }, allowed_accounts: ["TEST"], sentinel: { exp: now() + 3 } });
  const server = await c.server(deployment);
  await c.scripted(server, deployment, (nats) => ({ account: "TEST", ttl: nats.connect_opts.user === "endless" ? null : 60 }));
  const clients = [await c.login(server, { ...deployment.sentinel, user: "endless" }), await c.login(server, { ...deployment.sentinel, user: "minute" })];
  for (const client of clients) assert.equal((await client.user_info()).account, deployment.accounts.TEST.public);
  const begin = performance.now();
  const ends = await Promise.all(clients.map((client) => client.closed));
  assert.ok(performance.now() - begin < 4000);
  for (const end of ends) assert.match(end.error, /User Authentication Expired/i);
});

row("F08", "silent service and a sentinel of one's own: how the client learns of the timeout", async (c) => {
  const deployment = operator_mode({ accounts: { TEST: {} }, allowed_accounts: ["TEST"], timeout: 1 });
  const server = await c.server(deployment);
  const service = await c.scripted(server, deployment, () => undefined);
  const result = await c.refused(server, deployment.sentinel);
  assert.equal(result.error, c.recent ? violation : null);
  assert.ok(result.ms > 900, `after ${result.ms} ms`);
  assert.equal(await service.reason(), "");
  assert.equal(service.count, 1);
});

row("F09b", "envelope by an unrelated key that claims issuer_account = callout account", async (c) => {
  const deployment = operator_mode({ accounts: { TEST: {} }, allowed_accounts: ["TEST"] });
  const server = await c.server(deployment);
  const stranger = new_account();
  const service = await c.scripted(server, deployment, () => ({ account: "TEST", response_key: stranger, response_body: { issuer_account: deployment.auth.public } }));
  if (!c.recent) {
    const client = await c.login(server, deployment.sentinel);
    assert.equal((await client.user_info()).account, deployment.accounts.TEST.public);
  } else {
    assert.equal((await c.refused(server, deployment.sentinel)).error, violation);
    assert.match(await service.reason(), /signing key is unknown/i);
  }
});

row("F13", "placement into the callout account itself is allowed and gets the publish deny", async (c) => {
  const deployment = operator_mode({ accounts: { TEST: {} }, allowed_accounts: ["TEST"] });
  const server = await c.server(deployment);
  await c.scripted(server, deployment, () => ({ account: "AUTH" }));
  const info = await (await c.login(server, deployment.sentinel)).user_info();
  assert.equal(info.account, deployment.auth.public);
  assert.deepEqual(info.permissions.publish.deny, ["$SYS.REQ.USER.AUTH"]);
});

row("F16", "an empty allow list in the user JWT of a scoped key is refused", async (c) => {
  const deployment = operator_mode({ accounts: { TEST: { signing_keys: [{ template: open_scope }] } }, allowed_accounts: ["TEST"] });
  const server = await c.server(deployment);
  const user_key = deployment.accounts.TEST.signers[0];
  const service = await c.scripted(server, deployment, (nats) =>
    ({ account: "TEST", user_key, user: { scoped: true, ...(nats.connect_opts.user === "empty" ? { pub: { allow: [] } } : {}) } }));
  await c.login(server, { ...deployment.sentinel, user: "absent" });
  assert.equal((await c.refused(server, { ...deployment.sentinel, user: "empty" })).error, violation);
  assert.match(await service.reason(), /scoped users require no permissions or limits set/i);
});

row("F17", "a name of * widens a scope template", async (c) => {
  const template = { pub: { allow: ["app.{{name()}}", "$SYS.REQ.USER.INFO"] }, sub: { allow: ["_INBOX.>"] } };
  const deployment = operator_mode({ accounts: { TEST: { signing_keys: [{ template }] } }, allowed_accounts: ["TEST"] });
  const server = await c.server(deployment);
  await c.scripted(server, deployment, () => ({ account: "TEST", name: "*", user_key: deployment.accounts.TEST.signers[0], user: { scoped: true } }));
  const client = await c.login(server, deployment.sentinel);
  assert.ok((await client.user_info()).permissions.publish.allow.includes("app.*"));
  client.publish("app.anything", "x");
  await client.flush();
  assert.deepEqual(client.errors, []);
});

row("F25", "service with creds and a user name of its own", async (c) => {
  const deployment = operator_mode({ accounts: { TEST: {} }, allowed_accounts: ["TEST"] });
  const server = await c.server(deployment);
  const service = await c.scripted(server, deployment, () => ({ error: "no" }));
  if (!c.recent) {
    await c.refused(server, { ...deployment.service_login, user: "svc" });
    assert.equal(service.count, 1);
    assert.equal(service.last.claims.nats.connect_opts.user, "svc");
  } else {
    const client = await c.login(server, { ...deployment.service_login, user: "svc" });
    assert.equal((await client.user_info()).account, deployment.auth.public);
    assert.equal(service.count, 0);
  }
});

row("F27", "one login into a cold account stalls the others on the same service connection", async (c) => {
  let deployment;
  let release;
  const cold_asked = new Promise((resolve) => (release = resolve));
  let answer_cold;
  const accounts = http.createServer((request, response) => {
    const key = request.url.split("/").pop();
    const entry = Object.values(deployment?.accounts ?? {}).find((one) => one.public === key);
    if (!key) return response.end(); // the server probes the bare URL when it starts
    const answer = () => (entry ? response.end(entry.token()) : (response.writeHead(404), response.end()));
    if (entry?.name !== "COLD") return answer();
    answer_cold = answer;
    release();
  });
  await new Promise((resolve) => accounts.listen(0, "127.0.0.1", resolve));
  c.defer(() => (accounts.closeAllConnections(), new Promise((resolve) => accounts.close(resolve))));
  deployment = operator_mode({ accounts: { HOT: {}, COLD: {} }, allowed_accounts: ["*"], preload: ["HOT"], timeout: 4,
    resolver: `URL(http://127.0.0.1:${accounts.address().port}/jwt/v1/accounts/)` });
  const server = await c.server({ text: deployment.text.replace(/resolver_preload \{[^}]*\}/, "") });
  const service = await c.scripted(server, deployment, (nats) => ({ account: nats.connect_opts.user === "cold" ? "COLD" : "HOT" }));
  await c.login(server, { ...deployment.sentinel, user: "warm-up" });
  const cold = await c.connect(server);
  const cold_result = cold.login({ ...deployment.sentinel, user: "cold" });
  await cold_asked;
  const hot = await c.connect(server);
  const hot_result = hot.login({ ...deployment.sentinel, user: "hot" });
  await service.request((nats) => nats.connect_opts.user === "hot");
  const held = performance.now();
  // The fetch is held well below the server's own fetch timeout (1.9 s).
  const hold = setTimeout(answer_cold, 1200);
  c.defer(() => clearTimeout(hold));
  const result = await hot_result;
  assert.ok(result.ok);
  assert.ok(performance.now() - held > 1000, `the other login was through after ${performance.now() - held} ms`);
  assert.ok((await cold_result).ok);
});

row("F28", "pending logins count against the callout account's connection limit", async (c) => {
  const deployment = operator_mode({ accounts: { TEST: {} }, allowed_accounts: ["TEST"], auth: { limits: { conn: 4 } }, timeout: 5 });
  const server = await c.server(deployment);
  let go;
  const gate = new Promise((resolve) => (go = resolve));
  await c.scripted(server, deployment, async () => (await gate, { account: "TEST" }));
  const clients = await Promise.all(Array.from({ length: 12 }, () => c.connect(server)));
  let refusals = 0;
  const results = await Promise.all(clients.map(async (client) => {
    const result = await client.login(deployment.sentinel);
    if (!result.ok && ++refusals === 9) go();
    return result;
  }));
  assert.equal(results.filter((result) => result.ok).length, 3);
  for (const result of results.filter((one) => !one.ok)) assert.equal(result.error, "maximum account active connections exceeded");
});

row("F29", "a sealed envelope skips the check of its signer, a plain one does not", async (c) => {
  const deployment = operator_mode({ accounts: { TEST: {} }, allowed_accounts: ["TEST"], xkey: true });
  const server = await c.server(deployment);
  const stranger = new_account();
  const service = await c.scripted(server, deployment, (nats) => ({ account: "TEST", response_key: stranger, plain: nats.connect_opts.user === "plain" }));
  const client = await c.login(server, { ...deployment.sentinel, user: "sealed" });
  assert.equal((await client.user_info()).account, deployment.accounts.TEST.public);
  assert.equal((await c.refused(server, { ...deployment.sentinel, user: "plain" })).error, violation);
  assert.match(await service.reason(), /signing key is unknown/i);
});

row("F33", "callout account pushed without authorization, then a sentinel logs in", async (c) => {
  const deployment = operator_mode({ accounts: { TEST: {} }, allowed_accounts: ["TEST"] });
  const server = await c.server(deployment);
  const service = await c.scripted(server, deployment, () => ({ account: "TEST" }));
  const system = await c.login(server, deployment.system_login);
  assert.equal((await push_account(system, deployment.auth, { authorization: {} })).code, 200);
  await c.login(server, deployment.sentinel);
  assert.equal(service.count, c.recent ? 0 : 1);
});

row("F34", "wrong seed, expired sentinel, sentinel with proxy_required", async (c) => {
  const deployment = operator_mode({ accounts: { TEST: {} }, allowed_accounts: ["TEST"], timeout: 2 });
  const server = await c.server(deployment);
  const service = await c.scripted(server, deployment, () => ({ account: "TEST" }));
  const sentinel = (claims) => user_jwt(deployment.sentinel_user, deployment.auth.key, { ...deny_all, ...claims });
  const wrong_seed = await c.refused(server, { jwt: deployment.sentinel_jwt, key: new_user() });
  assert.ok(wrong_seed.ms > 1900, `wrong seed: after ${wrong_seed.ms} ms`);
  const expired = await c.refused(server, { jwt: sentinel({ exp: now() - 5 }), key: deployment.sentinel_user });
  assert.ok(expired.ms < 1500, `expired: after ${expired.ms} ms`);
  assert.equal(service.count, 0);
  const proxied = { jwt: sentinel({ proxy_required: true }), key: deployment.sentinel_user };
  if (!c.recent) {
    await c.login(server, proxied);
    assert.equal(service.count, 1);
  } else {
    assert.ok((await c.refused(server, proxied)).ms < 1500);
    assert.equal(service.count, 0);
  }
});

row("F35", "revoking one user key closes that session alone", async (c) => {
  const deployment = operator_mode({ accounts: { TEST: {} }, allowed_accounts: ["TEST"] });
  const server = await c.server(deployment);
  const service = await c.scripted(server, deployment, () => ({ account: "TEST" }));
  const system = await c.login(server, deployment.system_login);
  const clients = [await c.login(server, { ...deployment.sentinel, user: "one" }), await c.login(server, { ...deployment.sentinel, user: "two" })];
  const key = (await service.request((nats) => nats.connect_opts.user === "one")).claims.nats.user_nkey;
  await push_account(system, deployment.accounts.TEST, { revocations: { [key]: far_future() } });
  assert.match((await clients[0].closed).error, /User Authentication Revoked/i);
  await clients[1].flush();
});

row("F36", "altering a scope closes its callout clients without a word", async (c) => {
  const deployment = operator_mode({ accounts: { TEST: { signing_keys: [{ template: open_scope }] } }, allowed_accounts: ["TEST"] });
  const server = await c.server(deployment);
  const { signers, key } = deployment.accounts.TEST;
  await c.scripted(server, deployment, (nats) => nats.connect_opts.user === "plain" ? { account: "TEST" }
    : { account: "TEST", user_key: signers[0], user: { scoped: true } });
  const system = await c.login(server, deployment.system_login);
  const scoped = await c.login(server, { ...deployment.sentinel, user: "scoped" });
  const plain = await c.login(server, { ...deployment.sentinel, user: "plain" });
  const template = { ...open_scope, pub: { allow: ["other.>"] } };
  await push_account(system, deployment.accounts.TEST, { signing_keys: [{ kind: "user_scope", key: signers[0].public, role: "", description: "", template }] });
  assert.equal((await scoped.closed).error, null);
  await plain.flush();
  assert.ok(key);
});

run_rows("5F operator mode");

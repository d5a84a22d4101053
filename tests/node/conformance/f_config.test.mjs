// SPDX-License-Identifier: Apache-2.0
// protocol.md 5F, rows in config mode: what the two servers were measured to do, bugs included. The service must
// know these limits of its servers; a server that changes one of them fails the row.
import assert from "node:assert/strict";
import { config_mode } from "../lib/deployment.mjs";
import { new_account } from "../lib/identity.mjs";
import { row, run_rows, new_only } from "../lib/row.mjs";

const violation = "Authorization Violation";
const alice = { user: "alice", pass: "a" };

row("F01", "allowed_connection_types of the user JWT do not bind; unknown ones alone refuse", async (c) => {
  const deployment = config_mode();
  const server = await c.server(deployment);
  const types = { websocket: ["WEBSOCKET"], bogus: ["BOGUS"] };
  const service = await c.scripted(server, deployment, (nats) => ({ account: "FOO", user: { allowed_connection_types: types[nats.connect_opts.user] } }));
  await c.login(server, { user: "websocket" });
  assert.equal((await c.refused(server, { user: "bogus" })).error, violation);
  assert.match(await service.reason(), /using invalid connection type/i);
});

row("F02", "src of the user JWT is not checked", async (c) => {
  const deployment = config_mode();
  const server = await c.server(deployment);
  await c.scripted(server, deployment, () => ({ account: "FOO", user: { src: ["10.0.0.0/8"] } }));
  const client = await c.login(server, alice);
  assert.equal((await client.user_info()).account, "FOO");
});

row("F04", "subs and payload of the user JWT are not enforced", async (c) => {
  const deployment = config_mode();
  const server = await c.server(deployment);
  await c.scripted(server, deployment, () => ({ account: "FOO", user: { subs: 1, payload: 5 } }));
  const client = await c.login(server, alice);
  const got = [client.subscribe("a"), client.subscribe("b"), client.subscribe("c")];
  const text = "much longer than five bytes";
  for (const [index, subject] of ["a", "b", "c"].entries()) {
    client.publish(subject, text);
    assert.equal((await got[index].next()).data.toString(), text);
  }
  assert.deepEqual(client.errors, []);
});

row("F09", "envelope signed by an unrelated account key", async (c) => {
  const deployment = config_mode();
  const server = await c.server(deployment);
  const stranger = new_account();
  const service = await c.scripted(server, deployment, () => ({ account: "FOO", response_key: stranger }));
  if (!c.recent) {
    assert.equal((await (await c.login(server, alice)).user_info()).account, "FOO");
  } else {
    assert.equal((await c.refused(server, alice)).error, violation);
    assert.match(await service.reason(), /auth callout signing key is unknown/i);
  }
});

row("F10", "user JWT without aud is refused", async (c) => {
  const deployment = config_mode();
  const server = await c.server(deployment);
  const service = await c.scripted(server, deployment, () => ({ account: undefined }));
  assert.equal((await c.refused(server, alice)).error, violation);
  assert.match(await service.reason(), /no valid account ""/i);
});

row("F11", "user JWT with issuer_account is refused", async (c) => {
  const deployment = config_mode();
  const server = await c.server(deployment);
  const service = await c.scripted(server, deployment, () => ({ account: "FOO", user: { issuer_account: deployment.issuer.public } }));
  assert.equal((await c.refused(server, alice)).error, violation);
  assert.match(await service.reason(), /attempted to use issuer_account/i);
});

row("F12", "allowed_accounts does not restrict where the service places", async (c) => {
  const deployment = config_mode({ allowed_accounts: ["AUTH", "FOO"] });
  const server = await c.server(deployment);
  await c.scripted(server, deployment, () => ({ account: "BAZ" }));
  assert.equal((await (await c.login(server, alice)).user_info()).account, "BAZ");
}, { on: new_only });

row("F14", "with xkey on, a plain reply whose header JSON has a blank is taken for sealed and refused", async (c) => {
  const deployment = config_mode({ xkey: true });
  const server = await c.server(deployment);
  const service = await c.scripted(server, deployment, (nats) =>
    nats.connect_opts.user === "alice" ? { account: "FOO", plain: true, header: '{ "typ":"JWT","alg":"ed25519-nkey"}' } : { account: "FOO", plain: true });
  assert.equal((await c.refused(server, alice)).error, violation);
  assert.match(await service.reason(), /encrypted input wrong version/i);
  await c.login(server, { user: "bob" });
});

row("F15", "envelope without nats.version is checked by the rule of version 1 and refused", async (c) => {
  const deployment = config_mode();
  const server = await c.server(deployment);
  const service = await c.scripted(server, deployment, () => ({ account: "FOO", response_body: { version: undefined } }));
  assert.equal((await c.refused(server, alice)).error, violation);
  assert.match(await service.reason(), /claim failed V1 signature verification/i);
});

row("F32", "allowed_accounts without the callout account lets any user of it publish forged requests", async (c) => {
  const users = "{user: auth, password: pwd}, {user: mallory, password: m}";
  for (const [allowed_accounts, delivered] of [[["FOO"], true], [["FOO", "AUTH"], false], [undefined, false]]) {
    const deployment = config_mode({ allowed_accounts, auth_users: ["auth", "mallory"], auth_account_users: users });
    const server = await c.server(deployment);
    const probe = await c.login(server, { user: "auth", pass: "pwd" });
    const seen = probe.subscribe("$SYS.REQ.USER.AUTH");
    await probe.flush();
    const mallory = await c.login(server, { user: "mallory", pass: "m" });
    mallory.publish("$SYS.REQ.USER.AUTH", "forged");
    mallory.publish("fence", "");
    await mallory.flush();
    await probe.flush();
    assert.equal(seen.count, delivered ? 1 : 0, `allowed_accounts ${allowed_accounts}`);
    assert.equal(mallory.errors.some((error) => /Permissions Violation for Publish to "\$SYS.REQ.USER.AUTH"/i.test(error)), !delivered);
  }
}, { on: new_only });

row("F37", "no service connected: refused after the full timeout", async (c) => {
  const server = await c.server(config_mode({ timeout: 1 }));
  const result = await c.refused(server, alice);
  assert.equal(result.error, violation);
  assert.ok(result.ms > 900 && result.ms < 3500, `after ${result.ms} ms`);
});

row("F38", "a token longer than max_control_line ends the connection before the callout", async (c) => {
  const deployment = config_mode();
  const server = await c.server(deployment);
  const service = await c.scripted(server, deployment, () => ({ account: "FOO" }));
  assert.match((await c.refused(server, { auth_token: "x".repeat(5000) })).error ?? "", /maximum control line exceeded/i);
  assert.equal(service.count, 0);
  const roomy = await c.server({ text: deployment.text + "\nmax_control_line: 16KB\n" });
  await c.scripted(roomy, deployment, () => ({ account: "FOO" }));
  await c.login(roomy, { auth_token: "x".repeat(5000) });
});

run_rows("5F config mode");

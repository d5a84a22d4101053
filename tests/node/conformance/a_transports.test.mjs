// SPDX-License-Identifier: Apache-2.0
// protocol.md 5A, rows over TLS, WebSocket, MQTT and leaf nodes.
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { after } from "node:test";
import mqtt from "mqtt";
import { certificate_authority } from "../lib/certificates.mjs";
import { config_mode, operator_mode } from "../lib/deployment.mjs";
import { creds_file, new_account, new_user, user_jwt } from "../lib/identity.mjs";
import { row, run_rows, new_only, by_both, by_daemon } from "../lib/row.mjs";

const authority = new certificate_authority();
after(() => authority.remove());
const server_files = authority.issue("server", "/CN=localhost");
const client_files = authority.issue("client", "/CN=example.com/OU=CNCF");
const client_tls = authority.client_options(client_files);
const tls_block = `tls { cert_file: "${server_files.cert}", key_file: "${server_files.key}", ca_file: "${authority.ca}", verify: true }`;

function check_chain({ client_tls: seen }) {
  assert.ok(seen);
  assert.equal(seen.certs, undefined);
  assert.equal(seen.verified_chains.length, 1);
  assert.equal(seen.verified_chains[0].length, 2);
  const [leaf, root] = seen.verified_chains[0].map((pem) => new X509Certificate(pem));
  assert.match(leaf.subject, /CN=example\.com/);
  assert.ok(leaf.verify(root.publicKey));
}

row("A10", "client certificates of a TLS connection travel in the request", async (c) => {
  const deployment = config_mode({ extra: tls_block });
  const server = await c.server(deployment);
  const service = await c.scripted(server, deployment, (nats) => nats.client_tls?.verified_chains ? { account: "FOO", name: "dlc" } : { error: "no chain" }, { tls: client_tls });
  const info = await (await c.login(server, {}, { tls: client_tls })).user_info();
  assert.deepEqual([info.user, info.account], ["dlc", "FOO"]);
  check_chain(service.last.claims.nats);
});

row("A29", "client certificates of a secure WebSocket travel in the request", async (c) => {
  const deployment = config_mode({ extra: `websocket { host: 127.0.0.1, port: -1, ${tls_block} }` });
  const server = await c.server(deployment, { listens: ["websocket"] });
  const service = await c.scripted(server, deployment, (nats) => nats.client_tls?.verified_chains ? { account: "FOO", name: "dlc" } : { error: "no chain" });
  const info = await (await c.login(server, {}, { port: server.ports.websocket, ws: true, tls: client_tls })).user_info();
  assert.deepEqual([info.user, info.account], ["dlc", "FOO"]);
  check_chain(service.last.claims.nats);
  assert.equal(service.last.claims.nats.client_info.type, "websocket");
});

for (const [id, text, extra, listens] of [
  ["A10", "client certificates of a TLS connection reach the daemon's policy", tls_block, []],
  ["A29", "client certificates of a secure WebSocket reach the daemon's policy", `websocket { host: 127.0.0.1, port: -1, ${tls_block} }`, ["websocket"]],
]) {
  row(id, text, async (c) => {
    const deployment = config_mode({ extra });
    const server = await c.server(deployment, { listens });
    const tls = { ca_file: authority.ca, cert_file: client_files.cert, key_file: client_files.key, server_name: "localhost" };
    await c.service(server, deployment, [{ when: { auth_token: "certified" }, account: "FOO", name: "dlc", condition: { "connection.tls": "verified" } },
      { when: { auth_token: "bare" }, account: "FOO", name: "bare", condition: { "connection.tls": "none" } }],
    { folder: listens.length ? {} : { urls: [`tls://127.0.0.1:${server.port}`], nats: { tls } } });
    const options = listens.length ? { port: server.ports.websocket, ws: true, tls: client_tls } : { tls: client_tls };
    const info = await (await c.login(server, { auth_token: "certified" }, options)).user_info();
    assert.deepEqual([info.user, info.account], ["dlc", "FOO"]);
    assert.equal((await c.refused(server, { auth_token: "bare" }, options)).error, "Authorization Violation");
  }, { by: by_daemon });
}

const mqtt_block = 'jetstream { store_dir: "./js", max_mem: 32MB, max_file: 64MB }\nmqtt { host: 127.0.0.1, port: -1 }';

// Logs in over MQTT and makes one QoS 1 round trip; gives back the CONNACK.
async function mqtt_round_trip(c, server, credential) {
  const client = mqtt.connect(`mqtt://127.0.0.1:${server.ports.mqtt}`, { reconnectPeriod: 0, protocolVersion: 4, clientId: "device", connectTimeout: 5_000, ...credential });
  c.defer(() => client.endAsync(true));
  const connack = await new Promise((resolve, reject) => client.once("connect", resolve).once("error", reject).once("close", () => reject(new Error("closed"))));
  const got = new Promise((resolve) => client.once("message", (topic, payload) => resolve(`${topic} ${payload}`)));
  await client.subscribeAsync("app/x", { qos: 1 });
  await client.publishAsync("app/x", "hi", { qos: 1 });
  assert.equal(await got, "app/x hi");
  return connack;
}

const jetstream_accounts = "FOO { jetstream: enabled }";

row("A04", "an MQTT password that is a NATS user JWT", async (c) => {
  const deployment = config_mode({ accounts: jetstream_accounts, extra: mqtt_block });
  const server = await c.server(deployment, { listens: ["mqtt"] });
  const service = await c.scripted(server, deployment, () => ({ account: "FOO" }));
  const token = user_jwt(new_user(), new_account(), { name: "mqtt" });
  assert.equal((await mqtt_round_trip(c, server, { username: "u", password: token })).returnCode, 0);
  const { connect_opts, client_info } = service.last.claims.nats;
  assert.equal(connect_opts.pass, token);
  assert.equal(connect_opts.jwt, token);
  assert.deepEqual([client_info.type, client_info.mqtt_id], ["mqtt", "device"]);
});

row("A05", "an MQTT password that is opaque", async (c) => {
  const deployment = config_mode({ accounts: jetstream_accounts, extra: mqtt_block });
  const server = await c.server(deployment, { listens: ["mqtt"] });
  const service = await c.scripted(server, deployment, () => ({ account: "FOO" }));
  assert.equal((await mqtt_round_trip(c, server, { username: "u", password: "opaque" })).returnCode, 0);
  const { connect_opts } = service.last.claims.nats;
  // The older server hands on every MQTT password as a JWT too.
  assert.deepEqual([connect_opts.jwt, connect_opts.pass, connect_opts.auth_token], [c.recent ? undefined : "opaque", "opaque", "opaque"]);
});

const by_user_name = { folder: { routes: [{ name: "all", credential: ["user"], chain: ["users"] }] } };

for (const [id, text, password, options] of [
  ["A04", "an MQTT password that is a NATS user JWT", () => user_jwt(new_user(), new_account(), { name: "mqtt" }), by_user_name],
  ["A05", "an MQTT password that is opaque", () => "opaque", {}],
]) {
  row(id, text, async (c) => {
    const deployment = config_mode({ accounts: jetstream_accounts, extra: mqtt_block });
    const server = await c.server(deployment, { listens: ["mqtt"] });
    const service = await c.service(server, deployment, [{ when: id === "A04" ? { user: "u" } : { auth_token: "opaque" }, account: "FOO", name: "device" }], options);
    assert.equal((await mqtt_round_trip(c, server, { username: "u", password: password() })).returnCode, 0);
    assert.equal((await service.login_of("device")).client_kind, "mqtt");
    await assert.rejects(mqtt_round_trip(c, server, { username: "stranger", password: "other" }));
  }, { by: by_daemon });
}

row("A40", "an opaque MQTT password goes with the default sentinel", async (c) => {
  const storage = { limits: { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 } };
  const deployment = operator_mode({ accounts: { TEST: storage }, allowed_accounts: ["TEST"], default_sentinel: true, extra: mqtt_block });
  const server = await c.server(deployment, { listens: ["mqtt"] });
  const service = await c.service(server, deployment, [{ when: { pass: "opaque" }, account: "TEST", name: "device" }]);
  assert.equal((await mqtt_round_trip(c, server, { username: "u", password: "opaque" })).returnCode, 0);
  if (c.kind === "daemon") return assert.equal((await service.login_of("device")).client_kind, "mqtt");
  const { connect_opts } = service.last.claims.nats;
  assert.deepEqual([connect_opts.jwt, connect_opts.pass], [deployment.default_jwt, "opaque"]);
}, { on: new_only, by: by_both });

const hub_block = "leafnodes { host: 127.0.0.1, port: -1 }";

// A leaf server of its own that dials the hub as `userinfo`, with creds where given.
async function leaf(c, hub, userinfo, creds) {
  const file = creds && path.join(hub.dir, `leaf-${userinfo.replace(/\W/g, "_")}.creds`);
  if (file) fs.writeFileSync(file, creds, { mode: 0o600 });
  return c.server(`leafnodes { reconnect: 1, remotes: [ { url: "nats-leaf://${userinfo}127.0.0.1:${hub.ports.leaf}"${file ? `, credentials: "${file}"` : ""} } ] }`, { name: "leaf" });
}

// Creds for leaf remotes: a sentinel that denies everything would be applied to the leaf's own side of the link.
function leaf_creds(deployment, seed_of) {
  const user = new_user();
  return creds_file(user_jwt(user, deployment.auth.key, { name: "leaf" }), seed_of ?? user);
}

// The answer of a responder behind the leaf's hub; asks again as long as the server says that nobody listens.
async function ask_through(c, leaf_server) {
  const client = await c.login(leaf_server, {});
  const end = Date.now() + 8_000;
  for (;;) {
    const answer = await client.request("ask", "");
    if (!/503/.test(answer.headers.Status ?? "") && answer.data.length) return answer.data.toString();
    assert.ok(Date.now() < end, "the leaf's request reached nobody");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function leaf_rows(c, deployment, target, subscriber, creds) {
  const hub = await c.server(deployment, { listens: ["leaf"], name: "hub" });
  const service = await c.service(hub, deployment, [{ when: { auth_token: "token" }, account: target }, { when: { user: "leaf", pass: "pwd" }, account: target },
    { when: { user: "subscriber", pass: "sub" }, account: target }]);
  const responder = await c.login(hub, { ...subscriber, user: "subscriber", pass: "sub" });
  responder.subscribe("ask", { callback: (message) => responder.publish(message.reply, "from the hub") });
  await responder.flush();
  for (const userinfo of ["tokenx@", "leaf:pwdx@"]) {
    const refused = await leaf(c, hub, userinfo, creds);
    await refused.log(/Leafnode Error 'Authorization Violation'/);
    await refused.stop();
  }
  for (const userinfo of ["token@", "leaf:pwd@"]) {
    const accepted = await leaf(c, hub, userinfo, creds);
    assert.equal(await ask_through(c, accepted), "from the hub");
    await accepted.stop();
  }
  if (c.kind === "daemon") {
    for (const verdict of ["allow", "deny"]) await service.audited((line) => line.client_kind === "leafnode" && line.verdict === verdict, 2);
    return;
  }
  const kinds = service.requests.map((request) => request.claims.nats.client_info.kind);
  assert.ok(kinds.includes("Leafnode"));
  const token = service.requests.find((request) => request.claims.nats.connect_opts.auth_token === "token").claims.nats.connect_opts;
  assert.equal(token.user, "token");
}

row("A33", "leaf nodes in operator mode: creds and userinfo", async (c) => {
  const deployment = operator_mode({ accounts: { A: {} }, allowed_accounts: ["A"], extra: hub_block });
  await leaf_rows(c, deployment, "A", deployment.sentinel, leaf_creds(deployment));
}, { timeout: 30_000, by: by_both });

row("A34", "leaf nodes in config mode: userinfo", async (c) => {
  await leaf_rows(c, config_mode({ accounts: "A {}", extra: hub_block }), "A", {});
}, { timeout: 30_000, by: by_both });

row("A37", "a leaf whose JWT and seed do not match", async (c) => {
  const deployment = operator_mode({ accounts: { A: {} }, allowed_accounts: ["A"], extra: hub_block });
  const hub = await c.server(deployment, { listens: ["leaf"], name: "hub" });
  await c.scripted(hub, deployment, () => ({ account: "A" }));
  const responder = await c.login(hub, deployment.sentinel);
  responder.subscribe("ask", { callback: (message) => responder.publish(message.reply, "from the hub") });
  await responder.flush();
  const good = await leaf(c, hub, "", leaf_creds(deployment));
  assert.equal(await ask_through(c, good), "from the hub");
  const bad = await leaf(c, hub, "x@", leaf_creds(deployment, new_user()));
  if (!c.recent) {
    // Mended in 2.12.5: the older hub dies of a nil account.
    assert.notEqual((await hub.process.exited).code, 0);
    assert.match(hub.process.lines.join("\n"), /panic: runtime error: invalid memory address/);
    return;
  }
  await bad.log(/Leafnode Error|Leafnode connection closed/);
  assert.ok(hub.running);
  assert.equal(await ask_through(c, good), "from the hub");
}, { timeout: 30_000 });

run_rows("5A transports");

// SPDX-License-Identifier: Apache-2.0
// tools/demo: a deployment made by `callgate init`, a real nats-server, the daemon, an OpenID Connect issuer, and real
// clients with good and bad credentials. Prints one table; every line of it was observed by a second client, nothing is
// read off a JWT. Exit code 0 only when every outcome is the expected one.
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { parseArgs } from "node:util";
import { fromSeed } from "@nats-io/nkeys";
import { callgate_binary, daemon } from "../lib/daemon.mjs";
import { root, scratch_dir, server_binary } from "../lib/nats_server.mjs";
import { child_process } from "../lib/process.mjs";
import { wire_client } from "../lib/wire.mjs";
import { blurt, browser, libnats, mqtt_js, nats_js_tcp, nats_js_ws } from "./clients.mjs";
import { audience, issuer } from "./issuer.mjs";

const { values } = parseArgs({ options: { mode: { type: "string", default: "operator" }, "server-version": { type: "string", default: "2.15.1" }, keep: { type: "boolean", default: false } } });
const bin = path.dirname(callgate_binary);
const version = values["server-version"];
if (values.mode === "operator" && version.startsWith("2.10")) {
  console.error("demo: nats-server 2.10 has no default_sentinel, so every client would have to bring the sentinel's creds as well; use --mode config with it");
  process.exit(2);
}

async function free_ports(count) {
  const held = await Promise.all(Array.from({ length: count }, () => new Promise((resolve) => {
    const server = net.createServer().listen(0, "127.0.0.1", () => resolve(server));
  })));
  const ports = held.map((server) => server.address().port);
  await Promise.all(held.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

// The one user that does not depend on callgate; init keeps it for the night when nobody can log in.
function break_glass(folder) {
  const creds = path.join(folder, "keys/break-glass.creds");
  if (!fs.existsSync(creds)) return { user: "break-glass", pass: fs.readFileSync(path.join(folder, "keys/break-glass.password"), "utf8").trim() };
  const [, jwt, seed] = /-----\n(\S+)\n-+END NATS USER JWT[\s\S]*?SEED-----\n(\S+)\n/.exec(fs.readFileSync(creds, "utf8"));
  const pair = fromSeed(new TextEncoder().encode(seed));
  return { jwt, key: { pair, public: pair.getPublicKey() } };
}

const callgate = (...args) => execFileSync(path.join(bin, "callgate"), args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
const say = (text) => console.log(`demo: ${text}`);

const dir = path.join(scratch_dir("callgate-demo-"), "nats");
const [client, websocket, mqtt_port] = await free_ports(3);
const ports = { client, websocket, mqtt: mqtt_port };
const stage = { ports, bin };
const cleanup = [];
let failed = 0;

try {
  say(`callgate init (${values.mode} mode, nats-server ${version})`);
  callgate("init", dir, "--mode", values.mode, "--server-version", version, "--listen", `127.0.0.1:${client}`, "--websocket", `127.0.0.1:${websocket}`, "--mqtt", `127.0.0.1:${mqtt_port}`);

  const idp = await issuer.start({ claims: (id) => (id === "ps256" ? { groups: ["guests"] } : { groups: ["ops"], team: "blue" }) });
  cleanup.push(() => idp.stop());
  say(`OpenID Connect issuer at ${idp.url}`);

  // What an operator would now write into callgate.yaml: the issuer, the order of backends, and what people may do.
  const file = path.join(dir, "callgate.yaml");
  const made = fs.readFileSync(file, "utf8");
  const from = made.indexOf("# Who: plugins"), to = made.indexOf("admin:");
  if (from < 0 || to < 0) throw new Error("callgate.yaml of init has another shape than the demo expects");
  fs.writeFileSync(file, made.slice(0, from) + `backends:
  users: {plugin: auth_static, config: {file: users.yaml}}
  corp:
    plugin: auth_oidc
    config: {issuers: [{issuer: "${idp.url}", audiences: [${audience}], algorithms: [RS256, ES256, EdDSA, PS256], jwks_url: "${idp.jwks_url}", allow_http_loopback: true}]}
routes:
  - {name: all, credential: [auth_token, pass], chain: [corp, users]}
policy:
  rules:
    - name: observer
      when: {all: [{backend: users}, {subject: observer}]}
      grant: {account: APP, pub: {allow: ["$SYS.REQ.USER.INFO"]}, sub: {allow: [">"]}, ttl: 10m}
    - name: teller
      when: {all: [{backend: users}, {subject: teller}]}
      grant: {account: APP, pub: {allow: ["app.>"]}, sub: {allow: ["_INBOX.>"]}, ttl: 10m}
    - name: people
      when: {backend: users}
      grant: {account: APP, pub: {allow: ["app.{{sub}}.>", "$SYS.REQ.USER.INFO"]}, sub: {allow: ["app.{{sub}}.>", "_INBOX.>"]}, ttl: 10m}
    - name: services
      when: {all: [{backend: corp}, {claims.groups: {has: ops}}]}
      grant: {account: APP, name: "{{sub}}", tags: ["team:{{claims.team}}"], pub: {allow: ["app.{{sub}}.>", "$SYS.REQ.USER.INFO"]}, sub: {allow: ["app.{{sub}}.>", "_INBOX.>"]}, ttl: 1h}
  tests:
    - name: an ops service
      identity: {backend: corp, subject: rs256, claims: {groups: [ops], team: blue}}
      expect: {account: APP, pub.allow: ["app.rs256.>", "$SYS.REQ.USER.INFO"]}
    - name: a guest
      identity: {backend: corp, subject: ps256, claims: {groups: [guests]}}
      expect: {deny: no_rule}
` + made.slice(to).replace("unix:run/admin.sock", "127.0.0.1:0"));
  const passwords = { alice: fs.readFileSync(path.join(dir, "keys/alice.password"), "utf8").trim() };
  for (const user of ["observer", "teller"]) {
    passwords[user] = randomBytes(18).toString("base64url");
    const hash = execFileSync(path.join(bin, "callgate"), ["passwd"], { input: passwords[user] + "\n", encoding: "utf8" }).trim();
    fs.appendFileSync(path.join(dir, "users.yaml"), `  - user: ${user}\n    password: "${hash}"\n`);
  }
  say(callgate("check", file).trim().split("\n").at(-1) || "callgate check: no findings");

  const server = new child_process(server_binary(version), ["-c", path.join(dir, "nats-server.conf")], { cwd: dir });
  cleanup.push(() => server.stop());
  await server.line(/Server is ready/);
  const gate = await daemon.start({ dir, config: { callout: { servers: "discovered" } } });
  cleanup.push(() => gate.stop("SIGTERM", { keep: true }));
  say(`nats-server on 127.0.0.1:${client} (WebSocket ${websocket}, MQTT ${mqtt_port}), callgate ready`);

  const observer = await wire_client.connect({ port: client });
  const seen = [];
  if (!(await observer.login({ user: "observer", pass: passwords.observer })).ok) throw new Error("the observer was not let in");
  cleanup.push(() => observer.close());
  observer.subscribe("app.>", { callback: (message) => seen.push({ subject: message.subject, text: message.data.toString() }) });
  await observer.flush();

  const teller = await wire_client.connect({ port: client });
  if (!(await teller.login({ user: "teller", pass: passwords.teller })).ok) throw new Error("the teller was not let in");
  cleanup.push(() => teller.close());
  // Account keys of operator mode, by name.
  const accounts = Object.fromEntries([...made.matchAll(/^  (\w+): \{key: (A[A-Z2-7]{55})/gm)].map(([, name, key]) => [key, name]));

  const page = await browser.start();
  cleanup.push(() => page.stop());
  const tokens = Object.fromEntries(await Promise.all(["RS256", "ES256", "EdDSA", "PS256"].map(async (alg) => [alg, await idp.token(alg)])));
  const tampered = tokens.RS256.slice(0, -8) + (tokens.RS256.at(-8) === "A" ? "B" : "A") + tokens.RS256.slice(-7);
  const clients = [libnats, nats_js_tcp, nats_js_ws, page, mqtt_js];
  const plan = clients.flatMap((one) => [
    { client: one, what: "password of alice", credential: { user: "alice", pass: passwords.alice }, who: "alice", allowed: true },
    { client: one, what: "RS256 token, group ops", credential: { token: tokens.RS256 }, who: "rs256", allowed: true },
    { client: one, what: "wrong password", credential: { user: "alice", pass: "not-" + passwords.alice }, who: "alice", allowed: false },
    { client: one, what: "tampered token", credential: { token: tampered }, who: "rs256", allowed: false },
  ]);
  plan.push({ client: nats_js_tcp, what: "ES256 token, group ops", credential: { token: tokens.ES256 }, who: "es256", allowed: true },
    { client: nats_js_tcp, what: "EdDSA token, group ops", credential: { token: tokens.EdDSA }, who: "eddsa", allowed: true },
    { client: nats_js_tcp, what: "PS256 token, group guests", credential: { token: tokens.PS256 }, who: "ps256", allowed: false });

  // Whether the observer gets a message: publishing is over when a marker sent behind it by alice's own link arrives.
  const marker = await wire_client.connect({ port: client });
  if (!(await marker.login({ user: "alice", pass: passwords.alice })).ok) throw new Error("alice was not let in");
  cleanup.push(() => marker.close());
  let marks = 0;
  const settle = async () => {
    const text = `mark ${++marks}`;
    marker.publish("app.alice.marker", text);
    const end = Date.now() + 5000;
    while (!seen.some((message) => message.text === text)) {
      if (Date.now() > end) throw new Error("the observer hears nothing");
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  const rows = [];
  const system = await wire_client.connect({ port: client });
  if (!(await system.login(break_glass(dir))).ok) throw new Error("the break-glass user was not let in");
  cleanup.push(() => system.close());
  // The server's own word on where a client is.
  const account_of = async (session, who) => {
    const filter = session.mqtt_client ? { mqtt_client: session.mqtt_client } : session.cid ? { cid: session.cid } : { user: who };
    const reply = JSON.parse((await system.request("$SYS.REQ.SERVER.PING.CONNZ", JSON.stringify({ auth: true, ...filter }))).data);
    const [row] = reply.data.connections;
    return accounts[row?.account] ?? row?.account ?? "?";
  };
  for (const [index, entry] of plan.entries()) {
    const text = `demo ${index}`;
    const inside = `app.${entry.who}.hello`, outside = "app.someone-else.hello";
    const begin = performance.now();
    let session, refusal;
    try {
      session = await entry.client.connect(stage, entry.credential, `demo-${index}`);
    } catch (error) {
      refusal = error.message;
    }
    // A page counts only its connection, not its own loading.
    const ms = session?.ms ?? performance.now() - begin;
    const row = { client: entry.client.name, credential: entry.what, outcome: session ? "in" : "refused", account: "-", publish: "-", subscribe: "-", expires: "-", ms: ms.toFixed(0) };
    if (session) {
      row.account = await account_of(session, entry.who);
      const told = [];
      await session.subscribe(inside + ".reply", (message) => told.push(message)).catch(() => {});
      await session.subscribe(outside + ".reply", (message) => told.push(message)).catch(() => {});
      teller.publish(inside + ".reply", "inside");
      teller.publish(outside + ".reply", "outside");
      await teller.flush();
      await session.publish(inside, text);
      await session.heard(told, "inside").catch(() => {});
      row.subscribe = `${told.includes("inside") ? "yes" : "NO"} inside, ${told.includes("outside") ? "YES" : "no"} outside`;
      await session.publish(outside, text).catch(() => {});
      await session.close().catch(() => {});
    } else {
      await blurt(stage, entry.client, entry.credential, [inside, outside]);
    }
    await settle();
    const heard = (subject) => seen.some((message) => message.subject === subject && (message.text === text || (!session && message.text === "blurted")));
    if (session) {
      row.publish = `${heard(inside) ? "yes" : "NO"} inside, ${heard(outside) ? "YES" : "no"} outside`;
      const audit = gate.audit().filter((line) => line.verdict === "allow" && line.identity === entry.who).at(-1);
      row.expires = audit?.exp ? `${Math.round((audit.exp - Date.now() / 1000) / 60)} min` : "-";
    }
    const right = Boolean(session) === entry.allowed && (session ? heard(inside) && !heard(outside) && row.subscribe === "yes inside, no outside" && row.account === "APP" : !heard(inside) && !heard(outside));
    row.as_expected = right ? "ok" : `WRONG ${refusal ?? ""}`;
    if (!right) failed++;
    rows.push(row);
    seen.splice(0);
  }
  // Renewal: the first token is short-lived and dead by the time the server ends the connection; only a client that
  // asks for its credential again gets back in.
  const renewals = [];
  idp.ttl = 15;
  const dying = await Promise.all(clients.map(async (one, index) => {
    const token = { file: path.join(dir, `token-${index}`), text: "", get: () => token.text };
    const renew = async () => fs.writeFileSync(token.file, (token.text = await idp.token("ES256")) + "\n", { mode: 0o600 });
    await renew();
    return { one, index, token, renew, session: await one.renewing(stage, token, `renewal-${index}`) };
  }));
  idp.ttl = 300;
  say("waiting until the tokens of five connected clients have died");
  const begin = performance.now();
  for (const { renew, session } of dying) {
    await renew();
    await session.renewed?.();
  }
  await Promise.all(dying.map(async ({ one, index, session }) => {
    const how = await Promise.race([session.reconnected.then(() => "back in", (error) => `NOT back: ${error.message}`), new Promise((resolve) => setTimeout(resolve, 30_000, "NOT back"))]);
    const text = `renewed ${index}`;
    const seconds = ((performance.now() - begin) / 1000).toFixed(1);
    if (how === "back in") await session.publish("app.es256.hello", text);
    await settle();
    const right = how === "back in" && seen.some((message) => message.text === text);
    await session.close().catch(() => {});
    if (!right) failed++;
    renewals.push({ client: one.name, "when its token dies": how, seconds, message: right ? "heard" : "NOT heard", as_expected: right ? "ok" : "WRONG" });
  }));
  const table = (rows, heads) => {
    const widths = heads.map((head) => Math.max(head.length, ...rows.map((row) => row[head].length)));
    const line = (cells) => cells.map((cell, i) => cell.padEnd(widths[i])).join("  ").trimEnd();
    console.log("\n" + [line(heads), widths.map((w) => "-".repeat(w)).join("  "), ...rows.map((row) => line(heads.map((head) => row[head])))].join("\n"));
  };
  const heads = ["client", "credential", "outcome", "account", "publish", "subscribe", "expires", "ms", "as_expected"];
  table(rows, heads);
  table(renewals, Object.keys(renewals[0]));
  const total = rows.length + renewals.length;
  console.log(`\n${total} cases, ${total - failed} as expected`);
} catch (error) {
  failed++;
  console.error(`demo: ${error.stack ?? error}`);
} finally {
  for (const step of cleanup.reverse()) await Promise.resolve(step()).catch(() => {});
  if (values.keep) say(`kept: ${dir}`);
  else fs.rmSync(path.dirname(dir), { recursive: true, force: true });
}
process.exit(failed ? 1 : 0);

// SPDX-License-Identifier: Apache-2.0
// Every deployment of configs/ and everything `callgate init` writes, started as it stands in front of real servers,
// until a client is in the account that it says. Only addresses, keys and passwords are put in.
import assert from "node:assert/strict";
import crypto from "node:crypto";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { after, describe, test } from "node:test";
import { issuer } from "../demo/issuer.mjs";
import { certificate_authority } from "../lib/certificates.mjs";
import { daemon, patience, sha256 } from "../lib/daemon.mjs";
import { operator_mode } from "../lib/deployment.mjs";
import { b64u, creds_file, new_account, new_curve, now } from "../lib/identity.mjs";
import { nats_server, root, scratch_dir, server_binary, versions } from "../lib/nats_server.mjs";
import { child_process } from "../lib/process.mjs";
import { callgate } from "../lib/stage.mjs";
import { wire_client } from "../lib/wire.mjs";

const started = new Set();
const token = "correct-horse-battery-staple-0123456789";
const timeout = 30_000;

// One deployment of configs/ in a folder of its own. change: of the file's text (addresses only); files: what README.md
// says it needs beside it.
class deployment_folder {
  constructor(file, { change = (text) => text, files = {}, folders = [] }) {
    started.add(file);
    this.dir = scratch_dir("callgate-configs-");
    this.file = file;
    this.closers = [];
    fs.cpSync(path.join(root, "configs"), this.dir, { recursive: true });
    const at = path.join(this.dir, file);
    const text = fs.readFileSync(at, "utf8"), changed = change(text);
    fs.writeFileSync(at, changed);
    for (const folder of ["keys", ...folders]) fs.mkdirSync(path.join(this.dir, folder), { recursive: true });
    for (const [name, content] of Object.entries(files)) fs.writeFileSync(path.join(this.dir, name), content, { mode: 0o600 });
    // As the configuration has it, for the harness to know what to wait for.
    this.config = { callout: { servers: /^  servers: discovered/m.test(text) ? "discovered" : "any" } };
  }
  // The server configuration that the file's own comment gives, its placeholders filled.
  static server_text(file, values) {
    const lines = fs.readFileSync(path.join(root, "configs", file), "utf8").split("\n");
    const begin = lines.findIndex((line) => line.startsWith("# nats-server.conf:"));
    let text = "";
    for (let i = begin + 1; lines[i].startsWith("#   "); i++) text += lines[i].slice(4) + "\n";
    for (const [from, to] of Object.entries(values)) {
      assert.ok(text.includes(from), `${file} names no ${from}`);
      text = text.replaceAll(from, to);
    }
    assert.doesNotMatch(text, /<|\$(?!SYS\.)\w/, "a placeholder is left");
    return text.replace("timeout: 2,", "timeout: 20,");
  }
  async start(env = {}) {
    const checked = await callgate(["check", path.join(this.dir, this.file)], { env });
    assert.equal(checked.code, 0, checked.output);
    const gate = await daemon.start(this, { env, wait: this.file !== "minimal.yaml" });
    this.closers.push(() => gate.stop("SIGTERM", { keep: true }));
    return gate;
  }
  // A client that was let in, until the folder closes.
  async enter(options, credential) {
    const client = await wire_client.connect(options);
    this.closers.push(() => client.close());
    const { ok, error } = await client.login({ ...credential, timeout });
    assert.ok(ok, `login was refused: ${error}`);
    return client;
  }
  // In, and its grant lets it publish to `subject` and not elsewhere.
  async may_publish(options, credential, subject) {
    const client = await this.enter(options, credential);
    client.publish(subject, "x");
    await client.flush();
    assert.deepEqual(client.errors, []);
    client.publish("elsewhere", "x");
    await client.flush();
    assert.equal(client.errors.length, 1, "publishing elsewhere");
  }
  async refused(options, credential) {
    const client = await wire_client.connect(options);
    const { ok } = await client.login({ ...credential, timeout });
    await client.close();
    assert.equal(ok, false);
  }
  async close() {
    for (const closer of this.closers.reverse()) await Promise.resolve(closer()).catch(() => {});
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}

async function inside(folder, work) {
  try {
    await work();
  } finally {
    await folder.close();
  }
}
const at_port = (server) => (text) => text.replaceAll("127.0.0.1:4222", `127.0.0.1:${server.port}`);

describe("deployments of configs/", { concurrency: 1 }, () => {
  after(() => {
    const all = fs.readdirSync(path.join(root, "configs")).filter((name) => name.endsWith(".yaml"));
    assert.deepEqual(all.filter((name) => !started.has(name)), [], "files of configs/ that no test starts");
  });

  for (const version of versions) {
    test(`minimal.yaml [${version}]`, { timeout: 90_000 * patience }, async () => {
      const key = new_account();
      const server = await nats_server.start({ version, listens: ["monitor"], config: 'http: "127.0.0.1:-1"\n' + deployment_folder.server_text("minimal.yaml", { $CALLGATE_PASSWORD: "callout-password", "<public key of keys/issuer.nk>": key.public }) });
      const folder = new deployment_folder("minimal.yaml", { change: at_port(server), files: {
        "keys/issuer.nk": key.seed + "\n", "keys/callout.password": "callout-password\n", "users.yaml": `users:\n  - {user: alice, token_sha256: ${sha256(token)}}\n` } });
      folder.closers.push(() => server.stop());
      await inside(folder, async () => {
        const gate = await folder.start();
        // It has no admin listener to ask whether it is ready, so the server is asked.
        await gate.until("a subscription to requests", async () => (await (await fetch(`http://127.0.0.1:${server.ports.monitor}/connz?subs=1`)).text()).includes("$SYS.REQ.USER.AUTH"));
        await folder.may_publish({ port: server.port }, { auth_token: token }, "app.alice.hello");
        await folder.refused({ port: server.port }, { auth_token: "wrong" + token });
      });
    });

    test(`config_mode.yaml [${version}]`, { timeout: 90_000 * patience }, async () => {
      const key = new_account(), xkey = new_curve(), other = token + "-operator";
      const server = await nats_server.start({ version, config: deployment_folder.server_text("config_mode.yaml", {
        $CALLGATE_PASSWORD: "callout-password", $SYSTEM_PASSWORD: "system-password", "<keys/issuer.nk>": key.public, "<keys/xkey.nk>": xkey.public }) });
      const folder = new deployment_folder("config_mode.yaml", { change: at_port(server), folders: ["run"], files: {
        "keys/issuer.nk": key.seed + "\n", "keys/xkey.nk": xkey.seed + "\n", "keys/callout.password": "callout-password\n", "keys/system.password": "system-password\n",
        "users.yaml": `users:\n  - {user: alice, token_sha256: ${sha256(token)}, attributes: {teams: [red]}}\n  - {user: olga, token_sha256: ${sha256(other)}, attributes: {groups: [ops]}}\n` } });
      folder.closers.push(() => server.stop());
      await inside(folder, async () => {
        const gate = await folder.start();
        assert.equal(gate.admin, "unix:" + path.join(folder.dir, "run/admin.sock"));
        await folder.may_publish({ port: server.port }, { auth_token: token }, "app.red.alice.hello");
        assert.equal((await (await folder.enter({ port: server.port }, { auth_token: other })).user_info()).account, "APP");
        await folder.refused({ port: server.port }, { auth_token: "wrong" + token });
      });
    });

    test(`operator_mode.yaml [${version}]`, { timeout: 90_000 * patience }, async () => {
      const template = { pub: {}, sub: { allow: ["app.{{tag(team)}}.>"] }, subs: -1, data: -1, payload: -1 };
      const d = operator_mode({ xkey: true, accounts: { APP: { signing_keys: [{}, { role: "reader", template }] } }, auth: { signing_keys: [{}] }, allowed_accounts: ["APP"], sentinel: { bearer_token: true }, timeout: 20, extra: "max_control_line: 64KB" });
      const server = await nats_server.start({ version, config: d.text });
      const reader = token + "-reader";
      const folder = new deployment_folder("operator_mode.yaml", { change: at_port(server), folders: ["run"], files: {
        "keys/auth-signing.nk": d.auth.signers[0].seed + "\n", "keys/xkey.nk": d.xkey.seed + "\n", "keys/app-signing.nk": d.accounts.APP.signers[0].seed + "\n", "keys/app-reader.nk": d.accounts.APP.signers[1].seed + "\n",
        "keys/callout.creds": d.service_creds, "keys/system.creds": creds_file(d.system_login.jwt, d.system_login.key),
        "users.yaml": `users:\n  - {user: alice, token_sha256: ${sha256(token)}, attributes: {groups: [writers]}}\n  - {user: bob, token_sha256: ${sha256(reader)}, attributes: {team: blue}}\n` } });
      folder.closers.push(() => server.stop());
      await inside(folder, async () => {
        await folder.start({ AUTH_ACCOUNT: d.auth.public, SYS_ACCOUNT: d.accounts.SYS.public, APP_ACCOUNT: d.accounts.APP.public });
        const bearer = { jwt: d.sentinel_jwt };
        await folder.may_publish({ port: server.port }, { ...bearer, auth_token: token }, "app.alice.hello");
        // The role's permissions come from the account's JWT.
        const bob = await folder.enter({ port: server.port }, { ...bearer, auth_token: reader });
        bob.subscribe("app.blue.x");
        await bob.flush();
        assert.deepEqual(bob.errors, []);
        bob.subscribe("app.red.x");
        await bob.flush();
        assert.equal(bob.errors.length, 1);
        await folder.refused({ port: server.port }, { ...bearer, auth_token: "wrong" + token });
      });
    });

    test(`production.yaml [${version}]: three servers over TLS, an issuer, a file of services`, { timeout: 120_000 * patience }, async () => {
      const ca = new certificate_authority();
      const idp = await issuer.start();
      const own = ca.issue("nats-server", "/CN=nats-server"), link = ca.issue("callgate", "/CN=callgate"), person = ca.issue("person", "/CN=person");
      const template = { pub: { allow: ["jobs.{{tag(queue)}}"] }, sub: {}, subs: -1, data: -1, payload: -1 };
      const d = operator_mode({ xkey: true, accounts: { PEOPLE: { signing_keys: [{}] }, SERVICES: { signing_keys: [{}, { role: "worker", template }] } }, auth: { signing_keys: [{}] },
        allowed_accounts: ["PEOPLE", "SERVICES"], sentinel: { bearer_token: true }, timeout: 20, extra: `max_control_line: 64KB\ntls { cert_file: "${own.cert}", key_file: "${own.key}", ca_file: "${ca.ca}", verify: true, timeout: 10 }` });
      const servers = [], routes = [];
      const change = (text) => {
        servers.forEach((server, index) => (text = text.replace(`tls://nats-${index + 1}.example.com:4222`, `tls://localhost:${server.port}`)));
        assert.doesNotMatch(text, /nats-\d\.example\.com/);
        // An issuer on this machine speaks http; everything else of its entry stays.
        return text.replace("- issuer: ${OIDC_ISSUER}", "- issuer: ${OIDC_ISSUER}\n          allow_http_loopback: true").replace("127.0.0.1:9222", "127.0.0.1:0");
      };
      let folder;
      try {
        for (const name of ["one", "two", "three"]) {
          const cluster = `\ncluster { name: three, host: 127.0.0.1, port: -1, no_advertise: true, routes: [ ${routes.map((port) => `nats://127.0.0.1:${port}`).join(", ")} ] }\n`;
          const server = await nats_server.start({ version, config: d.text + cluster, listens: ["cluster"], name });
          servers.push(server);
          routes.push(server.ports.cluster);
        }
        const seed = (key) => key.seed + "\n";
        folder = new deployment_folder("production.yaml", { change, folders: ["tls", "run", "log"], files: {
          "keys/auth-signing.nk": seed(d.auth.signers[0]), "keys/xkey.nk": seed(d.xkey), "keys/xkey-old.nk": seed(new_curve()), "keys/people-signing.nk": seed(d.accounts.PEOPLE.signers[0]),
          "keys/services-signing.nk": seed(d.accounts.SERVICES.signers[0]), "keys/services-worker.nk": seed(d.accounts.SERVICES.signers[1]),
          "keys/callout.creds": d.service_creds, "keys/system.creds": creds_file(d.system_login.jwt, d.system_login.key),
          "tls/ca.pem": fs.readFileSync(ca.ca), "tls/callgate.pem": fs.readFileSync(link.cert), "tls/callgate-key.pem": fs.readFileSync(link.key),
          "services.yaml": `users:\n  - {user: billing, token_sha256: ${sha256(token)}, attributes: {topics: [paid]}}\n` } });
        const gate = await folder.start({ AUTH_ACCOUNT: d.auth.public, SYS_ACCOUNT: d.accounts.SYS.public, PEOPLE_ACCOUNT: d.accounts.PEOPLE.public, SERVICES_ACCOUNT: d.accounts.SERVICES.public, OIDC_ISSUER: idp.url });
        await gate.until("all three servers", async () => JSON.parse((await gate.get("/health")).body).clusters[0].servers_known === 3);
        const bearer = { jwt: d.sentinel_jwt };
        const through = (index) => ({ port: servers[index].port, tls: ca.client_options(person) });
        await folder.may_publish(through(1), { ...bearer, auth_token: token }, "events.paid");
        const rsa = idp.keys.find((key) => key.alg === "RS256");
        const signed = `${b64u(JSON.stringify({ alg: "RS256", kid: rsa.kid, typ: "JWT" }))}.${b64u(JSON.stringify({ iss: idp.url, sub: "u2", aud: "nats", iat: now(), exp: now() + 300, email: "b@example.com", groups: ["sre"] }))}`;
        const id_token = `${signed}.${b64u(crypto.sign("sha256", Buffer.from(signed), crypto.createPrivateKey({ key: rsa, format: "jwk" })))}`;
        assert.equal((await (await folder.enter(through(2), { ...bearer, auth_token: id_token })).user_info()).account, d.accounts.PEOPLE.public);
        await folder.refused(through(0), { ...bearer, auth_token: "wrong" + token });
        assert.ok(fs.readFileSync(path.join(folder.dir, "log/audit.jsonl"), "utf8").includes('"identity":"billing"'));
      } finally {
        await folder?.close();
        for (const server of servers) await server.stop();
        await idp.stop();
        ca.remove();
      }
    });
  }
});

describe("what callgate init writes", { concurrency: 1 }, () => {
  const free_port = () => new Promise((resolve) => {
    const holder = net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = holder.address();
      holder.close(() => resolve(port));
    });
  });
  for (const version of versions) {
    for (const mode of ["config", "operator"]) {
      test(`${mode} mode [${version}]: check finds nothing, the daemon starts, alice is in`, { timeout: 90_000 * patience }, async () => {
        const base = scratch_dir("callgate-init-");
        const dir = path.join(base, "nats");
        const closers = [];
        try {
          const port = await free_port();
          const made = await callgate(["init", dir, "--mode", mode, "--server-version", version, "--listen", `127.0.0.1:${port}`, "--auth-timeout", "20"], { timeout: 60_000 });
          assert.equal(made.code, 0, made.output);
          const checked = await callgate(["check", path.join(dir, "callgate.yaml")]);
          assert.deepEqual(checked, { code: 0, output: `${path.join(dir, "callgate.yaml")}: good` });
          const server = new child_process(server_binary(version), ["-c", path.join(dir, "nats-server.conf")], { cwd: dir });
          closers.push(() => server.stop());
          await server.line(/Server is ready/);
          const gate = await daemon.start({ dir, config: { callout: { servers: "discovered" } } });
          closers.push(() => gate.stop("SIGTERM", { keep: true }));
          const client = await wire_client.connect({ port });
          closers.push(() => client.close());
          const [, jwt] = mode === "operator" ? /-----\n(\S+)\n/.exec(fs.readFileSync(path.join(dir, "sentinel.creds"), "utf8")) : [];
          const pass = fs.readFileSync(path.join(dir, "keys/alice.password"), "utf8").trim();
          const { ok, error } = await client.login({ user: "alice", pass, ...(jwt ? { jwt } : {}), timeout: 45_000 });
          assert.ok(ok, `alice was refused: ${error}\n${gate.process.lines.slice(-5).join("\n")}`);
          const wrong = await wire_client.connect({ port });
          assert.equal((await wrong.login({ user: "alice", pass: pass + "x", ...(jwt ? { jwt } : {}), timeout: 45_000 })).ok, false);
        } finally {
          for (const closer of closers.reverse()) await Promise.resolve(closer()).catch(() => {});
          fs.rmSync(base, { recursive: true, force: true });
        }
      });
    }
  }
});

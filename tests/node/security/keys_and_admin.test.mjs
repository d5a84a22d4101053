// SPDX-License-Identifier: Apache-2.0
// Rotation and protection of the xkey, and the admin listener: points 11 and 17 of the security review.
import assert from "node:assert/strict";
import fs from "node:fs";
import http from "node:http";
import net from "node:net";
import path from "node:path";
import { describe, test } from "node:test";
import { patience, sha256, write_config, write_folder } from "../lib/daemon.mjs";
import { config_mode } from "../lib/deployment.mjs";
import { new_curve } from "../lib/identity.mjs";
import { nats_server, versions } from "../lib/nats_server.mjs";
import { callgate, stage } from "../lib/stage.mjs";

const token = "correct-horse-battery-staple-0123456789";
const users = [{ user: "alice", token_sha256: sha256(token) }];
const nowhere = { port: 1 };
const check_and_serve = async (folder) => {
  const out = [];
  for (const command of ["check", "serve"]) out.push({ command, ...(await callgate([command, path.join(folder.dir, "callgate.yaml")])) });
  return out;
};

describe("xkeys", () => {
  for (const version of versions) {
    test(`review 4.11: rotation by overlap loses no login: old, both, new [${version}]`, { timeout: 120_000 * patience }, async () => {
      const deployment = config_mode({ xkey: true, accounts: "APP {}", timeout: 3 * patience });
      const fresh = new_curve();
      const s = await stage.open(deployment, { version, folder: { users } });
      let other;
      try {
        const login = async (server = s.server) => {
          const { ok, error } = await s.login({ auth_token: token, timeout: 20_000 }, { port: server.port });
          assert.ok(ok, error);
        };
        await login();
        // The second server has the new key already and is served by the same daemon.
        other = await nats_server.start({ version, name: "B", config: deployment.text.replaceAll(deployment.xkey.public, fresh.public) });
        fs.writeFileSync(path.join(s.gate.dir, "fresh.nk"), fresh.seed + "\n", { mode: 0o600 });
        const config = structuredClone(s.gate.config);
        config.keys.local.config.files.fresh = "fresh.nk";
        config.nats.push({ ...config.nats[0], name: "other", urls: [`nats://127.0.0.1:${other.port}`] });
        config.callout.xkeys = ["local/fresh", "local/xkey"];
        write_config(s.gate.dir, config);
        assert.match(await s.gate.reload(), /configuration reloaded/);
        await s.gate.until("both servers known", async () => JSON.parse((await s.gate.get("/health")).body).clusters.filter((c) => c.system_connected && c.servers_known > 0).length === 2);
        await login();
        await login(other);
        // The old key leaves once no server has it.
        config.callout.xkeys = ["local/fresh"];
        write_config(s.gate.dir, config);
        assert.match(await s.gate.reload(), /configuration reloaded/);
        await login(other);
        const late = await s.login({ auth_token: token, timeout: 20_000 }, { port: s.server.port });
        assert.equal(late.ok, false, "a server that still seals to the old key");
        assert.ok((await s.gate.metric("callgate_dropped_total", { reason: "unknown_xkey" })) >= 1);
      } finally {
        await s.close();
        await other?.stop();
      }
    });
  }

  const faults = {
    "is readable by the group": (file) => fs.chmodSync(file, 0o640),
    "is readable by everybody": (file) => fs.chmodSync(file, 0o604),
    "is a symbolic link": (file) => (fs.renameSync(file, file + ".real"), fs.symlinkSync(file + ".real", file)),
    "is missing": (file) => fs.unlinkSync(file),
    "holds no seed": (file) => fs.writeFileSync(file, "not a seed\n"),
  };
  for (const name of ["xkey", "issuer"]) {
    for (const [what, spoil] of Object.entries(faults)) {
      test(`review 4.11: the daemon does not start when the seed file of the ${name} ${what}`, async () => {
        const deployment = config_mode({ xkey: true, accounts: "APP {}" });
        const folder = write_folder(deployment, { server: nowhere });
        spoil(path.join(folder.dir, name + ".nk"));
        // Only serve: check looks at the configuration, on machines too that do not have the keys.
        const { code, output } = await callgate(["serve", path.join(folder.dir, "callgate.yaml")]);
        assert.equal(code, 1, output);
        assert.ok(output.includes(name + ".nk"), `the file is not named: ${output}`);
        assert.ok(!output.includes(deployment.xkey.seed) && !output.includes(deployment.issuer.seed), "a seed in the output");
        fs.rmSync(folder.dir, { recursive: true });
      });
    }
  }
  test("review 4.11: a key of another kind is no xkey", async () => {
    const deployment = config_mode({ xkey: true, accounts: "APP {}" });
    const folder = write_folder(deployment, { server: nowhere });
    fs.writeFileSync(path.join(folder.dir, "xkey.nk"), deployment.issuer.seed + "\n");
    const { code, output } = await callgate(["serve", path.join(folder.dir, "callgate.yaml")]);
    fs.rmSync(folder.dir, { recursive: true });
    assert.equal(code, 1, output);
    assert.match(output, /xkey/);
  });
});

describe("admin listener", () => {
  const ask = (at, options) => new Promise((resolve, reject) => {
    const request = http.request({ ...at, agent: false, ...options }, (response) => {
      let body = "";
      response.on("data", (piece) => (body += piece)).on("end", () => resolve({ status: response.statusCode, body }));
    });
    request.on("error", reject).end(options.body);
  });

  test("review 4.17: the Unix socket is the owner's alone and takes a reload", async () => {
    const s = await stage.open(config_mode({ accounts: "APP {}", timeout: 2 * patience }), { folder: { users, top: { admin: { listen: "unix:admin.sock" } } } });
    try {
      const socket = path.join(s.gate.dir, "admin.sock");
      assert.equal(fs.statSync(socket).mode & 0o777, 0o600);
      assert.ok(fs.statSync(socket).isSocket());
      const after = s.gate.process.lines.length;
      assert.equal((await s.gate.get("/reload", "GET")).status, 405);
      assert.equal((await s.gate.get("/reload", "POST")).status, 202);
      await s.gate.process.line(/configuration reloaded/, { after, timeout: 20_000 * patience });
      await s.gate.stop("SIGTERM", { keep: true });
      assert.equal(fs.existsSync(socket), false, "the socket outlives the daemon");
    } finally {
      await s.close();
    }
  });

  test("review 4.17: over TCP: no reload, no foreign Host, bounded headers and bodies, a stalled exchange ends", { timeout: 60_000 * patience }, async () => {
    const s = await stage.open(config_mode({ accounts: "APP {}", timeout: 2 * patience }), { folder: { users } });
    try {
      const [host, port] = s.gate.admin.split(":");
      const at = { host, port };
      for (const method of ["POST", "GET", "PUT"]) assert.equal((await ask(at, { path: "/reload", method })).status, 403);
      for (const name of ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "evil.example:" + port, "10.0.0.1"]) {
        for (const target of ["/metrics", "/livez", "/reload"]) assert.equal((await ask(at, { path: target, headers: { host: name } })).status, 421, name);
      }
      for (const name of [`127.0.0.1:${port}`, `localhost:${port}`]) assert.equal((await ask(at, { path: "/livez", headers: { host: name } })).status, 200, name);
      assert.equal((await ask(at, { path: "/livez", method: "POST", body: "x" })).status, 405);
      for (const target of ["/", "/explain", "/doctor", "/debug/pprof", "/../metrics", "/health/../reload"]) assert.equal((await ask(at, { path: target })).status, 404, target);
      // Closed or answered with an error; never accepted.
      for (const options of [{ path: "/livez", headers: { x: "y".repeat(20_000) } }, { path: "/livez", method: "POST", body: "x".repeat(100_000) }]) {
        const { status } = await ask(at, options).catch((error) => ({ status: error.code }));
        assert.notEqual(status, 200);
      }
      const stalled = net.connect(at);
      stalled.on("error", () => {});
      stalled.write("GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n");
      await new Promise((resolve) => stalled.on("close", resolve).resume());
      assert.equal((await s.gate.get("/livez")).status, 200);
    } finally {
      await s.close();
    }
  });

  test("review 4.17: nothing that came over the wire is a metric label", async () => {
    const s = await stage.open(config_mode({ accounts: "APP {}", timeout: 2 * patience }), { folder: { users } });
    try {
      const planted = 'label"} 1\nplanted_total{a="b';
      await s.login({ user: planted, pass: planted, name: planted, lang: planted, version: planted });
      await s.login({ auth_token: planted, name: planted });
      await s.enter({ auth_token: token, name: planted, lang: planted });
      await s.gate.until("metrics of the logins", async () => (await s.gate.metric("callgate_replies_total", { verdict: "allow" })) === 1);
      const { body } = await s.gate.get("/metrics");
      for (const word of ["planted", "alice", "APP", "127.0.0.1:", "label"]) assert.ok(!body.includes(word), `"${word}" in /metrics`);
      // Every label's name and every value of a reason is one of the program's own words.
      for (const [, labels] of body.matchAll(/^\w+\{(.*)\} /gm)) {
        for (const [, name, value] of labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
          assert.match(name, /^[a-z_]+$/);
          if (["reason", "reason_id", "verdict", "stage"].includes(name)) assert.match(value, /^[a-z_]*$/);
        }
      }
    } finally {
      await s.close();
    }
  });

  test("review 4.17: no admin section, no listener; beyond loopback it needs TLS and a token", async () => {
    const deployment = config_mode({ accounts: "APP {}", timeout: 2 * patience });
    const folder = write_folder(deployment, { server: nowhere, top: { admin: { listen: "0.0.0.0:0" } } });
    for (const { command, code, output } of await check_and_serve(folder)) {
      assert.equal(code, 1, `callgate ${command}: ${output}`);
      assert.match(output, /callgate\.yaml:\d+: admin\b/);
    }
    fs.rmSync(folder.dir, { recursive: true });
    const s = await stage.open(deployment, { folder: { users, top: { admin: undefined } }, start: { wait: false } });
    try {
      await s.gate.process.line(/connected to nats-server link=callgate\/main\/shard0/, { timeout: 20_000 * patience });
      await s.gate.process.line(/callgate serves/, { timeout: 20_000 * patience });
      assert.equal(s.gate.process.lines.filter((line) => /admin listening/.test(line)).length, 0);
    } finally {
      await s.close();
    }
  });
});

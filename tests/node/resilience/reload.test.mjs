// SPDX-License-Identifier: Apache-2.0
// SIGHUP under a steady load of logins: what changed is in force, what is broken is not, no login is lost, nothing grows.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { test } from "node:test";
import { daemon, everyone, patience, sha256, write_config, write_folder } from "../lib/daemon.mjs";
import { config_mode } from "../lib/deployment.mjs";
import { login_load } from "../lib/load.mjs";
import { nats_server, versions } from "../lib/nats_server.mjs";
import { wire_client } from "../lib/wire.mjs";

const token = "correct-horse-battery-staple-0123456789";
const late_token = "late-horse-battery-staple-9876543210";
const rate = 200 / patience;
const links_of = (config) => config.shards * (config.nats[0].links_per_server + 1);

const with_policy = (config, grant) => ({ ...config, policy: { rules: [{ ...everyone.rules[0], grant: { ...everyone.rules[0].grant, ...grant } }] } });
const with_links = (config, links_per_server) => ({ ...config, nats: [{ ...config.nats[0], links_per_server }] });

const descriptors = (pid) => fs.readdirSync(`/proc/${pid}/fd`).length;
const threads = (pid) => fs.readdirSync(`/proc/${pid}/task`).length;

async function login(port, credential) {
  const client = await wire_client.connect({ port });
  try {
    const result = await client.login({ auth_token: credential });
    return { ok: result.ok, info: result.ok ? await client.user_info() : undefined };
  } finally {
    await client.close();
  }
}

// Links that a reload retires go a few seconds later, when nothing they brought can be under way any more.
const links_are = (gate, count) => gate.until(`${count} links`, async () => {
  const { links } = JSON.parse((await gate.get("/health")).body);
  return (links.length === count && links.every((link) => link.connected)) || links;
});

for (const version of versions) {
  const scene = async (body) => {
    const deployment = config_mode({ xkey: true, accounts: "APP {}", timeout: 2 });
    const server = await nats_server.start({ version, config: deployment.text });
    let gate;
    const load = new login_load({ port: server.port, rate, credential: () => ({ auth_token: token }) });
    try {
      gate = await daemon.start(write_folder(deployment, { server, users: [{ user: "alice", token_sha256: sha256(token) }] }));
      load.start();
      await body({ server, gate, load, generation: () => gate.metric("callgate_config_generation") });
    } finally {
      await load.stop();
      await gate?.stop();
      await server.stop();
    }
  };
  // What every case ends with: logins go on for a while, and none of all was lost.
  const none_lost = async (load) => {
    const before = load.ok;
    await pause(700);
    await load.stop();
    assert.ok(load.ok > before, "no login after the last reload");
    assert.deepEqual(load.failures, []);
    assert.equal(load.ok, load.started);
  };

  test(`reload under ${rate} logins/s [${version}]: nothing, policy, backend file, backend, links; each in force, no login lost`, { timeout: 60_000 * patience }, (t) =>
    scene(async ({ server, gate, load, generation }) => {
      let config = gate.config;
      assert.equal(await generation(), 1);
      assert.equal(await gate.reload(), "configuration reloaded");
      assert.equal(await generation(), 2, "an unchanged configuration is a successful reload");

      config = with_policy(config, { pub: { allow: ["changed.{{sub}}", "$SYS.REQ.USER.INFO"] } });
      write_config(gate.dir, config);
      assert.equal(await gate.reload(), "configuration reloaded");
      assert.equal(await generation(), 3);
      assert.deepEqual((await login(server.port, token)).info.permissions.publish.allow.sort(), ["$SYS.REQ.USER.INFO", "changed.alice"]);

      assert.equal((await login(server.port, late_token)).ok, false);
      const users = [{ user: "alice", token_sha256: sha256(token) }, { user: "bob", token_sha256: sha256(late_token) }];
      fs.writeFileSync(path.join(gate.dir, "users.yaml"), JSON.stringify({ users }), { mode: 0o600 });
      assert.equal(await gate.reload(), "configuration reloaded");
      assert.equal(await generation(), 4);
      await gate.until("the added user is in", async () => (await login(server.port, late_token)).ok);

      fs.writeFileSync(path.join(gate.dir, "others.yaml"), JSON.stringify({ users: users.slice(0, 1) }), { mode: 0o600 });
      config = { ...config, backends: { users: { plugin: "auth_static", config: { file: "others.yaml" } } } };
      write_config(gate.dir, config);
      assert.equal(await gate.reload(), "configuration reloaded");
      assert.equal(await generation(), 5);
      assert.equal((await login(server.port, late_token)).ok, false, "the backend's new file is in use at once");

      config = with_links(config, 3);
      write_config(gate.dir, config);
      assert.equal(await gate.reload(), "configuration reloaded");
      assert.equal(await generation(), 6);
      await links_are(gate, links_of(config));
      await none_lost(load);
      assert.equal(await gate.metric("callgate_reloads_total", { outcome: "ok" }), 5);
      assert.equal(await gate.metric("callgate_reloads_total", { outcome: "failed" }), 0);
      t.diagnostic(`${load.started} logins, ${load.ok} in, over 5 reloads`);
    }));

  test(`broken reload under ${rate} logins/s [${version}]: the old configuration stays, the error says where, no login lost`, { timeout: 60_000 * patience }, (t) =>
    scene(async ({ server, gate, load, generation }) => {
      const file = path.join(gate.dir, "callgate.yaml");
      const good = fs.readFileSync(file, "utf8");
      const links = links_of(gate.config);
      const refused = async (text, what) => {
        fs.writeFileSync(file, text);
        const line = await gate.reload();
        assert.match(line, /^reload failed; the old configuration stays in use/);
        assert.match(line, what);
      };
      // The key's own line, counted in the file as written.
      const unknown = good.replace('"shards":', '"shardz":');
      const at = unknown.split("\n").findIndex((text) => text.includes("shardz")) + 1;
      await refused(unknown, new RegExp(`callgate\\.yaml:${at}\\b.*shardz`));
      await refused("nats: [\n", /callgate\.yaml:\d+/);
      await refused(JSON.stringify({ ...gate.config, backends: { users: { plugin: "auth_static", config: { file: "absent.yaml" } } } }, null, 1), /callgate\.yaml:\d+.*absent\.yaml/);
      // Complete and valid, but nobody listens there: the links that work may not go.
      const nowhere = { ...gate.config, nats: [{ ...gate.config.nats[0], urls: ["nats://127.0.0.1:1"] }] };
      await refused(JSON.stringify(nowhere, null, 1), /callgate\.yaml: nats\.main/);

      assert.equal(await generation(), 1);
      assert.equal(await gate.metric("callgate_reloads_total", { outcome: "failed" }), 4);
      assert.deepEqual((await login(server.port, token)).info.permissions.publish.allow.sort(), ["$SYS.REQ.USER.INFO", "app.alice.>"]);
      fs.writeFileSync(file, good);
      assert.equal(await gate.reload(), "configuration reloaded");
      assert.equal(await generation(), 2);
      await links_are(gate, links);
      await none_lost(load);
      t.diagnostic(`${load.started} logins, ${load.ok} in, over 4 refused reloads`);
    }));

  test(`20 reloads under ${rate} logins/s [${version}], also during a reload: the last one asked for is in force, no login, thread or descriptor lost`, { timeout: 120_000 * patience }, (t) =>
    scene(async ({ server, gate, load, generation }) => {
      const rest = async () => {
        await load.stop();
        await links_are(gate, links_of(gate.config));
        await gate.until("the same threads and descriptors twice", async () => {
          const one = [threads(gate.pid), descriptors(gate.pid)];
          await pause(150);
          return (one[0] === threads(gate.pid) && one[1] === descriptors(gate.pid)) || one;
        });
        return { threads: threads(gate.pid), descriptors: descriptors(gate.pid) };
      };
      // New links, a new backend and a new policy each: everything a reload can replace.
      const variant = (i) => ({ ...with_links(with_policy(gate.config, { ttl: `${5 + i}m` }), 1 + (i % 2)),
        backends: { users: { plugin: "auth_static", config: { file: i % 2 ? "users.yaml" : "./users.yaml" } } } });
      // The first rounds make what is made once.
      for (const i of [1, 2, 3]) {
        write_config(gate.dir, variant(i));
        assert.equal(await gate.reload(), "configuration reloaded");
      }
      gate.config = variant(3);
      const before = await rest();
      load.start();
      for (let i = 4; i < 24; i++) {
        write_config(gate.dir, variant(i));
        assert.equal(await gate.reload(), "configuration reloaded");
      }
      assert.equal(await generation(), 24);
      // The second signal comes while the first is being worked on: opening links takes a while.
      write_config(gate.dir, variant(24));
      const seen = gate.process.lines.length;
      gate.process.signal("SIGHUP");
      await gate.process.line(/reloading asked_by=SIGHUP/, { after: seen });
      gate.config = variant(25);
      write_config(gate.dir, gate.config);
      gate.process.signal("SIGHUP");
      gate.process.signal("SIGHUP");
      await gate.until("two more generations", async () => (await generation()) === 26 || generation());
      const { info } = await login(server.port, token);
      const left_s = info.expires / 1e9;
      assert.ok(left_s > 26 * 60 && left_s <= 30 * 60, `the last configuration grants 30 minutes less jitter, the login has ${left_s} s`);
      await none_lost(load);
      const after = await rest();
      t.diagnostic(`${load.started} logins, ${load.ok} in; before ${JSON.stringify(before)}, after 22 reloads ${JSON.stringify(after)}`);
      assert.deepEqual(after, before, "threads and descriptors");
    }));
}

test("SIGTERM during a reload that opens links: no login lost, the daemon ends well", { timeout: 60_000 * patience }, async (t) => {
  const version = versions.at(-1);
  const deployment = config_mode({ xkey: true, accounts: "APP {}", timeout: 2 });
  const server = await nats_server.start({ version, config: deployment.text });
  const users = [{ user: "alice", token_sha256: sha256(token) }];
  const gates = [];
  const load = new login_load({ port: server.port, rate, credential: () => ({ auth_token: token }) });
  try {
    gates.push(await daemon.start(write_folder(deployment, { server, users })));
    load.start();
    for (const delay of [0, 30, 60, 120, 400]) {
      const gate = await daemon.start(write_folder(deployment, { server, users }));
      gates.push(gate);
      write_config(gate.dir, with_links(gate.config, 3));
      const seen = gate.process.lines.length;
      gate.process.signal("SIGHUP");
      await gate.process.line(/reloading asked_by=SIGHUP/, { after: seen });
      await pause(delay);
      assert.deepEqual(await gate.stop("SIGTERM"), { code: 0, signal: null }, `SIGTERM ${delay} ms after the reload began`);
      gates.pop();
    }
    await load.stop();
    assert.deepEqual(load.failures, []);
    t.diagnostic(`${load.started} logins, ${load.ok} in, over 5 stops`);
  } finally {
    await load.stop();
    for (const gate of gates) await gate.stop();
    await server.stop();
  }
});

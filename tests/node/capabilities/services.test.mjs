// SPDX-License-Identifier: Apache-2.0
// The other capabilities in the daemon: secrets, events, instance, metrics, fd, cache-invalidate, worker; what a client or operator sees of each.
import assert from "node:assert/strict";
import crypto from "node:crypto";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { patience } from "../lib/daemon.mjs";
import { b64u, new_account, verify_signature } from "../lib/identity.mjs";
import { versions } from "../lib/nats_server.mjs";
import { callgate } from "../lib/stage.mjs";
import { witness_stage } from "../lib/witness.mjs";

async function with_stage(version, options, body) {
  const s = await witness_stage(version, options);
  try {
    await body(s);
  } finally {
    await s.close();
  }
}
const planted = (name) => `planted-${name}-${crypto.randomBytes(16).toString("hex")}`;
const forms = (text) => [text, Buffer.from(text).toString("base64").slice(0, 24), b64u(Buffer.from(text)).slice(0, 24), Buffer.from(text).toString("hex").slice(0, 40)];

// Memory of the process that a core dump would hold: what is not marked MADV_DONTDUMP.
function dumped_memory_has(pid, texts) {
  const found = [];
  const maps = fs.readFileSync(`/proc/${pid}/smaps`, "latin1").split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  const memory = fs.openSync(`/proc/${pid}/mem`, "r");
  let looked = 0;
  for (const map of maps) {
    const [, from, to, rights] = /^([0-9a-f]+)-([0-9a-f]+) (\S+)/.exec(map);
    if (!rights.startsWith("rw") || / dd\b/.test(/VmFlags:(.*)/.exec(map)[1])) continue;
    let at = BigInt("0x" + from);
    for (const end = BigInt("0x" + to); at < end;) {
      const size = Number(end - at > 1n << 24n ? 1n << 24n : end - at);
      const piece = Buffer.alloc(size);
      let n;
      try {
        n = fs.readSync(memory, piece, 0, size, at);
      } catch {
        break;  // reserved, never touched
      }
      looked += n;
      for (const text of texts) if (piece.includes(text)) found.push(`${text} at ${from}`);
      at += BigInt(size);
    }
  }
  fs.closeSync(memory);
  assert.ok(looked > 1 << 20, "nothing of the memory was looked at");
  return found;
}

for (const version of versions) {
  describe(`capabilities [${version}]`, () => {
    test("secrets: a login follows the file after a reload, the plugin hears which changed, the value shows nowhere", async () => {
      const secrets = { door: planted("door"), door2: planted("door2"), other: planted("other") };
      await with_stage(version, { files: { "door.secret": secrets.door + "\n", "other.secret": secrets.other },
        change: (config) => Object.assign(config.backends.witness.config, { secret: "file:door.secret", other: "file:other.secret" }) }, async (s) => {
        assert.equal((await s.login("secret:" + secrets.door)).ok, true);
        assert.equal((await s.login("secret:wrong")).ok, false);
        s.file("door.secret", secrets.door2);
        assert.equal((await s.login("secret:" + secrets.door)).ok, true, "read again at a reload only");
        assert.equal(await s.gate.reload(), "configuration reloaded");
        assert.equal((await s.login("secret:" + secrets.door)).ok, false);
        assert.equal((await s.login("secret:" + secrets.door2)).ok, true);
        await s.until_metric("callgate_plugin_witness_secret_changes_total", 1, { secret: "secret" });
        assert.equal(await s.metric("callgate_plugin_witness_secret_changes_total", { secret: "other" }), 0);

        const where = { output: s.gate.process.lines.join("\n"), audit: JSON.stringify(s.gate.audit()), config: fs.readFileSync(path.join(s.dir, "callgate.yaml"), "utf8") };
        for (const target of ["/metrics", "/health", "/readyz"]) where[target] = (await s.gate.get(target)).body;
        for (const file of ["cmdline", "environ"]) where[file] = fs.readFileSync(`/proc/${s.gate.pid}/${file}`, "latin1");
        for (const [place, text] of Object.entries(where))
          for (const [name, value] of Object.entries(secrets)) for (const form of forms(value)) assert.ok(!text.includes(form), `${name} stands in ${place}`);
        // No client ever sent this one, so that it can be nowhere but in guarded pages.
        assert.deepEqual(dumped_memory_has(s.gate.pid, [secrets.other]), []);
      });
    });

    test("events: reload, key rotation, a backend that gets worse and better, and the end, each told to a client by the plugin", async () => {
      const spare = [new_account(), new_account()];
      await with_stage(version, { files: { "spare.nk": spare[0].seed + "\n" }, change: (config) => {
        config.keys.extra = { plugin: "key_file", config: { files: { spare: "spare.nk" } } };
      } }, async (s) => {
        await s.connected();
        const client = await s.client();
        const events = client.subscribe("witness.event.*");
        const next = async (name) => (await events.find((m) => m.subject === "witness.event." + name, 15_000 * patience)).data.toString();
        await client.flush();
        assert.equal(await s.gate.reload(), "configuration reloaded");
        assert.equal(await next("config_reloaded"), "|");
        s.file("spare.nk", spare[1].seed + "\n");
        assert.equal(await s.gate.reload(), "configuration reloaded");
        assert.equal(await next("key_rotated"), `extra/spare|${spare[1].public}`);
        await s.login("sick:data of yesterday");
        assert.equal(await next("backend_degraded"), "witness|data of yesterday");
        await s.gate.until("shown to the operator", async () => (await s.metric("callgate_instance_state")) === 1);
        await s.login("well:");
        assert.equal(await next("backend_recovered"), "witness|");
        for (const [event, count] of [["config_reloaded", 2], ["key_rotated", 1], ["backend_degraded", 1], ["backend_recovered", 1]])
          await s.until_metric("callgate_plugin_witness_events_total", count, { event });
        const byes = client.subscribe("witness.bye");
        await client.flush();
        s.gate.process.signal("SIGTERM");
        assert.equal(await next("shutting_down"), "|");
        assert.equal((await byes.next(15_000 * patience)).data.toString(), "witness", "what a plugin publishes while it stops still goes out");
        assert.deepEqual(await s.gate.process.exited, { code: 0, signal: null });
      });
    });

    test("uses: a backend signs with a key of keys/local and finds a client in store/main", () => with_stage(version, { change: (config) => {
      config.stores = { main: { plugin: "store_sqlite", config: { path: "claims.db" } } };
      Object.assign(config.backends.witness, { uses: ["nats/main", "keys/local", "store/main"], config: { cluster: "main", keys: "local", store: "main" } });
    } }, async (s) => {
      await s.connected();
      const client = await s.client();
      const signed = client.subscribe("witness.signed");
      await client.flush();
      assert.equal((await s.login("sign:a text")).ok, true);
      const [nkey, signature] = (await signed.next()).data.toString().split(" ");
      assert.equal(nkey, s.deployment.issuer.public);
      assert.equal(verify_signature(nkey, "a text", Buffer.from(signature, "hex")), true);
      assert.equal(verify_signature(nkey, "b text", Buffer.from(signature, "hex")), false);
      assert.equal((await s.login("store:people/bob")).ok, false);
      s.file("bob.json", "bob_of_the_store");
      const put = await callgate(["store", "put", "--config", path.join(s.dir, "callgate.yaml"), "--store", "main", "people/bob", path.join(s.dir, "bob.json")]);
      assert.equal(put.code, 0, put.output);
      assert.equal((await s.login("store:people/bob")).ok, true);
      await s.gate.until("the audit", async () => s.gate.audit().at(-1)?.identity === "bob_of_the_store");
    }));

    test("uses: what is not listed is refused at the start, by name", () => with_stage(version, { start: false,
      change: (config) => Object.assign(config.backends.witness.config, { keys: "local" }) }, async (s) => {
      assert.deepEqual(await s.gate.process.exited, { code: 1, signal: null });
      assert.match(s.gate.process.lines.join("\n"), /callgate cannot start.*backends\.witness.*this instance may not use \\*"local\\*"; list it under `uses` in the configuration/);
    }));

    test("metrics, fd and cache-invalidate: names written into a FIFO get in and stay out again, /metrics counts", () => with_stage(version, { change: (config, dir) => {
      execFileSync("mkfifo", ["-m", "600", path.join(dir, "names.fifo")]);
      config.backends.witness.config.fifo = "names.fifo";
    } }, async (s) => {
      const write = (text) => fs.writeFileSync(path.join(s.dir, "names.fifo"), text);
      assert.equal((await s.login("fifo:bob")).ok, false);
      assert.equal(await s.metric("callgate_plugin_witness_names"), 0);
      write("alice\nbo");
      await s.until_metric("callgate_plugin_witness_names", 1);
      write("b\n");
      await s.until_metric("callgate_plugin_witness_names", 2);
      assert.equal((await s.login("fifo:bob")).ok, true);
      write("-bob\n");
      await s.until_metric("callgate_plugin_witness_names", 1);
      assert.equal((await s.login("fifo:bob")).ok, false, "the very next login");
      assert.equal((await s.login("fifo:alice")).ok, true);
      await s.until_metric("callgate_plugin_witness_logins_total", 4);
      const { body } = await s.gate.get("/metrics");
      assert.match(body, /^# HELP callgate_plugin_witness_logins_total Logins that were asked about\.$/m);
      assert.match(body, /^callgate_plugin_witness_logins_total\{kind="backend",instance="witness"\} 4$/m);
    }));

    test("worker: jobs that sleep delay their own logins and no other", () => with_stage(version, {}, async (s) => {
      const time = 600 * patience;
      const begin = performance.now();
      const took = async (word) => {
        assert.equal((await s.login(word)).ok, true, word);
        return performance.now() - begin;
      };
      const [first, second, other] = await Promise.all([took(`work:${time}`), took(`work:${time}`), took("well:")]);
      assert.ok(first >= time && second >= time, `${first} and ${second} ms`);
      assert.ok(Math.max(first, second) < 2 * time, "the two jobs ran at once");
      assert.ok(other < time, `a login beside them took ${other} ms`);
    }));

    test("a SERIAL plugin that blocks: its logins go one after the other, the shard serves the others meanwhile", () => with_stage(version, {}, async (s) => {
      const time = 500 * patience;
      const begin = performance.now();
      const took = async (word) => {
        assert.equal((await s.login(word)).ok, true, `${word}: two calls at once are refused by the plugin`);
        return performance.now() - begin;
      };
      const [first, second, other] = await Promise.all([took(`block:${time}`), took(`block:${time}`), took("well:")]);
      assert.ok(Math.max(first, second) >= 2 * time, `${first} and ${second} ms`);
      assert.ok(other < time, `a login beside them took ${other} ms`);
    }));
  });
}

// SPDX-License-Identifier: Apache-2.0
// nats/1 in the daemon: a plugin speaks with clients of a real server over a connection of its own, and only when the configuration says so.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { patience } from "../lib/daemon.mjs";
import { versions } from "../lib/nats_server.mjs";
import { callgate } from "../lib/stage.mjs";
import { wire_client } from "../lib/wire.mjs";
import { plug_account, witness_stage } from "../lib/witness.mjs";

async function with_stage(version, options, body) {
  const s = await witness_stage(version, options);
  try {
    await body(s);
  } finally {
    await s.close();
  }
}
const line_of = (dir, part) => fs.readFileSync(path.join(dir, "callgate.yaml"), "utf8").split("\n").findIndex((line) => line.includes(part)) + 1;

for (const version of versions) {
  describe(`nats/1 [${version}]`, () => {
    test("a client asks the plugin and gets its answer with headers; the operator sees the connection and its counters", () => with_stage(version, {}, async (s) => {
      await s.connected();
      const client = await s.client();
      await s.until_settled();
      const received = await s.metric("callgate_instance_nats_received_total"), published = await s.metric("callgate_instance_nats_published_total");
      const answer = await client.request("witness.echo", "hello", { headers: { Trace: "a b" } });
      assert.equal(answer.data.toString(), "hello");
      assert.deepEqual(answer.headers, { Echo: "a b", Lost: "0" });
      assert.equal((await client.request("witness.pool.x", "from the pool")).data.toString(), "from the pool");
      await s.until_metric("callgate_instance_nats_received_total", received + 2);
      await s.until_metric("callgate_instance_nats_published_total", published + 2);
      assert.equal(await s.metric("callgate_instance_nats_slow_total"), 0);
      // One connection more than those of the engine, as its own user, under its own name.
      const system = await wire_client.connect({ port: s.server.port });
      s.clients.push(system);
      assert.equal((await system.login({ user: "sys", pass: "pwd" })).ok, true);
      const { connections } = JSON.parse((await system.request("$SYS.REQ.SERVER.PING.CONNZ", JSON.stringify({ auth: true }))).data).data;
      const plug = connections.filter((c) => c.authorized_user === "plug");
      assert.deepEqual(plug.map((c) => [c.name, c.account]), [["callgate/main/plugin/witness", "APP"]]);
    }));

    test("a login that the plugin asks about over NATS: yes, no, and nobody there", () => with_stage(version, {}, async (s) => {
      await s.connected();
      assert.equal((await s.login("ask:anybody")).ok, false);
      await s.gate.until("the audit line", async () => s.gate.audit().at(-1)?.verdict === "deny");
      assert.equal(s.gate.audit().at(-1).reason_id, "no_directory");
      const directory = await s.client();
      const headers = [];
      directory.subscribe("witness.directory", { callback: (m) => {
        headers.push(m.headers);
        directory.publish(m.reply, m.data.toString() === "alice" ? "yes" : "no");
      } });
      await directory.flush();
      assert.equal((await s.login("ask:alice")).ok, true);
      assert.equal((await s.login("ask:mallory")).ok, false);
      assert.deepEqual(headers, [{ Asks: "witness" }, { Asks: "witness" }]);
      await s.until_metric("callgate_instance_nats_requests_total", 3);
      await s.until_metric("callgate_instance_nats_requests_failed_total", 1);
    }));

    test("a slow plugin loses messages, which are counted, and costs no login", () => with_stage(version, {}, async (s) => {
      await s.connected();
      const client = await s.client();
      for (let i = 0; i < 4_000; i++) client.publish("witness.slow", "x");
      await client.flush();
      const begin = performance.now();
      assert.equal((await s.login("well:")).ok, true);
      assert.ok(performance.now() - begin < 2_000 * patience);
      await s.gate.until("dropped messages", async () => (await s.metric("callgate_instance_nats_slow_total")) > 1_000);
      assert.equal((await client.request("witness.echo", "still here", { timeout: 10_000 * patience })).data.toString(), "still here");
    }));

    test("without `uses` the plugin is refused at the start, which says where and why", () => with_stage(version, { start: false, change: (config) => delete config.backends.witness.uses }, async (s) => {
      assert.deepEqual(await s.gate.process.exited, { code: 1, signal: null });
      const output = s.gate.process.lines.join("\n");
      assert.match(output, new RegExp(`callgate cannot start.*callgate\\.yaml:${line_of(s.dir, '"witness": {')}: backends\\.witness.*nats/main is not under \`uses\` of this instance`));
    }));

    test("a cluster that is not there, or lets no plugin in, is refused by check and start with file, line and key", () => with_stage(version, { start: false,
      change: (config) => (config.backends.witness.uses = ["nats/main", "nats/mian", "keys/locl", "store/main"]) }, async (s) => {
      assert.deepEqual(await s.gate.process.exited, { code: 1, signal: null });
      const checked = await callgate(["check", path.join(s.dir, "callgate.yaml")]);
      assert.notEqual(checked.code, 0);
      for (const output of [s.gate.process.lines.join("\n"), checked.output]) {
        assert.match(output, new RegExp(`callgate\\.yaml:${line_of(s.dir, '"nats/mian"')}: backends\\.witness\\.uses\\[1\\]: nothing is named "mian" under nats:; did you mean nats/main\\?`));
        assert.match(output, new RegExp(`callgate\\.yaml:${line_of(s.dir, '"keys/locl"')}: backends\\.witness\\.uses\\[2\\]: .*did you mean keys/local\\?`));
        assert.match(output, new RegExp(`callgate\\.yaml:${line_of(s.dir, '"store/main"')}: backends\\.witness\\.uses\\[3\\]: nothing is named "main" under stores:`));
      }
      delete s.config.nats[0].plugin_link;
      s.config.backends.witness.uses = ["nats/main"];
      s.rewrite();
      assert.match((await callgate(["check", path.join(s.dir, "callgate.yaml")])).output, /backends\.witness\.uses\[0\]: the cluster "main" has no plugin_link/);
    }));

    test("a new password for the plugins' user is read from its file at the reconnect", () => with_stage(version, {}, async (s) => {
      await s.connected();
      s.file("plug.password", "another-pwd\n");
      await s.server.reload(s.deployment.text.replace(plug_account("plug-pwd"), plug_account("another-pwd")));
      const client = await s.client();
      await s.gate.until("an answer over the new connection", async () => {
        const answer = await client.request("witness.echo", "again", { timeout: 500 }).catch((error) => error);
        return answer.data?.toString() === "again" || String(answer);
      });
      await s.connected();
    }));

    test("a reload keeps the connection of an unchanged instance and replaces that of a changed one", () => with_stage(version, {}, async (s) => {
      await s.connected();
      const client = await s.client();
      const byes = client.subscribe("witness.bye");
      await client.flush();
      assert.equal(await s.gate.reload(), "configuration reloaded");
      assert.equal((await client.request("witness.echo", "1")).data.toString(), "1");
      assert.equal(byes.count, 0);
      s.config.backends.witness.config.generation = 2;
      s.rewrite();
      assert.equal(await s.gate.reload(), "configuration reloaded");
      assert.equal((await byes.next(15_000 * patience)).data.toString(), "witness", "the old one says good-bye when it stops");
      await s.gate.until("the new connection", async () => (await client.request("witness.echo", "2", { timeout: 500 }).catch(() => ({}))).data?.toString() === "2");
      // As another user: also a change of the instance.
      s.file("plug2.password", "plug-pwd\n");
      s.config.nats[0].plugin_link.credentials.password_file = "plug2.password";
      s.rewrite();
      assert.equal(await s.gate.reload(), "configuration reloaded");
      assert.equal((await byes.next(15_000 * patience)).data.toString(), "witness");
    }));
  });
}

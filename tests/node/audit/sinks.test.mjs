// SPDX-License-Identifier: Apache-2.0
// Audit sinks in the daemon: the bundled file, several at once, one that stalls, rotation, a full disk, kill -9, and what a
// module records. A login never waits for a sink.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { daemon, patience, sha256, write_config } from "../lib/daemon.mjs";
import { config_mode } from "../lib/deployment.mjs";
import { login_load } from "../lib/load.mjs";
import { scratch_dir, versions } from "../lib/nats_server.mjs";
import { stage } from "../lib/stage.mjs";

const token = "correct-horse-battery-staple-0123456789";
const users = [{ user: "alice", token_sha256: sha256(token) }];
const credential = { auth_token: token };
const lines_of = (file) => fs.readFileSync(file, "utf8").split("\n").filter(Boolean).map((line) => JSON.parse(line));
// prepare(dir): what must be in the daemon's folder before it starts.
const open_stage = (version, top, prepare = () => {}) => {
  const dir = scratch_dir("callgate-daemon-");
  prepare(dir);
  return stage.open(config_mode({ xkey: true, accounts: "APP {}", timeout: 2 * patience }), { version, folder: { users, top, dir } });
};
const written = (s, sink) => s.gate.metric("callgate_audit_sink_records_total", { sink, outcome: "written" });
const lost = (s, sink) => s.gate.metric("callgate_audit_sink_records_total", { sink, outcome: "lost" });
const long = { timeout: 120_000 * patience };

for (const version of versions) {
  describe(`audit sinks [${version}]`, () => {
    let s;
    before(async () => {
      s = await open_stage(version, { admin: { listen: "unix:admin.sock" } });
    });
    after(() => s?.close());
    const file = () => path.join(s.gate.dir, "audit.jsonl");

    test("one login is one record, through the plugin that audit.path stands for", long, async () => {
      assert.equal((await s.login(credential)).ok, true);
      await s.gate.until("the record", async () => s.gate.audit().length === 1);
      const [line] = s.gate.audit();
      assert.deepEqual([line.event, line.verdict, line.identity, line.account], ["decision", "allow", "alice", "APP"]);
      assert.equal(fs.statSync(file()).mode & 0o7777, 0o600);
      const { instances, audit } = JSON.parse((await s.gate.get("/health")).body);
      assert.deepEqual(instances.filter((i) => i.kind === "audit").map((i) => [i.name, i.plugin, i.state]), [["audit", "audit_file", "ok"]]);
      await s.gate.until("the counter", async () => (await written(s, "audit")) === 1);
      assert.equal(audit.lost, 0);
    });

    test("a module's record is marked with its name and cannot pass for a decision", long, async () => {
      const had = s.gate.audit().length;
      const before_it = s.gate.process.lines.length;
      assert.equal((await s.gate.get("/reload", "POST")).status, 202);
      await s.gate.until("the record", async () => s.gate.audit().length > had);
      const line = s.gate.audit().at(-1);
      assert.deepEqual([line.event, line.instance, line.action, line.outcome, line.verdict], ["plugin", "module/admin", "reload", "asked", undefined]);
      await s.gate.process.line(/configuration reloaded/, { after: before_it });
      assert.match(line.identity, new RegExp(`^unix peer uid ${process.getuid()} pid ${process.pid}$`));
    });

    test("rotation: after SIGHUP the records go to the new file, none is in neither", long, async () => {
      const before_it = s.gate.audit().length;
      fs.renameSync(file(), file() + ".1");
      assert.equal((await s.login(credential)).ok, true);
      await s.gate.until("the record in the renamed file", async () => lines_of(file() + ".1").length === before_it + 1);
      assert.match(await s.gate.reload(), /configuration reloaded/);
      assert.equal((await s.login(credential)).ok, true);
      await s.gate.until("the record in the new file", async () => s.gate.audit().length === 1);
      assert.equal(lines_of(file() + ".1").length, before_it + 1);
      assert.equal(fs.statSync(file()).mode & 0o7777, 0o600);
    });

    test("a reload that names a file nobody can open keeps the old configuration and its file", long, async () => {
      const good = s.gate.config;
      write_config(s.gate.dir, { ...good, audit: { path: "nowhere/audit.jsonl" } });
      assert.match(await s.gate.reload(), /reload failed.*audit_sinks\.audit.*nowhere\/audit\.jsonl: No such file or directory/);
      write_config(s.gate.dir, good);
      const had = s.gate.audit().length;
      assert.equal((await s.login(credential)).ok, true);
      await s.gate.until("the record", async () => s.gate.audit().length === had + 1);
    });

    test("a sink that is added by a reload gets what comes after it, one that is removed has what came before", long, async () => {
      const good = s.gate.config;
      write_config(s.gate.dir, { ...good, audit_sinks: { second: { plugin: "audit_file", config: { path: "second.jsonl", fsync: "always" } } } });
      assert.match(await s.gate.reload(), /configuration reloaded/);
      assert.equal((await s.login(credential)).ok, true);
      const second = path.join(s.gate.dir, "second.jsonl");
      await s.gate.until("the record in both", async () => lines_of(second).length === 1 && lines_of(second)[0].correlation_id === s.gate.audit().at(-1).correlation_id);
      write_config(s.gate.dir, good);
      assert.match(await s.gate.reload(), /configuration reloaded/);
      assert.equal((await s.login(credential)).ok, true);
      const had = s.gate.audit().length;
      await s.gate.until("the record", async () => s.gate.audit().length >= had);
      assert.equal(lines_of(second).length, 1);
    });

    test("SIGTERM: every answered login is in the file when the daemon has ended", long, async () => {
      const load = new login_load({ port: s.server.port, rate: 50, credential: () => credential });
      const had = s.gate.audit().length;
      load.start();
      await s.gate.until("some logins", async () => load.ok >= 50 || load.ok);
      const folder = { dir: s.gate.dir, config: s.gate.config };
      const ended = s.gate.stop("SIGTERM", { keep: true });
      await ended;
      load.running = false;
      clearTimeout(load.timer);
      const kept = lines_of(file());
      const allowed = kept.slice(had).filter((line) => line.verdict === "allow").length;
      assert.ok(allowed >= load.ok, `${load.ok} logins, ${allowed} records`);
      assert.match(s.gate.process.lines.join("\n"), /callgate stopped/);
      s.gate = await daemon.start(folder);
      await Promise.allSettled([...load.pending]);
    });
  });

  test(`a FIFO that nobody reads loses records and no login [${version}]`, long, async (t) => {
    const s = await open_stage(version, { audit: { path: "audit.jsonl", queue: "64KiB" }, audit_sinks: { fifo: { plugin: "audit_file", config: { path: "audit.fifo" } } } },
      (dir) => execFileSync("mkfifo", ["-m", "600", path.join(dir, "audit.fifo")]));
    try {
      let logins = 0;
      const begin = performance.now();
      await s.gate.until("lost records", async () => {
        const round = await Promise.all(Array.from({ length: 20 }, () => s.login(credential)));
        logins += round.length;
        assert.ok(round.every((login) => login.ok), "a login waited for the sink");
        return (await lost(s, "fifo")) > 0;
      }, 60_000);
      t.diagnostic(`${logins} logins in ${Math.round(performance.now() - begin)} ms until pipe and queue were full`);
      await s.gate.until("the stall in /metrics", async () => (await s.gate.metric("callgate_audit_sink_up", { sink: "fifo" })) === 0);
      await s.gate.until("the stall in /health", async () => {
        const { instances, ready } = JSON.parse((await s.gate.get("/health")).body);
        const fifo = instances.find((i) => i.name === "fifo");
        return (ready && fifo.state === "degraded" && fifo.text.startsWith("stalled")) || fifo;
      });
      assert.equal((await s.login(credential)).ok, true);
      ++logins;
      await s.gate.until("every record in the other sink", async () => s.gate.audit().length === logins || s.gate.audit().length);
      assert.equal(await lost(s, "audit"), 0);
      assert.equal(s.gate.process.lines.filter((line) => /audit sink takes no records/.test(line)).length, 1, "said once");
      // A reader comes: what waited arrives, in whole lines, and with what is counted as lost it is everything.
      const reader = fs.openSync(path.join(s.gate.dir, "audit.fifo"), fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
      const buffer = Buffer.alloc(65536);
      let text = "";
      const drain = () => {
        for (;;) {
          try {
            const n = fs.readSync(reader, buffer);
            if (n === 0) return;
            text += buffer.toString("utf8", 0, n);
          } catch (error) {
            if (error.code === "EAGAIN") return;
            throw error;
          }
        }
      };
      await s.gate.until("what waited", async () => {
        drain();
        const got = text.split("\n").length - 1;
        return got + (await lost(s, "fifo")) === logins || got;
      }, 30_000);
      for (const line of text.trim().split("\n")) JSON.parse(line);
      await s.gate.until("well again", async () => (await s.gate.metric("callgate_audit_sink_up", { sink: "fifo" })) === 1);
      fs.closeSync(reader);
    } finally {
      await s.close();
    }
  });

  test(`a full disk: logins go on, the loss is counted and said once; fail_closed lets nobody in [${version}]`, long, async () => {
    const s = await open_stage(version, { audit: { path: "audit.jsonl" }, audit_sinks: { full: { plugin: "audit_file", config: { path: "/dev/full" } } } });
    try {
      for (let i = 0; i < 20; ++i) assert.equal((await s.login(credential)).ok, true);
      await s.gate.until("the fault", async () => (await s.gate.metric("callgate_audit_sink_up", { sink: "full" })) === 0);
      assert.equal(await written(s, "full"), 0);
      assert.equal(s.gate.process.lines.filter((line) => /audit sink takes no records.*No space left/.test(line)).length, 1);
      const good = s.gate.config;
      // Required: the file alone. The full disk is somebody else's.
      write_config(s.gate.dir, { ...good, audit: { path: "audit.jsonl", on_full: "fail_closed", required: ["audit"] } });
      assert.match(await s.gate.reload(), /configuration reloaded/);
      assert.equal((await s.login(credential)).ok, true);
      write_config(s.gate.dir, { ...good, audit: { path: "audit.jsonl", on_full: "fail_closed" } });
      assert.match(await s.gate.reload(), /configuration reloaded/);
      const had = s.gate.audit().length;
      const result = await s.login({ ...credential, timeout: 8_000 * patience });
      assert.equal(result.ok, false, "let in without a record");
      await s.gate.until("the reason", async () => (await s.gate.metric("callgate_dropped_total", { reason: "audit_full" })) >= 1);
      assert.equal(s.gate.audit().slice(had).filter((line) => line.verdict === "allow").length, 0, "a record of a login that was none");
    } finally {
      await s.close();
    }
  });

  test(`kill -9 leaves whole lines, and the next daemon goes on behind them [${version}]`, long, async () => {
    const s = await open_stage(version, {});
    try {
      const load = new login_load({ port: s.server.port, rate: 100, credential: () => credential });
      load.start();
      await s.gate.until("some logins", async () => load.ok >= 100 || load.ok);
      const folder = { dir: s.gate.dir, config: s.gate.config };
      const answered = load.ok;
      await s.gate.stop("SIGKILL", { keep: true });
      load.running = false;
      clearTimeout(load.timer);
      const file = path.join(folder.dir, "audit.jsonl");
      const text = fs.readFileSync(file, "utf8");
      assert.ok(text.endsWith("\n"), `torn at the end: ${text.slice(-80)}`);
      const records = text.trim().split("\n").map((line) => JSON.parse(line)).length;
      // What was answered in the last moments may still have been in the queue; everything before is the kernel's.
      assert.ok(records >= answered - 20, `${answered} logins, ${records} records`);
      await Promise.allSettled([...load.pending]);
      s.gate = await daemon.start(folder);
      assert.equal((await s.login(credential)).ok, true);
      await s.gate.until("the next record", async () => s.gate.audit().length > records);
    } finally {
      await s.close();
    }
  });
}

// SPDX-License-Identifier: Apache-2.0
// callgate-load with real connections: steady, storm and hold against the daemon behind both servers, and what it says about
// logins that fail. No figure is judged.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { config_mode } from "../lib/deployment.mjs";
import { new_user } from "../lib/identity.mjs";
import { nats_server, versions } from "../lib/nats_server.mjs";
import { callgate_load, callout_stage, finish } from "./broker.mjs";

for (const version of versions) {
  describe(`clients and hold [${version}]`, () => {
    let s;
    before(async () => (s = await callout_stage({ version, xkey: true, timeout: 10 })));
    after(() => s?.close());
    const load = (mode, ...args) => callgate_load([mode, ...s.client_args, ...args]);

    test("closed loop: every login is in", async () => {
      const { code, result, output } = await load("clients", "--in-flight", "8", "--count", "60", "--timeout", "20");
      assert.equal(code, 0, output);
      assert.deepEqual(result.counts, { started: 60, in: 60, failed: 0, unfinished: 0, failures: {} }, output);
      assert.equal(result.latency.count, 60);
      assert.ok(result.latency.p50_ms <= result.latency.max_ms);
      assert.equal(result.interval.reduce((sum, row) => sum + row.in, 0), 60);
    });

    test("open loop", async () => {
      const { code, result, output } = await load("clients", "--rate", "40", "--duration", "2", "--timeout", "20");
      assert.equal(code, 0, output);
      assert.deepEqual([result.counts.started, result.counts.in, result.load.rate_from], [80, 80, 40], output);
    });

    test("storm: all in at the first attempt", async () => {
      const { code, result, output } = await load("clients", "--storm", "80", "--timeout", "20");
      assert.equal(code, 0, output);
      assert.deepEqual([result.storm.in, result.storm.closed, result.storm.attempts], [80, 0, 80], output);
      assert.ok(result.storm.t50_ms <= result.storm.t100_ms);
    });

    test("hold: all are kicked and all come back", async () => {
      const had = await s.gate.metric("callgate_replies_total");
      const { code, result, output } = await load("hold", "--clients", "40", "--connect-rate", "200", "--kick-after", "0.05", "--timeout", "20");
      assert.equal(code, 0, output);
      const { held, lost, in: back, closed, t50_ms, t100_ms } = result.recovery;
      assert.deepEqual([held, lost, back, closed], [40, 40, 40, 0], output);
      assert.ok(t50_ms >= 2000 && t50_ms <= t100_ms, "nats.go waits two seconds before it tries");
      assert.equal((await s.gate.metric("callgate_replies_total")) - had, 80);
    });

    test("hold: a signal kicks", async () => {
      const { code, result, output } = await callgate_load(["hold", ...s.client_args, "--clients", "20", "--library", "nats.js", "--timeout", "20"], {
        started: async (child) => {
          await child.line(/^holding 20 connections$/, { timeout: 30_000 });
          child.signal("SIGUSR1");
        } });
      assert.equal(code, 0, output);
      assert.deepEqual([result.recovery.lost, result.recovery.in], [20, 20], output);
    });

    test("wrong credentials: each client is closed after its second violation, and the text is told", async () => {
      const args = s.client_args.with(s.client_args.indexOf("--credentials") + 1, s.credentials_of(["token nobody-has-this-token-0000000000"]));
      const once = await callgate_load(["clients", ...args, "--storm", "5", "--once", "--timeout", "20"]);
      assert.equal(once.code, 0, once.output);
      assert.deepEqual(once.result.counts, { started: 5, in: 0, failed: 5, unfinished: 0, failures: { "Authorization Violation": 5 } }, once.output);
      const retried = await callgate_load(["clients", ...args, "--storm", "5", "--timeout", "20"]);
      assert.deepEqual([retried.result.storm.in, retried.result.storm.closed, retried.result.storm.attempts], [0, 5, 10], retried.output);
    });
  });
}

describe("clients without a callout", () => {
  const nkey = new_user();
  let s;
  before(async () => {
    const server = await nats_server.start({ version: "2.15.1", config: `authorization { users: [ {user: bob, password: "a b"}, {nkey: ${nkey.public}} ] }` });
    s = finish({ deployment: config_mode(), server, lines: ["user bob a b", `nkey ${nkey.seed}`] });
  });
  after(() => s?.close());

  test("password and nkey", async () => {
    const { code, result, output } = await callgate_load(["clients", ...s.client_args, "--in-flight", "2", "--count", "10"]);
    assert.equal(code, 0, output);
    assert.deepEqual([result.counts.in, result.counts.failed], [10, 0], output);
  });

  test("runs end although their last login and the end of an interval come together", async () => {
    // The timer's handler was queued already and went on for ever; four of thirty such runs hung.
    const runs = await Promise.all(Array.from({ length: 15 }, () => callgate_load(["hold", ...s.client_args, "--clients", "10", "--connect-rate", "100000",
      "--kick-after", "0.001", "--library", "nats.js", "--interval", "0.01"], { timeout: 30_000 })));
    assert.deepEqual(runs.map(({ code }) => code), runs.map(() => 0));
  });

  test("nobody listens: the system's words, and the run ends", async () => {
    const { code, result, output } = await callgate_load(["clients", ...s.client_args.with(1, "nats://127.0.0.1:1"), "--in-flight", "2", "--count", "4"]);
    assert.equal(code, 0, output);
    assert.deepEqual(result.counts.failures, { "connect: Connection refused": 4 }, output);
  });

  test("connections that the server ends are lost and come back", async () => {
    const { code, result, output } = await callgate_load(["hold", ...s.client_args, "--clients", "6", "--connect-rate", "500"], {
      started: async (child) => {
        await child.line(/^holding 6 connections$/, { timeout: 30_000 });
        // A user that is no more is closed.
        await s.server.reload(`authorization { users: [ {user: eve, password: "x"} ] }`);
        await s.server.reload(`authorization { users: [ {user: bob, password: "a b"}, {nkey: ${nkey.public}} ] }`);
      } });
    assert.equal(code, 0, output);
    assert.equal(result.recovery.in, 6, output);
    assert.equal(result.recovery.lost, 6, output);
  });
});

// SPDX-License-Identifier: Apache-2.0
// callgate-load as it stands against the real daemon on both servers: every mode ends, its counts add up, and the JSON says what was
// asked for. No figure is judged: how fast it went is no test.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { versions } from "../lib/nats_server.mjs";
import { callgate_load, daemon_stage } from "./broker.mjs";

const percentiles = ["min_ms", "p50_ms", "p90_ms", "p99_ms", "p99_9_ms", "max_ms"];
function check_latency(latency, count) {
  assert.equal(latency.count, count);
  for (let i = 1; i < percentiles.length; i++) {
    assert.ok(latency[percentiles[i - 1]] <= latency[percentiles[i]], `${percentiles[i - 1]} <= ${percentiles[i]}: ${JSON.stringify(latency)}`);
  }
}
const sum = (rows, member) => rows.reduce((total, row) => total + row[member], 0);

// All were answered, rightly and once.
function check_clean({ code, output, result }, sent) {
  assert.equal(code, 0, output);
  const { counts } = result;
  const { invalid_reasons, denied_reasons, ...numbers } = counts;
  assert.deepEqual(numbers, { sent, replied: sent, late: 0, unanswered: 0, doubled: 0, stray: 0, allowed: sent, denied: 0, invalid: 0, verified: sent }, output);
  assert.deepEqual([invalid_reasons, denied_reasons], [{}, {}]);
  check_latency(result.latency, sent);
  assert.equal(sum(result.interval, "sent"), sent);
  assert.equal(sum(result.interval, "replied"), sent);
  assert.equal(result.interval.at(-1).in_flight, 0);
}

for (const version of versions) {
  for (const xkey of [false, true]) {
    describe(`peer, ${xkey ? "sealed" : "plain"} [${version}]`, () => {
      let s;
      before(async () => (s = await daemon_stage({ version, xkey })));
      after(() => s?.close());
      const peer = (...args) => callgate_load(["peer", ...s.peer_args, "--account", "APP", ...args]);

      test("closed loop: as many as asked for, all verified, and nothing of the warm-up counts", async () => {
        const had = await s.gate.metric("callgate_replies_total");
        const run = await peer("--in-flight", "32", "--count", "300", "--warm-up", "20");
        check_clean(run, 300);
        assert.equal((await s.gate.metric("callgate_replies_total")) - had, 320);
        const { load, cpu, machine } = run.result;
        assert.deepEqual([load.loop, load.in_flight, load.sealed, load.nats_server], ["closed", 32, xkey, version]);
        assert.deepEqual(cpu.map(({ name }) => name), ["service", "nats-server", "generator"]);
        for (const row of cpu) assert.ok(row.cpu_ms > 0 && row.us_per_callout > 0, JSON.stringify(row));
        assert.ok(machine.processor.length > 0);
        assert.ok(!machine.command.includes("pwd"), "the broker's password is not in the report");
      });

      test("several servers over several connections, one request at a time", async () => {
        const run = await peer("--in-flight", "1", "--count", "60", "--servers", "5", "--connections", "3");
        check_clean(run, 60);
        assert.deepEqual([run.result.load.servers, run.result.load.connections], [5, 3]);
      });

      test("open loop: rate times duration, each with the times a server would write", async () => {
        const run = await peer("--rate", "100", "--duration", "2");
        check_clean(run, 200);
        assert.equal(run.result.interval[0].offered_per_s, 100);
        assert.equal(typeof run.result.load.most_backlog_ms, "number");
        assert.equal(run.result.load.stopped_at_rate, null);
      });

      test("ramp: the area under its line", async () => {
        const run = await peer("--ramp", "20..180", "--duration", "2");
        check_clean(run, 200);
        assert.ok(run.result.interval[1].sent > run.result.interval[0].sent);
      });

      test("storm: all in, none closed", async () => {
        const run = await peer("--storm", "200", "--interval", "0.05", "--auth-timeout", "20");
        check_clean(run, 200);
        const { storm } = run.result;
        assert.deepEqual([storm.clients, storm.in, storm.closed, storm.still_trying, storm.attempts], [200, 200, 0, 0, 200]);
        assert.ok(storm.t50_ms <= storm.t99_ms && storm.t99_ms <= storm.t100_ms);
        assert.equal(sum(run.result.interval, "in"), 200);
      });

      test("stops offering once the backlog is as large as was said", async () => {
        const { code, result, output } = await peer("--ramp", "10..20000", "--duration", "4", "--stop-at-backlog", "1", "--auth-timeout", "20");
        assert.equal(code, 0, output);
        assert.ok(result.load.stopped_at_rate > 10, output);
        assert.ok(result.counts.sent < 40_000);
        assert.equal(result.counts.replied, result.counts.sent);
      });
    });
  }
}

describe("peer, what is no service's fault", () => {
  let s;
  before(async () => (s = await daemon_stage()));
  after(() => s?.close());
  const peer = (...args) => callgate_load(["peer", ...args]);

  test("a request for another issuer is never answered: unanswered, and the run ends", async () => {
    const { code, result, output } = await peer(...s.peer_args.with(s.peer_args.indexOf("--issuer") + 1, "AAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3QPZV"),
      "--in-flight", "4", "--count", "8", "--give-up", "0.2");
    assert.equal(code, 0, output);
    assert.deepEqual([result.counts.sent, result.counts.unanswered, result.counts.replied], [8, 8, 0]);
  });

  test("wrong credentials are denials, not faults", async () => {
    const args = s.peer_args.with(s.peer_args.indexOf("--credentials") + 1, s.credentials_of(["token not-one-that-the-daemon-knows-of-0000"]));
    const { code, result, output } = await peer(...args, "--in-flight", "4", "--count", "20");
    assert.equal(code, 0, output);
    assert.deepEqual([result.counts.denied, result.counts.allowed, result.counts.invalid], [20, 0, 0]);
    assert.deepEqual(result.counts.denied_reasons, { "authorization denied": 20 });
  });

  for (const [what, args, says] of [
    ["no load", [], /exactly one of --in-flight, --rate, --ramp and --storm/],
    ["two loads", ["--in-flight", "1", "--rate", "5"], /exactly one of/],
    ["a ramp of one rate", ["--ramp", "5"], /--ramp FROM\.\.TO/],
    ["a process that is not there", ["--in-flight", "1", "--pid", "x=999999999"], /no such process/],
    ["more connections than servers", ["--in-flight", "1", "--connections", "2"], /at most one for each/],
    ["a processor that is not there", ["--in-flight", "1", "--count", "1", "--cpu", "1000"], /--cpu 1000/],
  ]) {
    test(`${what}: refused with a sentence`, async () => {
      const { code, output } = await peer(...s.peer_args, ...args);
      assert.equal(code, 2, output);
      assert.match(output, says);
    });
  }

  test("a broker that refuses or is not there", async () => {
    const refused = await peer(...s.peer_args.with(1, s.peer_args[1].replace("pwd", "wrong-word")), "--in-flight", "1");
    assert.equal(refused.code, 2);
    assert.match(refused.output, /refused the generator: Authorization Violation/);
    assert.doesNotMatch(refused.output, /wrong-word/);
    const nobody = await peer(...s.peer_args.with(1, "nats://127.0.0.1:1"), "--in-flight", "1");
    assert.equal(nobody.code, 2);
    assert.match(nobody.output, /127\.0\.0\.1:1: Connection refused/);
  });
});

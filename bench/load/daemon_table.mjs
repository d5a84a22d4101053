// SPDX-License-Identifier: Apache-2.0
// The daemon alone under callgate-load peer: plain and with xkey, 1, 64 and 512 in flight. The daemon has processor 0, nats-server
// and generator share processor 1. Rounds are interleaved, the table shows medians.
//   CALLGATE_BIN=build/release/bin/callgate build/deps/bin/node bench/load/daemon_table.mjs [rounds]
import { execFileSync } from "node:child_process";
import { callgate_load, daemon_stage } from "../../tests/node/load/broker.mjs";

const rounds = Number(process.argv[2] ?? 5);
const widths = [[1, 2_000], [64, 10_000], [512, 10_000]];
const pin = (cpu, pid) => execFileSync("taskset", ["-acp", String(cpu), String(pid)]);
const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

const rows = new Map();
let machine, nats_server;
const stages = [["plain", await daemon_stage({ xkey: false, user_count: 200 })], ["xkey", await daemon_stage({ xkey: true, user_count: 200 })]];
try {
  for (const [, { gate, server }] of stages) {
    pin(0, gate.pid);
    pin(1, server.process.child.pid);
  }
  for (let round = 0; round < rounds; round++) {
    for (const [mode, stage] of stages) {
      for (const [width, count] of widths) {
        const { code, output, result } = await callgate_load(["peer", ...stage.peer_args, "--account", "APP", "--in-flight", String(width), "--count", String(count),
          "--warm-up", "500", "--duration", "30", "--cpu", "1"]);
        if (code !== 0 || result.counts.allowed !== count) throw new Error(`a run that does not count: ${output}`);
        const key = `${mode} ${width}`;
        if (!rows.has(key)) rows.set(key, []);
        rows.get(key).push(result);
        ({ machine } = result);
        nats_server = result.load.nats_server;
      }
    }
  }
} finally {
  for (const [, stage] of stages) await stage.close();
}

console.log(`${machine.processor}, ${machine.processors} processors, ${machine.kernel}, ${machine.time.slice(0, 10)}; callgate ${machine.version}, nats-server ${nats_server}; medians of ${rounds} rounds`);
console.log("| request | in flight | callouts/s | p50 ms | p99 ms | p99.9 ms | service µs | (range) | callouts/s/core | nats-server µs | generator µs |");
console.log("|---|---|---|---|---|---|---|---|---|---|---|");
for (const [key, results] of rows) {
  const [mode, width] = key.split(" ");
  const of = (take) => median(results.map(take));
  const cpu = (name) => results.map((r) => r.cpu.find((row) => row.name === name).us_per_callout);
  const service = cpu("service"), us = (values) => median(values).toFixed(1);
  console.log(`| ${mode} | ${width} | ${of((r) => r.load.callouts_per_s)} | ${of((r) => r.latency.p50_ms)} | ${of((r) => r.latency.p99_ms)} | ${of((r) => r.latency.p99_9_ms)} | ${us(service)} | ${
    Math.min(...service).toFixed(0)}-${Math.max(...service).toFixed(0)} | ${Math.round(1e6 / median(service))} | ${us(cpu("nats-server"))} | ${us(cpu("generator"))} |`);
}

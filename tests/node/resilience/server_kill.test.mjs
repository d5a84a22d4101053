// SPDX-License-Identifier: Apache-2.0
// nats-server killed -9 ten times under load: back in service soon after its port accepts, and nothing leaks.
import assert from "node:assert/strict";
import fs from "node:fs";
import net from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { test } from "node:test";
import { daemon, patience, preset, sha256, write_folder } from "../lib/daemon.mjs";
import { config_mode } from "../lib/deployment.mjs";
import { login_load } from "../lib/load.mjs";
import { nats_server, server_binary, versions } from "../lib/nats_server.mjs";
import { child_process } from "../lib/process.mjs";

const token = "correct-horse-battery-staple-0123456789";
const kills = 10;

async function accepting(port) {
  for (;;) {
    const open = await new Promise((resolve) => {
      const socket = net.connect({ port, host: "127.0.0.1" }, () => (socket.destroy(), resolve(true)));
      socket.on("error", () => resolve(false));
    });
    if (open) return performance.now();
    await pause(2);
  }
}

const descriptors = (pid) => fs.readdirSync(`/proc/${pid}/fd`).length;
const resident_kib = (pid) => Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, "utf8"))[1]);

for (const version of versions) {
  test(`nats-server killed -9 ${kills} times under load [${version}]: serving again within 2 s of its port accepting, no descriptor and no memory lost`,
    { timeout: 180_000 * patience }, async (t) => {
      const deployment = config_mode({ xkey: true, accounts: "APP {}", timeout: 2 });
      const server = await nats_server.start({ version, config: deployment.text });
      server.write_config(deployment.text);
      const gate = await daemon.start(write_folder(deployment, { server, users: [{ user: "alice", token_sha256: sha256(token) }] }));
      const samples = [];
      const waits = [];
      try {
        for (let kill = 1; kill <= kills; kill++) {
          const load = new login_load({ port: server.port, rate: 200 / patience, credential: () => ({ auth_token: token }) });
          load.start();
          await pause(400);
          server.process.signal("SIGKILL");
          await server.process.exited;
          server.process = new child_process(server_binary(version), ["-c", server.config_file], { cwd: server.dir });
          const open_at = await accepting(server.port);
          const seen = load.ok;
          while (load.ok === seen && performance.now() - open_at < 10_000 * patience) await pause(5);
          waits.push(Math.round(load.last_ok - open_at));
          assert.ok(load.ok > seen, `kill ${kill}: no login succeeded within 10 s`);
          await load.stop();
          // Sample at rest: every link up, nothing in flight.
          await gate.until("all links up", async () => {
            const { links } = JSON.parse((await gate.get("/health")).body);
            return links.every((link) => link.connected) || links;
          });
          await gate.until("same descriptors twice", async () => {
            const one = descriptors(gate.pid);
            await pause(100);
            return descriptors(gate.pid) === one || one;
          });
          samples.push({ descriptors: descriptors(gate.pid), resident_kib: resident_kib(gate.pid) });
        }
        t.diagnostic(`ms from port open to first login: ${waits.join(" ")}; descriptors: ${samples.map((s) => s.descriptors).join(" ")}; resident KiB: ${samples.map((s) => s.resident_kib).join(" ")}`);
        assert.ok(Math.max(...waits) <= 2000 * patience, `serving again took ${Math.max(...waits)} ms`);
        assert.equal(samples[kills - 1].descriptors, samples[1].descriptors, "descriptors after kill 10 and after kill 2");
        // A sanitizer's own bookkeeping grows with everything ever allocated; only the plain build can show this.
        if (preset === "release") assert.ok(samples[kills - 1].resident_kib - samples[1].resident_kib <= 1024, "resident memory grew by more than 1 MiB");
      } finally {
        await gate.stop();
        await server.stop();
      }
    });
}

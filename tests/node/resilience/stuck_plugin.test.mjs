// SPDX-License-Identifier: Apache-2.0
// Plugins that do not do their part in the daemon's life (engine/host/test_plugins/backend.c): one whose drain and stop never
// complete cannot hold up the end, one that refuses a shard is not taken into use and says so.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { test } from "node:test";
import { callgate_binary, daemon, patience, sha256, write_config, write_folder } from "../lib/daemon.mjs";
import { config_mode } from "../lib/deployment.mjs";
import { login_load } from "../lib/load.mjs";
import { nats_server, versions } from "../lib/nats_server.mjs";
import { wire_client } from "../lib/wire.mjs";

const build = path.resolve(path.dirname(callgate_binary), "..");
const directories = [path.join(build, "plugins.d"), path.join(build, "engine/host/test_plugins")];
if (!fs.existsSync(path.join(directories[1], "callgate_good.so"))) throw new Error(`no test plugins in ${directories[1]}: build host_test_plugins`);

const token = "correct-horse-battery-staple-0123456789";
const users = [{ user: "alice", token_sha256: sha256(token) }];
// What retirement gives drain and stop each (engine/runtime/supervisor.cpp); both are used up here.
const step_limit_ms = 5_000;

const with_backend = (config, name, behaviour) => ({ ...config, backends: { ...config.backends, [name]: { plugin: "good", config: { behaviour } } } });

async function scene(version, body) {
  const deployment = config_mode({ xkey: true, accounts: "APP {}", timeout: 2 });
  const server = await nats_server.start({ version, config: deployment.text });
  const gates = [];
  const start = async (behaviours, options) => {
    const folder = write_folder(deployment, { server, users, top: { plugins: { directories } } });
    for (const [name, behaviour] of Object.entries(behaviours)) folder.config = with_backend(folder.config, name, behaviour);
    write_config(folder.dir, folder.config);
    const gate = await daemon.start(folder, options);
    gates.push(gate);
    return gate;
  };
  const login = async () => {
    const client = await wire_client.connect({ port: server.port });
    const result = await client.login({ auth_token: token });
    await client.close();
    return result.ok;
  };
  try {
    await body({ server, start, login });
  } finally {
    // Not with SIGTERM: that is what these cases are about, and it must not hide their own failure.
    for (const gate of gates) await gate.stop("SIGKILL");
    await server.stop();
  }
}

for (const version of versions) {
  test(`a plugin that never drains and never stops [${version}]: SIGTERM ends the daemon in bounded time, naming the instance`, { timeout: 60_000 * patience }, (t) =>
    scene(version, async ({ start, login }) => {
      const gate = await start({ molasses: "hang" });
      assert.equal(await login(), true);
      const begin = performance.now();
      gate.process.signal("SIGTERM");
      const status = await gate.process.exited;
      const ms = performance.now() - begin;
      t.diagnostic(`ended after ${Math.round(ms)} ms with ${JSON.stringify(status)}`);
      assert.deepEqual(status, { code: 0, signal: null }, "every client was answered: the warning says what was not well");
      assert.ok(ms >= 2 * step_limit_ms - 100, "drain and stop were not given their time");
      assert.ok(ms < 2 * step_limit_ms + 5_000 * patience, `took ${ms} ms`);
      const output = gate.process.lines.join("\n");
      assert.match(output, /plugin instance did not drain.*molasses.*did not answer within 5000 ms/);
      assert.match(output, /plugin instance did not end cleanly.*molasses.*stop: did not answer within 5000 ms/);
      assert.match(output, /callgate stopped/);
      assert.ok(!/did not end cleanly.*instance"?[=:]"?(users|local)\b/.test(output), "instances that stopped are blamed as well");
      assert.deepEqual(gate.audit().map((line) => line.verdict), ["allow"], "the audit was not written out");
    }));

  test(`the same and a second SIGTERM [${version}]: ends at once`, { timeout: 60_000 * patience }, () =>
    scene(version, async ({ start }) => {
      const gate = await start({ molasses: "hang" });
      gate.process.signal("SIGTERM");
      await gate.process.line(/draining/);
      const begin = performance.now();
      gate.process.signal("SIGTERM");
      assert.deepEqual(await gate.process.exited, { code: 1, signal: null });
      assert.ok(performance.now() - begin < 0.8 * step_limit_ms);
    }));

  test(`a plugin that refuses a shard [${version}]: the start fails and says which, where and why`, { timeout: 60_000 * patience }, () =>
    scene(version, async ({ start, login }) => {
      const gate = await start({ shy: "refuse_shard" }, { wait: false });
      assert.deepEqual(await gate.process.exited, { code: 1, signal: null });
      const at = fs.readFileSync(path.join(gate.dir, "callgate.yaml"), "utf8").split("\n").findIndex((line) => line.includes('"shy"')) + 1;
      const output = gate.process.lines.join("\n");
      assert.match(output, new RegExp(`callgate cannot start.*callgate\\.yaml:${at}: backends\\.shy`));
      assert.match(output, /refuses shard 0: plugin instance \\*"shy\\*" \(org\.callgate\.test\.backend\): shard_attach: failed with CG_E_UNAVAILABLE/);
      assert.ok(!/did not end cleanly/.test(output), "what had been started was not ended");
      assert.equal(await login(), false);
    }));

  test(`a reload with a plugin that refuses a shard [${version}]: the old configuration stays, logins go on, nothing is left behind`, { timeout: 60_000 * patience }, (t) =>
    scene(version, async ({ server, start }) => {
      const gate = await start({});
      const load = new login_load({ port: server.port, rate: 100 / patience, credential: () => ({ auth_token: token }) });
      try {
        load.start();
        for (let round = 1; round <= 2; round++) {
          write_config(gate.dir, with_backend(gate.config, "shy", "refuse_shard"));
          const line = await gate.reload();
          assert.match(line, /^reload failed; the old configuration stays in use/);
          assert.match(line, /backends\.shy/);
          assert.match(line, /refuses shard 0: plugin instance \\*"shy\\*" \(org\.callgate\.test\.backend\): shard_attach: failed with CG_E_UNAVAILABLE/);
          assert.equal(await gate.metric("callgate_config_generation"), 1);
          assert.equal(await gate.metric("callgate_reloads_total", { outcome: "failed" }), round);
        }
        const before = load.ok;
        await pause(700);
        assert.ok(load.ok > before, "no login after the refused reload");
        // The same plugin behaves: it was not the library that is refused.
        write_config(gate.dir, with_backend(gate.config, "shy", "well"));
        assert.equal(await gate.reload(), "configuration reloaded");
        await load.stop();
        t.diagnostic(`${load.started} logins, ${load.ok} in`);
        assert.deepEqual(load.failures, []);
        gate.process.signal("SIGTERM");
        assert.deepEqual(await gate.process.exited, { code: 0, signal: null });
        assert.ok(!/did not end cleanly|not stopped/.test(gate.process.lines.join("\n")), "an instance was left behind");
      } finally {
        await load.stop();
      }
    }));
}

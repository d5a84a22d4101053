// SPDX-License-Identifier: Apache-2.0
// Plugins that misbehave while requests are with them (engine/host/test_plugins/: backend.c does what the token says, throws_raw.cpp
// throws through the C interface; tests/plugins/throws.cpp throws into the SDK): what the client of that request gets, what all the others get, and what /metrics and /health say of it. Each client is
// known to a second backend as well, so that the chain can go on; on a route without it the client is never told no.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { callgate_binary, patience, sha256, write_config } from "../lib/daemon.mjs";
import { config_mode } from "../lib/deployment.mjs";
import { versions } from "../lib/nats_server.mjs";
import { stage } from "../lib/stage.mjs";

const build = path.resolve(path.dirname(callgate_binary), "..");
const directories = [path.join(build, "plugins.d"), path.join(build, "engine/host/test_plugins"), path.join(build, "tests/plugins")];
for (const [at, file, target] of [[1, "callgate_throws_raw.so", "host_test_plugins"], [2, "callgate_throws.so", "plugin_throws"]]) {
  if (!fs.existsSync(path.join(directories[at], file))) throw new Error(`no ${file} in ${directories[at]}: build ${target}`);
}

const server_timeout = 2 * patience;
const budget_ms = 300;
const tokens = ["sync", "never", "late", "error", "throw", "throw_int"];
const users = tokens.map((token) => ({ user: `${token.replace("_", "-")}-user`, token_sha256: sha256(token) }));
const chains = { next: [{ backend: "odd", on_unavailable: "next" }, "users"], alone: ["odd"] };
const routes = (chain) => [{ name: "all", credential: ["auth_token"], chain: chains[chain] }];
const policy = { rules: [{ name: "all", when: { backend: { in: ["odd", "users"] } }, grant: { account: "APP", pub: { allow: ["app.>"] }, ttl: "10m" } }] };

// limits: more keys of the instance `odd`.
async function scene(version, limits, body, plugin = "good") {
  const s = await stage.open(config_mode({ xkey: true, accounts: "APP {}", timeout: server_timeout }), { version,
    folder: { users, policy, routes: routes("next"), backends: { odd: { plugin, timeout: `${budget_ms}ms`, ...limits } }, top: { plugins: { directories } } } });
  const odd = { kind: "backend", instance: "odd" };
  const own = {
    gate: s.gate,
    login: (token) => s.login({ auth_token: token }),
    // {by: the backend that let in, ms}; fails when the client was refused.
    async entry(token) {
      const had = s.gate.audit().length;
      const result = await s.login({ auth_token: token });
      assert.equal(result.ok, true, `${token}: ${result.error}\n${s.gate.process.lines.slice(-5).join("\n")}`);
      await s.gate.until("an audit line", async () => s.gate.audit().length > had);
      const lines = s.gate.audit().slice(had);
      assert.equal(lines.length, 1, "one decision for one login");
      return { by: lines[0].backend, ms: result.ms };
    },
    metric: (name, labels = {}) => s.gate.metric(`callgate_${name}`, { ...odd, ...labels }),
    until: (name, value, labels = {}) => s.gate.until(`${name} = ${value}`, async () => {
      const now = await s.gate.metric(`callgate_${name}`, { ...odd, ...labels });
      return now === value || now;
    }),
    async health() {
      return JSON.parse((await s.gate.get("/health")).body).instances.find((one) => one.name === "odd" && one.kind === "backend");
    },
    // From now on nobody else is asked. The instance stays, with all that it owes.
    async alone() {
      write_config(s.gate.dir, { ...s.gate.config, routes: routes("alone") });
      assert.equal(await s.gate.reload(), "configuration reloaded");
    },
    // Not decided: no -ERR, a late end, and the audit says why.
    async undecided(token, reason_id) {
      const had = s.gate.audit().length;
      const result = await s.login({ auth_token: token });
      assert.equal(result.ok, false);
      assert.equal(result.error, null, "the client was told something");
      assert.ok(result.ms >= 0.75 * server_timeout * 1000, `ended after ${result.ms} ms: too early for a client that may come again`);
      await s.gate.until("an audit line", async () => s.gate.audit().length > had);
      const line = s.gate.audit().at(-1);
      assert.deepEqual([line.verdict, line.reason_id], ["unavailable", reason_id]);
    },
  };
  try {
    await body(own);
    assert.equal(s.gate.process.status ?? null, null, "the daemon ended");
  } finally {
    await s.close();
  }
}

const options = { timeout: 60_000 * patience };
const never_open = { failures: 100_000 };

for (const version of versions) {
  test(`in-flight cap reached [${version}]: the chain goes on at once, alone the client is kicked late; the slots stay counted`, options, () =>
    scene(version, { max_in_flight: 2, overdue: { max: 2 }, breaker: never_open }, async (s) => {
      const slow = await Promise.all([s.login("never"), s.login("never")]);
      for (const one of slow) {
        assert.equal(one.ok, true, "the next backend was not asked");
        assert.ok(one.ms >= budget_ms, "its time was not given to it");
      }
      await s.until("operations_owed", 2);
      assert.equal(await s.metric("operations_in_flight"), 2);
      assert.equal(await s.metric("operations_in_flight_limit"), 2);
      const { by, ms } = await s.entry("sync");
      assert.equal(by, "users");
      assert.ok(ms < budget_ms * patience, `${ms} ms: the cap is no reason to wait`);
      await s.until("operations_refused_total", 1, { reason: "busy" });
      assert.equal((await s.health()).state, "down");
      assert.match((await s.health()).text, /^owes 2 overdue completions/);
      await s.alone();
      await s.undecided("sync", "backend_busy");
      assert.equal(await s.metric("breaker_state"), 0);
    }));

  test(`time budget exceeded and a late completion [${version}]: the chain goes on, the late answer is ignored and counted`, options, () =>
    scene(version, { breaker: never_open }, async (s) => {
      const { by, ms } = await s.entry("late");
      assert.equal(by, "users");
      assert.ok(ms >= budget_ms, `${ms} ms: less than its time`);
      await s.until("operations_late_total", 1);
      assert.equal(await s.metric("operations_overdue_total"), 1);
      assert.equal(await s.metric("operations_owed"), 0, "it has been completed");
      assert.equal(await s.metric("operations_in_flight"), 0);
      assert.equal(await s.metric("plugin_faults_total"), 0, "late is no breach");
      await s.alone();
      await s.undecided("late", "backend_timeout");
      await s.until("operations_late_total", 2);
      assert.equal((await s.entry("sync")).by, "odd");
    }));

  test(`breaker open [${version}]: refused at once, the plugin is left alone, a probe brings it back`, options, () =>
    scene(version, { breaker: { failures: 3, pause: "1s", longest_pause: "1s" } }, async (s) => {
      for (let n = 0; n < 3; n++) assert.equal((await s.entry("error")).by, "users");
      await s.until("breaker_state", 2);
      assert.equal(await s.metric("breaker_opened_total"), 1);
      await s.until("operations_failed_total", 3);
      assert.deepEqual([(await s.health()).state, (await s.health()).breaker], ["degraded", "open"]);
      // A probe may come between; every other one is refused without the plugin.
      let asked = 3;
      await s.gate.until("a refusal", async () => (asked++, (await s.entry("error")).by === "users" && (await s.metric("operations_refused_total", { reason: "breaker" })) > 0));
      await s.gate.until("each counted once", async () => (await s.metric("operations_failed_total")) + (await s.metric("operations_refused_total")) === asked);
      await s.gate.until("service by the plugin", async () => (await s.entry("sync")).by === "odd");
      await s.until("breaker_state", 0);
      assert.equal((await s.entry("sync")).by, "odd");
    }));

  test(`breaker open and no other backend [${version}]: the client is kicked late, not denied`, options, () =>
    scene(version, { breaker: { failures: 1, pause: "30s" } }, async (s) => {
      await s.alone();
      await s.undecided("error", "backend_error");
      await s.undecided("sync", "backend_unavailable");
      await s.until("operations_refused_total", 1, { reason: "breaker" });
      assert.equal(await s.metric("operations_failed_total"), 1, "the plugin was asked once");
    }));

  test(`a plugin that never completes [${version}]: the watchdog opens its breaker and says down; others log in; a probe finds it working`, options, () =>
    scene(version, { overdue: { age: "500ms" }, breaker: { failures: 100_000, pause: "1s" } }, async (s) => {
      assert.equal((await s.entry("never")).by, "users");
      await s.until("operations_stuck", 1);
      await s.until("breaker_opened_total", 1);
      await s.gate.process.line(/plugin instance changed its state.*odd.*down.*owes 1 overdue completion, 1 of them for longer than 500 ms/);
      assert.equal(await s.metric("operations_in_flight"), 1, "what it never completes stays counted");
      assert.equal((await s.gate.get("/readyz")).status, 200, "there is another backend");
      await s.gate.until("service by the plugin", async () => (await s.entry("sync")).by === "odd");
      await s.until("breaker_state", 0);
      await s.until("instance_state", 1);
      assert.match((await s.health()).text, /^owes 1 overdue completion/, "it still does");
    }));

  test(`a plugin that never completes and no other backend [${version}]: the client is kicked late; not ready while it hangs`, options, () =>
    scene(version, { max_in_flight: 1, overdue: { max: 1 }, breaker: never_open }, async (s) => {
      await s.alone();
      await s.undecided("never", "backend_timeout");
      await s.gate.until("not ready", async () => (await s.gate.get("/readyz")).status === 503);
      assert.match((await s.gate.get("/readyz")).body, /backend/);
    }));

  test(`an exception in a C++ plugin [${version}]: an error of that request only`, options, () =>
    scene(version, { breaker: never_open }, async (s) => {
      for (const token of ["throw", "throw_int"]) assert.equal((await s.entry(token)).by, "users");
      assert.equal((await s.entry("sync")).by, "odd");
      assert.equal(await s.metric("plugin_faults_total"), 0, "the SDK catches it: an error as any other");
      await s.until("operations_failed_total", 2);
      await s.alone();
      await s.undecided("throw", "backend_error");
      assert.match(s.gate.audit().at(-1).reason, /CG_E_INTERNAL: the directory answered nonsense/);
      assert.equal((await s.entry("sync")).by, "odd");
    }, "throws"));

  test(`an exception that leaves a plugin's function [${version}]: an error of that request, a fault of the plugin, and the daemon goes on`, options, () =>
    scene(version, { breaker: never_open }, async (s) => {
      assert.equal((await s.entry("throw")).by, "users");
      await s.until("plugin_faults_total", 1);
      await s.until("operations_in_flight", 0);
      await s.alone();
      await s.undecided("throw", "backend_refused");
      const denied = await s.login("sync");
      assert.equal(denied.ok, false);
      assert.notEqual(denied.error, null, "a plugin that answers is heard");
    }, "throws_raw"));
}

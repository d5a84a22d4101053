// SPDX-License-Identifier: Apache-2.0
// A login that cannot be decided is not denied: with system credentials its pending connection is kicked late, so that
// the client comes again; without them there is silence. Nobody is told that a credential is wrong.
import assert from "node:assert/strict";
import { test } from "node:test";
import { issuer, audience } from "../demo/issuer.mjs";
import { daemon, patience, write_folder } from "../lib/daemon.mjs";
import { config_mode } from "../lib/deployment.mjs";
import { nats_server, versions } from "../lib/nats_server.mjs";
import { wire_client } from "../lib/wire.mjs";

const timeout = 2;

async function stage(version, { system }) {
  const idp = await issuer.start();
  const deployment = config_mode({ xkey: true, accounts: "APP {}", timeout, extra: "max_control_line: 64KB" });
  const server = await nats_server.start({ version, config: deployment.text });
  // Keys behind a port where nobody listens: the issuer is real, its keys are out of reach.
  const corp = { plugin: "auth_oidc", config: { issuers: [{ issuer: idp.url, audiences: [audience], jwks_url: "http://127.0.0.1:9/jwks", allow_http_loopback: true }] } };
  const folder = write_folder(deployment, { server, system, backends: { corp }, routes: [{ name: "all", credential: ["auth_token"], chain: ["corp"] }],
    policy: { rules: [{ name: "all", when: { backend: "corp" }, grant: { account: "APP", pub: { allow: ["app.>"] }, sub: { allow: ["app.>"] }, ttl: "10m" } }] } });
  const gate = await daemon.start(folder, { wait: false });
  await gate.listening();
  // Not ready: its only backend is down. The links are up all the same.
  await gate.until("links up", async () => {
    const health = JSON.parse((await gate.get("/health")).body);
    return (health.links.length > 0 && health.links.every((link) => link.connected) && health.clusters.every((one) => !system || one.servers_known > 0)) || health;
  });
  return {
    idp, server, gate,
    async attempt() {
      const client = await wire_client.connect({ port: server.port });
      const result = await client.login({ auth_token: await idp.token("ES256") });
      await client.close();
      return result;
    },
    async close() {
      await gate.stop();
      await server.stop();
      await idp.stop();
    },
  };
}

for (const version of versions) {
  test(`a backend that cannot tell: the pending connection is kicked, late and without -ERR [${version}]`, { timeout: 60_000 * patience }, async () => {
    const s = await stage(version, { system: true });
    try {
      const result = await s.attempt();
      assert.equal(result.ok, false);
      assert.equal(result.error, null, "the client was told something");
      assert.ok(result.ms >= 0.75 * timeout * 1000, `kicked after ${result.ms} ms, before the budget was used`);
      await s.gate.until("the kick counted", async () => (await s.gate.metric("callgate_kicks_total")) === 1);
      assert.equal(await s.gate.metric("callgate_dropped_total", { reason: "backend_unavailable" }), 1);
      assert.equal(await s.gate.metric("callgate_replies_total"), 0);
      await s.gate.until("not ready, and says why", async () => {
        const ready = await s.gate.get("/readyz");
        return (ready.status === 503 && /backend/.test(ready.body)) || ready;
      });
    } finally {
      await s.close();
    }
  });

  test(`the same without system credentials: silence, and the server's own time-out [${version}]`, { timeout: 60_000 * patience }, async () => {
    const s = await stage(version, { system: false });
    try {
      const result = await s.attempt();
      assert.equal(result.ok, false);
      assert.match(result.error, /Authorization Violation/);
      assert.ok(result.ms >= 0.95 * timeout * 1000, `answered after ${result.ms} ms`);
      assert.equal(await s.gate.metric("callgate_kicks_total"), 0);
      assert.equal(await s.gate.metric("callgate_dropped_total", { reason: "backend_unavailable" }), 1);
      assert.equal(await s.gate.metric("callgate_replies_total"), 0);
    } finally {
      await s.close();
    }
  });
}

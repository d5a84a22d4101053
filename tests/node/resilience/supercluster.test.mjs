// SPDX-License-Identifier: Apache-2.0
// Two clusters joined by gateways, callgate at one of them, clients at the other: the queue group gets the requests, every
// reply finds its way back, servers are discovered and pending connections kicked over the gateway.
import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { test } from "node:test";
import { issuer, audience } from "../demo/issuer.mjs";
import { daemon, patience, sha256, write_folder } from "../lib/daemon.mjs";
import { config_mode, operator_mode } from "../lib/deployment.mjs";
import { login_load } from "../lib/load.mjs";
import { nats_server, versions } from "../lib/nats_server.mjs";
import { wire_client } from "../lib/wire.mjs";

const token = "correct-horse-battery-staple-0123456789";
const rate = 200 / patience;
const timeout = 2;

const deployment_of = {
  config: () => config_mode({ xkey: true, accounts: "APP {}", timeout, extra: "max_control_line: 64KB" }),
  operator: () => operator_mode({ xkey: true, accounts: { APP: {} }, allowed_accounts: ["APP"], timeout, extra: "max_control_line: 64KB" }),
};
const credential_of = (deployment, auth_token) => ({ auth_token, ...(deployment.mode === "operator" ? deployment.sentinel : {}) });

async function until_gateways(server, login) {
  const system = await wire_client.connect({ port: server.port });
  try {
    await system.login(login);
    for (const end = Date.now() + 15_000 * patience; Date.now() < end; ) {
      const { data } = JSON.parse((await system.request(`$SYS.REQ.SERVER.${system.info.server_id}.GATEWAYZ`)).data);
      if (Object.keys(data.outbound_gateways ?? {}).length > 0 && Object.keys(data.inbound_gateways ?? {}).length > 0) return;
      await pause(20);
    }
    throw new Error(`${server.name} has no gateway to the other cluster`);
  } finally {
    await system.close();
  }
}

// Servers of both clusters may answer, but only the client's own knows its permissions. A busy server may lose the answer
// to a client that has just come in: asked again every second.
async function own_user_info(client) {
  const answers = client.subscribe("_INBOX.supercluster");
  const own = answers.find((message) => JSON.parse(message.data).data?.permissions, 10_000 * patience);
  const ask = () => client.publish("$SYS.REQ.USER.INFO", "", { reply: "_INBOX.supercluster" });
  ask();
  const again = setInterval(ask, 1000);
  try {
    return JSON.parse((await own).data).data;
  } finally {
    clearInterval(again);
  }
}

// near: cluster B, far: cluster A, each of one server.
async function open_supercluster(version, deployment) {
  const gateway = (name, remotes) => `\ngateway { name: ${name}, host: 127.0.0.1, port: -1, gateways: [ ${remotes} ] }\n`;
  const servers = [];
  const close = async () => {
    for (const server of servers) await server.stop();
  };
  try {
    servers.push(await nats_server.start({ version, config: deployment.text + gateway("B", ""), name: "near" }));
    const [, port] = await servers[0].log(/Listening for gateways connections on \S*:(\d+)$/);
    servers.push(await nats_server.start({ version, config: deployment.text + gateway("A", `{ name: B, url: "nats://127.0.0.1:${port}" }`), name: "far" }));
    for (const server of servers) await until_gateways(server, deployment.system_login);
  } catch (error) {
    await close();
    throw error;
  }
  return { near: servers[0], far: servers[1], close };
}

for (const version of versions) {
  for (const mode of ["config", "operator"]) {
    // From the first request on: whatever is cold then (accounts, interest, keys) must not cost a login.
    test(`${rate} logins/s over a gateway, ${mode} mode [${version}]: every one is in, the far server is discovered`, { timeout: 90_000 * patience }, async (t) => {
      const deployment = deployment_of[mode]();
      const clusters = await open_supercluster(version, deployment);
      let gate;
      const load = new login_load({ port: clusters.far.port, rate, credential: () => credential_of(deployment, token) });
      try {
        gate = await daemon.start(write_folder(deployment, { server: clusters.near, users: [{ user: "alice", token_sha256: sha256(token) }] }));
        await gate.until("both servers known", async () => {
          const [cluster] = JSON.parse((await gate.get("/health")).body).clusters;
          return cluster.servers_known === 2 || cluster;
        });
        load.start();
        await pause(4000);
        await load.stop();
        t.diagnostic(`${load.started} logins, ${load.ok} in`);
        assert.deepEqual(load.failures, []);
        assert.ok(load.ok > 3 * rate);
        assert.equal(await gate.metric("callgate_replies_total", { verdict: "allow" }), load.ok);
        assert.equal(await gate.metric("callgate_dropped_total"), 0);
        assert.deepEqual([...new Set(gate.audit().map((line) => line.server_name))], ["far"]);

        const client = await wire_client.connect({ port: clusters.far.port });
        try {
          assert.equal((await client.login(credential_of(deployment, token))).ok, true);
          const info = await own_user_info(client);
          assert.equal(info.account, mode === "config" ? "APP" : deployment.accounts.APP.public);
          assert.deepEqual(info.permissions.subscribe.allow.sort(), ["_INBOX.>", "app.alice.>"]);
        } finally {
          await client.close();
        }
        const refused = await wire_client.connect({ port: clusters.far.port });
        const denial = await refused.login(credential_of(deployment, "wrong-horse"));
        assert.equal(denial.error, "Authorization Violation");
        assert.ok(denial.ms < 0.75 * timeout * 1000 * patience, `a denial took ${denial.ms} ms: it was no reply but the server's time-out`);
        assert.equal(await gate.metric("callgate_replies_total", { verdict: "deny" }), 1);
      } finally {
        await load.stop();
        await gate?.stop();
        await clusters.close();
      }
    });
  }

  test(`replicas in both clusters, ${rate} logins/s at one [${version}]: its own answer, the other takes over without loss`, { timeout: 90_000 * patience }, async (t) => {
    const deployment = deployment_of.config();
    const clusters = await open_supercluster(version, deployment);
    const gates = {};
    const load = new login_load({ port: clusters.far.port, rate, credential: () => credential_of(deployment, token) });
    const answered = (gate) => gate.metric("callgate_replies_total", { verdict: "allow" });
    try {
      const users = [{ user: "alice", token_sha256: sha256(token) }];
      for (const at of ["near", "far"]) gates[at] = await daemon.start(write_folder(deployment, { server: clusters[at], users }));
      load.start();
      await pause(1500);
      assert.ok((await answered(gates.far)) > 0);
      assert.equal(await answered(gates.near), 0, "a request crossed the gateway although its own cluster has a replica");
      await gates.far.stop("SIGTERM");
      delete gates.far;
      await pause(1500);
      await load.stop();
      t.diagnostic(`${load.started} logins, ${load.ok} in, ${await answered(gates.near)} of them over the gateway`);
      assert.deepEqual(load.failures, []);
      assert.ok((await answered(gates.near)) > rate);
    } finally {
      await load.stop();
      for (const gate of Object.values(gates)) await gate.stop();
      await clusters.close();
    }
  });

  test(`a backend that cannot tell, client behind a gateway [${version}]: its pending connection is kicked there`, { timeout: 60_000 * patience }, async () => {
    const idp = await issuer.start();
    const deployment = deployment_of.config();
    const clusters = await open_supercluster(version, deployment);
    let gate;
    try {
      // Keys behind a port where nobody listens: the issuer is real, its keys are out of reach.
      const corp = { plugin: "auth_oidc", config: { issuers: [{ issuer: idp.url, audiences: [audience], jwks_url: "http://127.0.0.1:9/jwks", allow_http_loopback: true }] } };
      gate = await daemon.start(write_folder(deployment, { server: clusters.near, backends: { corp }, routes: [{ name: "all", credential: ["auth_token"], chain: ["corp"] }],
        policy: { rules: [{ name: "all", when: { backend: "corp" }, grant: { account: "APP", pub: { allow: ["app.>"] }, sub: { allow: ["app.>"] }, ttl: "10m" } }] } }), { wait: false });
      await gate.listening();
      await gate.until("links up and both servers known", async () => {
        const health = JSON.parse((await gate.get("/health")).body);
        return (health.links.length > 0 && health.links.every((link) => link.connected) && health.clusters[0].servers_known === 2) || health;
      });
      const client = await wire_client.connect({ port: clusters.far.port });
      const result = await client.login({ auth_token: await idp.token("ES256") });
      assert.equal(result.ok, false);
      assert.equal(result.error, null, "the client was told something");
      assert.ok(result.ms >= 0.75 * timeout * 1000, `kicked after ${result.ms} ms, before the budget was used`);
      await gate.until("the kick counted", async () => (await gate.metric("callgate_kicks_total")) === 1);
      assert.equal(await gate.metric("callgate_replies_total"), 0);
    } finally {
      await gate?.stop();
      await clusters.close();
      await idp.stop();
    }
  });
}

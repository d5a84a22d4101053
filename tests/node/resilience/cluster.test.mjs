// SPDX-License-Identifier: Apache-2.0
// Replicas linked to one server of a cluster, clients at the other: a replica that joins knows servers it has no link
// to before it is handed their requests, at its start and when a reload changes its links.
import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { test } from "node:test";
import { daemon, patience, sha256, write_config, write_folder } from "../lib/daemon.mjs";
import { config_mode } from "../lib/deployment.mjs";
import { login_load } from "../lib/load.mjs";
import { nats_server, versions } from "../lib/nats_server.mjs";
import { wire_client } from "../lib/wire.mjs";

const token = "correct-horse-battery-staple-0123456789";
const rate = 200 / patience;

async function until_routed(server, login) {
  const system = await wire_client.connect({ port: server.port });
  try {
    await system.login(login);
    for (const end = Date.now() + 15_000 * patience; Date.now() < end; ) {
      const { data } = JSON.parse((await system.request(`$SYS.REQ.SERVER.${system.info.server_id}.ROUTEZ`)).data);
      if (data.num_routes > 0) return;
      await pause(20);
    }
    throw new Error("the servers found no route to each other");
  } finally {
    await system.close();
  }
}

for (const version of versions) {
  test(`replicas of one server, ${rate} logins/s at another of its cluster [${version}]: rolling restart and changed links lose none`,
    { timeout: 90_000 * patience }, async (t) => {
      const deployment = config_mode({ xkey: true, accounts: "APP {}", timeout: 2 });
      const cluster = (routes) => `\ncluster { name: two, host: 127.0.0.1, port: -1, no_advertise: true, routes: [ ${routes} ] }\n`;
      const servers = [await nats_server.start({ version, config: deployment.text + cluster(""), listens: ["cluster"], name: "near" })];
      const gates = [];
      const load = new login_load({ port: 0, rate, credential: () => ({ auth_token: token }) });
      try {
        servers.push(await nats_server.start({ version, config: deployment.text + cluster(`nats://127.0.0.1:${servers[0].ports.cluster}`), listens: ["cluster"], name: "far" }));
        for (const server of servers) await until_routed(server, deployment.system_login);
        const users = [{ user: "alice", token_sha256: sha256(token) }];
        const folders = [0, 1].map(() => write_folder(deployment, { server: servers[0], users }));
        for (const folder of folders) gates.push(await daemon.start(folder));
        load.port = servers[1].port;
        load.start();
        for (let round = 0; round < 3; round++) {
          const at = round % 2;
          await gates[at].stop("SIGTERM", { keep: true });
          gates[at] = await daemon.start(folders[at]);
          await pause(400);
        }
        for (const links_per_server of [3, 1, 2]) {
          const { config } = folders[0];
          write_config(folders[0].dir, { ...config, nats: [{ ...config.nats[0], links_per_server }] });
          assert.equal(await gates[0].reload(), "configuration reloaded");
          await pause(200);
        }
        await load.stop();
        t.diagnostic(`${load.started} logins, ${load.ok} in, over 3 restarts and 3 reloads`);
        assert.deepEqual(load.failures, []);
        assert.ok(load.ok > rate);
        for (const gate of gates) {
          assert.ok((await gate.metric("callgate_replies_total", { verdict: "allow" })) > 0, "one of the replicas serves nobody");
          assert.equal(JSON.parse((await gate.get("/health")).body).clusters[0].servers_known, 2);
        }
      } finally {
        await load.stop();
        for (const gate of gates) await gate.stop();
        for (const server of servers) await server.stop();
      }
    });
}

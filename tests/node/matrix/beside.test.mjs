// SPDX-License-Identifier: Apache-2.0
// The two rows beside the matrix: everything over mutual TLS, and client, engine and resolver on three servers.
import assert from "node:assert/strict";
import fs from "node:fs";
import { describe, test } from "node:test";
import { connect as tcp_connect, jwtAuthenticator, tokenAuthenticator } from "@nats-io/transport-node";
import { certificate_authority } from "../lib/certificates.mjs";
import { daemon, patience, sha256, write_folder } from "../lib/daemon.mjs";
import { config_mode, operator_mode } from "../lib/deployment.mjs";
import { nats_server, versions } from "../lib/nats_server.mjs";
import { wire_client } from "../lib/wire.mjs";

const token = "correct-horse-battery-staple-0123456789";
const users = [{ user: "alice", token_sha256: sha256(token) }];

describe("beside the matrix", { concurrency: 2 }, () => {
  for (const version of versions) {
    test(`mutual TLS [${version}]: links with CA and client certificate, a client with its own`, { timeout: 60_000 * patience }, async () => {
      const ca = new certificate_authority();
      const own = ca.issue("nats-server", "/CN=nats-server"), link = ca.issue("callgate", "/CN=callgate"), person = ca.issue("person", "/CN=person");
      fs.chmodSync(link.key, 0o600);
      const extra = `tls { cert_file: "${own.cert}", key_file: "${own.key}", ca_file: "${ca.ca}", verify: true, timeout: 5 }`;
      const deployment = config_mode({ xkey: true, accounts: "APP {}", extra, timeout: 2 * patience });
      const server = await nats_server.start({ version, config: deployment.text });
      let gate;
      try {
        const tls = { ca_file: ca.ca, cert_file: link.cert, key_file: link.key, server_name: "localhost" };
        gate = await daemon.start(write_folder(deployment, { urls: [`tls://127.0.0.1:${server.port}`], users, nats: { tls } }));
        const client = await tcp_connect({ servers: `tls://localhost:${server.port}`, token, reconnect: false, timeout: 10_000 * patience,
          tls: { caFile: ca.ca, certFile: person.cert, keyFile: person.key } });
        const info = (await client.request("$SYS.REQ.USER.INFO")).json().data;
        assert.equal(info.account, "APP");
        assert.equal(info.user, "alice");
        await client.close();
        await assert.rejects(tcp_connect({ servers: `tls://localhost:${server.port}`, token, reconnect: false, tls: { caFile: ca.ca } }));
      } finally {
        await gate?.stop();
        await server.stop();
        ca.remove();
      }
    });

    test(`cluster of three [${version}]: client, engine and resolver on different servers`, { timeout: 90_000 * patience }, async () => {
      const deployment = operator_mode({ xkey: true, allowed_accounts: ["APP"], accounts: { APP: {} }, sentinel: { bearer_token: true }, timeout: 3 * patience, resolver: "full", extra: "max_control_line: 64KB" });
      const routes = [];
      const cluster = () => `\ncluster { name: three, host: 127.0.0.1, port: -1, no_advertise: true, routes: [ ${routes.map((port) => `nats://127.0.0.1:${port}`).join(", ")} ] }\n`;
      // Only the first server holds the account JWTs; the others know where to ask.
      const without = deployment.text.replace(/resolver: \{[^\n]*\n/, 'resolver: { type: cache, dir: "./jwt", ttl: "1h", limit: 100 }\n').replace(/resolver_preload \{[^}]*\}/,
        `resolver_preload { ${deployment.accounts.SYS.public}: ${deployment.accounts.SYS.token()} }`);
      const servers = [];
      let gate;
      try {
        for (const [index, config] of [deployment.text, without, without].entries()) {
          const server = await nats_server.start({ version, config: config + cluster(), listens: ["cluster"], name: ["resolver", "engine", "client"][index] });
          servers.push(server);
          routes.push(server.ports.cluster);
        }
        for (const server of servers) {
          const system = await wire_client.connect({ port: server.port });
          await system.login(deployment.system_login);
          for (;;) {
            const reply = JSON.parse((await system.request(`$SYS.REQ.SERVER.${system.info.server_id}.ROUTEZ`)).data);
            if (new Set(reply.data.routes?.map((route) => route.remote_id)).size === 2) break;
          }
          await system.close();
        }
        gate = await daemon.start(write_folder(deployment, { server: servers[1], users }));
        await gate.until("all three servers known", async () => JSON.parse((await gate.get("/health")).body).clusters[0].servers_known === 3);
        const client = await tcp_connect({ servers: `127.0.0.1:${servers[2].port}`, reconnect: false, timeout: 15_000 * patience,
          authenticator: [jwtAuthenticator(deployment.sentinel_jwt), tokenAuthenticator(token)] });
        const info = (await client.request("$SYS.REQ.USER.INFO")).json().data;
        assert.equal(info.account, deployment.accounts.APP.public);
        assert.equal(client.info.server_name, "client");
        const links = JSON.parse((await gate.get("/health")).body).links.filter((one) => one.connected);
        assert.ok(links.every((one) => one.server_id !== client.info.server_id));
        await client.close();
      } finally {
        await gate?.stop();
        for (const server of servers) await server.stop();
      }
    });
  }
});

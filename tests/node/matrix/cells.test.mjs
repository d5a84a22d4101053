// SPDX-License-Identifier: Apache-2.0
// The matrix: {2.10.27, 2.15.1} x {config, operator} x {xkey off, on} x {TCP, WebSocket, MQTT}, each cell a real client
// of that transport let in by the real daemon, ending in a CONNZ row of the server with the right account. One row over
// mutual TLS and one on a cluster of three beside it.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { connect as tcp_connect, jwtAuthenticator, tokenAuthenticator } from "@nats-io/transport-node";
import { wsconnect } from "@nats-io/nats-core";
import mqtt from "mqtt";
import { WebSocket } from "ws";
import { daemon, patience, sha256, write_folder } from "../lib/daemon.mjs";
import { config_mode, operator_mode } from "../lib/deployment.mjs";
import { nats_server } from "../lib/nats_server.mjs";
import { wire_client } from "../lib/wire.mjs";

globalThis.WebSocket ??= WebSocket;

const versions = ["2.10.27", "2.15.1"];
const modes = ["config", "operator"];
const transports = ["tcp", "websocket", "mqtt"];
const all_cells = versions.flatMap((version) => modes.flatMap((mode) => [false, true].flatMap((xkey) => transports.map((transport) => ({ version, mode, xkey, transport })))));

// Covering arrays: every pair of values of two factors stands in at least one of the 12; the 4 hold every single value.
function chosen(cells) {
  const which = process.env.CALLGATE_CELLS ?? "all";
  if (which === "all") return cells;
  const keep = (cell) => {
    const i = versions.indexOf(cell.version), j = modes.indexOf(cell.mode), k = Number(cell.xkey), l = transports.indexOf(cell.transport);
    if (which === "cover12") return (i + j + k) % 2 === (l === 1 ? 1 : 0);
    if (which === "cover4") return [[0, 0, 1, 0], [0, 1, 0, 2], [1, 1, 1, 1], [1, 0, 0, 2]].some(([a, b, c, d]) => a === i && b === j && c === k && d === l);
    throw new Error(`CALLGATE_CELLS=${which}: all, cover12 or cover4`);
  };
  return cells.filter(keep);
}

const token = "correct-horse-battery-staple-0123456789";
const users = [{ user: "alice", token_sha256: sha256(token), attributes: { team: "blue" } }];
const policy = { rules: [{ name: "everyone", when: { backend: "users" }, grant: { account: "APP", ttl: "10m",
  pub: { allow: ["app.{{sub}}.>", "$SYS.REQ.USER.INFO", "$MQTT.>"] }, sub: { allow: ["app.{{sub}}.>", "_INBOX.>", "$MQTT.>"] } } }] };

function deployment_of({ mode, xkey, version, transport }) {
  const extra = `
websocket { host: 127.0.0.1, port: -1, no_tls: true }
${transport === "mqtt" ? 'jetstream { store_dir: "./js", max_mem: 16MB, max_file: 64MB }\nmqtt { host: 127.0.0.1, port: -1 }' : ""}
max_control_line: 64KB`;
  if (mode === "config") return config_mode({ xkey, accounts: transport === "mqtt" ? "APP { jetstream: enabled }" : "APP {}", extra, timeout: 2 * patience });
  return operator_mode({ xkey, allowed_accounts: ["APP"], accounts: { APP: { limits: { mem_storage: -1, disk_storage: -1 } } },
    default_sentinel: version !== "2.10.27", sentinel: { bearer_token: true }, extra, timeout: 2 * patience });
}

const credential_in_user_name = ({ transport, mode, version }) => transport === "mqtt" && mode === "operator" && version === "2.10.27";

// How each transport's client hands over the credential; operator mode adds the sentinel.
async function log_in({ transport, mode, version }, server, deployment, name, credential = token) {
  const sentinel = mode === "operator" ? [jwtAuthenticator(deployment.sentinel_jwt)] : [];
  const options = { authenticator: [...sentinel, tokenAuthenticator(credential)], name, reconnect: false, timeout: 10_000 * patience };
  if (transport === "tcp") {
    const client = await tcp_connect({ servers: `127.0.0.1:${server.port}`, ...options });
    return { close: () => client.close(), filter: { cid: client.info.client_id } };
  }
  if (transport === "websocket") {
    const client = await wsconnect({ servers: `ws://127.0.0.1:${server.ports.websocket}`, ...options });
    return { close: () => client.close(), filter: { cid: client.info.client_id } };
  }
  // 2.10.27 has no default sentinel: the MQTT password is the sentinel.
  const login = credential_in_user_name({ transport, mode, version }) ? { username: credential, password: deployment.sentinel_jwt } : { username: "ignored", password: credential };
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${server.ports.mqtt}`, { ...login, clientId: name, protocolVersion: 4, reconnectPeriod: 0, connectTimeout: 10_000 * patience });
  return { close: () => client.endAsync(true), filter: { mqtt_client: name } };
}

async function connz_row(server, deployment, filter) {
  const system = await wire_client.connect({ port: server.port });
  const logged_in = await system.login(deployment.system_login);
  assert.ok(logged_in.ok, `system user: ${logged_in.error}`);
  const reply = JSON.parse((await system.request("$SYS.REQ.SERVER.PING.CONNZ", JSON.stringify({ auth: true, ...filter }))).data);
  await system.close();
  return reply.data.connections;
}

describe("matrix", { concurrency: 2 }, () => {
  for (const cell of chosen(all_cells)) {
    const title = `{${cell.version}, ${cell.mode}, xkey ${cell.xkey ? "on" : "off"}, ${cell.transport}} ends in a CONNZ row with the right account`;
    test(title, { timeout: 60_000 * patience }, async () => {
      const deployment = deployment_of(cell);
      const server = await nats_server.start({ version: cell.version, config: deployment.text, listens: ["websocket", ...(cell.transport === "mqtt" ? ["mqtt"] : [])] });
      let gate, client;
      try {
        // On 2.10.27 an MQTT client of operator mode has only its user name left for the credential, and the sentinel
        // arrives as password and token as well.
        const routes = [{ name: "devices", when: { "connection.kind": "mqtt" }, credential: credential_in_user_name(cell) ? ["user"] : ["auth_token"], chain: ["users"] },
          { name: "all", credential: ["auth_token"], chain: ["users"] }];
        gate = await daemon.start(write_folder(deployment, { server, users, policy, routes }));
        client = await log_in(cell, server, deployment, "cell-client");
        const rows = await connz_row(server, deployment, client.filter);
        assert.equal(rows.length, 1, JSON.stringify(rows));
        assert.equal(rows[0].account, cell.mode === "config" ? "APP" : deployment.accounts.APP.public);
        assert.equal(rows[0].authorized_user, "alice");
        assert.equal(await gate.metric("callgate_replies_total", { verdict: "allow" }), 1);
        await assert.rejects(log_in(cell, server, deployment, "stranger", "not-" + token));
        assert.equal(await gate.metric("callgate_replies_total", { verdict: "deny" }), 1);
        const audit = gate.audit().find((line) => line.verdict === "allow");
        assert.equal(audit.identity, "alice");
        assert.equal(audit.account, "APP");
        assert.ok(!JSON.stringify(gate.audit()).includes(token), "the audit file holds the credential");
        assert.ok(!gate.process.lines.join("\n").includes(token), "the log holds the credential");
      } finally {
        await client?.close().catch(() => {});
        await gate?.stop();
        await server.stop();
      }
    });
  }
});

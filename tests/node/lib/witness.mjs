// SPDX-License-Identifier: Apache-2.0
// A server, the daemon with the plugin of tests/capabilities, and a user for plugins in the clients' account.
import fs from "node:fs";
import path from "node:path";
import { callgate_binary, daemon, patience, write_config, write_folder } from "./daemon.mjs";
import { config_mode } from "./deployment.mjs";
import { nats_server } from "./nats_server.mjs";
import { wire_client } from "./wire.mjs";

const build = path.resolve(path.dirname(callgate_binary), "..");
const directories = [path.join(build, "plugins.d"), path.join(build, "tests/capabilities/plugins")];
if (!fs.existsSync(path.join(directories[1], "callgate_witness.so"))) throw new Error(`no plugin in ${directories[1]}: build plugin_witness`);

const policy = { rules: [{ name: "all", when: "always", grant: { account: "APP", pub: { allow: ["witness.>", "_INBOX.>", "$SYS.REQ.USER.INFO"] },
  sub: { allow: ["witness.>", "_INBOX.>"] }, ttl: "10m" } }] };
const chain = ["witness", "slow"];
export const plug_account = (password) => `APP { users: [ {user: plug, password: "${password}", permissions: { publish: ["witness.>", "_INBOX.>"], subscribe: ["witness.>", "_INBOX.>"] }} ] }`;
export const plug_deployment = (options = {}) => config_mode({ xkey: true, auth_users: ["auth", "plug"], accounts: plug_account("plug-pwd"), timeout: 4 * patience, ...options });

// The daemon may be started later: `start: false`. change(config, dir): last word on the configuration.
export async function witness_stage(version, { change = () => {}, files = {}, start = true } = {}) {
  const deployment = plug_deployment();
  const server = await nats_server.start({ version, config: deployment.text });
  const clients = [];
  const s = { server, deployment, clients };
  try {
    const folder = write_folder(deployment, { server, policy, routes: [{ name: "all", credential: ["auth_token"], chain }],
      top: { plugins: { directories }, log: { level: "trace", format: "text" } } });
    const file = (name, text) => fs.writeFileSync(path.join(folder.dir, name), text, { mode: 0o600 });
    file("plug.password", "plug-pwd\n");
    for (const [name, text] of Object.entries(files)) file(name, text);
    folder.config.nats[0].plugin_link = { credentials: { user: "plug", password_file: "plug.password" } };
    folder.config.backends = { witness: { plugin: "witness", type: "witness", uses: ["nats/main"], config: { cluster: "main" } }, slow: { plugin: "witness", type: "blocking" } };
    change(folder.config, folder.dir);
    write_config(folder.dir, folder.config);
    s.gate = await daemon.start(folder, { wait: start });
    s.dir = folder.dir;
    s.config = folder.config;
    s.file = file;
    s.rewrite = () => write_config(folder.dir, folder.config);
  } catch (error) {
    await server.stop();
    throw error;
  }
  // A login with that word; the client stays when `keep`.
  s.login = async (auth_token, { keep = false } = {}) => {
    const client = await wire_client.connect({ port: server.port });
    const result = await client.login({ auth_token, timeout: 10_000 * patience });
    if (keep && result.ok) clients.push(client);
    else await client.close();
    return keep ? client : result;
  };
  // A client that is in.
  s.client = () => s.login("well:", { keep: true });
  s.metric = (name, labels = {}) => s.gate.metric(name, { instance: "witness", ...labels });
  s.until_metric = (name, value, labels = {}) => s.gate.until(`${name} ${JSON.stringify(labels)} = ${value}`, async () => {
    const now = await s.metric(name, labels);
    return now === value || now;
  });
  // The server has seen the plugin's subscriptions as well: the last of them answers.
  s.connected = async () => {
    await s.until_metric("callgate_instance_nats_connected", 1);
    const client = await s.client();
    await s.gate.until("an answer of the plugin", async () => (await client.request("witness.last", "x", { timeout: 500 }).catch(() => ({}))).data?.toString() === "x");
  };
  // Counters follow within a second: two looks that agree, more than that apart.
  s.until_settled = async () => {
    let last;
    await s.gate.until("counters at rest", async () => {
      const before = last;
      last = await s.metric("callgate_instance_nats_received_total");
      await new Promise((resolve) => setTimeout(resolve, 1_100));
      return last > 0 && before === last;
    });
  };
  s.close = async () => {
    for (const client of clients) await client.close();
    await s.gate.stop().finally(() => server.stop());
  };
  return s;
}

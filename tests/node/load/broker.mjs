// SPDX-License-Identifier: Apache-2.0
// What callgate-load needs around it: a plain nats-server as broker with a callout service behind it, or a nats-server with
// an auth callout for real connections; and the program itself.
import fs from "node:fs";
import path from "node:path";
import { callgate_binary, daemon, patience, sha256, write_folder } from "../lib/daemon.mjs";
import { config_mode } from "../lib/deployment.mjs";
import { new_account, new_curve } from "../lib/identity.mjs";
import { nats_server, scratch_dir } from "../lib/nats_server.mjs";
import { child_process } from "../lib/process.mjs";

export const load_binary = process.env.CALLGATE_LOAD_BIN ?? path.join(path.dirname(callgate_binary), "callgate-load");
if (!fs.existsSync(load_binary)) throw new Error(`no load generator at ${load_binary}: build it, or name it in CALLGATE_LOAD_BIN`);

export const token = (index) => `load-token-number-${String(index).padStart(6, "0")}-of-enough-entropy`;
export const users = (count) => Array.from({ length: count }, (_, i) => ({ user: `user${i}`, token_sha256: sha256(token(i)) }));

// No auth callout here: the generator plays the servers that would ask, so it is one more user of the callout account.
export function broker_deployment({ xkey = false } = {}) {
  return { mode: "config", account: "AUTH", issuer: new_account(), xkey: xkey ? new_curve() : null,
    service_login: { user: "auth", pass: "pwd" }, system_login: { user: "sys", pass: "pwd" },
    text: `accounts {
      AUTH { users: [ {user: auth, password: pwd}, {user: peer, password: pwd} ] }
      SYS { users: [ {user: sys, password: pwd} ] }
    }
    system_account: SYS` };
}

let files = 0;
function credentials_file(dir, lines) {
  const file = path.join(dir, `credentials_${files++}.txt`);
  fs.writeFileSync(file, lines.join("\n") + "\n", { mode: 0o600 });
  return file;
}

// The daemon behind a broker: {server, gate, url, peer_args, close}.
export async function daemon_stage({ version = "2.15.1", xkey = false, user_count = 20, start = {}, top = {} } = {}) {
  const deployment = broker_deployment({ xkey });
  const server = await nats_server.start({ version, config: deployment.text });
  try {
    const gate = await daemon.start(write_folder(deployment, { server, users: users(user_count), system: false, callout: { servers: "any" }, top }), start);
    return finish({ deployment, server, gate, lines: users(user_count).map((_, i) => `token ${token(i)}`) });
  } catch (error) {
    await server.stop();
    throw error;
  }
}

// Real logins: a nats-server that asks the daemon.
export async function callout_stage({ version = "2.15.1", xkey = false, user_count = 20, timeout = 4, extra = "" } = {}) {
  const deployment = config_mode({ xkey, accounts: "APP {}", timeout, extra });
  const server = await nats_server.start({ version, config: deployment.text });
  try {
    const gate = await daemon.start(write_folder(deployment, { server, users: users(user_count) }));
    return finish({ deployment, server, gate, lines: users(user_count).map((_, i) => `token ${token(i)}`) });
  } catch (error) {
    await server.stop();
    throw error;
  }
}

export function finish({ deployment, server, gate, lines, service }) {
  const dir = scratch_dir("callgate-load-");
  const made = { deployment, server, gate, service, dir };
  made.credentials_of = (other) => credentials_file(dir, other);
  made.credentials = made.credentials_of(lines);
  made.client_args = ["--url", `nats://127.0.0.1:${server.port}`, "--credentials", made.credentials];
  made.peer_args = ["--url", `nats://peer:pwd@127.0.0.1:${server.port}`, "--credentials", made.credentials, "--issuer", deployment.issuer.public,
    ...(deployment.xkey ? ["--xkey", deployment.xkey.public] : []), ...(gate ? ["--pid", `service=${gate.pid}`] : []), "--pid", `nats-server=${server.process.child.pid}`];
  made.close = async () => {
    await service?.close();
    await gate?.stop();
    await server.stop();
    fs.rmSync(dir, { recursive: true, force: true });
  };
  return made;
}

// Runs it to its end: {code, output, result}; result is the JSON it wrote, null when it did not.
export async function callgate_load(args, { timeout = 120_000, started } = {}) {
  const dir = scratch_dir("callgate-load-json-");
  const file = path.join(dir, "result.json");
  const child = new child_process(load_binary, [...args, "--json", file]);
  const timer = setTimeout(() => child.signal("SIGKILL"), timeout * patience);
  await started?.(child);
  const { code } = await child.exited;
  clearTimeout(timer);
  const result = fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, "utf8")) : null;
  fs.rmSync(dir, { recursive: true, force: true });
  return { code, output: child.lines.join("\n"), result };
}

// SPDX-License-Identifier: Apache-2.0
// The real daemon behind a deployment of lib/deployment.mjs: its folder (keys, users, callgate.yaml) and its process.
import crypto from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { creds_file } from "./identity.mjs";
import { root, scratch_dir } from "./nats_server.mjs";
import { child_process } from "./process.mjs";

export const preset = process.env.CALLGATE_PRESET ?? "release";
export const callgate_binary = process.env.CALLGATE_BIN ?? path.join(root, "build", preset, "bin/callgate");
// At once and for every suite that needs the daemon: servers that were started before it would keep the suite alive.
if (!fs.existsSync(callgate_binary)) throw new Error(`no daemon at ${callgate_binary}: build it (tools/test --stage build), or name it in CALLGATE_BIN`);
// A sanitizer's build is several times slower; only patience grows, no expectation changes.
export const patience = preset === "release" ? 1 : 4;

export const sha256 = (text) => crypto.createHash("sha256").update(text).digest("hex");
const secret_file = (file, text) => fs.writeFileSync(file, text, { mode: 0o600 });
// JSON is YAML; nothing here needs more.
const yaml = (value) => JSON.stringify(value, null, 1);

export const everyone = { rules: [{ name: "everyone", when: { backend: "users" }, grant: { account: "APP", pub: { allow: ["app.{{sub}}.>", "$SYS.REQ.USER.INFO"] },
  sub: { allow: ["app.{{sub}}.>", "_INBOX.>"] }, ttl: "10m" } }] };

// server: where the links go (or urls); users: entries of auth_static's file; policy, routes, backends, callout, admission, nats, top: replace or add
// to the sections. Returns the folder's path and the configuration as an object.
export function write_folder(deployment, { server, urls, users = [], policy = everyone, routes, backends = {}, callout = {}, nats = {}, top = {}, admission,
  dir = scratch_dir("callgate-daemon-"), system = true } = {}) {
  const files = { issuer: "issuer.nk" };
  secret_file(path.join(dir, "issuer.nk"), deployment.issuer.seed + "\n");
  if (deployment.xkey) {
    files.xkey = "xkey.nk";
    secret_file(path.join(dir, "xkey.nk"), deployment.xkey.seed + "\n");
  }
  let credentials, system_credentials, accounts;
  if (deployment.mode === "config") {
    secret_file(path.join(dir, "service.password"), deployment.service_login.pass + "\n");
    secret_file(path.join(dir, "system.password"), deployment.system_login.pass + "\n");
    credentials = { user: deployment.service_login.user, password_file: "service.password" };
    system_credentials = { user: deployment.system_login.user, password_file: "system.password" };
    accounts = Object.fromEntries((deployment.grantable ?? ["APP"]).map((name) => [name, {}]));
  } else {
    secret_file(path.join(dir, "service.creds"), deployment.service_creds);
    secret_file(path.join(dir, "system.creds"), creds_file(deployment.system_login.jwt, deployment.system_login.key));
    credentials = { creds: "service.creds" };
    system_credentials = { creds: "system.creds" };
    accounts = {};
    for (const [name, account] of Object.entries(deployment.accounts)) {
      if (name === "AUTH" || name === "SYS") continue;
      const label = name.toLowerCase();
      files[label] = `${label}.nk`;
      secret_file(path.join(dir, files[label]), account.key.seed + "\n");
      accounts[name] = { key: account.public, signer: `local/${label}` };
      // Signing keys of deployment.mjs: {role, template} for a role, {signs: true} to sign in place of the account's key.
      for (const [index, { scope, seed }] of account.signers.entries()) {
        if (!scope.role && !scope.signs) continue;
        files[`${label}_${index}`] = `${label}_${index}.nk`;
        secret_file(path.join(dir, `${label}_${index}.nk`), seed + "\n");
        if (scope.signs) accounts[name].signer = `local/${label}_${index}`;
        else (accounts[name].roles ??= {})[scope.role] = `local/${label}_${index}`;
      }
    }
  }
  secret_file(path.join(dir, "users.yaml"), yaml({ users }));
  const config = {
    nats: [{ name: "main", urls: urls ?? [`nats://127.0.0.1:${server.port}`], credentials, links_per_server: 2,
      ...(system ? { system: { credentials: system_credentials } } : {}), ...nats }],
    callout: {
      mode: deployment.mode, account: deployment.mode === "config" ? deployment.account : deployment.auth.public,
      system_account: deployment.mode === "config" ? "SYS" : deployment.accounts.SYS.public,
      issuer: "local/issuer", ...(deployment.xkey ? { xkeys: ["local/xkey"] } : {}), ...(system ? { servers: "discovered" } : {}), ...callout },
    keys: { local: { plugin: "key_file", config: { files } } },
    accounts,
    backends: { users: { plugin: "auth_static", config: { file: "users.yaml" } }, ...backends },
    routes: routes ?? [{ name: "all", credential: ["auth_token", "pass", "jwt", "user"], chain: ["users"] }],
    policy, ...(admission ? { admission } : {}),
    admin: { listen: "127.0.0.1:0" }, audit: { path: "audit.jsonl" }, log: { level: "info", format: "text" }, shards: 1, ...top,
  };
  write_config(dir, config);
  return { dir, config };
}

// Whole or not at all: a reload that is queued may read it at any moment.
export function write_config(dir, config) {
  const file = path.join(dir, "callgate.yaml");
  secret_file(file + ".new", yaml(config));
  fs.renameSync(file + ".new", file);
}

export class daemon {
  // folder: of write_folder; its file: name of the configuration. wait: until /readyz says 200.
  // options: more of child_process.spawn (cwd, uid); binary: a copy of the daemon elsewhere.
  static async start(folder, { wait = true, env = {}, options = {}, binary = callgate_binary } = {}) {
    const made = new daemon();
    Object.assign(made, folder);
    made.process = new child_process(binary, ["serve", path.join(folder.dir, folder.file ?? "callgate.yaml")], { env: { ...process.env, ...env }, ...options });
    made.pid = made.process.child.pid;
    try {
      if (wait) {
        await made.listening();
        await made.until_ready();
      }
    } catch (error) {
      await made.process.stop();
      throw error;
    }
    return made;
  }

  async listening() {
    const [, address] = await this.process.line(/admin listening.*?address"?[=:]"?([^ "]+)/, { timeout: 20_000 * patience });
    this.admin = address;
  }

  get(target, method = "GET") {
    const at = this.admin.startsWith("unix:") ? { socketPath: this.admin.slice(5) } : { host: this.admin.split(":")[0], port: this.admin.split(":")[1] };
    return new Promise((resolve, reject) => {
      const request = http.request({ ...at, path: target, method, agent: false }, (response) => {
        let body = "";
        response.on("data", (piece) => (body += piece)).on("end", () => resolve({ status: response.statusCode, body }));
      });
      request.on("error", reject).end();
    });
  }

  async until(what, holds, timeout = 15_000) {
    const end = Date.now() + timeout * patience;
    let last;
    while (Date.now() < end) {
      if (this.process.status) throw this.process.describe(`ended before ${what}`);
      last = await holds().catch((error) => error);
      if (last === true) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw this.process.describe(`did not reach "${what}" (last: ${last instanceof Error ? last.message : JSON.stringify(last)})`);
  }

  async until_ready(timeout) {
    await this.until("ready", async () => {
      const { status, body } = await this.get("/readyz");
      return status === 200 || body;
    }, timeout);
    // With servers: discovered a server is served once it is known; readiness is about links, so look at the rest here.
    if (this.config.callout.servers === "discovered") {
      await this.until("a system account link", async () => {
        const health = JSON.parse((await this.get("/health")).body);
        return health.clusters.every((cluster) => !cluster.system_link || (cluster.system_connected && cluster.servers_known > 0)) || health.clusters;
      }, timeout);
    }
  }

  // Value of one sample of /metrics; 0 when it is not there.
  async metric(name, labels = {}) {
    const { body } = await this.get("/metrics");
    let sum = 0;
    for (const line of body.split("\n")) {
      if (!line.startsWith(name + "{") && !line.startsWith(name + " ")) continue;
      if (Object.entries(labels).every(([key, value]) => line.includes(`${key}="${value}"`))) sum += Number(line.slice(line.lastIndexOf(" ") + 1));
    }
    return sum;
  }

  audit() {
    const file = path.join(this.dir, "audit.jsonl");
    return fs.existsSync(file) ? fs.readFileSync(file, "utf8").trim().split("\n").filter(Boolean).map((line) => JSON.parse(line)) : [];
  }

  async reload() {
    const after = this.process.lines.length;
    this.process.signal("SIGHUP");
    const [line] = await this.process.line(/configuration reloaded|reload failed.*/, { after, timeout: 20_000 * patience });
    return line;
  }

  // Ends it; `keep`: the folder stays (for a restart).
  async stop(signal = "SIGTERM", { keep = false } = {}) {
    const running = !this.process.status;
    const status = await this.process.stop(signal, 20_000 * patience);
    // A sanitizer's finding shows in the exit code of a build that has one; a drain that works ends with 0.
    if (running && signal === "SIGTERM" && status.code !== 0) throw this.process.describe(`ended with ${JSON.stringify(status)} on SIGTERM`);
    if (!keep) fs.rmSync(this.dir, { recursive: true, force: true });
    return status;
  }
}

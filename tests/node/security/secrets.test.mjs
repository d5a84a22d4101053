// SPDX-License-Identifier: Apache-2.0
// What must never leave the daemon, and how long what it issues lives: points 5 and 21 of the security review. Secrets
// are planted in every place that a client, a forger or the operator can put one; then all that the daemon wrote and
// answers is searched, at log level trace.
import assert from "node:assert/strict";
import crypto from "node:crypto";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { callgate_binary, daemon, patience, sha256, write_folder } from "../lib/daemon.mjs";
import { config_mode, operator_mode } from "../lib/deployment.mjs";
import { b64u, decode_jwt, new_user } from "../lib/identity.mjs";
import { nats_server, scratch_dir, versions } from "../lib/nats_server.mjs";
import { callgate, stage } from "../lib/stage.mjs";

const secret = (name) => `planted-${name}-${crypto.randomBytes(12).toString("hex")}`;
const hash_of = (password) => execFileSync(callgate_binary, ["passwd"], { input: password + "\n", encoding: "utf8" }).trim();

// As it is, and as somebody would encode it without thinking.
function forms(text) {
  const whole = Buffer.from(text);
  return [text, text.slice(0, 24), whole.toString("base64").slice(0, 24), b64u(whole).slice(0, 24), whole.toString("hex").slice(0, 40), sha256(text)];
}

// Everything of the daemon that somebody can read: its output, its answers, its files beside those it was given.
async function traces(gate, given) {
  const out = { output: gate.process.lines.join("\n"), cmdline: fs.readFileSync(`/proc/${gate.pid}/cmdline`, "latin1") };
  for (const target of ["/metrics", "/health", "/readyz", "/livez", "/nothing-here"]) out[target] = (await gate.get(target)).body;
  const walk = (dir) => {
    for (const entry of fs.readdirSync(dir, { withFileTypes: true })) {
      const file = path.join(dir, entry.name);
      if (entry.isDirectory()) walk(file);
      else if (!given.has(file)) out[file] = fs.readFileSync(file, "latin1");
    }
  };
  walk(gate.dir);
  return out;
}

function assert_nowhere(found, secrets) {
  for (const [where, text] of Object.entries(found)) {
    for (const [name, value] of Object.entries(secrets)) {
      for (const form of forms(value)) assert.ok(!text.includes(form), `${name} stands in ${where}`);
    }
  }
}

for (const version of versions) {
  test(`review 4.5: a grant without a ttl ends within the hour, as the server tells the user [${version}]`, async () => {
    const token = secret("token");
    const policy = { rules: [{ name: "r", when: "always", grant: { account: "APP", pub: { allow: ["$SYS.REQ.USER.INFO"] }, sub: { allow: ["_INBOX.>"] } } }] };
    const s = await stage.open(config_mode({ accounts: "APP {}", timeout: 2 * patience }), { version, folder: { users: [{ user: "alice", token_sha256: sha256(token) }], policy } });
    try {
      const client = await s.enter({ auth_token: token });
      const seconds = (await client.user_info()).expires / 1e9;
      assert.ok(seconds > 0 && seconds <= 3600, `the user expires in ${seconds} s`);
    } finally {
      await s.close();
    }
  });
}
test("review 4.5: a ttl beyond policy.max_ttl is an error at load, and max_ttl is an hour unless raised", async () => {
  const policy = { rules: [{ name: "r", when: "always", grant: { account: "APP", pub: { allow: ["a"] }, sub: { allow: ["a"] }, ttl: "2h" } }] };
  const folder = write_folder(config_mode({ accounts: "APP {}" }), { server: { port: 1 }, policy });
  const { code, output } = await callgate(["check", path.join(folder.dir, "callgate.yaml")]);
  fs.rmSync(folder.dir, { recursive: true });
  assert.equal(code, 1, output);
  assert.match(output, /callgate\.yaml:\d+: policy\.rules\[0\]\.grant\.ttl: /);
});

describe("what is planted is found nowhere", () => {
  for (const mode of ["config", "operator"]) {
    test(`review 4.5: credentials, issued JWTs and seeds stand in no log, audit, metric, health answer or file (${mode} mode, level trace)`, { timeout: 60_000 * patience }, async () => {
      const token = secret("token"), password = secret("password"), bad = Object.fromEntries(["token", "password", "user", "jwt", "name", "sig", "nkey", "forged", "raw", "url"].map((name) => [`bad ${name}`, secret(name)]));
      const deployment = mode === "config"
        ? config_mode({ xkey: true, accounts: "APP {}", timeout: 20, auth_account_users: "{user: auth, password: pwd}, {user: tap, password: pwd}", auth_users: ["auth", "tap"] })
        : operator_mode({ accounts: { APP: {} }, allowed_accounts: ["*"], timeout: 20, extra: "max_control_line: 64KB" });
      const service_password = secret("service");
      if (mode === "config") {
        deployment.text = deployment.text.replace("{user: auth, password: pwd}", `{user: auth, password: "${service_password}"}`);
        deployment.service_login.pass = service_password;
      }
      const device = new_user();
      const users = [{ user: "alice", token_sha256: sha256(token) }, { user: "bob", password: hash_of(password) }, { user: "device", nkey: device.public }];
      const s = await stage.open(deployment, { folder: { users, backends: { users: { plugin: "auth_static", config: { file: "users.yaml", hash: { priority: "normal" } } } }, top: { log: { level: "trace", format: "text" } } } });
      try {
        const given = new Set(fs.readdirSync(s.gate.dir).filter((name) => name !== "audit.jsonl").map((name) => path.join(s.gate.dir, name)));
        const sentinel = mode === "operator" ? deployment.sentinel : {};
        const issued = [];
        if (mode === "config") {
          const tap = await s.enter({ user: "tap", pass: "pwd" });
          tap.subscribe("$SYS._INBOX.>", { callback: (message) => issued.push(message.data.toString()) });
          await tap.flush();
          tap.publish("$SYS.REQ.USER.AUTH", bad["bad raw"], { reply: "$SYS._INBOX.forgery1.00000001" });
          tap.publish("$SYS.REQ.USER.AUTH", `${b64u('{"typ":"JWT","alg":"ed25519-nkey"}')}.${b64u(JSON.stringify({ aud: bad["bad forged"], iss: bad["bad forged"] }))}.AAAA`, { reply: bad["bad forged"] });
        }
        // Patience for hashing, and for the silence after what is no credential at all.
        const timeout = 30_000;
        await s.enter({ auth_token: token, ...sentinel, timeout });
        await s.enter({ user: "bob", pass: password, ...sentinel, timeout });
        const refused = [
          { auth_token: bad["bad token"] },
          { user: "bob", pass: bad["bad password"] },
          { user: bad["bad user"], pass: bad["bad user"] },
          { auth_token: bad["bad token"], name: bad["bad name"], lang: bad["bad name"], version: bad["bad name"] },
          ...(mode === "config" ? [{ jwt: bad["bad jwt"], sig: bad["bad sig"], nkey: bad["bad nkey"] }] : []),
        ];
        for (const credential of refused) assert.equal((await s.login({ ...credential, ...sentinel, timeout })).ok, false);
        await s.gate.until("audit of the refusals", async () => s.gate.audit().filter((line) => line.verdict === "deny").length >= refused.length - 1);
        // A reload, a fault of the configuration that holds a secret, and a fault of a key file are told, without it.
        assert.match(await s.gate.reload(), /configuration reloaded/);
        const yaml = fs.readFileSync(path.join(s.gate.dir, "callgate.yaml"), "utf8");
        fs.writeFileSync(path.join(s.gate.dir, "callgate.yaml"), yaml.replace('"shards": 1', `"shards": 1, "admission": {"kick_after": ${JSON.stringify(deployment.issuer.seed)}}`));
        assert.match(await s.gate.reload(), /reload failed/);
        fs.writeFileSync(path.join(s.gate.dir, "callgate.yaml"), JSON.stringify({ ...JSON.parse(yaml), nats: [{ ...JSON.parse(yaml).nats[0], urls: [`nats://me:${bad["bad url"]}@127.0.0.1:${s.server.port}`] }] }));
        assert.match(await s.gate.reload(), /reload failed/);
        fs.writeFileSync(path.join(s.gate.dir, "callgate.yaml"), yaml);
        fs.writeFileSync(path.join(s.gate.dir, "issuer.nk"), deployment.issuer.seed.slice(0, -1) + "\n");
        fs.writeFileSync(path.join(s.gate.dir, "callgate.yaml"), yaml.replace('"issuer": "issuer.nk"', '"issuer": "./issuer.nk"'));
        assert.match(await s.gate.reload(), /reload failed/);

        const jwts = issued.map((payload) => payload.startsWith("eyJ") ? decode_jwt(payload).claims.nats.jwt : undefined).filter(Boolean);
        const seeds = { "the issuer's seed": deployment.issuer.seed, ...(deployment.xkey ? { "the xkey's seed": deployment.xkey.seed } : {}), ...(deployment.service_user ? { "the service's seed": deployment.service_user.seed, "the service's JWT": deployment.service_jwt, "the system user's seed": deployment.system_login.key.seed } : {}) };
        const secrets = { token, password, ...bad, ...seeds, ...(mode === "config" ? { service_password } : { sentinel: deployment.sentinel_jwt.split(".")[1] }),
          ...Object.fromEntries(jwts.map((jwt, index) => [`issued JWT ${index}`, jwt.split(".")[1]])) };
        assert_nowhere(await traces(s.gate, given), secrets);
        // Nor any other token: whatever the daemon issued would begin like this.
        for (const [where, text] of Object.entries(await traces(s.gate, given))) assert.ok(!/eyJ[\w-]{20,}\.eyJ/.test(text), `a JWT stands in ${where}`);
      } finally {
        await s.close();
      }
    });
  }

  test("review 4.5: a user JWT that the daemon issued is kept nowhere: the same login gets another one", async () => {
    const token = secret("token");
    const s = await stage.open(config_mode({ accounts: "APP {}", timeout: 2 * patience, auth_account_users: "{user: auth, password: pwd}, {user: tap, password: pwd}", auth_users: ["auth", "tap"] }),
      { folder: { users: [{ user: "alice", token_sha256: sha256(token) }] } });
    try {
      const tap = await s.enter({ user: "tap", pass: "pwd" });
      const replies = tap.subscribe("$SYS._INBOX.>");
      await tap.flush();
      const subjects = new Set(), ids = new Set();
      for (let i = 0; i < 3; i++) {
        await s.enter({ auth_token: token });
        const { claims } = decode_jwt((await replies.next()).data.toString());
        const user = decode_jwt(claims.nats.jwt).claims;
        assert.equal(user.sub, claims.sub, "issued for the key of this request");
        subjects.add(user.sub);
        ids.add(user.jti);
      }
      assert.equal(subjects.size, 3);
      assert.equal(ids.size, 3);
    } finally {
      await s.close();
    }
  });
});

describe("the process", () => {
  // Root is told apart from others by nobody here: an unprivileged user shows what the kernel makes of the process.
  const unprivileged = process.getuid() === 0 ? { uid: 65534, gid: 65534 } : null;

  test("review 4.21: not dumpable, no core files: its /proc entries belong to root and nobody reads its memory", async () => {
    const token = secret("token");
    const deployment = config_mode({ accounts: "APP {}", timeout: 2 * patience });
    const server = await nats_server.start({ version: "2.15.1", config: deployment.text });
    let gate;
    try {
      const folder = write_folder(deployment, { server, users: [{ user: "alice", token_sha256: sha256(token) }] });
      if (unprivileged) {
        fs.chownSync(folder.dir, unprivileged.uid, unprivileged.gid);
        for (const name of fs.readdirSync(folder.dir)) fs.chownSync(path.join(folder.dir, name), unprivileged.uid, unprivileged.gid);
      }
      // The checkout may lie where only root gets in.
      const installed = scratch_dir("callgate-installed-");
      fs.chmodSync(installed, 0o755);
      const built = path.dirname(path.dirname(callgate_binary));
      for (const part of ["bin/callgate", "plugins.d/callgate_key_file.so", "plugins.d/callgate_auth_static.so", "plugins.d/callgate_module_admin.so", "plugins.d/callgate_audit_file.so"]) {
        fs.mkdirSync(path.join(installed, path.dirname(part)), { recursive: true, mode: 0o755 });
        fs.copyFileSync(path.join(built, part), path.join(installed, part));
        fs.chmodSync(path.join(installed, part), 0o755);
      }
      gate = await daemon.start(folder, { binary: path.join(installed, "bin/callgate"), options: { cwd: folder.dir, ...unprivileged } });
      const uid = unprivileged?.uid ?? process.getuid();
      const status = fs.readFileSync(`/proc/${gate.pid}/status`, "utf8");
      assert.match(status, new RegExp(`^Uid:\\s+${uid}\\s+${uid}\\s`, "m"));
      // The folder itself always belongs to the process's user; what is in it only when the process is dumpable.
      for (const entry of ["/mem", "/environ", "/maps", "/fd", "/auxv"]) assert.equal(fs.statSync(`/proc/${gate.pid}${entry}`).uid, 0, `/proc/PID${entry} belongs to the daemon's user: it is dumpable`);
      assert.match(fs.readFileSync(`/proc/${gate.pid}/limits`, "utf8"), /^Max core file size\s+0\s+0\s/m);
      for (const entry of ["mem", "environ", "maps"]) {
        assert.throws(() => execFileSync("cat", [`/proc/${gate.pid}/${entry}`], { stdio: "pipe", ...unprivileged }), /Permission denied/, `/proc/PID/${entry} as the daemon's own user`);
      }
      const before = fs.readdirSync(folder.dir).sort();
      const { signal } = await gate.stop("SIGABRT", { keep: true });
      assert.equal(signal, "SIGABRT");
      assert.deepEqual(fs.readdirSync(folder.dir).sort().filter((name) => !before.includes(name)), [], "the crash left a file");
      const output = gate.process.lines.join("\n");
      assert.ok(!output.includes(token) && !output.includes(deployment.issuer.seed));
      fs.rmSync(folder.dir, { recursive: true });
      fs.rmSync(installed, { recursive: true });
    } finally {
      await gate?.stop("SIGKILL", { keep: true });
      await server.stop();
    }
  });
});

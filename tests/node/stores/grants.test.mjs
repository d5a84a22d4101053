// SPDX-License-Identifier: Apache-2.0
// Grants that lie in a claim store: written with `callgate store`, looked up at login, changed, deleted, and out of reach.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import { patience, sha256, write_config } from "../lib/daemon.mjs";
import { config_mode } from "../lib/deployment.mjs";
import { versions } from "../lib/nats_server.mjs";
import { callgate, stage } from "../lib/stage.mjs";

const timeout = 2 * patience;
const token_of = (user) => `token-of-${user}-0123456789abcdefghij`;
const names = ["alice", "bob", "carol", "dave", "eve"];
const policy = { rules: [{ name: "stored", when: { backend: "users" }, grant: { from: "claims", store: "main", key: "grants/{{sub}}" } }],
  tests: [{ name: "a stored grant", identity: { backend: "users", subject: "x" }, stored: { main: { "grants/x": { version: 1, account: "APP", pub: { allow: ["a"] } } } },
    expect: { account: "APP", "pub.allow": ["a"] } }, { name: "none", identity: { backend: "users", subject: "x" }, expect: { deny: "no_stored_grant" } }] };
const document = (subject, more = {}) => ({ version: 1, account: "APP", pub: { allow: [subject, "$SYS.REQ.USER.INFO"] }, sub: { allow: ["_INBOX.>"] }, ttl: "10m", ...more });

// Holds every lock of the WAL's index, as a process would that is stuck inside a transaction.
const lock_script = "import fcntl,sys\nf=open(sys.argv[1],'r+b')\nfcntl.lockf(f,fcntl.LOCK_EX,8,120,0)\nprint('locked',flush=True)\nsys.stdin.read()\n";
async function lock_store(file) {
  const child = spawn("python3", ["-c", lock_script, file + "-shm"], { stdio: ["pipe", "pipe", "inherit"] });
  const [line] = await once(child.stdout, "data");
  assert.match(String(line), /locked/);
  return async () => {
    child.stdin.end();
    await once(child, "exit");
  };
}

for (const version of versions) {
  describe(`stored grants [${version}]`, () => {
    let s;
    const config_file = () => path.join(s.gate.dir, "callgate.yaml");
    const store = async (...args) => {
      const done = await callgate(["store", args[0], "--config", config_file(), "--store", "main", ...args.slice(1)]);
      assert.equal(done.code, 0, done.output);
      return done.output;
    };
    const put = (user, value) => {
      const file = path.join(s.gate.dir, `${user}.json`);
      fs.writeFileSync(file, typeof value === "string" ? value : JSON.stringify(value));
      return store("put", `grants/${user}`, file);
    };
    const login = (user) => s.login({ auth_token: token_of(user) });
    // What the login of that user may publish; nothing when it was refused.
    const publishes = async (user) => {
      const client = await s.connect();
      const result = await client.login({ auth_token: token_of(user) });
      const allowed = result.ok ? (await client.user_info()).permissions.publish.allow.filter((subject) => !subject.startsWith("$SYS")) : [];
      await client.close();
      return allowed;
    };

    before(async () => {
      const users = names.map((name) => ({ user: name, token_sha256: sha256(token_of(name)) }));
      s = await stage.open(config_mode({ xkey: true, accounts: "APP {}", timeout }), { version, folder: { users, policy,
        top: { stores: { main: { plugin: "store_sqlite", timeout: "500ms", config: { path: "claims.db", busy_timeout: "100ms" } } } } } });
    });
    after(() => s?.close());

    test("without a stored grant nobody gets in, and the audit says why", async () => {
      const line = await s.refusal({ auth_token: token_of("alice") });
      assert.deepEqual([line.identity, line.verdict, line.reason_id, line.rule], ["alice", "deny", "no_stored_grant", "stored"]);
    });

    test("a document in the store lets in, a changed one is the next login's, a deleted one refuses", async () => {
      assert.match(await put("alice", document("first.>")), /^revision \d+/m);
      assert.deepEqual(await publishes("alice"), ["first.>"]);
      await put("alice", document("second.>"));
      await s.gate.until("the new grant", async () => (await publishes("alice"))[0] === "second.>");
      assert.match(await store("scan", "grants/"), /^grants\/alice\t\d+\t\d+$/m);
      assert.deepEqual(JSON.parse(await store("get", "grants/alice")), document("second.>"));
      await store("delete", "grants/alice");
      await s.gate.until("the refusal", async () => !(await login("alice")).ok);
      assert.equal((await s.refusal({ auth_token: token_of("alice") })).reason_id, "no_stored_grant");
    });

    test("a stored grant is judged as the policy's own", async () => {
      for (const [value, reason] of [[document("a", { account: "AUTH" }), "account_forbidden"], [document("a", { account: "SYS" }), "account_forbidden"],
        [document("a..b"), "invalid_subject"], ["not JSON", "stored_grant_invalid"], [{ ...document("a"), version: 2 }, "stored_grant_invalid"]]) {
        await put("bob", value);
        await s.gate.until(reason, async () => (await s.refusal({ auth_token: token_of("bob") })).reason_id === reason);
      }
    });

    test("a store that cannot be read is no denial: the connection is kicked late, and the next one gets in", { timeout: 60_000 * patience }, async () => {
      await put("carol", document("carol.>"));
      const kicks = await s.gate.metric("callgate_kicks_total");
      const unlock = await lock_store(path.join(s.gate.dir, "claims.db"));
      try {
        const result = await login("carol");
        assert.equal(result.ok, false);
        assert.equal(result.error, null, "the client was told something");
        assert.ok(result.ms >= 0.75 * timeout * 1000, `kicked after ${result.ms} ms`);
        await s.gate.until("the kick counted", async () => (await s.gate.metric("callgate_kicks_total")) === kicks + 1);
        const line = s.gate.audit().at(-1);
        assert.deepEqual([line.identity, line.verdict, line.reason_id], ["carol", "unavailable", "store_unavailable"]);
      } finally {
        await unlock();
      }
      await s.gate.until("service again", async () => (await login("carol")).ok);
    });

    test("the daemon's store survives a reload", async () => {
      await put("dave", document("dave.>"));
      assert.match(await s.gate.reload(), /configuration reloaded/);
      assert.deepEqual(await publishes("dave"), ["dave.>"]);
    });

    test("lookups are counted, and cache_ttl: 0s reads for every login", { timeout: 60_000 * patience }, async () => {
      const lookups = (outcome) => s.gate.metric("callgate_store_lookups_total", { instance: "main", outcome });
      await put("dave", document("dave.>"));
      const hits = await lookups("hit");
      // Two logins in one second: the second is answered from memory.
      await s.gate.until("a hit", async () => (await login("dave")).ok && (await lookups("hit")) > hits);
      write_config(s.gate.dir, { ...s.gate.config, stores: { main: { ...s.gate.config.stores.main, cache_ttl: "0s" } } });
      assert.match(await s.gate.reload(), /configuration reloaded/);
      for (let n = 0; n < 3; n++) assert.deepEqual(await publishes("dave"), ["dave.>"]);
      await s.gate.until("three reads", async () => (await lookups("found")) === 3);
      assert.equal(await lookups("hit"), 0, "the instance is a new one, and keeps nothing");
      assert.equal((await s.login({ auth_token: token_of("eve") })).ok, false);
      await s.gate.until("a missing one", async () => (await lookups("missing")) === 1);
    });

    test("put and delete keep to the revision they are told", async () => {
      const at = (...args) => callgate(["store", ...args.slice(0, 1), "--config", config_file(), ...args.slice(1)]);
      const file = path.join(s.gate.dir, "eve.json");
      fs.writeFileSync(file, "{}");
      assert.equal((await at("put", "--at", "0", "grants/eve", file)).code, 0);
      const second = await at("put", "--at", "0", "grants/eve", file);
      assert.equal(second.code, 1);
      assert.match(second.output, /grants\/eve: the key is at revision \d+; nothing was done/);
      const gone = await at("get", "grants/nobody");
      assert.equal(gone.code, 1);
      assert.match(gone.output, /the store has no such key/);
      assert.equal((await callgate(["store", "get", "--config", config_file(), "--store", "other", "grants/eve"])).code, 2);
    });
  });
}

// SPDX-License-Identifier: Apache-2.0
// Where nobody may end up, and who may ask at all: points 1 and 3 of the security review against the real daemon.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { patience, sha256, write_folder } from "../lib/daemon.mjs";
import { config_mode, operator_mode } from "../lib/deployment.mjs";
import { encode_jwt, new_curve, new_server, new_user, now, seal } from "../lib/identity.mjs";
import { callgate, stage } from "../lib/stage.mjs";

const token_of = (user) => `token-of-${user}-0123456789abcdefghij`;
const user = (name, team) => ({ user: name, token_sha256: sha256(token_of(name)), attributes: { team } });
// Whoever says what team means chooses the account: the worst that a real policy can write.
const by_claim = { rules: [{ name: "by-claim", when: "always", grant: { account: "{{claims.team}}", pub: { allow: [">"] }, sub: { allow: [">"] }, ttl: "5m" } }] };

async function refused_by_both(folder, pattern) {
  const file = path.join(folder.dir, "callgate.yaml");
  for (const command of ["check", "serve"]) {
    const { code, output } = await callgate([command, file]);
    assert.equal(code, 1, `callgate ${command} ended with ${code}: ${output}`);
    assert.match(output, pattern, `callgate ${command}`);
  }
  fs.rmSync(folder.dir, { recursive: true });
}
// The folder is never dialled: what is wrong is found before the first connection.
const nowhere = { port: 1 };

for (const mode of ["config", "operator"]) {
  describe(`placement, ${mode} mode`, () => {
    let s;
    const make = () => mode === "config" ? config_mode({ accounts: "APP {}", timeout: 2 * patience })
      : operator_mode({ accounts: { APP: {} }, allowed_accounts: ["*"], timeout: 2 * patience, extra: "max_control_line: 64KB" });
    const entry = (deployment, name) => ({ auth_token: token_of(name), ...(mode === "operator" ? deployment.sentinel : {}) });
    before(async () => {
      const deployment = make();
      const users = [user("good", "APP"), user("auth", "AUTH"), user("sys", "SYS"), user("dollar", "$SYS"), user("global", "$G"), user("nowhere", "NONE"), user("list", ["APP", "AUTH"])];
      if (mode === "operator") users.push(user("authkey", deployment.auth.public), user("syskey", deployment.accounts.SYS.public));
      s = await stage.open(deployment, { folder: { users, policy: by_claim } });
    });
    after(() => s?.close());

    test(`review 4.1: a claim that names an account places its bearer there (${mode} mode)`, async () => {
      const client = await s.enter(entry(s.deployment, "good"));
      assert.equal((await client.user_info()).account, mode === "config" ? "APP" : s.deployment.accounts.APP.public);
      await client.close();
    });
    test(`review 4.1: a claim that names the callout or the system account is refused at decision (${mode} mode)`, async () => {
      // Operator mode knows the two by their keys only; their names are names of nothing there.
      const forbidden = mode === "config" ? ["auth", "sys", "dollar"] : ["authkey", "syskey", "dollar"];
      const unknown = mode === "config" ? ["global", "nowhere"] : ["auth", "sys", "global", "nowhere"];
      for (const [names, reason] of [[forbidden, "account_forbidden"], [unknown, "account_unknown"]]) {
        for (const name of names) {
          const line = await s.refusal(entry(s.deployment, name));
          assert.deepEqual([line.identity, line.verdict, line.reason_id, line.account], [name, "deny", reason, undefined]);
        }
      }
      assert.equal((await s.refusal(entry(s.deployment, "list"))).verdict, "deny");
    });
    test(`review 4.1: a configuration that grants it is refused at load (${mode} mode)`, async () => {
      const grant = (account) => ({ rules: [{ name: "r", when: "always", grant: { account, pub: { allow: ["a"] }, sub: { allow: ["a"] } } }] });
      const names = mode === "config" ? ["AUTH", "SYS", "$SYS"] : [s.deployment.auth.public, s.deployment.accounts.SYS.public, "$SYS"];
      for (const account of names) {
        const folder = write_folder(make(), { server: nowhere, policy: grant(account) });
        await refused_by_both(folder, /callgate\.yaml:\d+: policy\.rules\[0\]\.grant\.account: /);
      }
    });
    test(`review 4.1: a configuration that lists it among its accounts is refused at load (${mode} mode)`, async () => {
      const deployment = make();
      const accounts = mode === "config" ? { APP: {}, AUTH: {} } : { OTHER_NAME: { key: deployment.auth.public, signer: "local/issuer" } };
      const folder = write_folder(deployment, { server: nowhere, top: { accounts }, policy: by_claim });
      await refused_by_both(folder, /callgate\.yaml:\d+: accounts\.(AUTH|OTHER_NAME): is the callout or the system account/);
    });
  });
}

describe("who may ask", () => {
  test("review 4.3: rules about addresses, TLS and kinds of connection are errors with servers: any", async () => {
    for (const when of [{ "connection.client_host": { cidr: ["10.0.0.0/8"] } }, { "connection.tls": "verified" }, { "connection.kind": "mqtt" }, { not: { any: [{ "connection.client_host": "10.1.1.1" }] } }]) {
      const policy = { rules: [{ name: "r", when, grant: { account: "APP", pub: { allow: ["a"] }, sub: { allow: ["a"] } } }] };
      const folder = write_folder(config_mode({ accounts: "APP {}" }), { server: nowhere, callout: { servers: "any" }, policy });
      await refused_by_both(folder, /callgate\.yaml:\d+: policy\.rules\[0\]\.when\S*: connection\.\w+ is what the asking server says.* set callout\.servers to discovered or to a list/);
    }
  });
  test("review 4.3: so is a route over them", async () => {
    const folder = write_folder(config_mode({ accounts: "APP {}" }), { server: nowhere, callout: { servers: "any" },
      routes: [{ name: "inside", when: { "connection.client_host": { cidr: ["10.0.0.0/8"] } }, chain: ["users"] }] });
    await refused_by_both(folder, /callgate\.yaml:\d+: routes\[0\]\.when\S*: connection\.client_host is what the asking server says/);
  });

  for (const [what, pinned] of [["servers: discovered", () => "discovered"], ["a list of servers", (server) => [server]]]) {
    test(`review 4.3: with ${what} a forged server gets no reply and real ones are served`, async () => {
      // 2.15.1 lets another user of the callout account publish requests when allowed_accounts leaves that account out.
      const deployment = config_mode({ xkey: true, accounts: "APP {}, OTHER { users: [ {user: other, password: pwd} ] }", allowed_accounts: ["OTHER"], timeout: 2 * patience,
        auth_account_users: "{user: auth, password: pwd}, {user: forger, password: pwd}", auth_users: ["auth", "forger"] });
      const users = [user("alice", "APP")];
      const s = await stage.open(deployment, { folder: { users } });
      try {
        const forger = await s.enter({ user: "forger", pass: "pwd" });
        const servers = pinned(forger.info.server_id);
        if (servers !== "discovered") {
          fs.writeFileSync(path.join(s.gate.dir, "callgate.yaml"), JSON.stringify({ ...s.gate.config, callout: { ...s.gate.config.callout, servers } }));
          assert.match(await s.gate.reload(), /configuration reloaded/);
        }
        const key = new_server(), curve = new_curve(), reply = "$SYS._INBOX.forgery1.00000001";
        const claims = { aud: "nats-authorization-request", exp: now() + 2, sub: deployment.issuer.public, nats: {
          server_id: { name: "forged", host: "0.0.0.0", id: key.public, version: "2.15.1", xkey: curve.public }, user_nkey: new_user().public,
          client_info: { host: "127.0.0.1", id: 7, kind: "Client", type: "nats" }, connect_opts: { auth_token: token_of("alice"), protocol: 1 }, type: "authorization_request", version: 2 } };
        const answers = forger.subscribe(reply);
        forger.publish("$SYS.REQ.USER.AUTH", seal(Buffer.from(encode_jwt(claims, key)), curve, deployment.xkey.public), { reply, headers: { "Nats-Server-Xkey": curve.public } });
        await s.gate.until("the drop", async () => (await s.gate.metric("callgate_dropped_total", { reason: "server_not_pinned" })) === 1);
        await s.enter({ auth_token: token_of("alice") });
        await forger.flush();
        assert.equal(answers.count, 0);
        assert.equal(s.gate.audit().filter((line) => line.server_id === key.public).length, 0, "a forged server in the audit");
      } finally {
        await s.close();
      }
    });
  }
});

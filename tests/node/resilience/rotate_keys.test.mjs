// SPDX-License-Identifier: Apache-2.0
// Keys are replaced while the daemon runs: the xkey with an overlap, and a seed in place behind an unchanged configuration.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { daemon, patience, sha256, write_config, write_folder } from "../lib/daemon.mjs";
import { config_mode, operator_mode } from "../lib/deployment.mjs";
import { new_account, new_curve } from "../lib/identity.mjs";
import { nats_server, server_binary, versions } from "../lib/nats_server.mjs";
import { child_process } from "../lib/process.mjs";
import { wire_client } from "../lib/wire.mjs";

const token = "correct-horse-battery-staple-0123456789";
const users = [{ user: "alice", token_sha256: sha256(token) }];
const write_seed = (gate, name, key) => fs.writeFileSync(path.join(gate.dir, name), key.seed + "\n", { mode: 0o600 });

async function login(port, credential, more) {
  const client = await wire_client.connect({ port });
  try {
    const result = await client.login(credential);
    return { ok: result.ok, ...(result.ok ? await more?.(client) : {}) };
  } finally {
    await client.close();
  }
}

// The same port again: the daemon knows no other. Returns once every link is at the new server.
async function restart(server, text, gate) {
  const { info } = await wire_client.connect({ port: server.port }).then(async (client) => (await client.close(), client));
  server.process.signal("SIGTERM");
  await server.process.exited;
  server.write_config(text);
  server.process = new child_process(server_binary(server.version), ["-c", server.config_file], { cwd: server.dir });
  await server.process.line(/Server is ready/);
  await gate.until("all links at the new server", async () => {
    const { links } = JSON.parse((await gate.get("/health")).body);
    return (links.length > 0 && links.every((link) => link.connected && link.server_id !== info.server_id)) || links;
  });
}

for (const version of versions) {
  test(`the xkey is replaced with an overlap [${version}]: the daemon takes both, the server changes over, the old one goes`, { timeout: 60_000 * patience }, async () => {
    const deployment = config_mode({ xkey: true, accounts: "APP {}", timeout: 2 * patience });
    const [a, b] = [deployment.xkey, new_curve()];
    const text_b = deployment.text.replace(a.public, b.public);
    assert.notEqual(text_b, deployment.text);
    const server = await nats_server.start({ version, config: deployment.text });
    let gate;
    try {
      gate = await daemon.start(write_folder(deployment, { server, users }));
      const config = gate.config;
      const with_xkeys = async (files, xkeys) => {
        write_config(gate.dir, { ...config, callout: { ...config.callout, xkeys }, keys: { local: { plugin: "key_file", config: { files: { issuer: "issuer.nk", ...files } } } } });
        assert.equal(await gate.reload(), "configuration reloaded");
      };
      const alice_is_in = async (when) => assert.equal((await login(server.port, { auth_token: token })).ok, true, when);
      const unopened = () => gate.metric("callgate_dropped_total", { reason: "unknown_xkey" });

      await alice_is_in("server and daemon with A");
      write_seed(gate, "xkey_b.nk", b);
      await with_xkeys({ xkey: "xkey.nk", xkey_b: "xkey_b.nk" }, ["local/xkey_b", "local/xkey"]);
      await alice_is_in("server with A, daemon with B and A");
      await restart(server, text_b, gate);
      await gate.until("a login at the new server", async () => (await login(server.port, { auth_token: token })).ok);
      await alice_is_in("server with B, daemon with B and A");
      fs.rmSync(path.join(gate.dir, "xkey.nk"));
      await with_xkeys({ xkey_b: "xkey_b.nk" }, ["local/xkey_b"]);
      await alice_is_in("server and daemon with B");
      assert.equal(await unopened(), 0, "every request so far could be opened");

      // What was removed is gone: a server that was left behind is not answered, and the drop says why.
      await restart(server, deployment.text, gate);
      assert.equal((await login(server.port, { auth_token: token })).ok, false, "server with A, daemon with B");
      assert.equal(await unopened(), 1);
    } finally {
      await gate?.stop();
      await server.stop();
    }
  });

  test(`a seed replaced in place [${version}]: SIGHUP takes the new signing key though the configuration is the same, a bad one is refused`, { timeout: 60_000 * patience }, async () => {
    const deployment = operator_mode({ accounts: { APP: { signing_keys: [{}, {}] } }, allowed_accounts: ["APP"], xkey: true, timeout: 2 * patience });
    const { APP } = deployment.accounts;
    const [first, second] = APP.signers;
    const server = await nats_server.start({ version, config: deployment.text });
    let gate, watcher;
    try {
      const folder = write_folder(deployment, { server, users });
      write_seed(folder, "app.nk", first);
      gate = await daemon.start(folder);
      const text = fs.readFileSync(path.join(gate.dir, "callgate.yaml"), "utf8");
      watcher = await wire_client.connect({ port: server.port });
      assert.equal((await watcher.login(deployment.system_login)).ok, true);
      // The server's own view of who signed the user it let in.
      const enter = () => login(server.port, { ...deployment.sentinel, auth_token: token }, async (client) => {
        const reply = await watcher.request("$SYS.REQ.SERVER.PING.CONNZ", JSON.stringify({ auth: true, cid: client.info.client_id }));
        const [connection] = JSON.parse(reply.data).data.connections;
        return { account: connection.account, issuer_key: connection.issuer_key };
      });

      assert.deepEqual(await enter(), { ok: true, account: APP.public, issuer_key: first.public });
      write_seed(gate, "app.nk", second);
      assert.deepEqual(await enter(), { ok: true, account: APP.public, issuer_key: first.public }, "not before the reload");
      assert.equal(await gate.reload(), "configuration reloaded");
      assert.deepEqual(await enter(), { ok: true, account: APP.public, issuer_key: second.public });

      // Half written: the key in use stays in use.
      fs.writeFileSync(path.join(gate.dir, "app.nk"), first.seed.slice(0, 30), { mode: 0o600 });
      assert.match(await gate.reload(), /^reload failed; the old configuration stays in use.*app\.nk/);
      assert.deepEqual(await enter(), { ok: true, account: APP.public, issuer_key: second.public });

      // A key that the account does not list is signed with, and the server, not the daemon, is who notices.
      write_seed(gate, "app.nk", new_account());
      assert.equal(await gate.reload(), "configuration reloaded");
      assert.equal((await enter()).ok, false);
      write_seed(gate, "app.nk", first);
      assert.equal(await gate.reload(), "configuration reloaded");
      assert.deepEqual(await enter(), { ok: true, account: APP.public, issuer_key: first.public });
      assert.equal(fs.readFileSync(path.join(gate.dir, "callgate.yaml"), "utf8"), text);
    } finally {
      await watcher?.close();
      await gate?.stop();
      await server.stop();
    }
  });
}

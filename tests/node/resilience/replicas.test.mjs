// SPDX-License-Identifier: Apache-2.0
// Two replicas under a steady load of logins: what a stop, a kill and a rolling restart cost, and that no request ever
// gets two replies.
import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { test } from "node:test";
import { daemon, everyone, patience, sha256, write_config, write_folder } from "../lib/daemon.mjs";
import { config_mode } from "../lib/deployment.mjs";
import { login_load, reply_tap } from "../lib/load.mjs";
import { nats_server, versions } from "../lib/nats_server.mjs";

const token = "correct-horse-battery-staple-0123456789";
const rate = Number(process.env.CALLGATE_LOGIN_RATE ?? 500 / patience);

for (const version of versions) {
  test(`two replicas at ${rate} logins/s [${version}]: SIGTERM loses none, kill -9 only those in flight there, a rolling restart none, one reply each`,
    { timeout: 120_000 * patience }, async (t) => {
      const deployment = config_mode({ xkey: true, accounts: "APP {}", timeout: 2,
        auth_account_users: "{user: auth, password: pwd}, {user: tap, password: pwd}", auth_users: ["auth", "tap"] });
      const server = await nats_server.start({ version, config: deployment.text });
      const users = [{ user: "alice", token_sha256: sha256(token) }];
      const folders = [write_folder(deployment, { server, users }), write_folder(deployment, { server, users })];
      const gates = [await daemon.start(folders[0]), await daemon.start(folders[1])];
      const tap = await reply_tap.start({ port: server.port, login: { user: "tap", pass: "pwd" } });
      const load = new login_load({ port: server.port, rate, credential: () => ({ auth_token: token }) });
      try {
        load.start();
        await pause(2000);
        assert.ok(load.ok > rate, `only ${load.ok} logins in 2 s: ${JSON.stringify(load.failures.slice(0, 3))}`);

        await gates[0].stop("SIGTERM", { keep: true });
        await pause(1500);
        assert.deepEqual(load.failures, [], "SIGTERM of one replica lost logins");

        // A rolling restart with a changed configuration: one after the other, never both away.
        const changed = { ...folders[0].config, policy: { rules: [{ ...everyone.rules[0], grant: { ...everyone.rules[0].grant, ttl: "7m" } }] } };
        write_config(folders[0].dir, changed);
        gates[0] = await daemon.start(folders[0]);
        write_config(folders[1].dir, { ...changed, callout: folders[1].config.callout });
        await gates[1].stop("SIGTERM", { keep: true });
        gates[1] = await daemon.start(folders[1]);
        await pause(1500);
        assert.deepEqual(load.failures, [], "a rolling restart lost logins");
        for (const gate of gates) assert.ok((await gate.metric("callgate_replies_total", { verdict: "allow" })) > 0, "one of the replicas serves nobody");
        const before_kill = tap.unanswered.filter((inbox) => performance.now() - tap.requests.get(inbox) > 1000);
        assert.deepEqual(before_kill, [], "requests without a reply before the kill");

        const in_flight = tap.unanswered.length;
        const killed_at = performance.now();
        await gates[0].stop("SIGKILL", { keep: true });
        const noticed_at = performance.now();
        await pause(3500);
        await load.stop();
        await tap.client.flush();  // what a client has seen the tap may see a moment later
        const lost = load.failures;
        // Handed to the killed replica before the server saw its connections close, for which it is given 100 ms.
        const handed = [...tap.requests.values()].filter((at) => at > killed_at && at < noticed_at + 100).length;
        t.diagnostic(`${load.started} logins, ${load.ok} in, ${lost.length} lost by the kill (${in_flight} in flight, ${handed} came before it was noticed), ` +
          `${tap.requests.size} requests, ${tap.replies.size} answered, most replies to one: ${tap.most}`);
        for (const inbox of tap.unanswered) assert.ok(tap.requests.get(inbox) < noticed_at + 100, "a request that came after the kill was noticed has no reply");
        for (const { begin, end } of lost) assert.ok(begin < noticed_at + 100 && end > killed_at, "a login that was not in flight at the kill was lost");
        assert.ok(lost.length <= in_flight + handed, `${lost.length} logins lost by one kill, ${in_flight} in flight and ${handed} after`);
        assert.equal(load.ok + lost.length, load.started);
        assert.equal(tap.most, 1, "a request got more than one reply");
        assert.ok(tap.unanswered.length <= lost.length, "requests without a reply that the kill does not explain");
        assert.ok(tap.replies.size >= load.ok);
      } finally {
        await load.stop();
        await tap.close();
        for (const gate of gates) await gate.stop();
        await server.stop();
      }
    });
}

// SPDX-License-Identifier: Apache-2.0
// protocol.md 5F: several replies to one request, reloads, and how often one denial is reported.
import assert from "node:assert/strict";
import { config_mode, operator_mode } from "../lib/deployment.mjs";
import { row, run_rows } from "../lib/row.mjs";


row("F07", "two replies to one request race: the second may kill or move the client", async (c) => {
  const deployment = config_mode();
  const server = await c.server(deployment);
  const answers = { kill: [{ account: "FOO" }, { empty: true }], move: [{ account: "FOO" }, { account: "BAR" }] };
  await c.scripted(server, deployment, (nats) => answers[nats.connect_opts.user]);
  let killed = 0;
  for (let attempt = 0; attempt < 100 && !killed; attempt++) {
    const client = await c.connect(server);
    const result = await client.login({ user: "kill" });
    if (!result.ok) killed++;
  }
  assert.ok(killed, "100 allowed logins survived an empty second reply");
  const accounts = new Set();
  // Ten at a time: which reply wins depends on how busy the server is, and one quiet client after the other may see
  // the same winner for long.
  for (let round = 0; round < 100 && accounts.size < 2; round++) {
    await Promise.all(Array.from({ length: 10 }, async () => {
      const client = await c.connect(server);
      if ((await client.login({ user: "move" })).ok) accounts.add((await client.user_info()).account);
      await client.close();
    }));
  }
  assert.deepEqual([...accounts].sort(), ["BAR", "FOO"]);
});

row("F07c", "three or more replies to one request wedge the service connection and the server's shutdown", async (c) => {
  const deployment = config_mode({ timeout: 1 });
  const server = await c.server(deployment);
  await c.scripted(server, deployment, () => Array(5).fill({ account: "FOO" }));
  let wedged = false;
  for (let attempt = 0; attempt < 20 && !wedged; attempt++) {
    const client = await c.connect(server);
    const result = await client.login({ user: "x" });
    wedged = !result.ok && result.ms > 900;
  }
  assert.ok(wedged, "20 logins with five replies each went through");
  const status = await server.process.stop("SIGTERM", 2_000);
  assert.equal(status.signal, "SIGKILL", "SIGTERM was obeyed");
});

row("F18", "an authorization reload closes callout clients", async (c) => {
  const deployment = config_mode({ accounts: 'FOO { users: [ {user: one, password: "1"} ] }' });
  const server = await c.server(deployment);
  const service = await c.scripted(server, deployment, (nats) => ({ account: "FOO", name: nats.connect_opts.user }));
  const named = await c.login(server, { user: "alice" });
  const token = await c.login(server, { auth_token: "t" });
  await server.reload(deployment.text.replace('{user: one, password: "1"}', '{user: one, password: "1"}, {user: two, password: "2"}'));
  await named.closed;
  // A client without a user name is asked about again and lives on the new answer.
  await token.flush();
  assert.equal(service.count, 3);
  assert.equal(service.last.claims.nats.connect_opts.auth_token, "t");
  if (c.recent) {
    // Where allowed_accounts leaves out the account that it was placed in, it is refused without asking.
    const narrow = config_mode({ accounts: 'FOO { users: [ {user: one, password: "1"} ] }, BAR {}', allowed_accounts: ["AUTH"] });
    const third = await c.server(narrow);
    const asked = await c.scripted(third, narrow, () => ({ account: "BAR" }));
    const other = await c.login(third, { auth_token: "t" });
    await third.reload(narrow.text.replace('{user: one, password: "1"}', '{user: one, password: "1"}, {user: two, password: "2"}'));
    assert.equal((await other.closed).error, "Authorization Violation");
    assert.equal(asked.count, 1);
  }
  const operators = operator_mode({ accounts: { TEST: {} }, allowed_accounts: ["TEST"] });
  const second = await c.server(operators);
  const again = await c.scripted(second, operators, (nats) => ({ account: "TEST", name: nats.connect_opts.user }));
  const clients = [await c.login(second, { ...operators.sentinel, user: "alice" }), await c.login(second, operators.sentinel)];
  await second.reload(operators.text.replace("timeout: 4", "timeout: 5"));
  await Promise.all(clients.map((client) => client.closed));
  await again.connections[0].flush();
});

row("F30", "how many AUTH.ERR system events one denial makes", async (c) => {
  for (const [deployment, credential, expected] of [
    [config_mode(), {}, c.recent ? 1 : 2],
    ...(() => {
      const operators = operator_mode({ accounts: { TEST: {} }, allowed_accounts: ["TEST"] });
      return [[operators, operators.sentinel, 1]];
    })(),
  ]) {
    const server = await c.server(deployment);
    await c.scripted(server, deployment, () => ({ error: "no" }));
    const system = await c.login(server, deployment.system_login);
    const events = system.subscribe("$SYS.SERVER.*.CLIENT.AUTH.ERR");
    await system.flush();
    await c.refused(server, { ...credential, name: "first" });
    await c.refused(server, { ...credential, name: "fence" });
    let count = 0;
    await events.find((message) => {
      const { client } = JSON.parse(message.data);
      if (client.name === "first") count++;
      return client.name === "fence";
    });
    assert.equal(count, expected, deployment.mode);
  }
});

run_rows("5F duplicates and reload");

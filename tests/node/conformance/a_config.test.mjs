// SPDX-License-Identifier: Apache-2.0
// protocol.md 5A, rows in config mode over TCP.
import assert from "node:assert/strict";
import { config_mode, operator_mode } from "../lib/deployment.mjs";
import { new_server, new_user, now } from "../lib/identity.mjs";
import { nats_server } from "../lib/nats_server.mjs";
import { row, run_rows, new_only, by_both, by_daemon } from "../lib/row.mjs";

const violation = "Authorization Violation";
const callout = "$SYS.REQ.USER.AUTH";
const dlc = { user: "dlc", pass: "zzz" };
const entry = (account, more = {}) => ({ when: dlc, account, name: "dlc", ...more });

row("A01", "error reasons of every odd kind leave the server up", async (c) => {
  const deployment = config_mode();
  const server = await c.server(deployment);
  const reasons = ["x", "é", "ß is not a letter with a capital", "\u{1f512}", " ", "\n", "\u0000", '"', "9", "İ", "a".repeat(5000)];
  const service = await c.scripted(server, deployment, (nats) => ({ error: reasons[nats.connect_opts.user] }));
  for (const [index, reason] of reasons.entries()) {
    assert.equal((await c.refused(server, { user: String(index) })).error, violation);
    const seen = await service.reason();
    assert.ok(seen.includes(reason), `${JSON.stringify(reason)} came as ${JSON.stringify(seen)}`);
  }
  assert.ok(server.running);
});

row("A02", "basics: credentials, proxy_required, permissions, expiry, token", async (c) => {
  const deployment = config_mode({ account: "$G" });
  const server = await c.server(deployment);
  const grant = { account: "$G", name: "dlc", ttl: 600, user: { pub: { allow: ["$SYS.>"] }, payload: 1024, subs: 0 } };
  const service = await c.scripted(server, deployment, ({ connect_opts: { user, pass, auth_token } }) => {
    if (user === "dlc" && pass === "zzz") return grant;
    if (auth_token === "SECRET_TOKEN") return { ...grant, name: undefined };
    if (user === "proxy") return { ...grant, user: { ...grant.user, proxy_required: true } };
    return { empty: true };
  });
  assert.equal((await c.refused(server, { user: "dlc", pass: "xxx" })).error, violation);
  assert.equal(service.last.claims.nats.server_id.name, "A");
  assert.equal(service.last.claims.nats.server_id.host, "127.0.0.1");
  assert.equal(service.last.claims.nats.client_info.host, "127.0.0.1");
  // Trusted proxies exist since 2.12; an older server does not know the flag.
  if (c.recent) assert.equal((await c.refused(server, { user: "proxy" })).error, violation);
  else await c.login(server, { user: "proxy" });
  const info = await (await c.login(server, dlc)).user_info();
  assert.equal(info.user, "dlc");
  assert.equal(info.account, "$G");
  if (c.recent) assert.equal(info.account_name, "$G");
  assert.deepEqual(info.permissions.publish, { allow: ["$SYS.>"], deny: [callout] });
  assert.deepEqual(info.permissions.subscribe ?? {}, {});
  assert.ok(Math.abs(info.expires / 1e9 - 600) < 10, `expires in ${info.expires} ns`);
  const token = await c.login(server, { auth_token: "SECRET_TOKEN" });
  // Redacted since 2.10.28 and 2.11.2.
  const shown = c.recent ? "[REDACTED]" : "SECRET_TOKEN";
  assert.equal(service.last.claims.nats.client_info.user, shown);
  assert.equal((await token.user_info()).user, shown);
});

row("A02", "credentials, permissions, expiry, token", async (c) => {
  const deployment = config_mode();
  const server = await c.server(deployment);
  const user = { pub: { allow: ["$SYS.REQ.USER.INFO", "foo.>"], deny: ["foo.secret"] }, sub: { allow: ["_INBOX.>"] } };
  const service = await c.service(server, deployment, [entry("FOO", { user }), { when: { auth_token: "SECRET_TOKEN" }, account: "BAR", name: "bearer" }]);
  for (const credential of [{ user: "dlc", pass: "xxx" }, { auth_token: "ANOTHER_TOKEN" }, { user: "proxy" }, {}]) {
    assert.equal((await c.refused(server, credential)).error, violation);
  }
  const info = await (await c.login(server, dlc)).user_info();
  assert.deepEqual([info.user, info.account], ["dlc", "FOO"]);
  const { publish, subscribe } = info.permissions;
  assert.deepEqual([[...publish.allow].sort(), publish.deny, subscribe.allow], [user.pub.allow, user.pub.deny, user.sub.allow]);
  assert.ok(Math.abs(info.expires / 1e9 - 600) < 10, `expires in ${info.expires} ns`);
  const bearer = await (await c.login(server, { auth_token: "SECRET_TOKEN" })).user_info();
  // The older server shows a token where the service gives no name (the scripted A02); the daemon always gives one.
  assert.deepEqual([bearer.user, bearer.account, (await service.login_of("bearer")).account], ["bearer", "BAR", "BAR"]);
  assert.ok(!JSON.stringify(bearer).includes("SECRET_TOKEN"));
  assert.equal(await service.asked(), 6);
}, { by: by_daemon });

row("A06", "several accounts: the user lands where aud says", async (c) => {
  const deployment = config_mode();
  const server = await c.server(deployment);
  await c.service(server, deployment, [entry("BAZ")]);
  const info = await (await c.login(server, dlc)).user_info();
  assert.deepEqual([info.user, info.account], ["dlc", "BAZ"]);
}, { by: by_both });

row("A07", "allowed_accounts: which static accounts are delegated", async (c) => {
  const deployment = config_mode({ accounts: "FOO { users: [ {user: foo, password: pwd} ] }, BAR {}", allowed_accounts: ["BAR"], extra: "no_auth_user: foo" });
  const server = await c.server(deployment);
  const service = await c.service(server, deployment, [entry("BAR")]);
  const info = await (await c.login(server, dlc)).user_info();
  assert.deepEqual([info.user, info.account], ["dlc", "BAR"]);
  assert.equal(await service.asked(), 1);
  const anonymous = await (await c.login(server, {})).user_info();
  assert.deepEqual([anonymous.user, anonymous.account], ["foo", "FOO"]);
  const system = await (await c.login(server, deployment.system_login)).user_info();
  assert.deepEqual([system.user, system.account], ["sys", "SYS"]);
  assert.equal(await service.asked(), 1);
}, { on: new_only, by: by_both });

const preconnect = () => config_mode({ accounts: "FOO { users: [ {user: foo, password: pwd} ] }", extra: "no_auth_user: foo" });

row("A08", "PING before CONNECT with no_auth_user goes through the callout", async (c) => {
  const deployment = preconnect();
  const server = await c.server(deployment);
  const service = await c.service(server, deployment, []);
  const client = await c.connect(server);
  const pong = client.flush().then(() => "PONG", () => "closed");
  if (c.recent) {
    assert.equal(await pong, "closed");
    assert.equal(client.lines[1], `-ERR '${violation}'`);
    assert.equal(await service.asked(), 1);
  } else {
    // 2.12.14 and 2.14.4 closed this bypass; the older server lets the client in unasked.
    assert.equal(await pong, "PONG");
    assert.equal(await service.asked(), 0);
  }
}, { by: by_both });

row("A09", "PING before CONNECT: the expiry of the callout's answer holds", async (c) => {
  const deployment = preconnect();
  const server = await c.server(deployment);
  const service = await c.scripted(server, deployment, () => ({ account: "FOO", ttl: 2 }));
  const client = await c.connect(server);
  await client.flush();
  assert.equal(service.count, 1);
  const begin = performance.now();
  assert.match((await client.closed).error, /User Authentication Expired/i);
  assert.ok(performance.now() - begin < 2500);
}, { on: new_only });

row("A11", "a static nkey user is delegated with sig and nonce", async (c) => {
  const user = new_user();
  const deployment = config_mode({ account: "$G", users: `{nkey: ${user.public}}` });
  const server = await c.server(deployment);
  const service = await c.scripted(server, deployment, () => ({ account: "$G" }));
  const client = await c.login(server, { key: user });
  assert.equal(service.count, 1);
  const { connect_opts, client_info } = service.last.claims.nats;
  assert.ok(connect_opts.sig && client_info.nonce);
  assert.equal(connect_opts.nkey, user.public);
  assert.ok(user.verify(client_info.nonce, Buffer.from(connect_opts.sig, "base64url")));
  const info = await client.user_info();
  assert.deepEqual([info.user, info.account], [user.public, "$G"]);
  assert.deepEqual(info.permissions.publish.deny, [callout]);
});

row("A11", "a static nkey user is delegated with sig and nonce", async (c) => {
  const user = new_user();
  const deployment = config_mode({ accounts: `FOO { users: [ {nkey: ${user.public}} ] }, BAR {}` });
  const server = await c.server(deployment);
  const service = await c.service(server, deployment, [{ when: {}, nkey: user.public, account: "BAR", name: "device" }],
    { folder: { routes: [{ name: "keys", credential: ["nkey"], chain: ["users"] }] } });
  const info = await (await c.login(server, { key: user })).user_info();
  assert.deepEqual([info.user, info.account], ["device", "BAR"]);
  assert.equal((await c.refused(server, { key: new_user() })).error, violation);
  assert.equal((await service.login_of("device")).identity, "device");
}, { by: by_daemon });

row("A12", "operators and auth_callout{} together: the server refuses to start", async (c) => {
  const deployment = operator_mode();
  const text = deployment.text.replace("authorization { timeout: 4 }",
    `authorization { auth_callout { issuer: ${deployment.auth.public}, auth_users: [ ${deployment.service_user.public} ] } }`);
  const result = await nats_server.refused({ version: c.version, config: text });
  assert.notEqual(result.code, 0);
  assert.match(result.output, /operators do not allow authorization callouts to be configured directly/i);
});

row("A16", "xkey: sealed requests, plain and sealed answers", async (c) => {
  const deployment = config_mode({ xkey: true });
  const server = await c.server(deployment);
  const service = await c.scripted(server, deployment, (nats) => ({ account: "FOO", name: "dlc", plain: nats.connect_opts.user === "plain" }));
  for (const user of ["plain", "sealed"]) {
    const client = await c.login(server, { user });
    assert.equal((await client.user_info()).account, "FOO");
    const { message, sealed, claims } = service.last;
    assert.ok(sealed && !message.data.toString().startsWith("eyJ"));
    assert.deepEqual(Object.keys(message.headers), ["Nats-Server-Xkey"]);
    assert.equal(claims.nats.server_id.xkey, message.headers["Nats-Server-Xkey"]);
  }
});

row("A16", "xkey: requests are sealed, and so the daemon answers", async (c) => {
  const deployment = config_mode({ xkey: true });
  const server = await c.server(deployment);
  const service = await c.service(server, deployment, [entry("FOO")]);
  const heard = await c.overhear(server, deployment, callout);
  const info = await (await c.login(server, dlc)).user_info();
  assert.deepEqual([info.user, info.account], ["dlc", "FOO"]);
  const request = await heard.next();
  assert.equal(request.data.subarray(0, 4).toString(), "xkv1");
  assert.deepEqual(Object.keys(request.headers), ["Nats-Server-Xkey"]);
  assert.equal((await c.refused(server, { ...dlc, pass: "xxx" })).error, violation);
  assert.equal(await service.asked(), 2);
}, { by: by_daemon });

row("A18", "server tags travel in the request", async (c) => {
  const deployment = config_mode({ extra: "server_tags: [ foo, bar ]" });
  const server = await c.server(deployment);
  const service = await c.scripted(server, deployment, () => ({ account: "FOO" }));
  await c.login(server, dlc);
  assert.deepEqual(service.last.claims.nats.server_id.tags, ["foo", "bar"]);
});

row("A19", "cluster name and version travel in the request", async (c) => {
  const deployment = config_mode({ extra: "cluster { name: HUB, host: 127.0.0.1, port: -1 }" });
  const server = await c.server(deployment);
  const service = await c.scripted(server, deployment, () => ({ account: "FOO" }));
  await c.login(server, dlc);
  assert.equal(service.last.claims.nats.server_id.cluster, "HUB");
  assert.equal(service.last.claims.nats.server_id.version, c.version);
});

for (const [id, text, extra, condition, other] of [
  ["A18", "server tags travel in the request and decide", "server_tags: [ foo, bar ]", { "connection.server_tags": { has: "bar" } }, { "connection.server_tags": { has: "baz" } }],
  ["A19", "cluster name travels in the request and decides", "cluster { name: HUB, host: 127.0.0.1, port: -1 }", { "connection.server_cluster": "HUB" }, { "connection.server_cluster": "SPOKE" }],
]) {
  row(id, text, async (c) => {
    const deployment = config_mode({ extra });
    const server = await c.server(deployment);
    await c.service(server, deployment, [entry("FOO", { condition }), { when: { user: "rip", pass: "yyy" }, account: "BAR", condition: other }]);
    assert.equal((await (await c.login(server, dlc)).user_info()).account, "FOO");
    assert.equal((await c.refused(server, { user: "rip", pass: "yyy" })).error, violation);
  }, { by: by_daemon });
}

row("A20", "an error response refuses", async (c) => {
  const deployment = config_mode();
  const server = await c.server(deployment);
  const service = await c.service(server, deployment, [{ when: dlc, deny: "BAD AUTH" }]);
  assert.equal((await c.refused(server, dlc)).error, violation);
  if (service.reason) assert.match(await service.reason(), /BAD AUTH/i);
}, { by: by_both });

row("A21", "a wrong password of an auth user never calls out", async (c) => {
  const deployment = config_mode();
  const server = await c.server(deployment);
  const service = await c.service(server, deployment, [entry("FOO")]);
  assert.equal((await c.refused(server, { user: "auth", pass: "wrong" })).error, violation);
  // A later request shows that none was on its way.
  await c.login(server, dlc);
  assert.equal(await service.asked(), 1);
}, { by: by_both });

row("A22", "failed logins are reported inside the callout account", async (c) => {
  const deployment = config_mode();
  const server = await c.server(deployment);
  const service = await c.scripted(server, deployment, ({ connect_opts: { user, pass } }) => {
    if (user === "proxy") return { account: "FOO", user: { proxy_required: true } };
    if (user !== "dlc") return { error: "BAD CREDS" };
    return pass === "zzz" ? { account: "FOO", name: "dlc" } : { error: "WRONG PASSWORD" };
  });
  await c.login(server, dlc);
  await c.refused(server, { user: "dlc", pass: "xxx" });
  assert.match(await service.reason(), /WRONG PASSWORD/i);
  await c.refused(server, { user: "rip", pass: "xxx" });
  assert.match(await service.reason(), /BAD CREDS/i);
  if (c.recent) {
    await c.refused(server, { user: "proxy" });
    assert.match(await service.reason(), /proxy connection required/i);
  }
  await service.connections[0].flush();
  assert.equal(service.auth_errors.count, c.recent ? 3 : 2);
});

row("A22", "failed logins are reported inside the callout account, without the daemon's reason", async (c) => {
  const deployment = config_mode();
  const server = await c.server(deployment);
  const service = await c.service(server, deployment, [entry("FOO")]);
  const errors = await c.overhear(server, deployment);
  await c.login(server, dlc);
  const reasons = [];
  for (const credential of [{ user: "dlc", pass: "xxx" }, { user: "rip", pass: "xxx" }, {}]) {
    await c.refused(server, credential);
    reasons.push(JSON.parse((await errors.next()).data).reason);
  }
  // One text for all: who listens there must not learn which users exist.
  assert.equal(new Set(reasons).size, 1, JSON.stringify(reasons));
  assert.ok(reasons[0]);
  const audited = await service.audited((line) => line.verdict === "deny", 3);
  assert.equal(audited.length, 3);
  for (const { reason, reason_id } of audited) assert.ok(!reasons[0].includes(reason) && !reasons[0].includes(reason_id), `${reasons[0]} tells ${reason_id}`);
  assert.equal(errors.count, 3);
}, { by: by_daemon });

row("A23", "connect and disconnect events carry the callout identity, once", async (c) => {
  const deployment = config_mode();
  const server = await c.server(deployment);
  const logins = { dlc: "FOO", rip: "BAR" };
  await c.service(server, deployment, Object.entries(logins).map(([user, account]) => ({ when: { user, pass: `of ${user}` }, account, name: user })));
  const system = await c.login(server, deployment.system_login);
  const events = ["$SYS.ACCOUNT.*.CONNECT", "$SYS.ACCOUNT.*.DISCONNECT", "$SYS.SERVER.ACCOUNT.*.CONNS", "$SYS.ACCOUNT.*.SERVER.CONNS"]
    .map((subject) => system.subscribe(subject));
  const [connects, disconnects, old_counts, new_counts] = events;
  const connected_accounts = [];
  system.subscribe("$SYS.ACCOUNT.*.CONNECT", { callback: (message) => connected_accounts.push(JSON.parse(message.data).client.acc) });
  await system.flush();
  for (const [user, account] of Object.entries(logins)) {
    const client = await c.login(server, { user, pass: `of ${user}` });
    const about = (fits = () => true) => (message) => {
      const event = JSON.parse(message.data);
      return (event.client?.acc ?? event.acc) === account && fits(event);
    };
    const connected = JSON.parse((await connects.find(about())).data).client;
    assert.deepEqual([connected.user, connected.acc], [user, account]);
    for (const counts of [old_counts, new_counts]) assert.equal(JSON.parse((await counts.find(about())).data).conns, 1);
    await client.close();
    const gone = JSON.parse((await disconnects.find(about())).data).client;
    assert.deepEqual([gone.user, gone.acc], [user, account]);
    for (const counts of [old_counts, new_counts]) assert.equal(JSON.parse((await counts.find(about())).data).conns, 0);
  }
  await system.flush();
  const left = events.flatMap(({ messages }) => messages).map((message) => JSON.parse(message.data))
    .filter((event) => ["FOO", "BAR"].includes(event.client?.acc ?? event.acc));
  assert.deepEqual(left, []);
  // The daemon may open a link of its own, in the callout account, meanwhile.
  assert.deepEqual(connected_accounts.filter((account) => account !== deployment.account), ["FOO", "BAR"]);
}, { by: by_both });

row("A24", "a response for another server is refused", async (c) => {
  const deployment = config_mode();
  const server = await c.server(deployment);
  const other = new_server().public;
  const service = await c.scripted(server, deployment, () => ({ account: "FOO", response: { aud: other } }));
  assert.equal((await c.refused(server, dlc)).error, violation);
  assert.match(await service.reason(), /response is not for server/i);
});

row("A25", "a response for another user is refused", async (c) => {
  const deployment = config_mode();
  const server = await c.server(deployment);
  const other = new_user().public;
  const service = await c.scripted(server, deployment, (nats) => nats.connect_opts.user === "both"
    ? { account: "FOO", user_subject: other, response: { sub: other } } : { account: "FOO", user_subject: other });
  assert.equal((await c.refused(server, { user: "both" })).error, violation);
  assert.match(await service.reason(), /auth callout response is not for expected user/i);
  assert.equal((await c.refused(server, { user: "jwt alone" })).error, violation);
  assert.match(await service.reason(), /expected authorized user of/i);
});

row("A26", "an expired user JWT is refused", async (c) => {
  const deployment = config_mode();
  const server = await c.server(deployment);
  const service = await c.scripted(server, deployment, () => ({ account: "FOO", ttl: -5 }));
  assert.equal((await c.refused(server, dlc)).error, violation);
  assert.match(await service.reason(), /claim is expired/i);
});

row("A27", "an expired response is refused", async (c) => {
  const deployment = config_mode();
  const server = await c.server(deployment);
  const service = await c.scripted(server, deployment, () => ({ account: "FOO", response: { exp: now() - 5 } }));
  assert.equal((await c.refused(server, dlc)).error, violation);
  assert.match(await service.reason(), /claim is expired/i);
});

row("A30", "an empty and an error reply refuse at once", async (c) => {
  const deployment = config_mode();
  const server = await c.server(deployment);
  await c.scripted(server, deployment, (nats) => (nats.connect_opts.user === "empty" ? { empty: true } : { error: "no" }));
  for (const user of ["empty", "error"]) {
    const result = await c.refused(server, { user });
    assert.equal(result.error, violation);
    assert.ok(result.ms < 2500, `${user}: after ${result.ms} ms`);
  }
});

row("A30", "a denial refuses at once", async (c) => {
  const deployment = config_mode();
  const server = await c.server(deployment);
  await c.service(server, deployment, [entry("FOO")]);
  for (const credential of [{ user: "dlc", pass: "xxx" }, { user: "nobody" }, {}]) {
    const result = await c.refused(server, credential);
    assert.equal(result.error, violation);
    assert.ok(result.ms < 2500, `after ${result.ms} ms`);
  }
}, { by: by_daemon });

row("A35", "static user with proxy_required: asked once, refused all the same", async (c) => {
  const deployment = config_mode({ accounts: "APP { users: [ {user: proxy, password: pwd, proxy_required: true} ] }" });
  const server = await c.server(deployment);
  const service = await c.service(server, deployment, [{ when: { user: "proxy", pass: "pwd" }, account: "APP" }]);
  const errors = await c.overhear(server, deployment);
  await c.refused(server, { user: "proxy", pass: "pwd" });
  assert.match(JSON.parse((await errors.next()).data).reason, /proxy connection required/i);
  assert.equal(await service.asked(), 1);
}, { on: new_only, by: by_both });

async function connections_of(system, server_account) {
  const reply = JSON.parse((await system.request(`$SYS.REQ.ACCOUNT.${server_account}.CONNZ`, "{}")).data);
  return reply.data.num_connections;
}

row("A38", "an answer that comes too late has no effect", async (c) => {
  const deployment = config_mode({ timeout: 1 });
  const server = await c.server(deployment);
  const service = await c.scripted(server, deployment, () => undefined);
  const system = await c.login(server, deployment.system_login);
  const result = await c.refused(server, { user: "zombie" });
  assert.equal(result.error, violation);
  assert.ok(result.ms > 900);
  await service.answer(service.last, { account: "FOO" });
  assert.equal(await connections_of(system, "FOO"), 0);
});

row("A39", "late answers do not fill an account", async (c) => {
  const deployment = operator_mode({ accounts: { FOO: { limits: { conn: 5 } } }, allowed_accounts: ["FOO"], timeout: 1 });
  const server = await c.server(deployment);
  const service = await c.scripted(server, deployment, (nats) => (nats.connect_opts.user === "zombie" ? undefined : { account: "FOO" }));
  await Promise.all(Array.from({ length: 20 }, () => c.refused(server, { ...deployment.sentinel, user: "zombie" })));
  assert.equal(service.count, 20);
  for (const request of service.requests.slice(0, 20)) await service.answer(request, { account: "FOO" });
  const clients = await Promise.all(Array.from({ length: 5 }, () => c.login(server, { ...deployment.sentinel, user: "real" })));
  for (const client of clients) await client.flush();
  assert.match((await c.refused(server, { ...deployment.sentinel, user: "real" })).error ?? "", /maximum account active connections exceeded|Authorization Violation/);
});

run_rows("5A config mode");

// SPDX-License-Identifier: Apache-2.0
// The callout service behind a server. Rows in which the service must misbehave use scripted_service, which sends
// exactly what it is told. Rows in which it behaves describe their logins as a table and call start_service.
import crypto from "node:crypto";
import { encode_jwt, decode_jwt, verify_jwt, now, open, seal, user_jwt } from "./identity.mjs";
import { wire_client } from "./wire.mjs";

export const callout_subject = "$SYS.REQ.USER.AUTH";
export const auth_error_subject = "$SYS.ACCOUNT.CLIENT.AUTH.ERR";

// The payloads (Buffers) that answer `request`. A verdict is
//   undefined: silence            {empty: true}: an empty message       {raw}: these bytes
//   {error: "text"}               an array: one reply for each element
//   {account, name, ttl, user: {...}, ...}: allow. user: members of the user JWT body (user.top: of its top level);
//   user_key, user_subject, response_key: signer or subject other than the right one; response: top-level members,
//   response_body: body members of the envelope; plain: answer a sealed request unsealed; jwt: this text as user JWT.
export function render(request, verdict, deployment) {
  if (verdict === undefined || verdict === null) return [];
  if (Array.isArray(verdict)) return verdict.flatMap((one) => render(request, one, deployment));
  if (verdict.empty) return [Buffer.alloc(0)];
  if (verdict.raw !== undefined) return [Buffer.from(verdict.raw)];
  const { nats } = request.claims;
  const body = {};
  if (verdict.error !== undefined) body.error = verdict.error;
  else body.jwt = verdict.jwt ?? make_user_jwt(nats, verdict, deployment);
  const envelope = { aud: nats.server_id.id, sub: nats.user_nkey, ...verdict.response,
    nats: { ...body, type: "authorization_response", version: 2, ...verdict.response_body } };
  const token = encode_jwt(JSON.parse(JSON.stringify(envelope)), verdict.response_key ?? deployment.issuer, verdict);
  if (request.sealed && !verdict.plain) return [seal(Buffer.from(token), deployment.xkey, nats.server_id.xkey)];
  return [Buffer.from(token)];
}

function make_user_jwt(nats, verdict, deployment) {
  const { account, name, ttl = 600, user = {}, user_subject } = verdict;
  const exp = ttl === null ? undefined : now() + ttl;
  if (deployment.mode === "config") {
    return user_jwt(user_subject ?? nats.user_nkey, verdict.user_key ?? deployment.issuer, { name, exp, aud: account, ...user });
  }
  const home = deployment.accounts[account];
  const key = verdict.user_key ?? home.key;
  const issuer_account = key === home.key ? undefined : home.public;
  return user_jwt(user_subject ?? nats.user_nkey, key, { name, exp, issuer_account, ...user });
}

export class scripted_service {
  // decide(nats, request): a verdict or a promise of one. connections: how many share the queue group.
  // login, port: where and as whom it connects if not as the deployment says.
  static async start({ server, deployment, decide, connections = 1, queue = "q", login = deployment.service_login, port = server.port, tls }) {
    const service = new scripted_service();
    Object.assign(service, { server, deployment, decide, requests: [], waiting: [], connections: [], faults: [] });
    for (let index = 0; index < connections; index++) {
      const connection = await wire_client.connect({ port, tls });
      const result = await connection.login({ name: "callout-service", ...login });
      if (!result.ok) throw new Error(`the callout service was refused: ${result.error}`);
      connection.subscribe(callout_subject, { queue, callback: (message) => service.take(message, connection) });
      if (index === 0) service.auth_errors = connection.subscribe(auth_error_subject);
      await connection.flush();
      service.connections.push(connection);
    }
    return service;
  }

  get count() {
    return this.requests.length;
  }
  // As daemon_service has it.
  async asked() {
    return this.count;
  }
  get last() {
    return this.requests.at(-1);
  }

  async take(message, connection) {
    const request = { message, arrived: performance.now(), sealed: message.data.subarray(0, 4).toString() === "xkv1" };
    try {
      const bytes = request.sealed ? open(message.data, this.deployment.xkey, message.headers["Nats-Server-Xkey"]) : message.data;
      if (!bytes) throw new Error("a sealed request does not open");
      request.token = Buffer.from(bytes).toString();
      request.claims = decode_jwt(request.token).claims;
      if (!verify_jwt(request.token)) throw new Error("a request has a wrong signature");
      this.requests.push(request);
      for (const wait of this.waiting.splice(0)) wait();
      const verdict = await this.decide(request.claims.nats, request);
      for (const payload of render(request, verdict, this.deployment)) connection.publish(message.reply, payload);
    } catch (error) {
      this.faults.push(error);
    }
  }

  // The request for which `fits(nats)` holds, past or future.
  async request(fits, timeout = 5_000) {
    const end = Date.now() + timeout;
    for (;;) {
      const found = this.requests.find((request) => fits(request.claims.nats));
      if (found) return found;
      const left = end - Date.now();
      if (left <= 0) throw new Error("no such callout request arrived");
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, left);
        this.waiting.push(() => (clearTimeout(timer), resolve()));
      });
    }
  }

  // Replies later, by hand, to a request that was left without an answer.
  answer(request, verdict, connection = this.connections[0]) {
    for (const payload of render(request, verdict, this.deployment)) connection.publish(request.message.reply, payload);
    return connection.flush();
  }

  // The reason of the next failed login of `user` (its text as the server wrote it).
  async reason(timeout = 5_000) {
    return JSON.parse((await this.auth_errors.next(timeout)).data).reason;
  }

  async close() {
    await Promise.all(this.connections.map((connection) => connection.close()));
    if (this.faults.length) throw this.faults[0];
  }
}

// A table of logins: the first entry whose `when` members all equal the request's connect_opts decides; none: denied.
// [{when: {user, pass, auth_token}, deny: "reason"} | {when, account, name, ttl, user: {pub, sub, resp}}]
export function table_verdict(table, nats) {
  const entry = table.find(({ when }) => Object.entries(when).every(([member, value]) => nats.connect_opts[member] === value));
  if (!entry) return { error: "no such login" };
  return entry.deny ? { error: entry.deny } : entry;
}

// The daemon behind the same table: a user with a token (or an nkey) for each login, a rule with a grant for each user. More
// members of an entry: condition (of the rule, beside the subject), role (instead of user), nkey. folder: more options of
// daemon.mjs's write_folder.
class daemon_service {
  static async start({ server, deployment, table, folder = {} }) {
    const { daemon, sha256, write_folder } = await import("./daemon.mjs");
    const allowed = table.filter((entry) => !entry.deny);
    const subject = ({ name, when }) => name ?? when.user ?? when.auth_token;
    const users = allowed.map((entry) => ({ user: subject(entry),
      ...(entry.nkey ? { nkey: entry.nkey } : { token_sha256: sha256(entry.when.auth_token ?? entry.when.pass ?? entry.when.user) }) }));
    const rules = allowed.map((entry, index) => ({ name: `row ${index}`, when: { subject: subject(entry), ...entry.condition },
      grant: { account: entry.account, ...(entry.role ? { role: entry.role } : { pub: { allow: [">"] }, sub: { allow: [">"] }, ...entry.user }), ttl: `${entry.ttl ?? 600}s` } }));
    const grantable = [...new Set(allowed.map((entry) => entry.account))];
    const never = [{ name: "nobody", when: "always", deny: true }];
    const service = new daemon_service();
    service.gate = await daemon.start(write_folder({ ...deployment, grantable: grantable.length ? grantable : ["FOO"] },
      { server, users: users.length ? users : [{ user: "nobody", token_sha256: sha256(crypto.randomUUID()) }],
        policy: { jitter: 0, rules: rules.length ? rules : never }, ...folder }));
    return service;
  }

  // How many requests it answered.
  asked() {
    return this.gate.metric("callgate_replies_total");
  }
  // The lines of the audit that fit, once there are `count`: it is written behind the answers.
  async audited(fits, count = 1) {
    let lines = [];
    await this.gate.until(`${count} lines of the audit`, async () => (lines = this.gate.audit().filter(fits)).length >= count || this.gate.audit(), 6_000);
    return lines;
  }
  async login_of(user) {
    return (await this.audited((line) => line.verdict === "allow" && line.identity === user))[0];
  }
  close() {
    return this.gate.stop();
  }
}

// A service that behaves: kind is scripted or daemon. Only the scripted one has `reason`: the daemon tells nobody on the
// wire why it denied.
export function start_service(kind, { table, ...options }) {
  if (kind === "daemon") return daemon_service.start({ table, ...options });
  return scripted_service.start({ ...options, decide: (nats) => table_verdict(table, nats) });
}

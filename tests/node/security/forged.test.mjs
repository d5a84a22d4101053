// SPDX-License-Identifier: Apache-2.0
// Requests that no honest server sends, published by a user of the callout account (2.15.1 with allowed_accounts that
// leave that account out does not stop it, protocol.md 3.4), and what the daemon makes of them: no reply, a counted
// reason, and the next honest login served. Names carry the points of the security review they prove.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { patience, sha256 } from "../lib/daemon.mjs";
import { config_mode } from "../lib/deployment.mjs";
import { b64u, decode_jwt, encode_jwt, new_curve, new_server, new_user, now, open, seal } from "../lib/identity.mjs";
import { stage } from "../lib/stage.mjs";

const version = "2.15.1";
const token = "correct-horse-battery-staple-0123456789";
const users = [{ user: "alice", token_sha256: sha256(token) }];
const subject = "$SYS.REQ.USER.AUTH";

let counter = 0;
const inbox = () => `$SYS._INBOX.forgery1.${String(++counter).padStart(8, "0")}`;

// An honest-looking request by a server of our own; `change` edits the claims before they are signed.
function request(deployment, server_key, change = () => {}) {
  const claims = { aud: "nats-authorization-request", exp: now() + 2, sub: deployment.issuer.public, nats: {
    server_id: { name: "forged", host: "0.0.0.0", id: server_key.public, version }, user_nkey: new_user().public,
    client_info: { host: "127.0.0.1", id: 7, kind: "Client", type: "nats" }, connect_opts: { auth_token: token, protocol: 1 },
    type: "authorization_request", version: 2 } };
  change(claims);
  return encode_jwt(claims, server_key);
}

async function forgery({ xkey = false, callout = {} } = {}) {
  const deployment = config_mode({ xkey, accounts: "APP {}, OTHER { users: [ {user: other, password: pwd} ] }", allowed_accounts: ["OTHER"], timeout: 2 * patience,
    auth_account_users: "{user: auth, password: pwd}, {user: forger, password: pwd}", auth_users: ["auth", "forger"] });
  const s = await stage.open(deployment, { version, folder: { users, callout } });
  const { gate } = s;
  const forger = await s.enter({ user: "forger", pass: "pwd" });
  return {
    deployment, gate, forger, key: new_server(),
    honest_login: () => s.login({ auth_token: token }),
    // Publishes and waits until the daemon has counted `reason` once more; nothing may come to the inbox.
    async dropped(reason, payload, { reply = inbox(), headers } = {}) {
      const had = await gate.metric("callgate_dropped_total", { reason });
      const answers = forger.subscribe(reply);
      forger.publish(subject, payload, { reply, headers });
      await gate.until(`drop ${reason}`, async () => (await gate.metric("callgate_dropped_total", { reason })) === had + 1 || (await gate.get("/metrics")).body.split("\n").filter((l) => /^callgate_dropped_total.* [1-9]/.test(l)));
      // An honest login goes the same way behind it: whatever was sent for the forgery has arrived by then.
      assert.equal((await this.honest_login()).ok, true, "the next honest login");
      await forger.flush();
      assert.equal(answers.count, 0, "a reply to a forged request");
    },
    close: () => s.close(),
  };
}

describe("forged requests, plaintext", () => {
  let s;
  before(async () => (s = await forgery({ callout: { servers: "any", max_request_bytes: "128KiB" } })));
  after(() => s?.close());
  const make = (change) => request(s.deployment, s.key, change);

  test("a well-formed one by an unknown server is answered when servers: any", async () => {
    const reply = inbox();
    const answers = s.forger.subscribe(reply);
    s.forger.publish(subject, make(), { reply });
    assert.match((await answers.next()).data.toString(), /^eyJ/);
  });
  test("garbage", () => s.dropped("not_decodable", Buffer.from([0, 255, 1, 2, 3])));
  test("empty payload", () => s.dropped("not_decodable", ""));
  test("truncated token", () => s.dropped("not_decodable", make().slice(0, 200)));
  test("signature bit flipped", () => {
    const whole = make();
    const cut = whole.lastIndexOf(".") + 1;
    const signature = Buffer.from(whole.slice(cut), "base64url");
    signature[5] ^= 1;
    return s.dropped("bad_signature", whole.slice(0, cut) + b64u(signature));
  });
  test("claims changed after signing", () => {
    const [header, body, signature] = make().split(".");
    const claims = JSON.parse(Buffer.from(body, "base64url"));
    claims.nats.connect_opts.user = "root";
    return s.dropped("bad_signature", [header, b64u(JSON.stringify(claims)), signature].join("."));
  });
  test("alg none", () => s.dropped("not_decodable", encode_jwt({ aud: "nats-authorization-request" }, s.key, { header: '{"typ":"JWT","alg":"none"}' })));
  test("wrong aud", () => s.dropped("wrong_audience", make((c) => (c.aud = "somebody-else"))));
  test("sub of another deployment", () => s.dropped("wrong_subject", make((c) => (c.sub = new_user().public))));
  test("iss is not the server id", () => s.dropped("issuer_mismatch", make((c) => (c.nats.server_id.id = new_server().public))));
  test("expired", () => s.dropped("expired", make((c) => ((c.exp = now() - 300), (c.iat = now() - 302)))));
  test("from the future", () => s.dropped("from_future", make((c) => ((c.iat = now() + 300), (c.exp = now() + 302)))));
  test("user_nkey of another kind", () => s.dropped("bad_user_nkey", make((c) => (c.nats.user_nkey = new_server().public))));
  test("invalid UTF-8 inside the claims", () => {
    const claims = Buffer.concat([Buffer.from('{"aud":"nats-authorization-request","name":"'), Buffer.from([0xc3, 0x28]), Buffer.from(`","iss":"${s.key.public}"}`)]);
    const signed = `${b64u('{"typ":"JWT","alg":"ed25519-nkey"}')}.${b64u(claims)}`;
    return s.dropped("not_decodable", `${signed}.${b64u(s.key.pair.sign(Buffer.from(signed)))}`);
  });
  test("duplicate members", () => {
    const good = make();
    const body = Buffer.from(good.split(".")[1], "base64url").toString().replace('"aud":', '"aud":"nats-authorization-request","aud":');
    const signed = `${b64u('{"typ":"JWT","alg":"ed25519-nkey"}')}.${b64u(body)}`;
    return s.dropped("not_decodable", `${signed}.${b64u(s.key.pair.sign(Buffer.from(signed)))}`);
  });
  test("JSON 1,000 deep", () => {
    const body = `{"iss":"${s.key.public}","a":${"[".repeat(1000)}${"]".repeat(1000)}}`;
    const signed = `${b64u('{"typ":"JWT","alg":"ed25519-nkey"}')}.${b64u(body)}`;
    return s.dropped("not_decodable", `${signed}.${b64u(s.key.pair.sign(Buffer.from(signed)))}`);
  });
  test("a sealed request where no xkey is configured", () => s.dropped("unknown_xkey", seal(Buffer.from(make()), new_curve(), new_curve().public), { headers: { "Nats-Server-Xkey": new_curve().public } }));
  test("review 4.4: a reply subject that is not a server's inbox gets nothing", () => s.dropped("bad_reply_subject", make(), { reply: "evil.subject" }));
  test("review 4.4: nor does one with wildcards or more tokens", async () => {
    await s.dropped("bad_reply_subject", make(), { reply: "$SYS._INBOX.forgery1.12345678.more" });
    await s.dropped("bad_reply_subject", make(), { reply: "_INBOX.abc" });
  });
  test("review 4.4: a user_nkey or server id that is no key gets nothing", async () => {
    const server = new_server().public;
    for (const text of ["", ">", "*", `${new_user().public.slice(0, -1)}>`, new_user().public + "A", new_user().public.toLowerCase()]) {
      await s.dropped("bad_user_nkey", make((c) => (c.nats.user_nkey = text)));
    }
    for (const text of ["", ">", server.slice(0, -1) + "*", new_user().public]) await s.dropped("issuer_mismatch", make((c) => (c.nats.server_id.id = text)));
  });
  test("review 4.8: the same user_nkey a second time is a replay", async () => {
    const payload = make();
    const reply = inbox();
    const answers = s.forger.subscribe(reply);
    s.forger.publish(subject, payload, { reply });
    await answers.next();
    await s.dropped("replayed", payload);
  });
  test("a credential of 64 KB is no credential: answered with a denial, nothing of it kept", async () => {
    const reply = inbox();
    const answers = s.forger.subscribe(reply);
    s.forger.publish(subject, make((c) => (c.nats.connect_opts.auth_token = "x".repeat(65_536))), { reply });
    const { claims } = decode_jwt((await answers.next()).data.toString());
    assert.equal(claims.nats.jwt, undefined);
    assert.equal((await s.honest_login()).ok, true);
  });
  test("600 KB, more than max_request_bytes", () => s.dropped("oversized", make((c) => (c.nats.connect_opts.auth_token = "x".repeat(600_000)))));
});

describe("forged requests, encrypted and pinned", () => {
  let s;
  before(async () => (s = await forgery({ xkey: true })));
  after(() => s?.close());
  const sealed = (curve, change) => seal(Buffer.from(request(s.deployment, s.key, (c) => ((c.nats.server_id.xkey = curve.public), change?.(c)))), curve, s.deployment.xkey.public);

  test("plaintext where an xkey is configured", () => s.dropped("plaintext_refused", request(s.deployment, s.key)));
  test("sealed to another xkey", () => {
    const curve = new_curve();
    return s.dropped("unknown_xkey", seal(Buffer.from(request(s.deployment, s.key)), curve, new_curve().public), { headers: { "Nats-Server-Xkey": curve.public } });
  });
  test("header key is not the key in the claims", () => {
    const curve = new_curve();
    return s.dropped("xkey_mismatch", sealed(curve, (c) => (c.nats.server_id.xkey = new_curve().public)), { headers: { "Nats-Server-Xkey": curve.public } });
  });
  test("review 4.3: a server that is not on the discovered list", () => {
    const curve = new_curve();
    return s.dropped("server_not_pinned", sealed(curve), { headers: { "Nats-Server-Xkey": curve.public } });
  });
  test("the reply to a sealed request is sealed", async () => {
    const tap = s.forger.subscribe("$SYS._INBOX.>");
    await s.forger.flush();
    assert.equal((await s.honest_login()).ok, true);
    const reply = await tap.next();
    assert.equal(reply.data.subarray(0, 4).toString(), "xkv1");
    assert.equal(open(reply.data, new_curve(), s.deployment.xkey.public), null);
  });
});

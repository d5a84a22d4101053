// SPDX-License-Identifier: Apache-2.0
// Credentials that no honest client sends, through a real server to the daemon behind a real OpenID Connect issuer: who
// stays out, and the reason that the operator finds.
import assert from "node:assert/strict";
import crypto from "node:crypto";
import { after, before, describe, test } from "node:test";
import { audience, issuer } from "../demo/issuer.mjs";
import { sha256 } from "../lib/daemon.mjs";
import { config_mode } from "../lib/deployment.mjs";
import { b64u, now } from "../lib/identity.mjs";
import { stage } from "../lib/stage.mjs";

const static_token = "correct-horse-battery-staple-0123456789";

describe("tokens of an OpenID Connect issuer", () => {
  let idp, s, rsa;
  const timeout = 30_000;
  before(async () => {
    idp = await issuer.start();
    rsa = idp.keys.find((key) => key.alg === "RS256");
    // Room for a token of 1 MB: a server's defaults end such a client before anybody is asked.
    // The server gives up on an unanswered login well before the client here does, in every preset.
    const deployment = config_mode({ accounts: "APP {}", timeout: timeout / 3000, extra: "max_control_line: 4MB\nmax_payload: 4MB" });
    const corp = { plugin: "auth_oidc", config: { issuers: [{ issuer: idp.url, audiences: [audience], algorithms: ["RS256", "ES256", "EdDSA", "PS256"], jwks_url: idp.jwks_url, allow_http_loopback: true }], min_refresh_interval: "1s" } };
    const grant = { account: "APP", pub: { allow: ["app.{{sub}}.>", "$SYS.REQ.USER.INFO"] }, sub: { allow: ["_INBOX.>"] }, ttl: "10m" };
    s = await stage.open(deployment, { folder: { users: [{ user: "alice", token_sha256: sha256(static_token) }], backends: { corp },
      routes: [{ name: "all", credential: ["auth_token", "pass"], chain: ["corp", "users"] }], policy: { rules: [{ name: "all", when: { backend: { in: ["corp", "users"] } }, grant }] } } });
    // The keys have been fetched once an honest token is let in.
    await s.gate.until("an honest login", async () => (await s.login({ auth_token: await idp.token("RS256"), timeout })).ok);
  });
  after(async () => {
    await s?.close();
    await idp?.stop();
  });

  const claims = (changes = {}) => ({ iss: idp.url, sub: "mallory", aud: audience, iat: now(), exp: now() + 300, jti: crypto.randomUUID(), ...changes });
  const sign = (header, payload, key = crypto.createPrivateKey({ key: rsa, format: "jwk" })) => {
    const text = (value) => b64u(typeof value === "string" || Buffer.isBuffer(value) ? value : JSON.stringify(value));
    const signed = `${text(header)}.${text(payload)}`;
    return `${signed}.${b64u(crypto.sign("sha256", Buffer.from(signed), key))}`;
  };
  const header = () => ({ alg: "RS256", kid: rsa.kid, typ: "at+jwt" });
  const public_pem = () => crypto.createPublicKey({ key: rsa, format: "jwk" }).export({ format: "pem", type: "spki" });
  const hmac = (secret) => {
    const signed = `${b64u(JSON.stringify({ ...header(), alg: "HS256" }))}.${b64u(JSON.stringify(claims()))}`;
    return `${signed}.${crypto.createHmac("sha256", secret).update(signed).digest("base64url")}`;
  };

  test("the same claims, honestly signed, are let in", async () => {
    const client = await s.enter({ auth_token: sign(header(), claims({ sub: "carol" })), timeout });
    assert.equal((await client.user_info()).user, "carol");
  });

  const cases = {
    "alg none": ["alg_not_allowed", () => `${b64u('{"alg":"none","typ":"at+jwt"}')}.${b64u(JSON.stringify(claims()))}.`],
    "alg none with a signature": ["alg_not_allowed", () => sign({ ...header(), alg: "none" }, claims())],
    "alg nOnE": ["alg_not_allowed", () => sign({ ...header(), alg: "nOnE" }, claims())],
    "HS256 keyed with the public key (PEM)": ["alg_not_allowed", () => hmac(public_pem())],
    "HS256 keyed with the public key (DER)": ["alg_not_allowed", () => hmac(crypto.createPublicKey({ key: rsa, format: "jwk" }).export({ format: "der", type: "spki" }))],
    // Older than the keys: a younger token is UNAVAILABLE while the next fetch is not yet due.
    "unknown kid": ["unknown_kid", () => sign({ ...header(), kid: "nobody-knows-me" }, claims({ iat: now() - 120 }))],
    // Without a kid the only key of the algorithm is meant; it is still that key.
    "no kid, signed by somebody else": ["bad_signature", () => sign({ alg: "RS256", typ: "at+jwt" }, claims(), crypto.generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey)],
    "a key of its own in the header": ["key_in_header", () => sign({ ...header(), jwk: { kty: "RSA", n: rsa.n, e: rsa.e } }, claims())],
    "a key set of its own in the header": ["key_in_header", () => sign({ ...header(), jku: idp.jwks_url }, claims())],
    "crit": ["crit_not_supported", () => sign({ ...header(), crit: ["exp"] }, claims())],
    "signed by somebody else": ["bad_signature", () => sign(header(), claims(), crypto.generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey)],
    "expired": ["token_expired", () => sign(header(), claims({ iat: now() - 7200, exp: now() - 3600 }))],
    "without exp": ["exp_missing", () => sign(header(), claims({ exp: undefined }))],
    "from the future": ["iat_in_future", () => sign(header(), claims({ iat: now() + 3600, exp: now() + 7200 }))],
    "not yet valid": ["token_not_yet_valid", () => sign(header(), claims({ nbf: now() + 3600 }))],
    "wrong aud": ["aud_mismatch", () => sign(header(), claims({ aud: "somebody-else" }))],
    "no aud": ["aud_mismatch", () => sign(header(), claims({ aud: undefined }))],
    "aud is an object": ["bad_claim_type", () => sign(header(), claims({ aud: { nats: audience } }))],
    "exp is a text": ["bad_claim_type", () => sign(header(), claims({ exp: String(now() + 300) }))],
    "duplicate members": ["malformed_token", () => sign(header(), JSON.stringify(claims()).replace('"sub":', '"sub":"carol","sub":'))],
    "duplicate members in the header": ["malformed_token", () => sign(JSON.stringify(header()).replace('"alg":', '"alg":"none","alg":'), claims())],
    "invalid UTF-8 in the claims": ["malformed_token", () => sign(header(), Buffer.concat([Buffer.from(JSON.stringify(claims()).slice(0, -1) + ',"name":"'), Buffer.from([0xc3, 0x28]), Buffer.from('"}')]))],
    "JSON 1,000 deep": ["malformed_token", () => sign(header(), JSON.stringify(claims()).slice(0, -1) + `,"x":${"[".repeat(1000)}${"]".repeat(1000)}}`)],
  };
  for (const [name, [reason, make]] of Object.entries(cases)) {
    for (const place of ["auth_token", "pass"]) {
      test(`${name}, as ${place}`, async () => {
        const line = await s.refusal({ [place]: make(), ...(place === "pass" ? { user: "mallory" } : {}), timeout });
        assert.deepEqual([line.verdict, line.reason_id, line.account], ["deny", reason, undefined]);
      });
    }
  }
  test("another issuer's token is nobody's", async () => {
    const line = await s.refusal({ auth_token: sign(header(), claims({ iss: "https://evil.example" })), timeout });
    assert.equal(line.verdict, "deny");
    assert.equal(line.account, undefined);
  });
  test("a token of 100 KB is too large, and said so", async () => {
    assert.equal((await s.refusal({ auth_token: sign(header(), claims({ pad: "x".repeat(76_000) })), timeout })).reason_id, "token_too_large");
  });
  test("a token of 1 MB: no reply, counted, and the next login is served", async () => {
    const result = await s.login({ auth_token: sign(header(), claims({ pad: "x".repeat(786_432) })), timeout });
    assert.equal(result.ok, false);
    assert.equal(await s.gate.metric("callgate_dropped_total", { reason: "oversized" }), 1);
    assert.ok((await s.login({ auth_token: await idp.token("ES256"), timeout })).ok);
  });

  const raw_login = async (text) => {
    const client = await s.connect();
    client.write(Buffer.concat([Buffer.from("CONNECT "), text, Buffer.from("\r\nPING\r\n")]));
    const outcome = await Promise.race([client.closed.then(() => "refused"), new Promise((resolve) => client.pongs.push({ resolve: () => resolve("in"), reject: () => {} }))]);
    await client.close();
    return outcome;
  };
  for (const [what, bytes] of Object.entries({ "a stray continuation byte": [0x80], "an overlong slash": [0xc0, 0xaf], "half a character": [0xe2, 0x82], "a surrogate": [0xed, 0xa0, 0x80], "0xff": [0xff] })) {
    test(`invalid UTF-8 in user name and password: ${what}`, async () => {
      const had = s.gate.audit().length;
      const quoted = (text) => Buffer.concat([Buffer.from(`"${text}`), Buffer.from(bytes), Buffer.from('"')]);
      const object = Buffer.concat([Buffer.from('{"verbose":false,"user":'), quoted("alice"), Buffer.from(',"pass":'), quoted(static_token), Buffer.from("}")]);
      assert.equal(await raw_login(object), "refused");
      await s.gate.until("the audit", async () => s.gate.audit().length > had);
      const line = s.gate.audit().at(-1);
      assert.equal(line.verdict, "deny");
      assert.ok((await s.login({ auth_token: static_token, timeout })).ok, "the next login");
    });
  }
  test("control characters and quotes of a user name break no line of log or audit", async () => {
    const name = 'x"\\}\n{"verdict":"allow"}\u001b[2J\u0000';
    await s.refusal({ user: name, pass: name, name, timeout });
    for (const line of s.gate.audit()) assert.equal(line.event, "decision");
    assert.ok(!s.gate.process.lines.some((line) => /[\u0000\u001b]/.test(line)));
  });
});

// SPDX-License-Identifier: Apache-2.0
// NKeys and NATS JWT v2 as protocol.md sections 1 and 2 write them. Encodes whatever it is told, wrong claims too:
// the tests need tokens that a sane library refuses to make.
import crypto from "node:crypto";
import * as nkeys from "@nats-io/nkeys";

const text = new TextEncoder();
const base32_alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
export const jwt_header = '{"typ":"JWT","alg":"ed25519-nkey"}';

export const b64u = (bytes) => Buffer.from(bytes).toString("base64url");
export const now = () => Math.floor(Date.now() / 1000);

const wrap = (pair) => ({ pair, public: pair.getPublicKey(), seed: new TextDecoder().decode(pair.getSeed()) });
export const new_operator = () => wrap(nkeys.createOperator());
export const new_account = () => wrap(nkeys.createAccount());
export const new_user = () => wrap(nkeys.createUser());
export const new_server = () => wrap(nkeys.createServer());
export const new_curve = () => wrap(nkeys.createCurve());

function base32(bytes) {
  let out = "", value = 0, bits = 0;
  for (const byte of bytes) {
    value = ((value << 8) | byte) & 0xffff;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      out += base32_alphabet[(value >>> bits) & 31];
    }
  }
  return bits ? out + base32_alphabet[(value << (5 - bits)) & 31] : out;
}

// claims: top-level members as given; iss, iat and jti are filled in unless present. header: other header text.
export function encode_jwt(claims, key, { header = jwt_header } = {}) {
  const body = { iss: key.public, iat: now(), ...claims };
  if (body.jti === undefined) body.jti = base32(crypto.createHash("sha512-256").update(JSON.stringify(body)).digest());
  const signed = `${b64u(header)}.${b64u(JSON.stringify(body))}`;
  return `${signed}.${b64u(key.pair.sign(text.encode(signed)))}`;
}

export function decode_jwt(token) {
  const [header, body] = token.split(".");
  return { header: JSON.parse(Buffer.from(header, "base64url")), claims: JSON.parse(Buffer.from(body, "base64url")) };
}

// The signature by the key in iss, as the v2 rule has it.
export function verify_jwt(token) {
  const cut = token.lastIndexOf(".");
  const { claims } = decode_jwt(token);
  return nkeys.fromPublic(claims.iss).verify(text.encode(token.slice(0, cut)), Buffer.from(token.slice(cut + 1), "base64url"));
}

export function operator_jwt(operator, { name = "OP", ...nats } = {}) {
  return encode_jwt({ name, sub: operator.public, nats: { ...nats, type: "operator", version: 2 } }, operator);
}

export const unlimited = { subs: -1, data: -1, payload: -1, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: -1 };

export function account_jwt(account, operator, { name, iat, exp, limits = {}, ...nats } = {}) {
  const claims = { name, sub: account.public, nats: {
    limits: { ...unlimited, ...limits }, default_permissions: { pub: {}, sub: {} }, ...nats, type: "account", version: 2 } };
  if (iat !== undefined) claims.iat = iat;
  if (exp !== undefined) claims.exp = exp;
  return encode_jwt(claims, operator);
}

export const no_limits = { subs: -1, data: -1, payload: -1 };
export const deny_all = { pub: { deny: [">"] }, sub: { deny: [">"] } };

// scoped: an empty permission body, as a scoped signing key demands.
export function user_jwt(user, key, { name, exp, aud, scoped = false, top = {}, ...nats } = {}) {
  const claims = { aud, exp, name, sub: user.public ?? user, ...top,
    nats: { pub: {}, sub: {}, ...(scoped ? {} : no_limits), ...nats, type: "user", version: 2 } };
  return encode_jwt(JSON.parse(JSON.stringify(claims)), key);
}

export function creds_file(jwt, user) {
  return `-----BEGIN NATS USER JWT-----\n${jwt}\n------END NATS USER JWT------\n\n` +
    `-----BEGIN USER NKEY SEED-----\n${user.seed}\n------END USER NKEY SEED------\n`;
}

export const seal = (bytes, curve, to) => Buffer.from(curve.pair.seal(Buffer.from(bytes), to));
export const open = (bytes, curve, from) => curve.pair.open(new Uint8Array(bytes), from);

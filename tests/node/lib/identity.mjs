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

// Kinds of keys: the prefix byte of protocol.md 1.1.
const prefixes = { operator: 14 << 3, account: 0, user: 20 << 3, server: 13 << 3, curve: 23 << 3 };
const pkcs8 = Buffer.from("302e020100300506032b657004220420", "hex");
const spki = Buffer.from("302a300506032b6570032100", "hex");

function crc16(bytes) {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
  }
  return crc;
}

function nkey_text(bytes) {
  const crc = crc16(bytes);
  return base32(Buffer.concat([bytes, Buffer.from([crc & 0xff, crc >> 8])]));
}

// An Ed25519 key of node's own: signing in JavaScript alone takes milliseconds, which adds up to login timeouts.
class signing_key {
  constructor(kind) {
    const seed = crypto.randomBytes(32);
    const prefix = prefixes[kind];
    this.private_key = crypto.createPrivateKey({ key: Buffer.concat([pkcs8, seed]), format: "der", type: "pkcs8" });
    this.raw_public = crypto.createPublicKey(this.private_key).export({ format: "der", type: "spki" }).subarray(-32);
    this.public = nkey_text(Buffer.concat([Buffer.from([prefix]), this.raw_public]));
    this.seed = nkey_text(Buffer.concat([Buffer.from([0x90 | (prefix >> 5), (prefix & 31) << 3]), seed]));
  }
  sign(message) {
    return crypto.sign(null, Buffer.from(message), this.private_key);
  }
  verify(message, signature) {
    return verify_signature(this.public, message, signature);
  }
  // The key as a library wants it.
  get pair() {
    return nkeys.fromSeed(text.encode(this.seed));
  }
}

// key: one of these, or {pair} around a key of @nats-io/nkeys (demo).
export const sign_with = (key, message) => (key.sign ? key.sign(message) : key.pair.sign(text.encode(message)));

export function verify_signature(public_key, message, signature) {
  const raw = base32_bytes(public_key).subarray(1, 33);
  return crypto.verify(null, Buffer.from(message), crypto.createPublicKey({ key: Buffer.concat([spki, raw]), format: "der", type: "spki" }), signature);
}

export const new_operator = () => new signing_key("operator");
export const new_account = () => new signing_key("account");
export const new_user = () => new signing_key("user");
export const new_server = () => new signing_key("server");
export function new_curve() {
  const pair = nkeys.createCurve();
  return { pair, public: pair.getPublicKey(), seed: new TextDecoder().decode(pair.getSeed()) };
}

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

function base32_bytes(chars) {
  const out = [];
  let value = 0, bits = 0;
  for (const char of chars) {
    value = ((value << 5) | base32_alphabet.indexOf(char)) & 0xffff;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      out.push((value >>> bits) & 0xff);
    }
  }
  return Buffer.from(out);
}

// claims: top-level members as given; iss, iat and jti are filled in unless present. header: other header text.
export function encode_jwt(claims, key, { header = jwt_header } = {}) {
  const body = { iss: key.public, iat: now(), ...claims };
  if (body.jti === undefined) body.jti = base32(crypto.createHash("sha512-256").update(JSON.stringify(body)).digest());
  const signed = `${b64u(header)}.${b64u(JSON.stringify(body))}`;
  return `${signed}.${b64u(sign_with(key, signed))}`;
}

export function decode_jwt(token) {
  const [header, body] = token.split(".");
  return { header: JSON.parse(Buffer.from(header, "base64url")), claims: JSON.parse(Buffer.from(body, "base64url")) };
}

// The signature by the key in iss, as the v2 rule has it.
export function verify_jwt(token) {
  const cut = token.lastIndexOf(".");
  const { claims } = decode_jwt(token);
  return verify_signature(claims.iss, token.slice(0, cut), Buffer.from(token.slice(cut + 1), "base64url"));
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

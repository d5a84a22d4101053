// SPDX-License-Identifier: Apache-2.0
// The side of the npm packages @nats-io/jwt and @nats-io/nkeys: answers each line of stdin, a JSON object,
// with a line on stdout. README.md lists the language. The packages are those of tests/node, or of the folder
// that CALLGATE_NODE_MODULES names.
import crypto from "node:crypto";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const base = process.env.CALLGATE_NODE_MODULES
  ? pathToFileURL(process.env.CALLGATE_NODE_MODULES + "/x.js")
  : new URL("../node/x.js", import.meta.url);
const require = createRequire(base);
const jwt = require("@nats-io/jwt");
const nkeys = require("@nats-io/nkeys");

const text = new TextEncoder();
const untext = new TextDecoder();
const bytes = (s) => new Uint8Array(Buffer.from(s, "base64url"));
const unbytes = (b) => Buffer.from(b).toString("base64url");
const pair = (seed) => nkeys.fromSeed(text.encode(seed));
const seedOf = (kp) => untext.decode(kp.getSeed());

// The packages derive a key again for every use of it, in JavaScript. Their KeyPair is an interface, and a caller may bring
// one of its own: this one derives once. One signature in `packaged_every` is the packages' own and must equal node's to the
// byte (Ed25519 has one signature for a message); the others are node's alone. Verifying is always the packages'.
const packaged_every = 4;
const signed = { packaged: 0, node: 0 };
const pkcs8 = Buffer.from("302e020100300506032b657004220420", "hex");
class derived_key {
  constructor(made) {
    this.made = made;
    this.public_text = made.getPublicKey();
    this.private_text = made.getPrivateKey();
    this.private_key = crypto.createPrivateKey({ key: Buffer.concat([pkcs8, made.getRawSeed()]), format: "der", type: "pkcs8" });
  }
  getPublicKey() { return this.public_text; }
  getPrivateKey() { return this.private_text; }
  getSeed() { return this.made.getSeed(); }
  verify(message, signature) { return this.made.verify(message, signature); }
  sign(message) {
    const signature = crypto.sign(null, message, this.private_key);
    if ((signed.packaged + signed.node) % packaged_every !== 0) {
      signed.node++;
      return new Uint8Array(signature);
    }
    signed.packaged++;
    const packaged = this.made.sign(message);
    if (!signature.equals(packaged)) throw new Error(`@nats-io/nkeys signs otherwise than node with ${this.public_text}`);
    return packaged;
  }
}

// Small and repeatable; what is random here need not be secret.
function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) >>> 0;
  };
}

class random_claims {
  constructor(seed) { this.next32 = generator(seed); }
  below(n) { return this.next32() % n; }
  oneIn(n) { return this.below(n) === 0; }
  pick(list) { return list[this.below(list.length)]; }
  text() {
    // ASCII only: the package encodes with btoa, which knows no other text.
    const pieces = ["c", "X", "7", " ", "<", ">", "&", "\"", "\\", "/", "\n", "\t", "\u0003", "\u007f", "${"];
    return Array.from({ length: this.below(12) + 1 }, () => this.pick(pieces)).join("");
  }
  word() { return Array.from({ length: this.below(6) + 1 }, () => String.fromCharCode(97 + this.below(26))).join(""); }
  subject() {
    const tokens = [this.word()];
    for (let n = this.below(4); n > 0; n--) tokens.push(this.oneIn(4) ? "*" : this.word());
    if (this.oneIn(4)) tokens.push(">");
    return tokens.join(".");
  }
  some(most, f) { return Array.from({ length: this.below(most + 1) }, () => f()); }
  number() { return this.pick([-1, 1, 100, 2147483648, Number.MAX_SAFE_INTEGER, this.below(1000000)]); }
  dates() {
    const d = {};
    if (this.oneIn(3)) d.exp = this.pick([1, 4000000000]);
    if (this.oneIn(3)) d.nbf = this.pick([1, 4000000000]);
    if (this.oneIn(3)) d.aud = this.text();
    return d;
  }
  permissions() {
    return {
      pub: { allow: this.some(3, () => this.subject()), deny: this.some(2, () => this.subject()) },
      sub: { allow: this.some(3, () => this.subject()), deny: this.some(2, () => this.subject() + (this.oneIn(3) ? " " + this.word() : "")) },
      ...(this.oneIn(3) ? { resp: { max: this.number(), ttl: this.number() } } : {}),
    };
  }
  limits() {
    return {
      ...this.permissions(),
      subs: this.number(), data: this.number(), payload: this.number(),
      src: this.some(2, () => this.pick(["10.0.0.0/8", "fe80::/10"])),
      times: this.some(2, () => ({ start: "01:02:03", end: "04:05:06" })),
      bearer_token: this.oneIn(2),
      allowed_connection_types: this.some(2, () => this.pick(["STANDARD", "MQTT", "IN_PROCESS"])),
    };
  }
  // Keys are slow to make here: a few of each kind.
  pools = { o: [], a: [], u: [], n: [] };
  fresh(kind) {
    const pool = this.pools[kind];
    if (pool.length < 8) pool.push(new derived_key({ o: nkeys.createOperator, a: nkeys.createAccount, u: nkeys.createUser, n: nkeys.createServer }[kind]()));
    return pool.length < 8 ? pool.at(-1) : this.pick(pool);
  }
  public(kind) { return this.fresh(kind).getPublicKey(); }

  async next(turn) {
    const name = this.oneIn(2) ? this.text() : "";
    const o = this.fresh("o"), a = this.fresh("a"), u = this.fresh("u"), s = this.fresh("a");
    const tags = this.some(2, () => this.text());
    switch (turn % 6) {
      case 0:
        return [await jwt.encodeOperator(name, o, {
          signing_keys: this.some(2, () => this.public("o")), account_server_url: "https://h/jwt", operator_service_urls: ["nats://h:4222"],
          system_account: this.public("a"), tags,
        }, this.dates()), o];
      case 1: {
        const scoped = this.oneIn(2) ? [jwt.newScopedSigner(this.fresh("a"), this.text(), this.limits())] : [];
        return [await jwt.encodeAccount(name, a, {
          exports: this.some(2, () => ({ name: this.text(), subject: this.subject(), type: "service", response_type: this.pick(["Singleton", "Stream"]),
            service_latency: { sampling: this.pick(["headers", 50]), results: this.word() }, info_url: "https://h" })),
          imports: this.some(2, () => ({ name: this.text(), subject: this.subject(), type: "stream", account: this.public("a") })),
          limits: { subs: -1, data: this.number(), payload: -1, imports: -1, exports: -1, wildcards: true, conn: this.number(), leaf: -1, disk_storage: this.number() },
          signing_keys: [...this.some(2, () => this.public("a")), ...scoped],
          revocations: { [this.public("u")]: this.below(2000000000), "*": 5 },
          default_permissions: this.permissions(), description: this.text(), tags,
        }, { ...this.dates(), signer: o }), o];
      }
      case 2:
        return this.oneIn(2)
          ? [await jwt.encodeUser(name, u, a, { ...this.limits(), tags }, this.dates()), a]
          : [await jwt.encodeUser(name, u, a, { tags }, { ...this.dates(), signer: s, scopedUser: true }), s];
      case 3:
        return [await jwt.encodeActivation(name, this.fresh("a"), a, this.pick(["service", "stream"]), { subject: this.subject(), tags }, this.dates()), a];
      case 4:
        return [await jwt.encodeAuthorizationResponse(u, this.fresh("n"), a,
          this.oneIn(2) ? { jwt: this.text() } : { error: this.text() }, this.oneIn(2) ? { signer: s } : {}), null];
      default:
        return [await jwt.encodeGeneric(name, u, "z_" + this.word(), { [this.text()]: [this.text(), 1.5, null, { n: this.number() }], flag: true }, this.dates()), u];
    }
  }
}

function describe(token) {
  let claims = jwt.decode(token);
  // The package verified; but it reads payloads with atob, byte by byte, so that other text than ASCII is read here.
  const payload = Buffer.from(token.split(".")[1], "base64url").toString("utf8");
  if (/[^\x00-\x7f]/.test(payload)) claims = JSON.parse(payload);
  return { ok: true, kind: claims.nats.type ?? "generic", claims: JSON.stringify(claims) };
}

const questions = {
  async generate(q) {
    const g = new random_claims(q.seed);
    const items = [];
    const before = { ...signed };
    for (let i = 0; i < q.count; i++) {
      const [token] = await g.next(i);
      const claims = JSON.parse(Buffer.from(token.split(".")[1], "base64url").toString("utf8"));
      items.push({ kind: claims.nats.type, claims: JSON.stringify(claims), token });
    }
    return { items, signed_packaged: signed.packaged - before.packaged, signed_by_node: signed.node - before.node };
  },
  decode: (q) => ({
    results: q.items.map((i) => {
      try { return describe(i.token); } catch (e) { return { ok: false, error: String(e) }; }
    }),
  }),
  make_keys: () => ({
    keys: [nkeys.createOperator(), nkeys.createAccount(), nkeys.createUser(), nkeys.createServer(), nkeys.createCluster(), nkeys.createCurve()]
      .map((k) => ({ seed: seedOf(k), public: k.getPublicKey() })),
  }),
  public: (q) => ({ public: (q.seed.startsWith("SX") ? nkeys.fromCurveSeed(text.encode(q.seed)) : pair(q.seed)).getPublicKey() }),
  sign: (q) => ({ signature: unbytes(pair(q.seed).sign(bytes(q.message))) }),
  verify: (q) => ({ ok: nkeys.fromPublic(q.public).verify(bytes(q.message), bytes(q.signature)) }),
  seal: (q) => ({ sealed: unbytes(nkeys.fromCurveSeed(text.encode(q.seed)).seal(bytes(q.message), q.public)) }),
  open: (q) => {
    try {
      const plain = nkeys.fromCurveSeed(text.encode(q.seed)).open(bytes(q.sealed), q.public);
      return plain ? { ok: true, message: unbytes(plain) } : { ok: false };
    } catch { return { ok: false }; }
  },
  format_creds: (q) => ({ creds: untext.decode(jwt.fmtCreds(q.token, pair(q.seed))) }),
  parse_creds: async (q) => {
    const c = await jwt.parseCreds(text.encode(q.creds));
    return { token: c.jwt, seed: c.key };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  let out;
  try {
    const q = JSON.parse(line);
    if (!questions[q.do]) throw new Error(`unknown question ${q.do}`);
    out = await questions[q.do](q);
  } catch (e) {
    out = { failed: String(e?.stack ?? e) };
  }
  process.stdout.write(JSON.stringify(out) + "\n");
}

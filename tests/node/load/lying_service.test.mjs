// SPDX-License-Identifier: Apache-2.0
// A service that lies: the generator must say so, name the lie, and end with 1. And a storm against services that are silent,
// slow or deny: what becomes of the clients.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { decode_jwt, new_account, new_user, now, user_jwt } from "../lib/identity.mjs";
import { nats_server } from "../lib/nats_server.mjs";
import { render, scripted_service } from "../lib/service.mjs";
import { broker_deployment, callgate_load, finish } from "./broker.mjs";

const allow = { account: "APP", name: "someone" };

async function lying_stage({ xkey }) {
  const deployment = broker_deployment({ xkey });
  const server = await nats_server.start({ version: "2.15.1", config: deployment.text });
  try {
    const service = await scripted_service.start({ server, deployment, decide: () => allow });
    return finish({ deployment, server, service, lines: ["token some-token"] });
  } catch (error) {
    await server.stop();
    throw error;
  }
}

// A bit of the signature, the last part of a JWT, is another one.
function flip_signature(token) {
  const at = token.lastIndexOf(".") + 10;
  return token.slice(0, at) + (token[at] === "A" ? "B" : "A") + token.slice(at + 1);
}

for (const xkey of [false, true]) {
  describe(`a lying service, ${xkey ? "sealed" : "plain"}`, () => {
    let s;
    before(async () => (s = await lying_stage({ xkey })));
    after(() => s?.close());
    // What the service answers to each of 5 requests; the result of the run.
    const run = async (decide, ...args) => {
      s.service.decide = decide;
      return callgate_load(["peer", ...s.peer_args, "--in-flight", "2", "--count", "5", "--give-up", "1", ...args]);
    };

    test("the truth is taken", async () => {
      const { code, result, output } = await run(() => allow);
      assert.equal(code, 0, output);
      assert.equal(result.counts.allowed, 5);
    });

    const stranger = new_user().public, other = new_account();
    const lies = [
      ["another subject", () => ({ ...allow, response: { sub: stranger } }), "response: wrong subject"],
      ["another server", () => ({ ...allow, response: { aud: "NAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3RSWB" } }), "response: wrong audience"],
      ["another key for the envelope", () => ({ ...allow, response_key: other }), "response: wrong issuer"],
      ["another key for the user", () => ({ ...allow, user_key: other }), "user JWT: wrong issuer"],
      ["another user", () => ({ ...allow, user_subject: stranger }), "user JWT: wrong subject"],
      ["a user who has expired", () => ({ ...allow, ttl: -30 }), "user JWT: expired"],
      ["an envelope that has expired", () => ({ ...allow, response: { exp: now() - 30 } }), "response: expired"],
      ["no account", () => ({ ...allow, account: undefined }), "user JWT: no audience"],
      ["a broken signature of the user", (nats) => ({ jwt: flip_signature(user_jwt(nats.user_nkey, s.deployment.issuer, { aud: "APP", exp: now() + 60 })) }),
        "user JWT: bad signature"],
      ["no token", () => ({ raw: "eyJhaha" }), "response: no NATS JWT"],
    ];
    for (const [what, decide, reason] of lies) {
      test(`${what}: ${reason}`, async () => {
        const lie = reason === "response: no NATS JWT" && xkey ? { ...allow, plain: true, jwt: "x" } : null;
        const { code, result, output } = await run(lie ? () => lie : decide);
        assert.equal(code, 1, output);
        assert.equal(result.counts.invalid, 5, output);
        assert.deepEqual(result.counts.invalid_reasons, { [lie ? "reply to a sealed request is not sealed" : reason]: 5 });
        assert.match(output, /5 invalid and 0 doubled replies/);
      });
    }

    test("a broken signature of the envelope", async () => {
      const plain = (nats, request) => {
        // Rendered unsealed, broken, and sealed again where the request was.
        const [token] = render({ ...request, sealed: false }, allow, s.deployment);
        return { raw: flip_signature(token.toString()) };
      };
      const { code, result, output } = await run(plain, ...(xkey ? ["--allow-unsealed"] : []));
      assert.equal(code, 1, output);
      assert.deepEqual(result.counts.invalid_reasons, { "response: bad signature": 5 });
    });

    if (xkey) {
      test("a box of another key", async () => {
        const { code, result, output } = await run(() => ({ raw: Buffer.concat([Buffer.from("xkv1"), Buffer.alloc(200, 7)]) }));
        assert.equal(code, 1, output);
        assert.deepEqual(result.counts.invalid_reasons, { "box does not open": 5 });
      });
    }

    test("two answers to each request: every second one is doubled", async () => {
      const { code, result, output } = await run(() => [allow, allow]);
      assert.equal(code, 1, output);
      assert.deepEqual([result.counts.replied, result.counts.doubled, result.counts.invalid, result.counts.allowed], [5, 5, 0, 5]);
      assert.match(output, /0 invalid and 5 doubled replies/);
    });

    test("answers to other requests are what they are: invalid", async () => {
      let before_last;
      const { code, result, output } = await run((nats, request) => {
        const verdict = before_last ? { raw: before_last } : allow;
        before_last = render(request, allow, s.deployment)[0];
        return verdict;
      });
      assert.equal(code, 1, output);
      assert.deepEqual([result.counts.allowed, result.counts.invalid], [1, 4], output);
    });

    test("denials, empty ones too, are no lies", async () => {
      let count = 0;
      const { code, result, output } = await run(() => (count++ % 2 ? { empty: true } : { error: "no such user" }));
      assert.equal(code, 0, output);
      assert.equal(result.counts.denied, 5);
      assert.equal(result.counts.denied_reasons["no such user"] + result.counts.denied_reasons["(empty reply)"], 5);
    });
  });
}

describe("storms", () => {
  let s;
  before(async () => (s = await lying_stage({ xkey: false })));
  after(() => s?.close());
  const storm = (decide, ...args) => {
    s.service.decide = decide;
    s.service.requests.length = 0;
    return callgate_load(["peer", ...s.peer_args, "--storm", "6", "--auth-timeout", "1", ...args]);
  };

  test("a silent service closes every client of nats.go for good after two attempts", async () => {
    const { code, result, output } = await storm(() => undefined);
    assert.equal(code, 0, output);
    assert.deepEqual([result.storm.in, result.storm.closed, result.storm.attempts], [0, 6, 12], output);
    assert.equal(result.storm.t50_ms, null);
    assert.equal(result.counts.unanswered, 12);
    // The retries are new requests: fresh user keys, and times of their own moment.
    assert.equal(new Set(s.service.requests.map(({ claims }) => claims.nats.user_nkey)).size, 12);
    for (const { token } of s.service.requests) {
      const { claims } = decode_jwt(token);
      assert.equal(claims.exp - claims.iat, 1);
      assert.ok(Math.abs(claims.iat - now()) < 30);
    }
    assert.ok(Math.max(...s.service.requests.map(({ claims }) => claims.iat)) - Math.min(...s.service.requests.map(({ claims }) => claims.iat)) >= 2);
  });

  test("clients that were refused once get in at the second attempt", async () => {
    const seen = new Set();
    const { code, result, output } = await storm((nats) => {
      const first = !seen.has(nats.client_info.name);
      seen.add(nats.client_info.name);
      return first ? { error: "not yet" } : allow;
    }, "--library", "nats.js");
    assert.equal(code, 0, output);
    assert.deepEqual([result.storm.in, result.storm.closed, result.storm.attempts], [6, 0, 12], output);
    assert.deepEqual([result.counts.allowed, result.counts.denied], [6, 6]);
  });

  test("an answer that comes when the server has given up is late and lets nobody in", async () => {
    const { code, result, output } = await storm(() => new Promise((resolve) => setTimeout(() => resolve(allow), 1_300)));
    assert.equal(code, 0, output);
    assert.deepEqual([result.storm.in, result.storm.closed], [0, 6], output);
    assert.ok(result.counts.late >= 6 && result.counts.replied === 0, output);
  });

  test("clients that never give up are still trying at the end", async () => {
    const { code, result, output } = await storm(() => ({ error: "no" }), "--keep-trying", "--duration", "3");
    assert.equal(code, 0, output);
    assert.deepEqual([result.storm.in, result.storm.closed, result.storm.still_trying], [0, 0, 6], output);
    assert.ok(result.storm.attempts >= 12);
  });
});

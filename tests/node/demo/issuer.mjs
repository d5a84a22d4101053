// SPDX-License-Identifier: Apache-2.0
// A real OpenID Connect issuer (oidc-provider) on loopback with client-credentials clients, one for each signature
// algorithm. Its keys are made at start; rotate() puts new ones in front of the old.
import http from "node:http";
import { exportJWK, generateKeyPair } from "jose";
import { Provider } from "oidc-provider";

export const audience = "nats-callout";
const algorithms = ["RS256", "PS256", "ES256", "EdDSA"];

async function new_keys(generation) {
  return Promise.all(algorithms.map(async (alg) => {
    const { privateKey } = await generateKeyPair(alg, { extractable: true, ...(alg === "EdDSA" ? { crv: "Ed25519" } : {}) });
    return { ...(await exportJWK(privateKey)), kid: `${alg.toLowerCase()}-${generation}`, alg, use: "sig" };
  }));
}

export class issuer {
  static async start({ ttl = 300, claims = () => ({}) } = {}) {
    const made = new issuer();
    Object.assign(made, { ttl, claims, generation: 1, jwks_requests: 0 });
    made.keys = await new_keys(1);
    made.server = http.createServer((request, response) => {
      if (request.url.startsWith("/jwks")) made.jwks_requests++;
      made.handle(request, response);
    });
    await new Promise((resolve) => made.server.listen(0, "127.0.0.1", resolve));
    made.url = `http://127.0.0.1:${made.server.address().port}`;
    made.jwks_url = made.url + "/jwks";
    made.build();
    return made;
  }

  build() {
    const quiet = console.warn, info = console.info;
    console.warn = console.info = () => {};
    this.handle = new Provider(this.url, {
      jwks: { keys: this.keys },
      clients: algorithms.map((alg) => ({ client_id: alg.toLowerCase(), client_secret: "demo", grant_types: ["client_credentials"], redirect_uris: [], response_types: [], token_endpoint_auth_method: "client_secret_post" })),
      features: { devInteractions: { enabled: false }, clientCredentials: { enabled: true },
        resourceIndicators: { enabled: true, defaultResource: () => "urn:nats", useGrantedResource: () => true,
          getResourceServerInfo: (_, __, client) => ({ scope: "nats", audience, accessTokenFormat: "jwt", accessTokenTTL: this.ttl, jwt: { sign: { alg: this.algorithm(client.clientId) } } }) } },
      extraTokenClaims: (_, token) => this.claims(token.clientId),
      enabledJWA: { idTokenSigningAlgValues: algorithms },
    }).callback();
    console.warn = quiet;
    console.info = info;
  }
  algorithm(client_id) {
    return algorithms.find((alg) => alg.toLowerCase() === client_id);
  }

  // An access token of the client that signs with `alg`; its sub is that client's id.
  async token(alg = "RS256") {
    const response = await fetch(this.url + "/token", { method: "POST", headers: { "content-type": "application/x-www-form-urlencoded" },
      body: new URLSearchParams({ grant_type: "client_credentials", client_id: alg.toLowerCase(), client_secret: "demo", scope: "nats" }) });
    const body = await response.json();
    if (!body.access_token) throw new Error(`issuer gave no token: ${JSON.stringify(body)}`);
    return body.access_token;
  }
  async rotate() {
    this.keys = [...(await new_keys(++this.generation)), ...this.keys];
    this.build();
  }
  stop() {
    this.server.closeAllConnections();
    return new Promise((resolve) => this.server.close(resolve));
  }
}

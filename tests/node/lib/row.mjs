// SPDX-License-Identifier: Apache-2.0
// A row of protocol.md section 5 as one named test per server version: "A07 [2.15.1] text", or "A07 daemon [2.15.1] text"
// where the daemon and not the scripted service is behind the server.
import { describe, test } from "node:test";
import { nats_server, versions } from "./nats_server.mjs";
import { auth_error_subject, scripted_service, start_service } from "./service.mjs";
import { wire_client } from "./wire.mjs";

export const both = ["2.10.27", "2.15.1"];
export const new_only = ["2.15.1"];
// Who answers: rows in which the service must misbehave are scripted.
export const by_daemon = ["daemon"];
export const by_both = ["scripted", "daemon"];
const services_run = (process.env.CALLGATE_SERVICE ?? "scripted daemon").split(" ");

class row_context {
  constructor(version, kind) {
    this.version = version;
    this.kind = kind;
    this.recent = version !== "2.10.27";
    this.closers = [];
  }
  async server(deployment, options = {}) {
    const server = await nats_server.start({ version: this.version, config: deployment.text ?? deployment, ...options });
    this.closers.push(() => server.stop());
    return server;
  }
  async scripted(server, deployment, decide, options = {}) {
    const service = await scripted_service.start({ server, deployment, decide, ...options });
    this.closers.push(() => service.close());
    return service;
  }
  async service(server, deployment, table, options = {}) {
    const service = await start_service(this.kind, { server, deployment, table, ...options });
    this.closers.push(() => service.close());
    return service;
  }
  // A member of the callout account that hears one subject there (default: of failed logins) beside the service.
  async overhear(server, deployment, subject = auth_error_subject) {
    const client = await this.login(server, deployment.service_login);
    const heard = client.subscribe(subject);
    await client.flush();
    return heard;
  }
  async connect(server, options = {}) {
    const client = await wire_client.connect({ port: server.port, ...options });
    this.closers.push(() => client.close());
    return client;
  }
  // A logged-in client, or an error that shows why not.
  async login(server, credential, options = {}) {
    const client = await this.connect(server, options);
    const result = await client.login(credential);
    if (!result.ok) throw new Error(`login was refused: ${result.error}`);
    return Object.assign(client, { result });
  }
  // The result of a login that is expected to fail.
  async refused(server, credential, options = {}) {
    const client = await this.connect(server, options);
    const result = await client.login(credential);
    if (result.ok) throw new Error(`login of ${JSON.stringify(Object.keys(credential))} was accepted`);
    return result;
  }
  defer(close) {
    this.closers.push(close);
  }
  async close() {
    const faults = [];
    for (const close of this.closers.reverse()) {
      try {
        await close();
      } catch (error) {
        faults.push(error);
      }
    }
    if (faults.length) throw faults[0];
  }
}

const rows = [];

export function row(id, text, body, { on = both, by = ["scripted"], timeout = 15_000 } = {}) {
  for (const kind of by) rows.push({ id, text, body, on, kind, timeout });
}

// Registers the rows of a file; they run side by side, each on servers of its own.
export function run_rows(suite, concurrency = 4) {
  describe(suite, { concurrency }, () => {
    for (const { id, text, body, on, kind, timeout } of rows.filter((one) => services_run.includes(one.kind))) {
      for (const version of on.filter((one) => versions.includes(one))) {
        test(`${id}${kind === "scripted" ? "" : " " + kind} [${version}] ${text}`, async (t) => {
          const context = new row_context(version, kind);
          let failure;
          let timer;
          // Not the runner's timeout: that one would leave servers and connections behind.
          const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`not done within ${timeout} ms`)), timeout)));
          try {
            await Promise.race([body(context, t), late]);
          } catch (error) {
            failure = error;
          } finally {
            clearTimeout(timer);
          }
          await context.close().catch((error) => (failure ??= error));
          if (failure) throw failure;
        });
      }
    }
  });
}

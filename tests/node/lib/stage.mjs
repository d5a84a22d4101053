// SPDX-License-Identifier: Apache-2.0
// A nats-server and the daemon behind it for one test or one suite; and `callgate` as a command that ends by itself.
import { daemon, callgate_binary, patience, write_folder } from "./daemon.mjs";
import { nats_server } from "./nats_server.mjs";
import { child_process } from "./process.mjs";
import { wire_client } from "./wire.mjs";

export class stage {
  // deployment: of deployment.mjs; server: options of nats_server.start; folder: options of write_folder; start: of daemon.start.
  static async open(deployment, { version = "2.15.1", server = {}, folder = {}, start = {} } = {}) {
    const made = new stage();
    made.deployment = deployment;
    made.closers = [];
    try {
      made.server = await nats_server.start({ version, config: deployment.text, ...server });
      made.closers.push(() => made.server.stop());
      made.gate = await daemon.start(write_folder(deployment, { server: made.server, ...folder }), start);
      made.closers.push(() => made.gate.stop());
    } catch (error) {
      // What runs on keeps the suite from ending.
      await made.close();
      throw error;
    }
    return made;
  }

  async connect(options = {}) {
    const client = await wire_client.connect({ port: this.server.port, ...options });
    this.closers.push(() => client.close());
    return client;
  }
  // A logged-in client, or an error that says why not.
  async enter(credential, options) {
    const client = await this.connect(options);
    const result = await client.login(credential);
    if (!result.ok) throw new Error(`login was refused: ${result.error}; the daemon's last lines:\n${this.gate.process.lines.slice(-5).join("\n")}`);
    return client;
  }
  async login(credential, options) {
    const client = await this.connect(options);
    const result = await client.login(credential);
    await client.close();
    return result;
  }
  // What the audit says about a refused login; fails when it was let in.
  async refusal(credential, options) {
    const had = this.gate.audit().length;
    const result = await this.login(credential, options);
    if (result.ok) throw new Error("the login was accepted");
    await this.gate.until("an audit line", async () => this.gate.audit().length > had);
    return this.gate.audit().at(-1);
  }

  async close() {
    const faults = [];
    for (const closer of this.closers.reverse()) await Promise.resolve(closer()).catch((error) => faults.push(error));
    this.closers = [];
    if (faults.length) throw faults[0];
  }
}

// Runs it to its end: {code, output}. A command that does not end by itself is killed and has code null.
export async function callgate(args, { env = {}, timeout = 20_000 } = {}) {
  const child = new child_process(callgate_binary, args, { env: { ...process.env, ...env } });
  const timer = setTimeout(() => child.signal("SIGKILL"), timeout * patience);
  const { code } = await child.exited;
  clearTimeout(timer);
  return { code, output: child.lines.join("\n") };
}

// SPDX-License-Identifier: Apache-2.0
// Logins at a steady rate, started by the clock whatever became of those before (open loop), each accounted for.
import { wire_client } from "./wire.mjs";

export class login_load {
  // credential(i): CONNECT options of login i.
  constructor({ port, rate, credential, timeout = 10_000 }) {
    Object.assign(this, { port, rate, credential, timeout, started: 0, ok: 0, failures: [], pending: new Set(), running: false });
  }

  start() {
    this.running = true;
    const begin = performance.now();
    const first = this.started;
    const step = () => {
      if (!this.running) return;
      const due = first + Math.floor(((performance.now() - begin) / 1000) * this.rate);
      while (this.started < due) this.one(this.started++);
      this.timer = setTimeout(step, 5);
    };
    step();
  }

  one(index) {
    const begin = performance.now();
    const job = (async () => {
      let client;
      try {
        client = await wire_client.connect({ port: this.port });
        const result = await client.login({ ...this.credential(index), timeout: this.timeout });
        if (!result.ok) throw new Error(result.error ?? "closed without -ERR");
        this.ok++;
        this.last_ok = performance.now();
      } catch (error) {
        this.failures.push({ index, begin, end: performance.now(), error: error.message });
      } finally {
        await client?.close();
      }
    })();
    this.pending.add(job);
    job.finally(() => this.pending.delete(job));
  }

  // Stops and waits for what is under way.
  async stop() {
    this.running = false;
    clearTimeout(this.timer);
    await Promise.all(this.pending);
  }
}

// Counts replies by request, as somebody who reads everything in the callout account.
export class reply_tap {
  static async start({ port, login }) {
    const tap = new reply_tap();
    tap.requests = new Map();
    tap.replies = new Map();
    tap.client = await wire_client.connect({ port });
    const result = await tap.client.login(login);
    if (!result.ok) throw new Error(`tap: ${result.error}`);
    tap.client.subscribe("$SYS.REQ.USER.AUTH", { callback: (m) => tap.requests.set(m.reply, performance.now()) });
    tap.client.subscribe("$SYS._INBOX.>", { callback: (m) => tap.replies.set(m.subject, (tap.replies.get(m.subject) ?? 0) + 1) });
    await tap.client.flush();
    return tap;
  }
  get most() {
    return Math.max(0, ...this.replies.values());
  }
  get unanswered() {
    return [...this.requests.keys()].filter((inbox) => !this.replies.has(inbox));
  }
  close() {
    return this.client.close();
  }
}

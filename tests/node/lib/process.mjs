// SPDX-License-Identifier: Apache-2.0
// A child process whose output is read line by line and awaited by pattern; ended with the test.
import { spawn } from "node:child_process";
import readline from "node:readline";

const alive = new Set();
process.on("exit", () => {
  for (const child of alive) child.kill("SIGKILL");
});

export class child_process {
  constructor(command, args, options = {}) {
    this.command = command;
    this.lines = [];
    this.waiting = [];
    this.child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
    alive.add(this.child);
    this.exited = new Promise((resolve) => {
      this.child.on("error", (error) => {
        this.spawn_error = error;
        resolve({ code: null, signal: null, error });
      });
      // "close" comes after the last line of output, "exit" may come before it.
      this.child.on("close", (code, signal) => resolve({ code, signal }));
    });
    this.exited.then((status) => {
      alive.delete(this.child);
      this.status = status;
      for (const wait of this.waiting.splice(0)) wait.fail(this.describe("ended before it said " + wait.pattern));
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      readline.createInterface({ input: stream }).on("line", (line) => this.take(line));
    }
  }

  take(line) {
    this.lines.push(line);
    for (const wait of [...this.waiting]) {
      const match = wait.pattern.exec(line);
      if (match) {
        this.waiting.splice(this.waiting.indexOf(wait), 1);
        wait.done(match);
      }
    }
  }

  describe(what) {
    return new Error(`${this.command} ${what}; its last lines:\n${this.lines.slice(-15).join("\n")}`);
  }

  // The first line, past or future, that matches; with `after`, only lines from that index on.
  line(pattern, { timeout = 10_000, after = 0 } = {}) {
    for (const line of this.lines.slice(after)) {
      const match = pattern.exec(line);
      if (match) return Promise.resolve(match);
    }
    if (this.status) return Promise.reject(this.describe(`ended (${JSON.stringify(this.status)}) before it said ${pattern}`));
    return new Promise((resolve, reject) => {
      const wait = {
        pattern,
        done: (match) => (clearTimeout(timer), resolve(match)),
        fail: (error) => (clearTimeout(timer), reject(error)),
      };
      const timer = setTimeout(() => {
        this.waiting.splice(this.waiting.indexOf(wait), 1);
        reject(this.describe(`did not say ${pattern} within ${timeout} ms`));
      }, timeout);
      this.waiting.push(wait);
    });
  }

  signal(name) {
    this.child.kill(name);
  }

  // Ends the process; a second SIGKILL where the first signal is not obeyed in time.
  async stop(signal = "SIGKILL", timeout = 5_000) {
    if (this.status) return this.status;
    this.child.kill(signal);
    const timer = setTimeout(() => this.child.kill("SIGKILL"), timeout);
    const status = await this.exited;
    clearTimeout(timer);
    return status;
  }
}

// SPDX-License-Identifier: Apache-2.0
// A real nats-server on ports of the kernel's choice, ready when it says so.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { child_process } from "./process.mjs";

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../..");
const override = { "2.10.27": "NATS_SERVER_2_10", "2.15.1": "NATS_SERVER_2_15" };
export const versions = (process.env.CALLGATE_SERVERS ?? "2.10.27 2.15.1").split(" ");

export function server_binary(version) {
  return process.env[override[version]] || path.join(root, "build/deps/bin", "nats-server-" + version);
}

export function scratch_dir(prefix = "callgate-test-") {
  return fs.mkdtempSync(path.join(os.tmpdir(), prefix));
}

// What the server logs once a listener is open -> the name of the port here.
const listeners = {
  client: /Listening for client connections on \S*:(\d+)$/,
  websocket: /Listening for websocket clients on wss?:\/\/\S*:(\d+)$/,
  mqtt: /Listening for MQTT clients on \S*:(\d+)$/,
  leaf: /Listening for leafnode connections on \S*:(\d+)$/,
  cluster: /Listening for route connections on \S*:(\d+)$/,
  monitor: /Starting http monitor on \S*:(\d+)$/,
};

export class nats_server {
  // config: text without host and port; listens: names of `listeners` that it opens beside client.
  static async start({ version, config, listens = [], name = "A", args = [] }) {
    const server = new nats_server();
    server.version = version;
    server.dir = scratch_dir();
    server.config_file = path.join(server.dir, "nats.conf");
    server.name = name;
    server.write_config(config);
    server.process = new child_process(server_binary(version), ["-c", server.config_file, ...args], { cwd: server.dir });
    server.ports = {};
    try {
      for (const listener of ["client", ...listens]) {
        server.ports[listener] = Number((await server.process.line(listeners[listener]))[1]);
      }
      await server.process.line(/Server is ready/);
    } catch (error) {
      await server.stop();
      throw error;
    }
    server.port = server.ports.client;
    return server;
  }

  // The server must refuse this configuration; gives back its output.
  static async refused({ version, config }) {
    const dir = scratch_dir();
    const file = path.join(dir, "nats.conf");
    fs.writeFileSync(file, `host: 127.0.0.1\nport: -1\n${config}`, { mode: 0o600 });
    const child = new child_process(server_binary(version), ["-c", file], { cwd: dir });
    const timer = setTimeout(() => child.signal("SIGKILL"), 10_000);
    const status = await child.exited;
    clearTimeout(timer);
    fs.rmSync(dir, { recursive: true, force: true });
    return { ...status, output: child.lines.join("\n") };
  }

  // A reload must keep the port that the kernel chose at start.
  write_config(config) {
    fs.writeFileSync(this.config_file, `host: 127.0.0.1\nport: ${this.port ?? -1}\nserver_name: ${this.name}\n${config}`, { mode: 0o600 });
  }

  async reload(config) {
    this.write_config(config);
    const after = this.process.lines.length;
    this.process.signal("SIGHUP");
    await this.process.line(/Reloaded server configuration|Failed to reload/, { after });
  }

  log(pattern, options) {
    return this.process.line(pattern, options);
  }

  get running() {
    return !this.process.status;
  }

  async stop(signal) {
    const status = await this.process.stop(signal);
    fs.rmSync(this.dir, { recursive: true, force: true });
    return status;
  }
}

// SPDX-License-Identifier: Apache-2.0
// The real clients of the demo behind one face: connect, publish, hear, close. Each passes its credential the way that
// client library does; `how` says so for the table of README.md.
import http from "node:http";
import net from "node:net";
import path from "node:path";
import { Worker } from "node:worker_threads";
import { connect as tcp_connect, tokenAuthenticator } from "@nats-io/transport-node";
import { wsconnect } from "@nats-io/nats-core";
import mqtt from "mqtt";
import { WebSocket } from "ws";
import { child_process } from "../lib/process.mjs";
import { wire_client } from "../lib/wire.mjs";

globalThis.WebSocket ??= WebSocket;

// Waits until `told` holds what is expected; what a permission refuses never comes, so the wait is bounded.
async function heard(told, text) {
  const end = Date.now() + 3000;
  while (!told.includes(text)) {
    if (Date.now() > end) throw new Error(`never heard "${text}"`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

// credential: {user, pass} or {token}.
async function over_nats_js(connect, servers, { user, pass, token }) {
  const errors = [];
  const client = await connect({ servers, ...(token ? { token } : { user, pass }), reconnect: false, timeout: 8000, inboxPrefix: undefined });
  (async () => {
    for await (const status of client.status()) if (status.type === "error") errors.push(String(status.error?.message ?? status.data));
  })();
  return {
    cid: client.info.client_id, errors, heard,
    subscribe: async (subject, told) => {
      client.subscribe(subject, { callback: (error, message) => error || told(message.string()) });
      await client.flush();
    },
    publish: async (subject, text) => {
      client.publish(subject, text);
      await client.flush();
    },
    close: () => client.close(),
  };
}

// The same with a credential that is asked for at every connect: token() gives the current one.
async function renewing_tcp({ ports }, token) {
  const client = await tcp_connect({ servers: `127.0.0.1:${ports.client}`, authenticator: tokenAuthenticator(token.get), reconnectTimeWait: 100, timeout: 8000 });
  let again;
  const reconnected = new Promise((resolve, reject) => {
    again = resolve;
    client.closed().then((error) => reject(error ?? new Error("closed")));
  });
  reconnected.catch(() => {});
  (async () => {
    for await (const status of client.status()) if (status.type === "reconnect") again();
  })();
  return { cid: client.info.client_id, reconnected, publish: async (subject, text) => (client.publish(subject, text), client.flush()), close: () => client.close() };
}

async function renewing_ws({ ports }, token) {
  const worker = new Worker(new URL("./ws_worker.mjs", import.meta.url), { workerData: { url: `ws://127.0.0.1:${ports.websocket}`, token: token.get() } });
  const told = (key) => new Promise((resolve, reject) => {
    worker.on("message", (message) => (message[key] !== undefined ? resolve(message[key]) : message.closed && reject(new Error(message.closed))));
    worker.on("error", reject);
  });
  const reconnected = told("reconnected");
  reconnected.catch(() => {});
  const cid = await told("connected");
  return {
    cid, reconnected,
    renewed: () => worker.postMessage({ token: token.get() }),
    publish: (subject, text) => (worker.postMessage({ publish: [subject, text] }), told("published")),
    close: () => new Promise((resolve) => (worker.once("exit", resolve), worker.postMessage({ close: true }))),
  };
}

export const nats_js_tcp = { name: "nats.js TCP", connect: ({ ports }, credential) => over_nats_js(tcp_connect, `127.0.0.1:${ports.client}`, credential),
  renewing: renewing_tcp };
export const nats_js_ws = { name: "nats.js WebSocket", connect: ({ ports }, credential) => over_nats_js(wsconnect, `ws://127.0.0.1:${ports.websocket}`, credential),
  renewing: renewing_ws };

export const libnats = {
  name: "libnats",
  async connect({ ports, bin }, { user, pass, token }) {
    const child = new child_process(path.join(bin, "libnats_client"), ["--url", `nats://127.0.0.1:${ports.client}`, ...(token ? ["--token", token] : ["--user", user, "--pass", pass])],
      { stdio: ["pipe", "pipe", "pipe"] });
    const [line] = await child.line(/^(connected|refused.*)$/);
    if (line !== "connected") throw new Error(line.replace(/^refused /, ""));
    return {
      errors: child.lines, heard,
      subscribe: async (subject, told) => {
        const take = child.take.bind(child);
        child.take = (line) => {
          const message = /^msg (\S+) (.*)$/.exec(line);
          if (message?.[1] === subject) told(message[2]);
          take(line);
        };
        const after = child.lines.length;
        child.child.stdin.write(`sub ${subject}\nflush\n`);
        await child.line(/^done flush/, { after });
      },
      publish: async (subject, text) => {
        const after = child.lines.length;
        child.child.stdin.write(`pub ${subject} ${text}\nflush\n`);
        await child.line(/^done flush/, { after });
      },
      close: async () => {
        child.child.stdin.end("quit\n");
        await child.exited;
      },
    };
  },
};

libnats.renewing = async ({ ports, bin }, token) => {
  const child = new child_process(path.join(bin, "libnats_client"), ["--url", `nats://127.0.0.1:${ports.client}`, "--token-file", token.file, "--reconnect"], { stdio: ["pipe", "pipe", "pipe"] });
  await child.line(/^connected$/);
  return {
    reconnected: child.line(/^reconnected$/, { timeout: 40_000 }),
    publish: async (subject, text) => {
      child.child.stdin.write(`pub ${subject} ${text}\nflush\n`);
      await child.line(/^done flush/);
    },
    close: async () => {
      child.child.stdin.end("quit\n");
      await child.exited;
    },
  };
};

export const mqtt_js = {
  name: "MQTT.js",
  mqtt: true,
  async connect({ ports }, { user, pass, token }, name) {
    const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${ports.mqtt}`, { username: user ?? "-", password: pass ?? token, clientId: name, protocolVersion: 4, reconnectPeriod: 0, connectTimeout: 8000 });
    client.on("error", () => {});
    return {
      mqtt_client: name, errors: [], heard,
      subscribe: async (subject, told) => {
        client.on("message", (topic, payload) => topic === subject.replaceAll(".", "/") && told(payload.toString()));
        await client.subscribeAsync(subject.replaceAll(".", "/"));
      },
      // A refused publish closes an MQTT connection without a word in protocol 3.1.1.
      publish: (subject, text) => client.publishAsync(subject.replaceAll(".", "/"), text, { qos: 0 }),
      close: () => client.endAsync(),
    };
  },
};

mqtt_js.renewing = async ({ ports }, token, name) => {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${ports.mqtt}`, { username: "-", password: token.get(), clientId: name, protocolVersion: 4, reconnectPeriod: 100 });
  client.on("error", () => {});
  client.on("reconnect", () => (client.options.password = token.get()));
  return {
    mqtt_client: name,
    reconnected: new Promise((resolve) => client.once("connect", resolve)),
    publish: (subject, text) => client.publishAsync(subject.replaceAll(".", "/"), text, { qos: 0 }),
    close: () => client.endAsync(),
  };
};

// A page in Chromium that runs nats.js over its own WebSocket.
export class browser {
  static async start() {
    const { chromium } = await import("playwright-core");
    const made = new browser();
    const { build } = await import("esbuild");
    const { outputFiles } = await build({ stdin: { contents: 'export { wsconnect, tokenAuthenticator } from "@nats-io/nats-core";', resolveDir: path.dirname(new URL(import.meta.url).pathname) },
      bundle: true, format: "esm", platform: "browser", write: false, logLevel: "silent" });
    made.server = http.createServer((request, response) => {
      if (request.url === "/nats.js") response.writeHead(200, { "content-type": "text/javascript" }).end(outputFiles[0].text);
      else response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><title>callgate demo</title><h1>callgate demo</h1>");
    });
    await new Promise((resolve) => made.server.listen(0, "127.0.0.1", resolve));
    made.chromium = await chromium.launch({ executablePath: process.env.CALLGATE_CHROMIUM ?? "/usr/bin/chromium", headless: true,
      args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"] });
    made.name = "Chromium page";
    return made;
  }
  async connect({ ports }, credential) {
    const page = await this.chromium.newPage();
    await page.goto(`http://127.0.0.1:${this.server.address().port}/`);
    try {
      const { cid, ms } = await page.evaluate(async ([url, { user, pass, token }]) => {
        const { wsconnect } = await import("/nats.js");
        const begin = performance.now();
        window.client = await wsconnect({ servers: url, ...(token ? { token } : { user, pass }), reconnect: false, timeout: 8000 });
        return { cid: window.client.info.client_id, ms: performance.now() - begin };
      }, [`ws://127.0.0.1:${ports.websocket}`, credential]);
      return {
        cid, ms, errors: [], heard,
        subscribe: async (subject, told) => {
          await page.exposeFunction("told_" + subject.replace(/\W/g, "_"), told);
          await page.evaluate(async ([s, name]) => {
            window.client.subscribe(s, { callback: (error, message) => error || window[name](message.string()) });
            await window.client.flush();
          }, [subject, "told_" + subject.replace(/\W/g, "_")]);
        },
        publish: (subject, text) => page.evaluate(async ([s, t]) => { window.client.publish(s, t); await window.client.flush(); }, [subject, text]),
        close: () => page.close(),
      };
    } catch (error) {
      await page.close();
      throw new Error(String(error.message).split("\n")[0].replace(/^page.evaluate: /, ""));
    }
  }
  async renewing({ ports }, token) {
    const page = await this.chromium.newPage();
    await page.goto(`http://127.0.0.1:${this.server.address().port}/`);
    const cid = await page.evaluate(async ([url, first]) => {
      const { wsconnect, tokenAuthenticator } = await import("/nats.js");
      window.token = first;
      window.client = await wsconnect({ servers: url, authenticator: tokenAuthenticator(() => window.token), reconnectTimeWait: 100, timeout: 8000 });
      window.reconnected = new Promise((resolve) => (async () => {
        for await (const status of window.client.status()) if (status.type === "reconnect") resolve();
      })());
      return window.client.info.client_id;
    }, [`ws://127.0.0.1:${ports.websocket}`, token.get()]);
    return {
      cid,
      // The page fetches its token itself; here the demo hands it over.
      renewed: () => page.evaluate((text) => (window.token = text), token.get()),
      reconnected: page.evaluate(() => window.reconnected),
      publish: (subject, text) => page.evaluate(async ([s, t]) => { window.client.publish(s, t); await window.client.flush(); }, [subject, text]),
      close: () => page.close(),
    };
  }
  async stop() {
    await this.chromium.close();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

// What a refused client could do worst: log in and publish in the same breath, without waiting for the answer.
export async function blurt({ ports }, client, { user, pass, token }, subjects) {
  if (client.mqtt) {
    const text = (s) => Buffer.concat([Buffer.from([s.length >> 8, s.length & 255]), Buffer.from(s)]);
    const packet = (type, ...parts) => {
      const body = Buffer.concat(parts);
      const length = [];
      for (let n = body.length; ; ) {
        length.push((n & 127) | (n > 127 ? 128 : 0));
        n >>= 7;
        if (!n) break;
      }
      return Buffer.concat([Buffer.from([type, ...length]), body]);
    };
    const connect = packet(0x10, text("MQTT"), Buffer.from([4, 0xc2, 0, 30]), text("blurt"), text(user ?? "-"), text(pass ?? token));
    const publish = subjects.map((s) => packet(0x30, text(s.replaceAll(".", "/")), Buffer.from("blurted")));
    await new Promise((resolve) => {
      const socket = net.connect({ port: ports.mqtt, host: "127.0.0.1" }, () => socket.write(Buffer.concat([connect, ...publish])));
      socket.on("close", resolve).on("error", resolve).resume();
    });
    return;
  }
  const ws = client === nats_js_ws || client instanceof browser;
  const wire = await wire_client.connect({ port: ws ? ports.websocket : ports.client, ws });
  wire.write(`CONNECT ${JSON.stringify({ verbose: false, pedantic: false, protocol: 1, ...(token ? { auth_token: token } : { user, pass }) })}\r\n`
    + subjects.map((s) => `PUB ${s} 7\r\nblurted\r\n`).join("") + "PING\r\n");
  await wire.closed;
}

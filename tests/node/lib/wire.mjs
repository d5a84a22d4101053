// SPDX-License-Identifier: Apache-2.0
// A NATS client on the bare wire, over TCP, TLS or WebSocket. Shows what libraries hide: the exact -ERR, a close
// without one, PING before CONNECT, many replies to one request.
import net from "node:net";
import tls from "node:tls";
import crypto from "node:crypto";
import { WebSocket } from "ws";
import { b64u, sign_with } from "./identity.mjs";

const inbox = () => "_INBOX." + crypto.randomBytes(11).toString("base64url").replace(/[-_]/g, "x");

function within(promise, timeout, what) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`${what}: nothing within ${timeout} ms`)), timeout)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Messages of one subscription, taken in order.
export class subscription {
  constructor(subject, sid, client) {
    Object.assign(this, { subject, sid, client, messages: [], waiting: [], count: 0 });
  }
  push(message) {
    this.count++;
    if (this.callback) return this.callback(message);
    const wait = this.waiting.shift();
    if (wait) wait(message);
    else this.messages.push(message);
  }
  next(timeout = 5_000) {
    if (this.messages.length) return Promise.resolve(this.messages.shift());
    return within(new Promise((resolve) => this.waiting.push(resolve)), timeout, `message on ${this.subject}`);
  }
  // The first message that fits; those before it are dropped.
  async find(fits, timeout = 5_000) {
    const end = Date.now() + timeout;
    for (;;) {
      const message = await this.next(Math.max(1, end - Date.now()));
      if (fits(message)) return message;
    }
  }
}

export class wire_client {
  // ws: WebSocket instead of TCP; tls: options of node's TLS, at once for wss and after INFO for TCP; headers: of the upgrade.
  static async connect({ port, ws = false, tls: tls_options, headers }) {
    const client = new wire_client();
    client.buffer = Buffer.alloc(0);
    client.subscriptions = new Map();
    client.sid = 0;
    client.lines = [];
    client.errors = [];
    client.pongs = [];
    client.closed = new Promise((resolve) => (client.on_closed = resolve));
    client.first_info = new Promise((resolve, reject) => {
      client.on_info = resolve;
      client.closed.then(() => reject(new Error("closed before INFO")));
    });
    client.first_info.catch(() => {});
    if (ws) await client.open_websocket(port, tls_options, headers);
    else await client.open_socket(port, tls_options);
    return client;
  }

  async open_socket(port, tls_options) {
    const socket = net.connect({ port, host: "127.0.0.1" });
    this.attach(socket);
    await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));
    await within(this.first_info, 5_000, "INFO");
    if (tls_options) {
      socket.removeAllListeners("data");
      const secured = tls.connect({ socket, servername: "localhost", ...tls_options });
      await new Promise((resolve, reject) => secured.once("secureConnect", resolve).once("error", reject));
      this.attach(secured);
    }
  }

  attach(socket) {
    this.write = (bytes) => socket.writable && socket.write(bytes);
    this.end = () => socket.destroy();
    socket.on("data", (bytes) => this.take(bytes));
    socket.on("error", (error) => (this.socket_error = error));
    socket.on("close", () => this.finish());
  }

  async open_websocket(port, tls_options, headers) {
    const socket = new WebSocket(`${tls_options ? "wss" : "ws"}://localhost:${port}`, { ...tls_options, headers, perMessageDeflate: false,
      lookup: (_, options, done) => (options.all ? done(null, [{ address: "127.0.0.1", family: 4 }]) : done(null, "127.0.0.1", 4)) });
    this.write = (bytes) => socket.readyState === WebSocket.OPEN && socket.send(Buffer.from(bytes));
    this.end = () => socket.terminate();
    socket.on("message", (bytes) => this.take(bytes));
    socket.on("close", () => this.finish());
    await new Promise((resolve, reject) => socket.once("open", resolve).on("error", (error) => ((this.socket_error = error), reject(error))));
    await within(this.first_info, 5_000, "INFO");
  }

  finish() {
    if (this.is_closed) return;
    this.is_closed = true;
    this.on_closed({ error: this.errors.at(-1) ?? null });
    for (const pong of this.pongs.splice(0)) pong.reject(new Error("closed: " + (this.errors.at(-1) ?? "EOF")));
  }

  take(bytes) {
    this.buffer = Buffer.concat([this.buffer, bytes]);
    for (;;) {
      if (this.pending) {
        const { total, header, subscription: target, message } = this.pending;
        if (this.buffer.length < total + 2) return;
        const body = this.buffer.subarray(0, total);
        this.buffer = this.buffer.subarray(total + 2);
        this.pending = null;
        target?.push({ ...message, headers: parse_headers(body.subarray(0, header)), data: Buffer.from(body.subarray(header)) });
        continue;
      }
      const end = this.buffer.indexOf("\r\n");
      if (end < 0) return;
      const line = this.buffer.subarray(0, end).toString();
      this.buffer = this.buffer.subarray(end + 2);
      this.take_line(line);
    }
  }

  take_line(line) {
    const [verb] = line.split(" ", 1);
    if (verb === "MSG" || verb === "HMSG") {
      const words = line.split(" ");
      const total = Number(words.pop());
      const header = verb === "HMSG" ? Number(words.pop()) : 0;
      this.pending = { total, header, subscription: this.subscriptions.get(words[2]), message: { subject: words[1], reply: words[3] } };
      return;
    }
    if (verb === "PING") this.write("PONG\r\n");
    else this.lines.push(line);
    if (verb === "INFO") {
      this.info = JSON.parse(line.slice(5));
      this.on_info(this.info);
    } else if (verb === "-ERR") {
      this.errors.push(line.slice(6, -1));
    } else if (verb === "PONG") {
      this.pongs.shift()?.resolve();
    }
  }

  flush(timeout = 5_000) {
    if (this.is_closed) return Promise.reject(new Error("closed: " + (this.errors.at(-1) ?? "EOF")));
    const pong = new Promise((resolve, reject) => this.pongs.push({ resolve, reject }));
    this.write("PING\r\n");
    return within(pong, timeout, "PONG");
  }

  // Resolves with {ok, error, ms}: error is the text of -ERR, or null for a close without one.
  async login({ key, timeout = 6_000, ...options } = {}) {
    const begin = performance.now();
    const connect = { verbose: false, pedantic: false, headers: true, no_responders: true, protocol: 1, lang: "test", version: "1", ...options };
    if (key) {
      if (!connect.jwt) connect.nkey = key.public;
      if (this.info.nonce) connect.sig = b64u(sign_with(key, this.info.nonce));
    }
    this.write(`CONNECT ${JSON.stringify(connect)}\r\n`);
    let ok = true;
    try {
      await this.flush(timeout);
    } catch (error) {
      if (!this.is_closed) throw error;
      ok = false;
    }
    return { ok, error: ok ? undefined : this.errors.at(-1) ?? null, ms: performance.now() - begin };
  }

  subscribe(subject, { queue = "", callback } = {}) {
    const sid = String(++this.sid);
    const made = new subscription(subject, sid, this);
    made.callback = callback;
    this.subscriptions.set(sid, made);
    this.write(`SUB ${subject} ${queue ? queue + " " : ""}${sid}\r\n`);
    return made;
  }

  publish(subject, data = "", { reply = "", headers } = {}) {
    const body = Buffer.from(data);
    if (headers) {
      const head = Buffer.from("NATS/1.0\r\n" + Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join("") + "\r\n");
      this.write(Buffer.concat([Buffer.from(`HPUB ${subject} ${reply} ${head.length} ${head.length + body.length}\r\n`), head, body, Buffer.from("\r\n")]));
    } else {
      this.write(Buffer.concat([Buffer.from(`PUB ${subject} ${reply} ${body.length}\r\n`), body, Buffer.from("\r\n")]));
    }
  }

  async request(subject, data = "", { timeout = 5_000, headers } = {}) {
    const reply = inbox();
    const answers = this.subscribe(reply);
    this.publish(subject, data, { reply, headers });
    return answers.next(timeout);
  }

  async user_info() {
    return JSON.parse((await this.request("$SYS.REQ.USER.INFO")).data).data;
  }

  close() {
    this.end();
    return this.closed;
  }
}

function parse_headers(bytes) {
  const headers = {};
  for (const line of bytes.toString().split("\r\n").slice(1)) {
    const cut = line.indexOf(":");
    if (cut > 0) headers[line.slice(0, cut)] = line.slice(cut + 1).trim();
  }
  return headers;
}

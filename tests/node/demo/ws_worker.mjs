// SPDX-License-Identifier: Apache-2.0
// nats.js over WebSocket in a thread of its own: the library keeps one transport for a whole process, and a TCP client
// of the same process would reconnect through the WebSocket transport.
import { parentPort, workerData } from "node:worker_threads";
import { tokenAuthenticator, wsconnect } from "@nats-io/nats-core";
import { WebSocket } from "ws";

globalThis.WebSocket ??= WebSocket;
let token = workerData.token;
const client = await wsconnect({ servers: workerData.url, authenticator: tokenAuthenticator(() => token), reconnectTimeWait: 100, timeout: 8000 });
parentPort.postMessage({ connected: client.info.client_id });
parentPort.on("message", async (message) => {
  if (message.token) token = message.token;
  if (message.publish) {
    client.publish(...message.publish);
    await client.flush();
    parentPort.postMessage({ published: true });
  }
  if (message.close) {
    await client.close();
    parentPort.close();
  }
});
client.closed().then((error) => parentPort.postMessage({ closed: String(error?.message ?? "closed") }));
for await (const status of client.status()) if (status.type === "reconnect") parentPort.postMessage({ reconnected: true });

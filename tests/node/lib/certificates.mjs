// SPDX-License-Identifier: Apache-2.0
// A certificate authority of the test's own, made with openssl.
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { scratch_dir } from "./nats_server.mjs";

const openssl = (...args) => execFileSync("openssl", args, { stdio: ["ignore", "pipe", "pipe"] });

export class certificate_authority {
  constructor() {
    this.dir = scratch_dir("callgate-ca-");
    this.ca = path.join(this.dir, "ca.pem");
    this.ca_key = path.join(this.dir, "ca.key");
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=test authority",
      "-keyout", this.ca_key, "-out", this.ca);
  }
  // {cert, key}: file names. For servers (localhost, 127.0.0.1) and clients alike.
  issue(name, subject) {
    const file = (end) => path.join(this.dir, name + end);
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", subject, "-keyout", file(".key"), "-out", file(".csr"));
    fs.writeFileSync(file(".ext"), "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n");
    openssl("x509", "-req", "-in", file(".csr"), "-CA", this.ca, "-CAkey", this.ca_key, "-CAcreateserial", "-days", "2", "-extfile", file(".ext"), "-out", file(".pem"));
    return { cert: file(".pem"), key: file(".key") };
  }
  // Options of node's TLS for a client with this certificate.
  client_options({ cert, key }) {
    return { ca: fs.readFileSync(this.ca), cert: fs.readFileSync(cert), key: fs.readFileSync(key) };
  }
  remove() {
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}

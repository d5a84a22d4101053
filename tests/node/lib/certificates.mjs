// SPDX-License-Identifier: Apache-2.0
// A certificate authority of the test's own, and certificates by it; made by the openssl command.
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";

export class authority {
  constructor(dir, name = "test-ca") {
    this.dir = dir;
    this.ca_file = path.join(dir, `${name}.pem`);
    this.key_file = path.join(dir, `${name}.key`);
    this.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", `/CN=${name}`,
      "-keyout", this.key_file, "-out", this.ca_file);
  }
  openssl(...args) {
    execFileSync("openssl", args, { stdio: ["ignore", "pipe", "pipe"] });
  }
  // use: "serverAuth" or "clientAuth". Returns {cert_file, key_file, cert, key}.
  issue(name, use, san = "DNS:localhost,IP:127.0.0.1") {
    const base = path.join(this.dir, name);
    fs.writeFileSync(`${base}.ext`, `extendedKeyUsage=${use}\nsubjectAltName=${san}\n`);
    this.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", `/CN=${name}`, "-keyout", `${base}.key`, "-out", `${base}.csr`);
    this.openssl("x509", "-req", "-in", `${base}.csr`, "-CA", this.ca_file, "-CAkey", this.key_file, "-CAcreateserial", "-days", "2", "-extfile", `${base}.ext`, "-out", `${base}.pem`);
    fs.chmodSync(`${base}.key`, 0o600);
    return { cert_file: `${base}.pem`, key_file: `${base}.key`, cert: fs.readFileSync(`${base}.pem`), key: fs.readFileSync(`${base}.key`) };
  }
}

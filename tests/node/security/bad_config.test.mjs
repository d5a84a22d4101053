// SPDX-License-Identifier: Apache-2.0
// A configuration or a plugin that is wrong: `callgate check` and `callgate serve` say what and where, and end with 1.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { sha256, write_folder } from "../lib/daemon.mjs";
import { config_mode } from "../lib/deployment.mjs";
import { root, scratch_dir } from "../lib/nats_server.mjs";
import { callgate } from "../lib/stage.mjs";

const users = [{ user: "alice", token_sha256: sha256("correct-horse-battery-staple-0123456789") }];
// Port 1: whatever is wrong must be found before the first connection.
const write = (options = {}) => write_folder(config_mode({ accounts: "APP {}" }), { server: { port: 1 }, users, ...options });

async function refused(folder, pattern, { commands = ["check", "serve"] } = {}) {
  try {
    for (const command of commands) {
      const { code, output } = await callgate([command, path.join(folder.dir, "callgate.yaml")], { timeout: 60_000 });
      assert.equal(code, 1, `callgate ${command} ended with ${code}: ${output}`);
      assert.match(output, pattern, `callgate ${command}`);
    }
  } finally {
    fs.rmSync(folder.dir, { recursive: true });
  }
}
const edited = (change, options) => {
  const folder = write(options);
  const file = path.join(folder.dir, "callgate.yaml");
  fs.writeFileSync(file, change(fs.readFileSync(file, "utf8")));
  return folder;
};

describe("a configuration that is wrong", () => {
  const cases = {
    "an unknown key": [(text) => text.replace('"shards": 1', '"shardz": 1'), /callgate\.yaml:\d+: shardz: unknown key; did you mean "shards"\?/],
    "an unknown key deep inside": [(text) => text.replace('"links_per_server"', '"links_per_servers"'), /callgate\.yaml:\d+: nats\[0\]\.links_per_servers: unknown key; did you mean "links_per_server"\?/],
    "a key twice": [(text) => text.replace('"shards": 1', '"shards": 1,\n "shards": 2'), /callgate\.yaml:\d+: shards: .*(twice|duplicate|already)/],
    "a wrong type": [(text) => text.replace('"shards": 1', '"shards": "many"'), /callgate\.yaml:\d+: shards: must be a whole number from 0 to \d+, not "many"/],
    "no YAML at all": [(text) => text.slice(0, -20), /callgate\.yaml:\d+/],
    "an unset variable": [(text) => text.replace('"shards": 1', '"shards": "${CALLGATE_TEST_UNSET}"'), /callgate\.yaml:\d+: shards: .*CALLGATE_TEST_UNSET/],
    "a secret in the file": [(text) => text.replace(/"password_file": "service\.password"/, '"password": "hunter2"'), /callgate\.yaml:\d+: nats\[0\]\.credentials\.password: a secret does not belong in the configuration/],
    "a rule for a backend that is not there": [(text) => text.replace('"backend": "users"', '"backend": "user"'), /callgate\.yaml:\d+: policy\.rules\[0\]\.when\S*: .*"user"/],
    "an option the plugin does not know": [(text) => text.replace('"file": "users.yaml"', '"file": "users.yaml", "fil": 1'), /callgate\.yaml:\d+: backends\.users\.config.*fil/],
    "an empty file": [() => "", /callgate\.yaml/],
  };
  for (const [name, [change, pattern]] of Object.entries(cases)) test(name, () => refused(edited(change), pattern));

  test("every error is told at once", async () => {
    const folder = edited((text) => text.replace('"shards": 1', '"shardz": 1').replace('"links_per_server": 2', '"links_per_server": 99'));
    await refused(folder, /nats\[0\]\.links_per_server: must be[^]*shardz: unknown key|shardz: unknown key[^]*nats\[0\]\.links_per_server: must be/);
  });
  test("a file that is not there", async () => {
    for (const command of ["check", "serve"]) {
      const { code, output } = await callgate([command, "/nonexistent/callgate.yaml"]);
      assert.equal(code, 1);
      assert.match(output, /\/nonexistent\/callgate\.yaml.*No such file/);
    }
  });
  test("a users file that is wrong ends the start and names its line", async () => {
    const folder = write();
    fs.writeFileSync(path.join(folder.dir, "users.yaml"), "users:\n  - user: alice\n    pasword: x\n");
    await refused(folder, /users\.yaml:3.*pasword/, { commands: ["serve"] });
  });
});

describe("a plugin that is wrong", () => {
  let dir;
  // As the tests of engine/host build them.
  const build = (name, ...defines) => execFileSync(process.env.CC ?? "cc", ["-shared", "-fPIC", "-w", `-I${path.join(root, "sdk/abi/include")}`, ...defines.map((define) => "-D" + define),
    path.join(root, "engine/host/test_plugins/backend.c"), "-o", path.join(dir, `callgate_${name}.so`), "-lpthread"], { stdio: ["ignore", "ignore", "inherit"] });
  before(() => {
    dir = scratch_dir("callgate-plugins-");
    // The real ones live beside it: the configuration needs them too.
    const beside = path.join(path.dirname(path.dirname(process.env.CALLGATE_BIN ?? path.join(root, "build", process.env.CALLGATE_PRESET ?? "release", "bin/callgate"))), "plugins.d");
    for (const name of fs.readdirSync(beside)) if (name.endsWith(".so")) fs.copyFileSync(path.join(beside, name), path.join(dir, name));
  });
  after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const with_plugin = (plugin, more = {}) => write({ backends: { users: { plugin } }, top: { plugins: { directories: [dir], ...more } } });

  test("missing", () => refused(with_plugin("not_there"), /callgate\.yaml:\d+: backends\.users: .*not_there/));
  const cases = {
    "of another ABI": ["wrong_major", ["NOTE_MAJOR=2"], /ABI 2/],
    "of a newer minor": ["newer_minor", ["NEEDED_MINOR=7"], /7/],
    "without a note": ["no_note", ["NO_NOTE"], /note/],
    "without an entry": ["no_entry", ["NO_ENTRY"], /entry|symbol/],
    "that crashes at load": ["segv", ["CRASH_IN_CONSTRUCTOR"], /crash|signal|SIGSEGV|Segmentation/i],
    "that crashes in its entry": ["abort", ["CRASH_IN_ENTRY"], /crash|signal|SIGABRT|Abort/i],
    "that ends the process at load": ["leave", ["EXIT_IN_CONSTRUCTOR"], /exit|ended/i],
    "that hangs at load": ["hang", ["HANG_IN_CONSTRUCTOR"], /did not finish loading within/],
    "that refuses": ["refuse", ["REFUSE_IN_ENTRY"], /refus/i],
  };
  for (const [name, [plugin, defines, pattern]] of Object.entries(cases)) {
    test(name, { timeout: 180_000 }, () => {
      build(plugin, ...defines);
      return refused(with_plugin(plugin), new RegExp(`callgate\\.yaml:\\d+: backends\\.users: [^\\n]*callgate_${plugin}\\.so[^\\n]*(?:${pattern.source})`, pattern.flags));
    });
  }
  test("that is no library", () => {
    fs.writeFileSync(path.join(dir, "callgate_text.so"), "#!/bin/sh\n");
    return refused(with_plugin("text"), /callgate\.yaml:\d+: backends\.users: [^\n]*callgate_text\.so/);
  });
  test("that others may write", () => {
    build("open", "PLUGIN_ID=\"org.callgate.test.open\"");
    fs.chmodSync(path.join(dir, "callgate_open.so"), 0o777);
    return refused(with_plugin("open"), /callgate\.yaml:\d+: backends\.users: [^\n]*callgate_open\.so: [^\n]*mode 0777 lets others change it/);
  });
  test("whose digest is not the pinned one", () => {
    build("pinned", "PLUGIN_ID=\"org.callgate.test.pinned\"");
    return refused(with_plugin("pinned", { sha256: { pinned: "0".repeat(64) } }), /callgate\.yaml:\d+: backends\.users: [^\n]*callgate_pinned\.so[^\n]*(sha256|digest)/i);
  });
});

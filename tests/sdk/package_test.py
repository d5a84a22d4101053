#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The SDK as third parties meet it: package_test.py BUILD SOURCE CASE [DOCUMENT]

Every case installs component sdk of BUILD into a new prefix and works in an empty folder with an environment that names
that prefix and nothing of this tree. BUILD has been built; nothing is built here but what a third party would build."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

SHELL_FENCES = {"sh"}
OTHER_FENCES = {"c", "cpp", "cmake", "json", "rust", "text", "yaml"}


class failure(Exception):
    pass


def expect(condition, message):
    if not condition:
        raise failure(message)


class world:
    """An installed prefix and an empty folder; both gone at the end."""

    def __init__(self, build, source):
        self.build, self.source = os.path.realpath(build), os.path.realpath(source)
        self.root = os.path.realpath(tempfile.mkdtemp(prefix="callgate_sdk_"))
        self.prefix = os.path.join(self.root, "prefix")
        self.empty = os.path.join(self.root, "empty")
        os.mkdir(self.empty)
        home = os.path.join(self.root, "home")
        os.mkdir(home)
        self.environment = {"HOME": home, "LANG": "C.UTF-8"}
        self.install()
        self.use(self.prefix)

    def use(self, prefix):
        self.environment["PATH"] = prefix + "/bin:/usr/local/bin:/usr/bin:/bin"
        self.environment["CMAKE_PREFIX_PATH"] = prefix

    def install(self):
        self.run(["cmake", "--install", self.build, "--component", "sdk", "--prefix", self.prefix, "--strip"], env=dict(os.environ))

    def run(self, command, cwd=None, status=0, **options):
        options.setdefault("env", self.environment)
        done = subprocess.run(command, cwd=cwd or self.empty, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                              stdin=subprocess.DEVNULL, **options)
        good = done.returncode == 0 if status == 0 else done.returncode != 0
        expect(good, f"exit status {done.returncode} of {command}:\n{done.stdout[-4000:]}")
        return done.stdout

    def shell(self, script, **options):
        return self.run(["/bin/sh", "-euc", script], **options)

    def names_this_tree(self, folder):
        """Files below `folder` that contain a path of the checkout or its build; of binaries only the texts count."""
        needles = [p.encode() for p in {self.build, self.source}]
        found = []
        for base, _, names in os.walk(folder):
            for name in names:
                path = os.path.join(base, name)
                with open(path, "rb") as f:
                    if any(n in f.read() for n in needles):
                        found.append(os.path.relpath(path, folder))
        return found


def exports(w, module):
    return [line.split()[-1] for line in w.run(["nm", "-D", "--defined-only", module]).splitlines()]


def quick_start(w):
    # The words of the issue; nothing may be added to them.
    out = w.shell("callgate plugin new acme && cd acme && cmake -B b && cmake --build b && callgate-plugin-check b/*.so")
    made = os.path.join(w.empty, "acme")
    expect(os.listdir(w.empty) == ["acme"], "something was written beside acme/")
    expect(exports(w, made + "/b/callgate_acme.so") == ["cg_plugin_entry_v1"], "callgate_acme.so exports something else than its entry")
    expect("callgate-plugin-check" in out, "plugin new does not say what to run next")
    expect(not w.names_this_tree(made), f"these files of the project know the checkout: {w.names_this_tree(made)}")
    w.run([made + "/b/acme_test"])
    shown = w.run(["callgate", "plugin", "inspect", made + "/b/callgate_acme.so"])
    expect("org.example.acme" in shown and "cache_ttl" in shown, "plugin inspect shows:\n" + shown)
    again = w.run(["callgate", "plugin", "new", "acme"], status=1)
    expect("never overwritten" in again, again)


def c_template(w):
    w.environment["CXX"] = "/bin/false"  # C must not need a C++ compiler
    w.shell("callgate plugin new acme_c --lang c --dir deep/folder && cd deep/folder && ./ci.sh")
    expect(exports(w, w.empty + "/deep/folder/build/callgate_acme_c.so") == ["cg_plugin_entry_v1"], "callgate_acme_c.so exports something else than its entry")
    with open(w.prefix + "/share/callgate/template/c/my_auth.c", encoding="utf-8") as f:
        expect(len(f.readlines()) <= 60, "the C template has more than 60 lines")


def moved_prefix(w):
    """The prefix works where it was moved to, bundled plugins and templates included."""
    moved = os.path.join(w.root, "elsewhere", "sdk")
    os.mkdir(os.path.dirname(moved))
    os.rename(w.prefix, moved)
    w.use(moved)
    w.shell("callgate plugin new acme --lang c && cd acme && cmake -B b && cmake --build b")
    listed = w.run(["callgate", "plugin", "list"])
    for name in ("key_file", "auth_static", "auth_oidc"):
        expect(f"{moved}/lib/callgate/plugins/callgate_{name}.so: org.callgate.{name}" in listed, f"plugin list lacks {name}:\n" + listed)
    # What is found by PATH alone needs no CMAKE_PREFIX_PATH.
    del w.environment["CMAKE_PREFIX_PATH"]
    w.shell("cd acme && rm -r b && cmake -B b && cmake --build b")
    expect(not w.names_this_tree(moved + "/share"), f"the package knows the checkout: {w.names_this_tree(moved + '/share')}")
    expect(not w.names_this_tree(moved + "/include"), "a header knows the checkout")


def versions(w):
    """Same major version, minor version at least the one asked for."""
    with open(w.empty + "/CMakeLists.txt", "w", encoding="utf-8") as f:
        f.write("cmake_minimum_required(VERSION 3.25)\nproject(v C)\nfind_package(callgate-sdk ${ASKED} REQUIRED)\n"
                "message(STATUS \"version=${callgate-sdk_VERSION} ${CALLGATE_PLUGIN_CHECK}\")\n")
    with open(w.prefix + "/include/callgate/abi/base.h", encoding="utf-8") as f:
        text = f.read()
    major, minor = (int(re.search(rf"#define CG_ABI_{part} (\d+)u", text).group(1)) for part in ("MAJOR", "MINOR"))
    for asked in {f"{major}.0", f"{major}.{minor}", f"{major}"}:
        out = w.run(["cmake", "-B", "b", "-DASKED=" + asked])
        expect(f"version={major}.{minor}.0 {w.prefix}/bin/callgate-plugin-check" in out, out)
    for asked in (f"{major}.{minor + 1}", f"{major + 1}.0", f"{major - 1}.0"):
        out = w.run(["cmake", "-B", "b", "-DASKED=" + asked], status=1)
        expect("not compatible" in out or "considered but not accepted" in out or "compatible with requested version" in out, out)
    for header in ("sdk/auth_backend.hpp", "sdk/testing/driver.hpp", "abi/entry.h", "abi/ext/timer.h"):
        expect(os.path.isfile(f"{w.prefix}/include/callgate/{header}"), header + " is not installed")
    expect(not os.path.exists(w.prefix + "/include/callgate/nats"), "what needs other libraries must not be installed")


def blocks_of(path):
    """Shell blocks of a document, in order. A fence without a language, or with an unknown one, is an error: it could be a shell
    block that nobody runs."""
    blocks, language, lines = [], None, []
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            fence = re.match(r"\s*(```+|~~~+)\s*(\S*)", line)
            if fence is None:
                if language in SHELL_FENCES:
                    lines.append(line)
            elif language is not None:
                if language in SHELL_FENCES:
                    blocks.append("".join(lines))
                language, lines = None, []
            else:
                language = fence.group(2)
                expect(language in SHELL_FENCES | OTHER_FENCES, f"{path}:{number}: fence of language \"{language}\"; shell blocks are ```sh")
    expect(language is None, f"{path}: the last fence is open")
    return blocks


def document(w, name):
    """All shell blocks of one document, verbatim and in order, as one script in an empty folder."""
    path = f"{w.prefix}/share/callgate/docs/{name}"
    blocks = blocks_of(path)
    expect(blocks, f"{name} has no shell block")
    script = os.path.join(w.root, "script.sh")
    with open(script, "w", encoding="utf-8") as f:
        f.write("".join(blocks))
    out = w.run(["/bin/bash", "-eux", "-o", "pipefail", script])
    expect(not w.names_this_tree(w.empty), f"these files know the checkout: {w.names_this_tree(w.empty)}")
    print(f"{name}: {len(blocks)} blocks, {len(out.splitlines())} lines of output")


CASES = {"quick_start": quick_start, "c_template": c_template, "moved_prefix": moved_prefix, "versions": versions, "document": document}


def main():
    build, source, case, *rest = sys.argv[1:]
    w = None
    try:
        w = world(build, source)
        CASES[case](w, *rest)
    except failure as e:
        print(f"{case} {' '.join(rest)}: {e}", file=sys.stderr)
        return 1
    finally:
        if w is not None:
            shutil.rmtree(w.root, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

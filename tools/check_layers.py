#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads every #include of the project and fails when a dependency arrow points the wrong way, a heavy header is
used outside its named translation units, or something stands at the top level that does not belong there.
Without arguments it first tests itself on small planted trees, then checks the checkout."""
import argparse
import os
import re
import subprocess
import sys
import tempfile

# Room of the engine -> rooms it may include (decisions.md: base <- {codec, observe};
# base, codec <- policy <- flow <- {net, host} <- runtime <- cli). observe is a leaf that whoever records may use.
ENGINE = {
    "base": set(),
    "codec": {"base"},
    "observe": {"base"},
    "policy": {"base", "codec"},
    "flow": {"base", "codec", "observe", "policy"},
    "net": {"base", "codec", "observe", "policy", "flow"},
    "host": {"base", "codec", "observe", "policy", "flow"},
    "runtime": {"base", "codec", "observe", "policy", "flow", "net", "host"},
    "cli": {"base", "codec", "observe", "policy", "flow", "net", "host", "runtime"},
}
# Part of the sdk (as it is spelt after <callgate/) -> parts it may include.
SDK = {
    "abi": set(),
    "sdk": {"abi"},
    "crypto": set(),
    "nats": {"crypto"},
}
SDK_FOLDER = {"abi": "abi", "cpp": "sdk", "crypto": "crypto", "nats": "nats"}
# Heavy headers cost seconds for each translation unit (review.md section 5): family -> at most this many .cpp files of
# a room, never a header.
HEAVY = {
    "Beast": re.compile(r"boost/beast(\.hpp|/)"),
    "gRPC": re.compile(r"grpc(pp|\+\+)?/"),
    "CLI11": re.compile(r"CLI/"),
    "yaml-cpp": re.compile(r"yaml-cpp/"),
    "valijson": re.compile(r"valijson/"),
    "spdlog": re.compile(r"spdlog/"),
}
HEAVY_UNITS = 2
TOP_LEVEL = {"CMakeLists.txt", "engine", "plugins", "sdk", "configs", "bench", "tests", "tools", "README.md",
             "CMakePresets.json", "LICENSE"}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include(?:_next)?[ \t]*([<"])([^>"]+)[>"]', re.M)
# The C ABI's headers are for any C compiler and carry the classic guard.
GUARD = re.compile(r"^#ifndef (CG_\w+|CALLGATE_\w+)\s*\n#define \1\b", re.M)
SOURCE = (".h", ".hpp", ".cpp", ".cc", ".c", ".ipp", ".in")
HEADER = (".h", ".hpp", ".ipp")


def is_test(path):
    parts = path.split("/")
    return parts[-1].rsplit(".", 1)[0].endswith("_test") or "test" in parts or "fuzz" in parts or parts[0] == "tests"


def strip_comments(text):
    return re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group(0).count("\n"), text, flags=re.S)


def target_of(spelt, path, files):
    """The place an include leads to: ('engine', room), ('sdk', part), ('plugins', name), ('tests', '') or None."""
    if spelt.startswith("callgate/"):
        return ("sdk", spelt.split("/")[1].removesuffix(".hpp").removesuffix(".h"))
    for candidate in (spelt, os.path.normpath(os.path.join(os.path.dirname(path), spelt))):
        head = candidate.split("/")
        if head[0] in ("engine", "plugins", "bench", "tests", "tools") and (candidate in files or candidate == spelt):
            return (head[0], head[1] if len(head) > 1 else "")
        if head[0] == "sdk" and candidate in files and len(head) > 1:
            return ("sdk", SDK_FOLDER.get(head[1], head[1]))
    return None


def check_include(path, spelt, files):
    """A sentence saying what is wrong with this include, or None."""
    home = path.split("/")
    target = target_of(spelt, path, files)
    if target is None:
        return None
    place, room = target
    test = is_test(path)
    if place == "tests" and not test:
        return "production code must not include test code"
    if home[0] == "engine" and len(home) > 2:
        own = home[1]
        if own not in ENGINE:
            return f"engine/{own} has no place in the layer table of tools/check_layers.py"
        if place == "engine" and room != own and room not in ENGINE[own]:
            # A test may bring up what stands left of it and its own room; nothing right of it either.
            return f"engine/{own} may include {sorted(ENGINE[own]) or 'no other room'}, not engine/{room}"
        if place == "plugins" and not test:
            return "the engine knows plugins only through the ABI"
        if place == "sdk" and room == "sdk" and not test:
            return "callgate/sdk/ is the plugin authors' wrapper; the engine speaks the C ABI (callgate/abi/)"
    elif home[0] == "sdk":
        if place in ("engine", "plugins", "bench"):
            return "the sdk includes neither the engine nor a plugin"
        own = SDK_FOLDER.get(home[1]) if len(home) > 2 else None
        if place == "sdk" and own and room in SDK and room != own and room not in SDK[own]:
            return f"sdk/{home[1]} may include {sorted(SDK[own]) or 'no other part'}, not callgate/{room}"
    elif home[0] == "plugins":
        if place == "engine":
            return "a plugin includes only the sdk"
        if place == "plugins" and len(home) > 2 and room != home[1]:
            return f"plugin {home[1]} must not include plugin {room}"
    return None


def check_heavy(path, spelt, units):
    for family, pattern in HEAVY.items():
        if pattern.match(spelt):
            if path.endswith(HEADER):
                return f"{family} is a heavy header: include it in a .cpp file, never in a header"
            room = "/".join(path.split("/")[:2])
            if not is_test(path):
                users = units.setdefault((family, room), set())
                users.add(path)
                if len(users) > HEAVY_UNITS:
                    return f"{family} is used by {len(users)} translation units of {room}; at most {HEAVY_UNITS} may: {sorted(users)}"
    return None


def check_tree(root, files):
    problems = []
    known = set(files)
    units = {}
    for path in sorted(files):
        top = path.split("/")[0]
        if not top.startswith(".") and top not in TOP_LEVEL:
            problems.append(f"{path}: not allowed at the top level (decisions.md); move it into a room")
        if not path.endswith(SOURCE) or top not in ("engine", "sdk", "plugins", "bench", "tests", "tools"):
            continue
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
            text = strip_comments(file.read())
        for match in INCLUDE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            for problem in (check_include(path, match.group(2), known), check_heavy(path, match.group(2), units)):
                if problem:
                    problems.append(f"{path}:{line}: #include {match.group(2)}: {problem}")
        if path.endswith((".h", ".hpp")) and "#pragma once" not in text and not GUARD.search(text):
            problems.append(f"{path}: header without #pragma once")
    return problems


def tracked(root):
    listing = subprocess.run(["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                             check=True, capture_output=True).stdout
    return [name for name in listing.decode().split("\0") if name and os.path.isfile(os.path.join(root, name))]


SELF_TEST = [  # (files, part of the expected complaint or None)
    ({"engine/base/a.hpp": "#pragma once\n#include <vector>\n", "engine/flow/b.cpp": '#include "engine/base/a.hpp"\n'}, None),
    ({"engine/base/a.cpp": '#include "engine/codec/x.hpp"\n'}, "a.cpp:1"),
    ({"engine/policy/a.cpp": '\n#include "engine/flow/x.hpp"\n'}, "a.cpp:2"),
    ({"engine/net/a.cpp": '#include "engine/host/x.hpp"\n'}, "engine/net may include"),
    ({"engine/net/a.cpp": '#include "../host/x.hpp"\n', "engine/host/x.hpp": "#pragma once\n"}, "engine/net may include"),
    ({"engine/cli/a.cpp": '#include "engine/runtime/x.hpp"\n'}, None),
    ({"engine/new/a.cpp": '#include "engine/base/x.hpp"\n'}, "no place in the layer table"),
    ({"engine/base/a.cpp": '// #include "engine/cli/x.hpp"\n/*\n#include "engine/cli/x.hpp"\n*/\n'}, None),
    ({"sdk/nats/src/a.cpp": '#include "engine/base/error.hpp"\n'}, "neither the engine"),
    ({"sdk/nats/src/a.cpp": "#include <callgate/crypto/box.hpp>\n"}, None),
    ({"sdk/crypto/src/a.cpp": "#include <callgate/nats/jwt.hpp>\n"}, "sdk/crypto may include"),
    ({"sdk/abi/include/callgate/abi/a.h": "#pragma once\n#include <callgate/sdk/op.hpp>\n"}, "sdk/abi may include"),
    ({"plugins/p/a.cpp": '#include "engine/base/error.hpp"\n'}, "only the sdk"),
    ({"plugins/p/a.cpp": "#include <callgate/sdk/plugin.hpp>\n#include <callgate/nats/jwt.hpp>\n"}, None),
    ({"plugins/p/a.cpp": '#include "plugins/q/b.hpp"\n'}, "must not include plugin q"),
    ({"engine/host/a.cpp": "#include <callgate/sdk/plugin.hpp>\n"}, "plugin authors"),
    ({"engine/cli/a.cpp": '#include "tests/support/x.hpp"\n'}, "test code"),
    ({"engine/cli/a_test.cpp": '#include "tests/support/x.hpp"\n'}, None),
    ({"engine/cli/a.hpp": "#pragma once\n#include <CLI/CLI.hpp>\n"}, "never in a header"),
    ({f"engine/cli/{n}.cpp": "#include <boost/beast.hpp>\n" for n in "abc"}, "at most 2"),
    ({f"engine/cli/{n}.cpp": "#include <spdlog/spdlog.h>\n" for n in "ab"}, None),
    ({"engine/base/a.hpp": "struct a;\n"}, "#pragma once"),
    ({"notes/a.txt": ""}, "top level"),
    ({"helper.py": ""}, "top level"),
    ({".ci/run": "", "README.md": "", "CMakePresets.json": ""}, None),
]


def self_test():
    for files, expected in SELF_TEST:
        with tempfile.TemporaryDirectory() as root:
            for path, text in files.items():
                os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                    file.write(text)
            found = check_tree(root, list(files))
        if (expected is None) != (not found) or (expected and not any(expected in problem for problem in found)):
            sys.exit(f"check_layers.py: self-test failed: {files} gave {found}, expected {expected}")
    return len(SELF_TEST)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", default=os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    root = parser.parse_args().root
    cases = self_test()
    files = tracked(root)
    problems = check_tree(root, files)
    for problem in problems:
        print(problem)
    print(f"check_layers: {cases} self-test cases, {len(files)} files, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

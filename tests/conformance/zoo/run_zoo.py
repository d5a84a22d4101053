#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs callgate-plugin-check over every plugin of members.tsv and demands that exactly the check that names its fault fails.
Then again without that check, which must make the demand fail: so no check can be lost unseen. Prints the table."""
import argparse
import concurrent.futures
import json
import os
import re
import subprocess
import sys
import time
from xml.sax.saxutils import quoteattr

HERE = os.path.dirname(os.path.abspath(__file__))
CONFIG = {
    "backend": ["--config", "backend.yaml", "--cases", "backend_cases.yaml"],
    "keys": ["--config", "keys.yaml"],
    "sink": ["--config", "sink.yaml", "--stalled", "sink_stalled.yaml"],
}
# The store's contract is broken on purpose elsewhere (see README.md).
WITHOUT_MEMBER = re.compile(r"claims\.")


def read_members():
    members = []
    with open(os.path.join(HERE, "members.tsv"), encoding="utf-8") as file:
        for line in file:
            if line.startswith("#") or not line.strip():
                continue
            source, fault, expected, *_ = line.rstrip("\n").split("\t")
            members.append((source, fault, None if expected == "-" else expected))
    return members


class zoo:
    def __init__(self, options):
        self.options = options

    def run(self, source, fault, name, extra):
        """{check: (status, texts, seen in)} of one run."""
        out = os.path.join(self.options.work, name + ".json")
        if os.path.exists(out):
            os.remove(out)
        command = [self.options.check, os.path.join(self.options.members, f"zoo_{source}_{fault}.so"),
                   "--json", out, "--patience", str(self.options.patience), "--timeout", "30", "--block-limit", "40", "--fuzz-steps", "250", "--cycles", "300", *CONFIG[source], *extra]
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, errors="replace", check=False, timeout=400)
        if not os.path.exists(out):
            raise RuntimeError(f"callgate-plugin-check exited with {done.returncode} and wrote nothing:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        with open(out, encoding="utf-8") as file:
            checks = json.load(file)["checks"]
        failed = [c["name"] for c in checks if c["status"] == "failed"]
        sound = not failed and not any(c["status"] == "blocked" for c in checks)
        if sound != (done.returncode == 0):
            raise RuntimeError(f"exit status {done.returncode} does not fit the results")
        return {c["name"]: c for c in checks}

    def judge(self, member):
        """(seconds, what was wrong or None, the text that caught the fault, tests that saw it)"""
        source, fault, expected = member
        begin = time.monotonic()
        try:
            checks = self.run(source, fault, f"{source}_{fault}", [])
        except (RuntimeError, subprocess.TimeoutExpired, ValueError) as error:
            return time.monotonic() - begin, str(error), "", []
        failed = [name for name, c in checks.items() if c["status"] == "failed"]
        wanted = [expected] if expected else []
        wrong = None
        if failed != wanted:
            wrong = f"failed: {', '.join(failed) or 'none'}; must fail: {expected or 'none'}"
            wrong += "".join(f"\n      {name}: {checks[name]['texts']}" for name in failed if name != expected)
        blocked = [name for name, c in checks.items() if c["status"] == "blocked"]
        if expected is None and blocked:
            wrong = f"blocked: {', '.join(blocked)}"
        caught = checks[expected] if expected in checks else {"texts": [""], "seen_in": []}
        return time.monotonic() - begin, wrong, (caught["texts"] or [""])[0], caught["seen_in"]

    def mutate(self, member, seen_in):
        """None when the run without its check is red, as it must be."""
        source, fault, expected = member
        include = "^(" + "|".join(re.escape(n) for n in sorted({expected, *seen_in})) + ")$"
        try:
            checks = self.run(source, fault, f"{source}_{fault}_without", ["--disable-check", expected, "--include", include])
        except (RuntimeError, subprocess.TimeoutExpired, ValueError) as error:
            return str(error)
        failed = [name for name, c in checks.items() if c["status"] == "failed"]
        return "still passes without it" if failed == [expected] else None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", required=True, help="callgate-plugin-check")
    parser.add_argument("--members", required=True, help="folder of the built members")
    parser.add_argument("--work", required=True)
    parser.add_argument("--junit")
    parser.add_argument("--only", default="", help="regular expression over faults")
    parser.add_argument("--patience", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 2)
    options = parser.parse_args()
    os.makedirs(options.work, exist_ok=True)
    members = [m for m in read_members() if re.search(options.only, m[1])]
    begin = time.monotonic()
    house = zoo(options)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        verdicts = list(pool.map(house.judge, members))
        mutants = list(pool.map(lambda pair: house.mutate(pair[0], pair[1][3]) if pair[0][2] else None, zip(members, verdicts)))

    cases = []
    print(f"{'fault':<32}{'caught by':<34}{'without it':<12}{'seconds':>7}")
    for (source, fault, expected), (seconds, wrong, text, _), mutant in zip(members, verdicts, mutants):
        name = f"{source}: {fault}"
        print(f"{name:<32}{expected or 'nothing, it is healthy':<34}{'' if not expected else 'red' if mutant is None else 'NOT RED':<12}{seconds:>7.1f}")
        if text and not wrong:
            print("      " + text.split("\n")[0][:220])
        if wrong:
            print("   WRONG: " + wrong)
        cases.append((name, wrong, seconds))
        if expected:
            cases.append((f"{name} without {expected}", mutant, 0.0))
    if not options.only:
        listed = subprocess.run([options.check, "--list"], capture_output=True, text=True, check=True).stdout
        checks = {line.split()[0] for line in listed.splitlines() if line.strip()}
        alone = sorted(c for c in checks - {m[2] for m in members} if not WITHOUT_MEMBER.match(c))
        cases.append(("every check has a fault that needs it", "no member for " + ", ".join(alone) if alone else None, 0.0))
        print(f"{len(checks)} checks, {len(members)} members; checks without a member: {', '.join(alone) or 'none'}")
    bad = [c for c in cases if c[1]]
    for name, why, _ in bad:
        print(f"failed: {name}: {why}")
    print(f"{len(cases) - len(bad)} passed, {len(bad)} failed, {time.monotonic() - begin:.1f} s")
    if options.junit:
        os.makedirs(os.path.dirname(options.junit), exist_ok=True)
        with open(options.junit, "w", encoding="utf-8") as file:
            file.write(f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuite name="zoo" tests="{len(cases)}" failures="{len(bad)}">\n')
            for name, why, seconds in cases:
                failure = f"<failure message={quoteattr(why)}/>" if why else ""
                file.write(f'<testcase classname="zoo" name={quoteattr(name)} time="{seconds:.3f}">{failure}</testcase>\n')
            file.write("</testsuite>\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

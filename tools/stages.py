#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The stages of tools/test. Each is timed against a budget; the last line counts every test case of every JUnit
file that this run wrote. A suite that ran no test, or died before it wrote its file, counts as failed."""
import argparse
import glob
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as xml_tree

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.path.join(ROOT, "build/deps/bin")
STAGES = ["layers", "configure", "build", "unit", "node", "conformance"]
# What decisions.md (Build and CI) gives to each preset: matrix cells, and the node suites that run.
PRESETS = {
    "release": {"cells": "all", "suites": None, "conformance": True},
    "asan": {"cells": "cover12", "suites": {"matrix", "security"}, "conformance": False},
    "tsan": {"cells": "cover4", "suites": {"matrix"}, "conformance": False},
}
# Suites whose files measure or kill under load: one at a time. The others wait far more than they compute.
SERIAL = {"resilience"}
# Seconds on 2 cores with a cold compiler cache; "setup" on an empty machine.
BUDGET = {"setup": 180, "layers": 2, "configure": 15, "unit": 240, "node": 300, "conformance": 2,
          "build": {"release": 260, "asan": 420, "tsan": 260}}


class tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.trouble = []

    def fail(self, name, reason):
        self.failed += 1
        self.trouble.append(f"{name}: {reason}")

    def add_file(self, path, label):
        """Counts the cases of one JUnit file (gtest, ctest or node); returns how many there were."""
        try:
            tree = xml_tree.parse(path)
        except (OSError, xml_tree.ParseError) as error:
            self.fail(label, f"no readable JUnit file ({error})")
            return 0, 0
        count = bad = 0
        for case in tree.iter("testcase"):
            count += 1
            name = f"{label}: {case.get('classname', '')}.{case.get('name', '')}".replace(": .", ": ")
            failure = case.find("failure")
            if failure is None:
                failure = case.find("error")
            if failure is not None or case.get("status") == "fail":
                bad += 1
                text = "" if failure is None else failure.get("message") or failure.text or ""
                self.fail(name, " ".join(text.split())[:300] or "failed")
            elif case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
                self.skipped += 1
            else:
                self.passed += 1
        if count == 0:
            self.fail(label, "the suite produced no test")
        return count, bad


def run(command, **options):
    print("+", " ".join(os.path.relpath(c, ROOT) if c.startswith(ROOT + "/") else c for c in command), flush=True)
    return subprocess.run(command, cwd=ROOT, check=False, **options).returncode


class pipeline:
    def __init__(self, preset, tests, suites=None):
        self.preset = preset
        self.only = suites
        self.tests = tests
        self.build = os.path.join(ROOT, "build", preset)
        self.jobs = str(os.cpu_count() or 2)
        self.environment = dict(os.environ, CCACHE_BASEDIR=ROOT, CCACHE_NOHASHDIR="1", CCACHE_COMPILERCHECK="content",
                                PATH=BIN + ":" + os.environ["PATH"])

    def layers(self):
        return run([sys.executable, "tools/check_layers.py"]) == 0

    def configure(self):
        if os.path.exists(os.path.join(self.build, "build.ninja")):
            return True  # Ninja runs CMake again when one of its files changed
        return run(["cmake", "--preset", self.preset], env=self.environment, stdout=subprocess.DEVNULL) == 0

    def build_all(self):
        return run(["cmake", "--build", self.build, "-j", self.jobs], env=self.environment) == 0

    def unit(self):
        junit = os.path.join(self.build, "junit")
        shutil.rmtree(junit, ignore_errors=True)
        os.makedirs(junit)
        summary = os.path.join(self.build, "junit-ctest.xml")
        if os.path.exists(summary):
            os.remove(summary)
        log = os.path.join(self.build, "ctest.log")
        with open(log, "w", encoding="utf-8") as out:
            status = run(["ctest", "--test-dir", self.build, "-j", self.jobs, "--output-on-failure", "--output-junit", summary],
                         env=self.environment, stdout=out, stderr=subprocess.STDOUT)
        ok = True
        try:
            cases = list(xml_tree.parse(summary).iter("testcase"))
        except (OSError, xml_tree.ParseError):
            self.tests.fail("ctest", "wrote no result; see " + log)
            return False
        if not cases:
            self.tests.fail("ctest", "the suite produced no test")
            return False
        for case in cases:
            name = case.get("name")
            died = case.get("status") == "fail" or case.find("failure") is not None
            detail = os.path.join(junit, name + ".xml")
            if os.path.exists(detail):
                _, bad = self.tests.add_file(detail, name)
                if died and not bad:
                    self.tests.fail(name, "the process failed outside its test cases (leak, race or crash at exit)")
                ok = ok and not died and not bad
            elif died:
                self.tests.fail(name, "crashed, timed out or did not start")
                ok = False
            elif case.get("status") == "run":
                self.tests.passed += 1  # no gtest file: a fuzz corpus replay, one case
            else:
                self.tests.skipped += 1
        if status != 0 or not ok:
            with open(log, encoding="utf-8", errors="replace") as out:
                sys.stdout.writelines(out.readlines()[-200:])
        return ok and status == 0

    def node_suites(self):
        wanted = PRESETS[self.preset]["suites"]
        suites = {}
        for path in sorted(glob.glob(os.path.join(ROOT, "tests/node/*/*.test.mjs"))):
            suites.setdefault(os.path.basename(os.path.dirname(path)), []).append(path)
        return {name: files for name, files in suites.items() if (wanted is None or name in wanted) and (not self.only or name in self.only)}

    def node(self):
        junit = os.path.join(self.build, "junit-node")
        shutil.rmtree(junit, ignore_errors=True)
        os.makedirs(junit)
        environment = dict(self.environment, CALLGATE_PRESET=self.preset, CALLGATE_BUILD=self.build)
        environment.setdefault("CALLGATE_CELLS", PRESETS[self.preset]["cells"])
        ok = True
        for suite, files in self.node_suites().items():
            out = os.path.join(junit, suite + ".xml")
            side_by_side = "1" if suite in SERIAL else "3"
            status = run([os.path.join(BIN, "node"), "--test", "--test-concurrency=" + side_by_side, "--test-timeout=300000",
                          "--test-reporter=junit", "--test-reporter-destination=" + out,
                          "--test-reporter=dot", "--test-reporter-destination=stdout", *files], env=environment)
            _, bad = self.tests.add_file(out, suite)
            if status != 0 and not bad:
                self.tests.fail(suite, f"node exited with {status} outside its test cases")
            ok = ok and status == 0
        return ok

    def conformance(self):
        if not PRESETS[self.preset]["conformance"]:
            return True
        junit = os.path.join(self.build, "junit-node")
        ok = run([sys.executable, "tools/check_conformance.py", junit]) == 0
        # The review's tests lie in unit tests and several suites: nothing to join when only some suites ran.
        if self.only is None:
            ok = run([sys.executable, "tools/check_review.py", os.path.join(self.build, "junit"), junit]) == 0 and ok
        return ok

    def stage(self, name):
        if name == "build":
            return self.build_all
        return getattr(self, name)


def main():
    parser = argparse.ArgumentParser(prog="tools/test", description="Sets up, builds and tests. The last line counts the tests.")
    parser.add_argument("--preset", choices=PRESETS, action="append", help="what to build and test (default: release)")
    parser.add_argument("--full", action="store_true", help="release, asan and tsan one after the other")
    parser.add_argument("--stage", choices=STAGES, action="append", help="only this stage (may be repeated)")
    parser.add_argument("--suite", action="append", help="only this folder of tests/node (may be repeated)")
    parser.add_argument("--setup-seconds", type=float, default=0.0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    presets = list(PRESETS) if options.full else options.preset or ["release"]
    tests = tally()
    timing = [("setup", "", options.setup_seconds, BUDGET["setup"], True)]
    for preset in presets:
        line = pipeline(preset, tests, options.suite)
        for name in options.stage or STAGES:
            begin = time.monotonic()
            print(f"== {preset}: {name}", flush=True)
            ok = line.stage(name)()
            budget = BUDGET[name] if isinstance(BUDGET[name], int) else BUDGET[name][preset]
            timing.append((name, preset, time.monotonic() - begin, budget, ok))
            if not ok and name in ("layers", "configure", "build", "conformance"):
                tests.fail(f"{preset}: {name}", "stage failed; see its messages above")
            if not ok and name in ("configure", "build"):
                break
    print(f"\n{'stage':<13}{'preset':<9}{'seconds':>8}{'budget':>8}")
    for name, preset, seconds, budget, ok in timing:
        mark = "" if ok else "  FAILED"
        print(f"{name:<13}{preset:<9}{seconds:>8.1f}{budget:>8}{mark}{'  over budget' if seconds > budget else ''}")
    print(f"{'all':<22}{sum(entry[2] for entry in timing):>8.1f}{sum(entry[3] for entry in timing):>8}")
    for trouble in tests.trouble:
        print("failed:", trouble)
    none_ran = tests.passed + tests.failed == 0
    if none_ran and set(options.stage or STAGES) & {"unit", "node"}:
        tests.fail("tools/test", "no test ran")
    skipped = f", {tests.skipped} skipped" if tests.skipped else ""
    print(f"{tests.passed} passed, {tests.failed} failed{skipped}")
    return 1 if tests.failed else 0


if __name__ == "__main__":
    sys.exit(main())

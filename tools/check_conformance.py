#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Joins tests/conformance.tsv to the JUnit files of a run: every row must have a passed test named "ROW [VERSION] ..."
for each of its versions. Fails on a missing, failed or skipped test, on an exemption that is not on the list below, on
a row that lacks, and on a test whose row the table does not know. Tests itself first."""
import glob
import os
import re
import sys
import xml.etree.ElementTree as xml_tree

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VERSIONS = ["2.10.27", "2.15.1"]
ROWS = [f"A{n:02}" for n in range(1, 41)] + sorted([f"F{n:02}" for n in range(1, 39)] + ["F07c", "F09b", "F23b"])
MAY_BE_EXEMPT = {"A12", "F19", "F20", "F21", "F22", "F23", "F23b", "F24", "F26", "F31"}
# Rows about something that came after 2.10 (protocol.md 3.11): the only ones that may name one version alone.
NEW_ALONE = {"A07", "A09", "A35", "A40", "F12", "F32"}


def read_table(lines):
    table = {}
    problems = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        cells = line.rstrip("\n").split("\t")
        if len(cells) != 4:
            problems.append(f"conformance.tsv:{number}: {len(cells)} cells, not 4")
            continue
        row, _, versions, test = cells
        if row in table:
            problems.append(f"conformance.tsv:{number}: {row} stands twice")
        table[row] = (versions.split(), test)
    return table, problems


def read_results(paths):
    """{test name: "passed" | "failed" | "skipped"}; of two with one name the worse counts."""
    worse = ["passed", "skipped", "failed"]
    results = {}
    for path in paths:
        for case in xml_tree.parse(path).iter("testcase"):
            state = "passed"
            if case.find("skipped") is not None:
                state = "skipped"
            if case.find("failure") is not None or case.find("error") is not None:
                state = "failed"
            name = case.get("name")
            results[name] = max(results.get(name, "passed"), state, key=worse.index)
    return results


def check(table, results):
    problems = [f"{row}: missing from conformance.tsv" for row in ROWS if row not in table]
    problems += [f"{row}: not a row of protocol.md 5A or 5F" for row in table if row not in ROWS]
    wanted = {}
    for row, (versions, test) in table.items():
        if test.startswith("exempt:"):
            if row not in MAY_BE_EXEMPT:
                problems.append(f"{row}: may not be exempt")
            if not test.removeprefix("exempt:").strip():
                problems.append(f"{row}: exempt without a reason")
            continue
        if versions != VERSIONS and not (row in NEW_ALONE and versions == VERSIONS[1:]):
            problems.append(f"{row}: must name the versions {' '.join(VERSIONS)}")
        for version in versions:
            prefix = f"{test} [{version}] "
            wanted[prefix] = row
            found = [name for name in results if name.startswith(prefix)]
            if not found:
                problems.append(f"{row}: no test whose name begins with \"{prefix.strip()}\" ran")
            problems += [f"{row}: {results[name]}: {name}" for name in found if results[name] != "passed"]
    for name in results:
        if re.match(r"[AF]\d\d[a-z]? \[", name) and not any(name.startswith(prefix) for prefix in wanted):
            problems.append(f"test without a row: {name}")
    return problems


def self_test():
    good = {row: (VERSIONS, row) for row in ROWS}
    passed = {f"{row} [{version}] x": "passed" for row in ROWS for version in VERSIONS}
    cases = [
        (good, passed, None),
        ({**good, "F19": (["-"], "exempt: reason")}, {k: v for k, v in passed.items() if not k.startswith("F19 ")}, None),
        ({**good, "F01": (["-"], "exempt: reason")}, passed, "F01: may not be exempt"),
        ({**good, "F19": (["-"], "exempt:")}, passed, "without a reason"),
        ({**good, "A07": (["2.15.1"], "A07")}, {k: v for k, v in passed.items() if k != "A07 [2.10.27] x"}, None),
        ({**good, "A06": (["2.15.1"], "A06")}, passed, "A06: must name"),
        ({row: cell for row, cell in good.items() if row != "A22"}, passed, "A22: missing"),
        (good, {k: v for k, v in passed.items() if k != "A31 [2.10.27] x"}, "A31: no test"),
        (good, {**passed, "A31 [2.10.27] x": "skipped"}, "A31: skipped"),
        (good, {**passed, "F07c [2.15.1] x": "failed"}, "F07c: failed"),
        (good, {**passed, "F99 [2.15.1] x": "passed"}, "without a row"),
    ]
    for table, results, expected in cases:
        found = check(table, results)
        if (expected is None) != (not found) or (expected and not any(expected in problem for problem in found)):
            sys.exit(f"check_conformance.py: self-test failed: expected {expected}, got {found}")
    return len(cases)


def main():
    if len(sys.argv) < 2:
        sys.exit("usage: check_conformance.py JUNIT-DIRECTORY...")
    cases = self_test()
    paths = [path for directory in sys.argv[1:] for path in glob.glob(os.path.join(directory, "*.xml"))]
    if not paths:
        sys.exit(f"no JUnit file in {' '.join(sys.argv[1:])}: run the node stage first")
    with open(os.path.join(ROOT, "tests/conformance.tsv"), encoding="utf-8") as file:
        table, problems = read_table(file)
    problems += check(table, read_results(paths))
    for problem in problems:
        print(problem)
    exempt = [row for row, (_, test) in table.items() if test.startswith("exempt:")]
    print(f"check_conformance: {cases} self-test cases, {len(table)} rows, {len(exempt)} exempt ({', '.join(exempt)}), {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

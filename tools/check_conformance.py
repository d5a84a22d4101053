#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Joins tests/conformance.tsv to the JUnit files of a run: every row must have a passed test named "ROW [VERSION] ..."
for each of its versions, and "ROW daemon [VERSION] ..." where the daemon is shown against the row too. Fails on a missing,
failed or skipped test, on an exemption or a missing daemon that is not on the lists below, on a row that lacks, and on a
test whose row the table does not know. Tests itself first."""
import re
import sys

import junit_join

VERSIONS = ["2.10.27", "2.15.1"]
ROWS = [f"A{n:02}" for n in range(1, 41)] + sorted([f"F{n:02}" for n in range(1, 39)] + ["F07c", "F09b", "F23b"])
MAY_BE_EXEMPT = {"A12", "F19", "F20", "F21", "F22", "F23", "F23b", "F24", "F26", "F31"}
# Rows about something that came after 2.10 (protocol.md 3.11): the only ones that may name one version alone.
NEW_ALONE = {"A07", "A09", "A35", "A40", "F12", "F32"}
# Rows of 5A that the daemon cannot show: the service answers wrongly, late, or not at all (A01, A24 to A27, A38, A39), the
# server never asks or dies (A12, A37), the answer lives shorter than the policy permits, for a client without a
# credential (A09).
SCRIPTED_ALONE = {"A01", "A09", "A12", "A24", "A25", "A26", "A27", "A37", "A38", "A39"}


def services_of(row):
    return ["scripted"] if row in SCRIPTED_ALONE or not row.startswith("A") else ["scripted", "daemon"]


def read_table(lines):
    table = {}
    problems = []
    for number, cells in junit_join.table_rows(lines):
        if len(cells) != 5:
            problems.append(f"conformance.tsv:{number}: {len(cells)} cells, not 5")
            continue
        row, _, versions, services, test = cells
        if row in table:
            problems.append(f"conformance.tsv:{number}: {row} stands twice")
        table[row] = (versions.split(), services.split(), test)
    return table, problems


def check(table, results):
    states = {}
    for kind, name, state in results:
        if kind == "node":
            # Of two with one name the worse counts.
            states[name] = max(states.get(name, "passed"), state, key=["passed", "skipped", "failed"].index)
    problems = [f"{row}: missing from conformance.tsv" for row in ROWS if row not in table]
    problems += [f"{row}: not a row of protocol.md 5A or 5F" for row in table if row not in ROWS]
    wanted = set()
    for row, (versions, services, test) in table.items():
        if test.startswith("exempt:"):
            if row not in MAY_BE_EXEMPT:
                problems.append(f"{row}: may not be exempt")
            if not test.removeprefix("exempt:").strip():
                problems.append(f"{row}: exempt without a reason")
            continue
        if versions != VERSIONS and not (row in NEW_ALONE and versions == VERSIONS[1:]):
            problems.append(f"{row}: must name the versions {' '.join(VERSIONS)}")
        if services != services_of(row):
            problems.append(f"{row}: must name the services {' '.join(services_of(row))}")
        for service in services:
            for version in versions:
                prefix = f"{test}{'' if service == 'scripted' else ' ' + service} [{version}] "
                wanted.add(prefix)
                found = [name for name in states if name.startswith(prefix)]
                if not found:
                    problems.append(f"{row}: no test whose name begins with \"{prefix.strip()}\" ran")
                problems += [f"{row}: {states[name]}: {name}" for name in found if states[name] != "passed"]
    for name in states:
        if re.match(r"[AF]\d\d[a-z]?( [a-z]+)? \[", name) and not any(name.startswith(prefix) for prefix in wanted):
            problems.append(f"test without a row: {name}")
    return problems


def self_test():
    good = {row: (VERSIONS, services_of(row), row) for row in ROWS}
    exempt = (["-"], ["-"], "exempt: reason")
    names = {f"{row}{'' if service == 'scripted' else ' daemon'} [{version}] x" for row in ROWS for service in services_of(row) for version in VERSIONS}

    def run(changes=None, without=()):
        states = dict.fromkeys(names, "passed") | (changes or {})
        return [("node", name, state) for name, state in states.items() if not name.startswith(tuple(without))]

    return junit_join.self_test("check_conformance.py", check, [
        (good, run(), None),
        ({**good, "F19": exempt}, run(without=["F19 "]), None),
        ({**good, "F01": exempt}, run(), "F01: may not be exempt"),
        ({**good, "F19": (["-"], ["-"], "exempt:")}, run(), "without a reason"),
        ({**good, "A07": (["2.15.1"], ["scripted", "daemon"], "A07")}, run(without=["A07 [2.10", "A07 daemon [2.10"]), None),
        ({**good, "A06": (["2.15.1"], ["scripted", "daemon"], "A06")}, run(), "A06: must name the versions"),
        ({**good, "A06": (VERSIONS, ["scripted"], "A06")}, run(without=["A06 daemon"]), "A06: must name the services"),
        ({row: cells for row, cells in good.items() if row != "A22"}, run(), "A22: missing"),
        (good, run(without=["A31 [2.10.27]"]), "A31: no test"),
        (good, run(without=["A31 daemon [2.10.27]"]), 'A31: no test whose name begins with "A31 daemon [2.10.27]"'),
        (good, run({"A31 [2.10.27] x": "skipped"}), "A31: skipped"),
        (good, run({"A31 daemon [2.15.1] x": "failed"}), "A31: failed"),
        (good, run({"F07c [2.15.1] x": "failed"}), "F07c: failed"),
        (good, [*run(), ("node", "F07c [2.15.1] x", "failed")], "F07c: failed"),
        (good, run({"F99 [2.15.1] x": "passed"}), "without a row"),
        (good, run({"A24 daemon [2.15.1] x": "passed"}), "without a row"),
        (good, [result for result in run() if result[1] != "A02 [2.15.1] x"] + [("gtest", "A02 [2.15.1] x", "passed")], "A02: no test"),
    ])


def main():
    cases = self_test()
    table, problems = junit_join.check_directories("check_conformance.py", "tests/conformance.tsv", read_table, check, sys.argv[1:], "the node stage")
    exempt = [row for row, (_, _, test) in table.items() if test.startswith("exempt:")]
    daemon = sum("daemon" in services for _, services, _ in table.values())
    print(f"check_conformance: {cases} self-test cases, {len(table)} rows, {daemon} of them also with the daemon, {len(exempt)} exempt ({', '.join(exempt)}), {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Joins tests/review4.tsv to the JUnit files of a run: each listed point of the security review must have rows, and
every test that a row names must have passed. Fails on a missing, failed or skipped test, on a point without a row, and
on a test that carries a point in its name ("review 4.N", "review_4_N_") but stands in no row. Tests itself first."""
import re
import sys

import junit_join

POINTS = ["1", "2", "3", "4", "5", "8", "11", "12", "17", "21"]


def read_table(lines):
    """[(point, [(kind, name)])], problems"""
    rows = []
    problems = []
    for number, cells in junit_join.table_rows(lines):
        if len(cells) != 3 or not cells[1].strip():
            problems.append(f"review4.tsv:{number}: not point, text and tests, separated by tabs")
            continue
        tests = []
        for entry in cells[2].split(" ; "):
            kind, _, name = entry.strip().partition(" ")
            if kind not in ("gtest", "node") or not name:
                problems.append(f"review4.tsv:{number}: \"{entry}\" is neither gtest SUITE.NAME nor node NAME")
            else:
                tests.append((kind, name))
        rows.append((cells[0], tests))
    return rows, problems


def fits(wanted, result):
    kind, name = wanted
    return kind == result[0] and (result[1] == name if kind == "gtest" else result[1].startswith(name))


def check(rows, results):
    problems = [f"4.{point}: no row in review4.tsv" for point in POINTS if point not in {row[0] for row in rows}]
    problems += [f"4.{point}: not a point that this table is about" for point, _ in rows if point not in POINTS]
    for point, tests in rows:
        if not tests:
            problems.append(f"4.{point}: a row without tests")
        for wanted in tests:
            found = [result for result in results if fits(wanted, result)]
            if not found:
                problems.append(f"4.{point}: did not run: {' '.join(wanted)}")
            problems += [f"4.{point}: {state}: {kind} {name}" for kind, name, state in found if state != "passed"]
    for kind, name, state in results:
        point = re.match(r"review 4\.(\d+): ", name) if kind == "node" else re.search(r"\.review_4_(\d+)_", name)
        if point and not any(row[0] == point[1] and any(fits(wanted, (kind, name, state)) for wanted in row[1]) for row in rows):
            problems.append(f"4.{point[1]}: in no row: {kind} {name}")
    return problems


def self_test():
    rows = [(point, [("node", f"review 4.{point}: x")]) for point in POINTS]
    passed = [("node", f"review 4.{point}: x and more", "passed") for point in POINTS]
    with_gtest = [("1", [("gtest", "a.b")]), *rows]
    return junit_join.self_test("check_review.py", check, [
        (rows, passed, None),
        (with_gtest, [*passed, ("gtest", "a.b", "passed")], None),
        (with_gtest, passed, "4.1: did not run: gtest a.b"),
        (with_gtest, [*passed, ("gtest", "a.bc", "passed")], "4.1: did not run: gtest a.b"),
        (with_gtest, [*passed, ("gtest", "a.b", "passed"), ("gtest", "a.b", "failed")], "4.1: failed: gtest a.b"),
        (rows[1:], passed, "4.1: no row"),
        ([*rows, ("99", [("node", "x")])], [*passed, ("node", "x", "passed")], "4.99: not a point"),
        ([*rows, ("1", [])], passed, "4.1: a row without tests"),
        (rows, passed[1:], "4.1: did not run"),
        (rows, [*passed[1:], ("node", "review 4.1: x", "skipped")], "4.1: skipped"),
        (rows, [*passed, ("node", "review 4.1: other", "passed")], "4.1: in no row"),
        (rows, [*passed, ("node", "review 4.2: y", "passed")], "4.2: in no row"),
        (rows, [*passed, ("gtest", "suite.review_4_5_x", "passed")], "4.5: in no row"),
        (rows, [*passed[1:], ("node", "review 4.1: x", "failed")], "4.1: failed"),
    ])


def main():
    cases = self_test()
    rows, problems = junit_join.check_directories("check_review.py", "tests/review4.tsv", read_table, check, sys.argv[1:], "the unit and node stages")
    named = sum(len(tests) for _, tests in rows)
    print(f"check_review: {cases} self-test cases, {len(POINTS)} points, {len(rows)} rows, {named} named tests, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

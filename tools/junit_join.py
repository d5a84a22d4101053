# SPDX-License-Identifier: Apache-2.0
"""What the checkers of tests/*.tsv share: reading a table, reading the JUnit files of a run, and the self-test that goes
before every check."""
import glob
import os
import sys
import tempfile
import xml.etree.ElementTree as xml_tree

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def table_rows(lines):
    """(line number, cells) of every line that is neither blank nor a comment."""
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            yield number, line.rstrip("\n").split("\t")


def gtest_name(suite, name):
    """SUITE.NAME without what an instantiation puts around it."""
    return suite.split("/")[-1] + "." + name.split("/")[0]


def case_state(case):
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    if case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
        return "skipped"
    return "passed"


def read_results(paths):
    """[(kind, name, state)]: kind is gtest or node; state is passed, failed or skipped."""
    results = []
    for path in paths:
        try:
            tree = xml_tree.parse(path)
        except xml_tree.ParseError as error:
            sys.exit(f"{path} is no JUnit file ({error}): its suite runs still, or died before it wrote its results")
        for case in tree.iter("testcase"):
            # node writes "test" as the class of every case; gtest writes the suite, and whether the case was run.
            if case.get("status") is not None:
                results.append(("gtest", gtest_name(case.get("classname", ""), case.get("name", "")), case_state(case)))
            else:
                results.append(("node", case.get("name", ""), case_state(case)))
    return results


def self_test(checker, check, cases):
    """cases: (table, results, text that one of the problems must hold, or None where there may be none)."""
    for table, results, expected in cases:
        found = check(table, results)
        if (expected is None) != (not found) or (expected and not any(expected in problem for problem in found)):
            sys.exit(f"{checker}: self-test failed: expected {expected}, got {found}")
    return len(cases) + files_self_test(checker)


def files_self_test(checker):
    """Both runners' ways to write a case that passed, failed or did not run."""
    cases = [
        ('<testcase name="n" classname="test"/>', ("node", "n", "passed")),
        ('<testcase name="n" classname="test"><skipped/></testcase>', ("node", "n", "skipped")),
        ('<testcase name="n" classname="test"><failure/></testcase>', ("node", "n", "failed")),
        ('<testcase name="n" classname="test"><skipped/><error/></testcase>', ("node", "n", "failed")),
        ('<testcase name="n" classname="s" status="run"/>', ("gtest", "s.n", "passed")),
        ('<testcase name="n/2_10" classname="all/s" status="run"><failure/></testcase>', ("gtest", "s.n", "failed")),
        ('<testcase name="n" classname="s" status="notrun"/>', ("gtest", "s.n", "skipped")),
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "junit.xml")
        for text, expected in cases:
            with open(path, "w", encoding="utf-8") as file:
                file.write(f"<testsuites><testsuite>{text}</testsuite></testsuites>")
            found = read_results([path])
            if found != [expected]:
                sys.exit(f"{checker}: self-test failed: {text} was read as {found}")
    return len(cases)


def check_directories(checker, table, read_table, check, directories, stages):
    """The table's contents and its problems after the join with the JUnit files of these directories."""
    paths = [path for directory in directories for path in glob.glob(os.path.join(directory, "*.xml"))]
    if not directories:
        sys.exit(f"usage: {checker} JUNIT-DIRECTORY...")
    if not paths:
        sys.exit(f"no JUnit file in {' '.join(directories)}: run {stages} first")
    with open(os.path.join(ROOT, table), encoding="utf-8") as file:
        content, problems = read_table(file)
    problems += check(content, read_results(paths))
    for problem in problems:
        print(problem)
    return content, problems

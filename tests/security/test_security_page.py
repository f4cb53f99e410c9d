"""SECURITY.md says what is so: each threat names tests, and the tests exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "SECURITY.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and "`tests/" in line
]
TEST_ID = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def threats():
    """Return every row of the tables whose last column is of tests."""
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    tables = page.split("| Threat | Defence | Test |\n|---|---|---|\n")[1:]
    return [
        row
        for table in tables
        for row in table.partition("\n\n")[0].splitlines()
        if row.startswith("|")
    ]


def found_in(path):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_there_are_threats():
    assert len(threats()) > 15
    assert len(threats()) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_every_threat_has_a_defence_and_tests_that_exist(row):
    _, defence, tests = row
    assert len(defence) > 10
    named = TEST_ID.findall(tests)
    assert named
    for path, test in named:
        assert test in found_in(path), f"{path} has no {test}"

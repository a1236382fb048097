"""Each line of SECURITY.md is held by tests that are there."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from write_docs import ROOT

TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
#: Line and tests of each row, but for the heads of tables.
ROWS = [
    (line.strip(), tests)
    for line, tests in re.findall(r"^\| (.+?) \| (.+) \|$", TEXT, flags=re.MULTILINE)
    if line.strip() not in ("Line", "---")
]
ROLES = (
    "writes a pipeline file",
    "writes data",
    "writes plugins",
    "writes to the artifact store",
    "writes to MLflow",
    "reads: Airflow's Viewer",
    "approves, and whoever is at the command line",
    "platform's owner",
)


@cache
def named_in(file: str) -> frozenset[str]:
    """Return the names of the tests of a file; none when there is no such file."""
    path = ROOT / "tests" / file
    if not path.is_file():
        return frozenset()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize(("line", "tests"), ROWS, ids=[line[:60] for line, _ in ROWS])
def test_each_line_is_held_by_tests_that_are_there(line: str, tests: str) -> None:
    named = re.findall(r"`([^`]+)`", tests)
    assert named, f"no test holds: {line}"
    for name in named:
        file, _, test = name.partition("::")
        found = named_in(file)
        assert found, f"{file} is no file of tests"
        assert not test or test in found, f"{file} has no test {test}"


@pytest.mark.parametrize("role", ROLES)
def test_everyone_has_a_table(role: str) -> None:
    [section] = [part for part in re.split(r"^##+ ", TEXT, flags=re.MULTILINE) if role in part.partition("\n")[0]]
    assert "| Line | Tests |" in section


def test_a_test_that_is_not_there_would_be_seen() -> None:
    assert "test_no_such_thing" not in named_in("docs/test_security.py")
    assert named_in("docs/no_such_file.py") == frozenset()
    assert len(ROWS) > 25

"""Every row of the options table has a test of what it does, in one of the files that carry such marks.

A test names its rows by `@pytest.mark.covers("batch")`, and fails when the option is parsed but has no effect.
"""

from __future__ import annotations

import importlib
from collections import defaultdict
from pathlib import Path

from keyferry.options import OPTIONS


def test_every_row_of_the_table_has_a_test_of_its_effect() -> None:
    covered = covering_tests()
    assert sorted(row.name for row in OPTIONS if row.name not in covered) == []


def test_tests_cover_only_rows_that_exist() -> None:
    assert sorted(covering_tests().keys() - {row.name for row in OPTIONS}) == []


def covering_tests() -> dict[str, list[str]]:
    """The names of the tests that cover each row, by the row's name."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        if "mark.covers(" in path.read_text():
            module = importlib.import_module(f"tests.{path.stem}")
            for name, test in vars(module).items():
                marks = getattr(test, "pytestmark", []) if name.startswith("test_") else []
                for row in (row for mark in marks if mark.name == "covers" for row in mark.args):
                    found[row].append(name)
    return found

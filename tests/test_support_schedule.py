"""What a run leaves out is there to be left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.schedule import EVERY_VERSION, IN_PART, SOAK_ONLY

TESTS = Path(__file__).parent
NAMED = [(file, f"test_{name}") for file, names in SOAK_ONLY.items() for name in names]
NAMED += [tuple(name.split("::")) for name in IN_PART if "::" in name]


@pytest.mark.parametrize("file", sorted({*EVERY_VERSION, *(name.split("::")[0] for name in IN_PART), *SOAK_ONLY}))
def test_what_is_said_of_a_file_is_said_of_one_that_exists(file: str) -> None:
    source = (TESTS / f"{file}.py").read_text()
    assert [test for named, test in NAMED if named == file and f"def {test}(" not in source] == []

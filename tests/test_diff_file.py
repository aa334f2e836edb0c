"""The file of --diff-file: it has the differences of the last verification, where a run makes several."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from keyferry.differences import DiffFile
from keyferry.workers.errors import RunError
from keyferry.workers.finding import ONLY_SOURCE, Finding, Sight


def finding(key: bytes) -> Finding:
    return Finding(key, 0, 0, 0, ONLY_SOURCE, Sight("string", 1))


def keys_in(path: Path) -> list[str]:
    return [json.loads(line)["key"] for line in path.read_text().splitlines()]


def test_each_verification_writes_it_anew(tmp_path: Path) -> None:
    path = tmp_path / "differences"
    file = DiffFile(str(path))
    file.write([finding(b"first"), finding(b"second")])
    assert keys_in(path) == ["first", "second"]
    file.write([finding(b"third")])
    assert keys_in(path) == ["third"]
    file.write([])
    assert keys_in(path) == []
    file.close()


def test_what_is_no_file_is_written_on_and_a_full_disk_is_told() -> None:
    file = DiffFile("/dev/full")
    for _ in range(2):
        with pytest.raises(RunError, match="No space left"):
            file.write([finding(b"key")])
    file.close()

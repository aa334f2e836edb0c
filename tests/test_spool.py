"""Findings of a comparison on disk: all come back; a full disk is told in words, whenever it is noticed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from keyferry.spool import Spool
from keyferry.workers.finding import VALUE, Finding

#: Keeps so many findings where files may have 5,000 bytes, then reads them. What is buffered meets the limit then.
CODE = """
import resource, sys
from keyferry import spool
from keyferry.workers.errors import RunError
from keyferry.workers.finding import ONLY_SOURCE, Finding
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
spool.MEMORY_BYTES = 10
one = spool.Spool()
try:
    for number in range(int(sys.argv[1])):
        one.add(Finding(b"key:%d" % number, 0, 0, 0, ONLY_SOURCE))
    print(sum(1 for _ in one.findings()))
except RunError as error:
    print(error, "|", error.hint)
one.close()
"""


@pytest.mark.parametrize(
    ("findings", "says"),
    [(50, "50\n"), (150, "cannot write a temporary file: File too large | see TMPDIR\n"), (2_000, "cannot write ")],
)
def test_a_full_disk_is_told_when_findings_are_kept_and_when_they_are_read(findings: int, says: str) -> None:
    ran = subprocess.run([sys.executable, "-c", CODE, str(findings)], capture_output=True, text=True, timeout=60)
    assert ran.stdout.startswith(says) and not ran.stderr, ran.stderr


def test_the_longest_names_come_back_as_well() -> None:
    """A server takes one of half a gigabyte."""
    spool = Spool()
    name = bytes(101 << 20)
    spool.add(Finding(name, 0, 0, 0, VALUE))
    assert [found.key == name for found in spool.findings()] == [True]
    spool.close()

"""What a process of ours does with a bug of its own: the coordinator is told where, and everything is given back."""

from __future__ import annotations

import socket

import pytest

from keyferry.workers import process
from keyferry.workers.errors import InternalError
from keyferry.workers.pipe import Pipe


class Broken:
    """A job that fails."""

    def __init__(self, first: bytes) -> None:
        self.first = first
        self.bugs: list[InternalError] = []
        self.closed = False

    def run(self) -> None:
        raise ZeroDivisionError("a slip")

    def report_bug(self, bug: InternalError) -> None:
        assert not self.closed
        self.bugs.append(bug)

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def signals_stay_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process.signal, "signal", lambda number, handler: None)


def test_a_bug_is_told_with_its_place_before_all_is_closed() -> None:
    ours, theirs = map(Pipe, socket.socketpair())
    ours.send(b"setup")
    begun: list[Broken] = []
    process.serve(theirs, lambda first: begun.append(Broken(first)) or begun[0])  # type: ignore[func-returns-value]
    (job,) = begun
    (bug,) = job.bugs
    assert (job.first, job.closed, bug.exit_code) == (b"setup", True, 70)
    assert bug.message.startswith("ZeroDivisionError: a slip (test_process.py:")
    ours.close()
    theirs.close()


def test_a_coordinator_that_is_gone_before_it_has_said_anything_ends_it() -> None:
    ours, theirs = map(Pipe, socket.socketpair())
    ours.close()
    begun: list[bytes] = []
    process.serve(theirs, begun.append)  # type: ignore[arg-type]
    assert not begun
    theirs.close()

"""What a process of ours does at its beginning, and with a bug: the coordinator is told, everything is given back."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from keyferry import forkserver
from keyferry.workers import process
from keyferry.workers.errors import InternalError
from keyferry.workers.pipe import Pipe
from tests.conftest import ServerFactory
from tests.support.dataset import fill_large
from tests.support.filling import write_strings
from tests.support.live import wait_until
from tests.support.processes import VERIFIED, start_keyferry, worker_pids


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


def test_workers_leave_the_processor_to_servers_and_keep_their_memory(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    fill_large(source, 5_000)
    words = ("-p", str(source.port), "replicate", "-p", str(target.port), "--rate", "1000")
    with start_keyferry(*words, env={"MALLOC_MMAP_THRESHOLD_": "300000"}) as run:
        wait_until(lambda: target.call("DBSIZE") > 100)
        workers = worker_pids(run.pid)
        assert workers
        assert {os.sched_getscheduler(pid) for pid in workers} == {os.SCHED_BATCH}
        assert os.sched_getscheduler(run.pid) == os.SCHED_OTHER
        kept, chosen = b"MALLOC_TRIM_THRESHOLD_=8388608", b"MALLOC_MMAP_THRESHOLD_=300000"
        for pid in workers:  # forked of the fork server, whose environment it is
            assert {kept, chosen} <= set(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))


def test_a_program_that_copies_has_the_environment_that_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "300000")
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    before = dict(os.environ)
    assert before.keys() & forkserver.KEEP_MEMORY.keys() == {"MALLOC_MMAP_THRESHOLD_"}
    forkserver.begin()
    assert dict(os.environ) == before


def test_a_long_path_of_the_folder_for_temporary_files_ends_no_copy(server: ServerFactory, tmp_path: Path) -> None:
    """The fork server's socket is made there, and the path of a socket has at most 107 bytes."""
    source, target = server("7.0"), server("7.0")
    write_strings(source, 100)
    folder = tmp_path / ("d" * 100)
    folder.mkdir()
    with start_keyferry(
        "replicate", source.uri, target.uri, env=VERIFIED | {"TMPDIR": str(folder)}, cwd=str(tmp_path)
    ) as run:
        ran = run.wait()
    assert (ran.code, target.call("DBSIZE")) == (0, 100), ran.err
    assert not ran.left
    assert list(folder.iterdir()) == []

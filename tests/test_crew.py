"""Who counts as silent: a worker that says nothing, not one that nobody has listened to, nor one that has left."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from keyferry.aside import AsideFile
from keyferry.contacts import Contacts
from keyferry.coordinator import Coordinator
from keyferry.crew import Crew
from keyferry.executors import Seat
from keyferry.workers.endpoint import Endpoint
from keyferry.workers.errors import RefusedError
from keyferry.workers.news import Report
from keyferry.workers.pipe import Pipe
from keyferry.workers.setup import Node, Setup
from keyferry.workers.task import COPY_RANGE, Task

LONG_S = 60.0


class Talker:
    """An executor of one worker, whose end of the pipe is `theirs`."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.ours, self.theirs = Pipe(ours, 5), Pipe(theirs, 5)

    def launch(self, setup: Setup) -> Seat:
        return Seat(self.ours, None)

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def talker() -> Iterator[Talker]:
    with closing(Talker()) as one:
        yield one


def crew_of(talker: Talker) -> Crew:
    crew = Crew(talker)
    crew.launch(Setup([], []))
    return crew


def pass_time(crew: Crew, seconds: float) -> None:
    """Whatever has happened was so much longer ago."""
    crew._listened_at -= seconds
    for worker in crew.workers:
        worker.heard_at -= seconds


def hear(crew: Crew) -> int:
    """How many reports come, as the coordinator takes them in."""
    count = 0
    for worker, report in crew.hear(0.0):
        worker.heard_at = time.monotonic()
        count += report is not None
    return count


def test_a_worker_that_spoke_while_nobody_listened_is_not_silent(talker: Talker) -> None:
    crew = crew_of(talker)
    assert hear(crew) == 0
    talker.theirs.send(Report().pack())
    pass_time(crew, 2 * LONG_S)  # the coordinator waits for a server, say
    assert crew.silent(LONG_S) == []
    assert hear(crew) == 1
    assert crew.silent(LONG_S) == []


def test_a_worker_that_says_nothing_is_silent_once_it_was_listened_to(talker: Talker) -> None:
    crew = crew_of(talker)
    pass_time(crew, 2 * LONG_S)
    assert hear(crew) == 0
    assert crew.silent(LONG_S) == crew.workers


class LeavesBeforeItsOrders(Talker):
    """Its worker has said why it cannot go on, and is gone, when it is given something to do."""

    class Process:
        """One that has ended."""

        exitcode = 0

        def join(self, timeout_s: float) -> None:
            """Nothing to wait for."""

    def launch(self, setup: Setup) -> Seat:
        assert self.theirs.fileno() >= 0, "another one takes the place of a worker that has told of a failure"
        self.theirs.send(Report(free=1).pack())
        talker = self

        class Left(Seat):
            def send(self, order: Any) -> bool:
                if talker.theirs.fileno() >= 0:
                    talker.theirs.send(Report(failure=RefusedError("key a exists").pack()).pack())
                    talker.theirs.close()
                return super().send(order)

        return Left(self.ours, self.Process())


def test_what_a_worker_said_last_is_heard_though_it_takes_no_more_orders() -> None:
    said: list[str] = []
    with closing(LeavesBeforeItsOrders()) as talker:
        setup, task = Setup([], [Node(Endpoint())]), Task(0, COPY_RANGE)
        contacts = Contacts(said.append, said.append, print)
        with pytest.raises(RefusedError, match="key a exists"):
            Coordinator(setup, [task], 1, talker, contacts, aside=AsideFile("")).run()
    assert said == []

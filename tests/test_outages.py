"""Lost connections, as the log tells of them: each once, however short it was, and its end."""

from __future__ import annotations

from keyferry.aside import AsideFile
from keyferry.contacts import Contacts
from keyferry.coordinator import Coordinator
from keyferry.workers.endpoint import Endpoint
from keyferry.workers.errors import RunError
from keyferry.workers.news import Report
from keyferry.workers.setup import Node, Setup
from keyferry.workers.task import COPY_RANGE, Task
from tests.support.seats import NotedSeats

LOST = ["target", "127.0.0.1:1", "connection lost: reset"]


def test_a_connection_that_is_back_before_anybody_has_looked_is_told_as_lost_and_found() -> None:
    """Where a coordinator has to wait for the machine, both reports of it wait for the coordinator."""
    told: list[str] = []
    run = Coordinator(
        Setup([], [Node(Endpoint())]),
        [Task(0, COPY_RANGE)],
        1,
        NotedSeats(),
        Contacts(told.append, told.append, print),
        aside=AsideFile(""),
    )
    run.crew.launch(run.setup)
    (worker,) = run.crew.workers
    for down in ([LOST], [LOST], []):
        run._take_in(worker, Report(down=down))
    run.outages.note(worker.down)
    lost, found = told
    assert lost.startswith("target 127.0.0.1:1: connection lost: reset; trying again for up to ")
    assert found.startswith("target 127.0.0.1:1: connected again after ")


def test_a_server_that_has_ended_the_run_is_not_said_to_be_connected_again() -> None:
    """The worker that has told of it is gone, and with it what it had lost."""
    told: list[str] = []
    run = Coordinator(
        Setup([], [Node(Endpoint())]), [], 0, NotedSeats(), Contacts(told.append, told.append, print),
        aside=AsideFile(""),
    )  # fmt: skip
    run.crew.launch(run.setup)
    (worker,) = run.crew.workers
    gone = RunError("connection lost: Connection refused, for 20 s", side="target", address="127.0.0.1:1")
    run._take_in(worker, Report(down=[LOST], failure=gone.pack()))
    run.crew.workers.remove(worker)
    run._turn()
    assert [text for text in told if "connected again" in text] == []

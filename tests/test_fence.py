"""The fence: tasks of dead workers wait until the connections of those are killed at the target."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from keyferry.aside import AsideFile
from keyferry.contacts import Contacts
from keyferry.coordinator import Coordinator
from keyferry.fence import Fence
from keyferry.ledger import Entry, Ledger
from keyferry.partitioners.control import Control
from keyferry.workers.endpoint import Endpoint
from keyferry.workers.errors import ChangedError, RunError
from keyferry.workers.news import Report
from keyferry.workers.setup import Node, Setup
from keyferry.workers.task import COPY_KEYS, COPY_RANGE, LIVE_KEYS, Task
from tests.conftest import ServerFactory
from tests.support.busy import busy_soon, is_busy
from tests.support.live import wait_until
from tests.support.seats import NotedSeat
from tests.support.servers import Server, free_port


class Mortal(NotedSeat):
    """A seat whose worker can be ended."""

    def kill(self) -> None:
        self.close()

    def close(self) -> None:
        pass


class Mortals:
    """An executor of such."""

    def launch(self, setup: Setup) -> Mortal:
        return Mortal()


def entries(count: int) -> list[Entry]:
    return [Entry(Task(number, COPY_RANGE), 0) for number in range(count)]


@contextmanager
def fence_before(port: int, run_id: str = "", retry_for_s: float = 60) -> Iterator[tuple[Fence, list[str]]]:
    """A fence before one target, and what it warns of."""
    endpoint, warnings = Endpoint(port=port), []
    control = Control(endpoint, "target")
    try:
        yield Fence([control], [Node(endpoint, run_id)], retry_for_s, warnings.append), warnings
    finally:
        control.close()


@pytest.fixture
def target(server: ServerFactory) -> Server:
    return server("7.0")


@pytest.fixture
def lost(target: Server) -> Iterator[int]:
    """The CLIENT ID of a connection that was given up, and is still open."""
    with target.connect() as connection:
        yield int(connection.call("CLIENT", "ID"))


def is_open(target: Server, client_id: int) -> bool:
    return b"id=%d " % client_id in target.call("CLIENT", "LIST")


def test_tasks_are_free_once_the_connections_are_killed(target: Server, lost: int) -> None:
    with fence_before(target.port) as (fence, warnings):
        ours = entries(2)
        fence.hold([(0, lost)], ours)
        assert (fence.held, fence.holds_tasks) == (ours, True)
        assert is_open(target, lost)
        assert fence.released() == ours
        assert not is_open(target, lost)
        assert (fence.held, fence.holds_tasks, warnings) == ([], False, [])


def test_tasks_are_held_while_the_target_is_not_reached_and_queued_again_where_the_run_ends() -> None:
    with fence_before(free_port()) as (fence, _):
        first, second, other = entries(3)
        fence.hold([(0, 5)], [first])
        fence.hold([(0, 6)], [second])
        assert fence.released() == [] and fence.held == [first, second]
        ledger = Ledger([])
        ledger.waiting.append(other)
        ledger.close(fence.held)
        assert list(ledger.waiting) == [other, first, second]


def test_a_target_that_is_not_reached_for_too_long_ends_the_run() -> None:
    with fence_before(free_port(), retry_for_s=-1) as (fence, _):
        fence.hold([(0, 5)], entries(1))
        with pytest.raises(RunError, match="not reached"):
            fence.released()


def test_tasks_are_held_while_the_target_is_busy_with_a_script(target: Server, lost: int) -> None:
    """It kills nothing then: what was sent on the connection would be executed when the script has ended."""
    busy_soon(target)
    with fence_before(target.port, target.run_id) as (fence, warnings), target.connect() as script:
        script.send([("EVAL", "while true do end", 0)])
        wait_until(lambda: is_busy(target))
        try:
            ours = entries(1)
            fence.hold([(0, lost)], ours)
            assert fence.released() == [] and fence.held == ours
        finally:
            target.call("SCRIPT", "KILL")
        wait_until(lambda: fence.released() == ours)
        assert not is_open(target, lost)
        assert warnings == []


def test_connections_of_another_process_with_the_same_numbers_are_left_alone(target: Server, lost: int) -> None:
    with fence_before(target.port, run_id="of the process that had its place") as (fence, warnings):
        fence.hold([(0, lost)], entries(1))
        assert len(fence.released()) == 1
        assert is_open(target, lost) and warnings == []


def test_where_nothing_may_be_killed_it_is_said_once_and_the_tasks_go_on(server: ServerFactory) -> None:
    """Old values may be written late then: those who have to know are told each time."""
    target = server("7.0", acl=["user default on nopass ~* &* +@all -client|kill"])
    with fence_before(target.port) as (fence, warnings):
        late: list[bool] = []
        fence.late_writes = lambda: late.append(True)
        for _ in range(2):
            fence.hold([(0, 5)], entries(1))
            assert len(fence.released()) == 1
        assert len(warnings) == 1 and "could not be killed" in warnings[0] and len(late) == 2


def test_at_the_end_one_node_that_is_gone_does_not_keep_the_others_connections_alive(target: Server, lost: int) -> None:
    """A master of the target has died, another pass follows: nothing of this one may arrive at the others."""
    ends = [Endpoint(port=free_port()), Endpoint(port=target.port)]
    controls = [Control(end, "target") for end in ends]
    warnings: list[str] = []
    Fence(controls, [Node(end) for end in ends], 60, warnings.append).close([(0, 5), (1, lost)])
    for control in controls:
        control.close()
    assert not is_open(target, lost)
    assert len(warnings) == 1 and "not reached" in warnings[0]


def test_a_worker_that_dies_while_a_pass_ends_early_leaves_nothing_that_may_arrive(target: Server, lost: int) -> None:
    endpoint = Endpoint(port=target.port)
    control = Control(endpoint, "target")
    run = Coordinator(
        Setup([], [Node(endpoint)]), [], 0, Mortals(), Contacts(print, print, print),
        controls=([], [control]), aside=AsideFile(""),
    )  # fmt: skip
    run.crew.launch(run.setup)
    (worker,) = run.crew.workers
    run._take_in(worker, Report(clients=[["target", 0, lost]]))
    run.fail(ChangedError("it was restarted", side="source"))
    run.losses.note(worker, "died")
    with pytest.raises(ChangedError):
        run.run()
    control.close()
    assert not is_open(target, lost)


def test_what_is_put_off_until_all_ranges_are_done_waits_for_those_of_dead_workers_too(target: Server) -> None:
    """A key of both is to be written, and counted, by the range first."""
    run = Coordinator(
        Setup([], [Node(Endpoint(port=target.port))]), [], 0, Mortals(), Contacts(print, print, print),
        aside=AsideFile(""),
    )  # fmt: skip
    run.ledger.put_off.append(Task(0, COPY_KEYS, keys=[b"key"]))
    run.fence.hold([], entries(1))
    run.dispatcher.hand_out()
    assert run.ledger.put_off and not run.ledger.waiting
    run.losses.give_back()
    run.ledger.suspects.clear()
    run.dispatcher.hand_out()
    assert run.ledger.waiting and not run.ledger.put_off


def test_a_pass_that_begins_again_gets_nothing_back_but_live_names_are_not_of_it() -> None:
    again, other = Task(1, COPY_KEYS, db=3), Task(2, COPY_KEYS, db=4)
    live = Entry(Task(0, LIVE_KEYS, db=3), 0, lost="names")
    fence = Fence([], [], 60, print)
    fence.hold([], [Entry(again, 0), Entry(other, 0), live])
    fence.forget(again.scope, again.work)
    assert fence.holds_tasks
    assert [entry.task for entry in fence.released()] == [other, live.task]

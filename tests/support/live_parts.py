"""The parts of a live copy, without processes and servers."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from keyferry.coordinator import Coordinator
from keyferry.feeding import Feeding
from keyferry.field import Field
from keyferry.ledger import Ledger
from keyferry.live import Live
from keyferry.removals import Removals
from keyferry.trespass import Trespass
from keyferry.workers.feed_task import FeedReport, FeedSetup
from keyferry.workers.setup import Setup
from keyferry.workers.task import COPY_RANGE, LOOK_UP, Task


@dataclass
class Run:
    """What a live copy sees of the run around it."""

    crew: Any
    fence: Any = field(default_factory=lambda: SimpleNamespace(holds_tasks=False))
    ledger: Ledger = field(default_factory=lambda: Ledger([]))
    setup: Setup = field(default_factory=lambda: Setup([], []))
    controls: Any = None
    tasks_done = Coordinator.tasks_done


def live_copy() -> tuple[Live, Any]:
    """A live copy whose feed listens, and the run around it: one worker, and nothing to do."""
    setup = FeedSetup(sources=[], dbs=[0])
    feeding = Feeding(None, setup, lambda why: None, told=FeedReport(confirmed=True), confirmed_once=True)
    tasks = lambda: [Task(0, COPY_RANGE)]  # noqa: E731
    lookups = lambda: [Task(0, COPY_RANGE, work=LOOK_UP)]  # noqa: E731
    where = Field({0: 0}, [(0, 0)], None, tasks, lookups, lambda keys: keys, streams=True)
    said: list[str] = []
    live = Live(
        feeding, where, Removals({0: 0}, {0}, False), None, said.append, said.append, Trespass([], [], seen=True)
    )
    orders: list[Any] = []
    return live, Run(SimpleNamespace(workers=["worker"], tell=orders.append, orders=orders, sent=0, told_at=0.0))


def finish_tasks(run: Any) -> int:
    """The workers do all that is queued; how many tasks that were."""
    count = len(run.ledger.waiting)
    run.ledger.waiting.clear()
    return count

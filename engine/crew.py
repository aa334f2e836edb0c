"""The workers of a run: started, heard, told, ended. What they are told and why is the coordinator's affair."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .executors import Seat, wait_for_reports
from .workers.news import Report
from .workers.pace import NOTHING, Share
from .workers.setup import Order, Setup

Client = tuple[int, int]  # the number of a target node, and the CLIENT ID of a connection there

#: A worker that was told to quit has so long.
QUIT_S = 5.0


@dataclass(eq=False)
class Worker:
    """A seat, what its worker has in hand, and what it said last."""

    seat: Seat
    tasks: set[int] = field(default_factory=set)
    free: int = 0
    waiting: str = ""
    held_by: str = ""
    share: Share = NOTHING
    cpu_s: float = 0.0
    sent: int = 0
    told_at: float = 0.0  # when it made its last report
    clients: list[Client] = field(default_factory=list)  # its connections at the target
    heard_at: float = field(default_factory=time.monotonic)
    down: list[list[str]] = field(default_factory=list)
    drained: bool = False
    alone: bool = False  # it has a suspect, and nothing else until that is settled


class Crew:
    """The workers that live, in `workers`; the executor gives them their seats."""

    def __init__(self, executor: Any) -> None:
        self.executor = executor
        self.workers: list[Worker] = []
        self._launched = 0
        self._listened_at = 0.0  # whatever had been said until then was there to be heard
        self._gone_cpu_s = 0.0
        self._gone_sent = 0

    def launch(self, setup: Setup) -> None:
        """One worker more; its connections are named after its number."""
        self._launched += 1
        self.workers.append(Worker(self.executor.launch(replace(setup, epoch=self._launched))))

    def hear(self, timeout_s: float, others: Sequence[Seat] = ()) -> Iterator[tuple[Worker, Report | None]]:
        """What workers report, waited for no longer than the time-out; None for one that has died.

        A report of one of the `others` ends the waiting, and is left to whom it is for.
        """
        ready = wait_for_reports([*(worker.seat for worker in self.workers), *others], timeout_s)
        self._listened_at = time.monotonic()
        for worker in [worker for worker in self.workers if worker.seat in ready]:
            yield worker, worker.seat.receive()

    def silent(self, longer_s: float) -> list[Worker]:
        """Those that had reported nothing for longer when we listened last: while we do not, nobody is silent."""
        return [worker for worker in self.workers if self._listened_at - worker.heard_at > longer_s]

    def tell(self, order: Order) -> None:
        """The same order to all."""
        for worker in self.workers:
            worker.seat.send(order)

    def dismiss(self, worker: Worker) -> None:
        """End one at once, and wait until it is gone."""
        worker.seat.kill()
        worker.seat.close()
        self.workers.remove(worker)
        self._gone_cpu_s += worker.cpu_s
        self._gone_sent += worker.sent

    def quit(self) -> None:
        """Let all end by themselves; `close` ends those that do not."""
        self.tell(Order(quit=True))
        deadline = time.monotonic() + QUIT_S
        for worker in self.workers:
            worker.seat.join(max(0.0, deadline - time.monotonic()))

    def close(self) -> None:
        """End all that are left at once; what they said last is kept."""
        for worker in self.workers:
            worker.seat.kill()
            worker.seat.close()

    @property
    def clients(self) -> list[Client]:
        """All connections at the target."""
        return [client for worker in self.workers for client in worker.clients]

    @property
    def sent(self) -> int:
        """Commands that all workers have sent to the target, as far as they have told."""
        return self._gone_sent + sum(worker.sent for worker in self.workers)

    @property
    def told_at(self) -> float:
        """What left before this instant is among the commands `sent`."""
        return min((worker.told_at for worker in self.workers), default=0.0)

    @property
    def cpu_s(self) -> float:
        """Processor time of all workers, those that are gone included."""
        return self._gone_cpu_s + sum(worker.cpu_s for worker in self.workers)

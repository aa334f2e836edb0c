"""One phase of work that only writes: workers from their start to their last report, watched and counted."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from .aside import AsideFile
from .contacts import Contacts
from .coordinator import Coordinator
from .executors import LocalProcesses
from .forkserver import helpers_cpu_s
from .latency import Latencies
from .logs import Log
from .progress import display
from .signals import Signals
from .workers.errors import EXIT_OK, EXIT_SIGNAL, KeyferryError
from .workers.news import Counts
from .workers.setup import Setup
from .workers.task import Task


@dataclass
class Produced:
    """What a phase has done, also where it ended early."""

    counts: Counts
    seconds: float
    reached: int  # the highest position of all tasks
    workers: int
    cpu_s: float  # processor time of all our processes
    failure: KeyferryError | None
    signal: int

    @property
    def exit_code(self) -> int:
        """Of the phase alone."""
        if self.signal:
            return EXIT_SIGNAL + self.signal
        return self.failure.exit_code if self.failure else EXIT_OK


@dataclass
class Producer:
    """Runs phases, with what is the same for all of them."""

    options: dict[str, Any]
    log: Log
    signals: Signals
    latencies: Latencies

    def run(self, phase: str, setup: Setup, tasks: list[Task], workers: int, total: int, unit: str) -> Produced:
        """Do the tasks by so many workers. `total` is how many units they will come to, 0 where nobody knows."""
        began_at, began_cpu_s, before_cpu_s = time.monotonic(), time.process_time(), helpers_cpu_s()
        shown = display(self.options["progress"], phase, self.log, self.signals.status_asked)
        coordinator = Coordinator(
            setup,
            tasks,
            workers,
            LocalProcesses(),
            Contacts.of(self.log, shown, self.signals, self.latencies),
            aside=AsideFile(""),
            keys_total=total,
        )
        coordinator.state.unit, coordinator.state.total_known = unit, unit == "keys"
        failure: KeyferryError | None = None
        try:
            coordinator.run()
        except KeyferryError as error:
            failure = error
        finally:
            shown.close()
        return Produced(
            counts=coordinator.state.counts,
            seconds=time.monotonic() - began_at,
            reached=coordinator.ledger.reached,
            workers=workers,
            cpu_s=coordinator.cpu_s + helpers_cpu_s() - before_cpu_s + time.process_time() - began_cpu_s,
            failure=failure,
            signal=coordinator.signal,
        )

"""Changing a synthetic data set at a pace, by several workers at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .producing import Produced, Producer
from .workers.churn import Churn, operations_for
from .workers.cursor import RING
from .workers.setup import Setup
from .workers.synth import Spec
from .workers.task import CHURN, Task

#: A worker for so many changes a second, up to --workers.
RATE_A_WORKER = 1_000
#: Who reaches less than this share of the rate is told so.
REACHED = 0.9


@dataclass
class Churned:
    """What a churn has done."""

    done: Produced
    asked: int  # changes a second

    @property
    def changes(self) -> int:
        """Those that were acknowledged and changed something."""
        return self.done.counts.copied

    @property
    def seconds(self) -> float:
        """How long it took, without the start of the workers."""
        return self.done.reached / 1000

    @property
    def changes_a_second(self) -> float:
        """The rate that was reached."""
        return self.changes / self.seconds if self.seconds else 0.0

    def lines(self) -> list[str]:
        """The lines of the closing table."""
        workers = f"{self.done.workers} worker{'' if self.done.workers == 1 else 's'}"
        lines = [
            f"churn   {self.changes:>11,} changes  {self.seconds:,.1f} s"
            f"  {self.changes_a_second:,.0f} changes/s  {workers}"
        ]
        if self.changes < self._enough:
            lines.append(f"asked for {self.asked:,} changes/s: {self._why_not()}")
        return lines

    @property
    def _enough(self) -> float:
        """So many changes reach the rate. The last one of each worker may have come due when its time was over."""
        return REACHED * self.asked * self.seconds - self.done.workers

    def _why_not(self) -> str:
        idle = self.done.counts.idle
        if self.changes + idle >= self._enough:
            return f"{idle:,} operations found nothing to change"
        return "the server or the workers take no more"

    def fields(self) -> dict[str, Any]:
        """The result for programs."""
        return {
            "changes": self.changes,
            "idle": self.done.counts.idle,
            "seconds": round(self.seconds, 3),
            "changes_per_second": round(self.changes_a_second, 1),
            "asked_per_second": self.asked,
            "workers": self.done.workers,
            "cpu_seconds": round(self.done.cpu_s, 3),
        }


def churn(producer: Producer, setup: Setup, spec: Spec, db: int) -> Churned:
    """Change the data set of `spec` as the options of the producer say, until the time is over or a signal comes."""
    options = producer.options
    rate, for_s = options["churn"], options["for"]
    workers = max(1, min(options["workers"], -(-rate // RATE_A_WORKER)))
    made = Churn(spec, operations_for(spec.shares, options["ops"]), rate / workers)
    end_ms = RING if for_s is None else max(1, round(1000 * for_s))
    tasks = [Task(number, CHURN, target_db=db, end=end_ms) for number in range(workers)]
    total = 0 if for_s is None else round(rate * for_s)
    setup = replace(setup, lanes=1, churn=made.pack())
    return Churned(producer.run("churn", setup, tasks, workers, total, "changes"), rate)

"""A lane that has no source: it writes a part of a synthetic data set. It has the shape of `lane.Lane`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .conn import Lost
from .errors import RunError
from .link import Link
from .news import Counts, Progress
from .policy import Action, first_error, rule_for
from .synth import Spec, block
from .task import Task

#: Blocks between request and acknowledgement.
BLOCKS_OPEN = 3


class GenerateLane:
    """Writes blocks [start, end) of a synthetic data set."""

    def __init__(self, task: Task, link: Link, spec: Spec, changed: Callable[[Any], None]) -> None:
        self.task, self.link, self.spec, self.changed = task, link, spec, changed
        self.next = self.acknowledged = task.start
        self.open = 0
        self.stopping = False
        self._counts = Counts()

    def go(self) -> None:
        """Write blocks while there are any; the sink answers in order."""
        while self.open < BLOCKS_OPEN and self.next < self.task.end and not self.stopping:
            self.open += 1
            self._write(self.next)
            self.next += 1
        if self.ended:
            self.changed(self)

    def stop(self) -> None:
        """Write nothing more; what is on its way is finished."""
        self.stopping = True
        self.go()

    @property
    def ended(self) -> bool:
        """Nothing is on its way, and nothing more will be written."""
        return not self.open and (self.stopping or self.next >= self.task.end)

    def _write(self, number: int) -> None:
        made = block(self.spec, number)
        sink = self.link.router.sinks[0]

        def written(replies: list) -> None:
            error = first_error(replies)
            if error is not None:
                rule = rule_for(error)
                if rule.action is not Action.WAIT:
                    address = sink.conn.endpoint.address
                    raise Lost(RunError(f"{rule.reason}: {error}", side="target", address=address, hint=rule.hint))
                return self.link.trouble("target", 0, error, lambda: sink.write(made.requests, made.replies, written))
            self.open -= 1
            self.acknowledged += 1
            self._counts.add(Counts(copied=made.keys, bytes=made.value_bytes))
            self.go()

        sink.write(made.requests, made.replies, written)

    def news(self, last: bool = False) -> list[Progress]:
        """What was acknowledged since the last call: nothing or one."""
        if not self._counts.copied and not self.ended:
            return []
        news = Progress(self.task.id, self.acknowledged, self._counts, finished=self.acknowledged == self.task.end)
        self._counts = Counts()
        return [news]

"""A lane that has no source: it writes a part of a synthetic data set. It has the shape of `lane.Lane`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .conn import Lost
from .errors import RunError
from .link import Link
from .news import Counts, Progress
from .policy import Action, first_error, rule_for
from .synth import Block, Spec, block
from .task import Task

#: Blocks from the first that is not acknowledged on that may be on their way.
BLOCKS_OPEN = 3


class GenerateLane:
    """Writes blocks [start, end) of a synthetic data set.

    A block that the server refuses for now is written after those that follow it. The position stays at it until then.
    """

    def __init__(self, task: Task, link: Link, spec: Spec, changed: Callable[[Any], None]) -> None:
        self.task, self.link, self.spec, self.changed = task, link, spec, changed
        self.next = self.acknowledged = task.start
        self.open = 0
        self.stopping = False
        self._counts = Counts()
        self._written: dict[int, Counts] = {}  # blocks behind one that is not

    def go(self) -> None:
        """Write blocks while there are any."""
        while self.next < min(self.acknowledged + BLOCKS_OPEN, self.task.end) and not self.stopping:
            self.open += 1
            self._write(self.next, block(self.spec, self.next))
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

    def _write(self, number: int, made: Block) -> None:
        self.link.router.sinks[0].write(made.requests, made.replies, partial(self._answered, number, made))

    def _answered(self, number: int, made: Block, replies: list) -> None:
        error = first_error(replies)
        if error is not None:
            rule = rule_for(error)
            if rule.action is not Action.WAIT:
                address = self.link.router.sinks[0].conn.endpoint.address
                raise Lost(RunError(f"{rule.reason}: {error}", side="target", address=address, hint=rule.hint))
            return self.link.trouble("target", 0, error, partial(self._write, number, made))
        self.open -= 1
        self._acknowledge(number, Counts(copied=made.keys, bytes=made.value_bytes))
        self.go()

    def _acknowledge(self, number: int, counts: Counts) -> None:
        self._written[number] = counts
        while self.acknowledged in self._written:
            self._counts.add(self._written.pop(self.acknowledged))
            self.acknowledged += 1

    def news(self, last: bool = False) -> list[Progress]:
        """What was acknowledged since the last call: nothing or one."""
        if not self._counts.copied and not self.ended:
            return []
        news = Progress(self.task.id, self.acknowledged, self._counts, finished=self.acknowledged == self.task.end)
        self._counts = Counts()
        return [news]

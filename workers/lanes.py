"""Which lane does a task: `Lanes.make`. What writes a synthetic data set is loaded only where one is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from .adapt import Meter
from .choose import Chooser
from .lane import Lane
from .link import Link
from .list_lane import ListLane
from .pace import Pace
from .sift_lane import SiftLane
from .task import CHURN, COPY_KEYS, COPY_RANGE, LIST_KEYS, LOOK_UP, PRUNE, RECHECK, SIFT_KEYS, Setup, Task


@dataclass
class Lanes:
    """Makes the lanes of one worker; `changed(lane)` and `later(pause_s, action)` are its loop's."""

    setup: Setup
    meter: Meter
    pace: Pace | None
    changed: Callable[[Any], None]
    later: Callable[[float, Callable[[], None]], None]

    def make(self, task: Task, link: Link, chooser: Chooser) -> Any:
        """The lane that does a task over a link; it has yet to be told to `go`."""
        setup, changed, filters = self.setup, self.changed, self.setup.filters
        if task.work in (LOOK_UP, RECHECK, PRUNE):  # what SCAN applies to the source's keys, it does not to these
            filters = replace(filters, scan_match=False, scan_type=False)
        if task.kind in (COPY_RANGE, COPY_KEYS):
            return Lane(task, link, chooser, self.meter, setup.scan_count, changed, self.pace, filters)
        if task.kind == LIST_KEYS:
            return ListLane(task, link, setup.scan_count, changed, filters)
        if task.kind == SIFT_KEYS:
            return SiftLane(task, link, changed, setup.filters)
        return self._sourceless(task, link)

    def _sourceless(self, task: Task, link: Link) -> Any:
        from .churn import unpack as unpack_churn
        from .churn_lane import ChurnLane
        from .generate_lane import GenerateLane
        from .synth import unpack as unpack_spec

        assert self.setup.synth is not None
        spec = unpack_spec(self.setup.synth)
        if task.kind != CHURN:
            return GenerateLane(task, link, spec, self.changed)
        assert self.setup.churn is not None
        return ChurnLane(task, link, unpack_churn(self.setup.churn, spec), self.later, self.changed)

"""Which lane does a task: `Lanes.make`. What writes a synthetic data set is loaded only where one is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from .adapt import Meter
from .barrier import Windows
from .choose import Chooser
from .filters import Filters
from .lane import Lane
from .link import Link
from .list_lane import ListLane
from .pace import Pace
from .setup import Order, Setup
from .sift_lane import SiftLane
from .task import (
    CHURN,
    COPY_KEYS,
    COPY_RANGE,
    LIST_KEYS,
    LIST_TYPE,
    LIVE_KEYS,
    LOOK_UP,
    PRUNE,
    RECHECK,
    SIFT_KEYS,
    Task,
)


@dataclass
class Lanes:
    """Makes the lanes of one worker; `changed(lane)` and `later(pause_s, action)` are its loop's."""

    setup: Setup
    meter: Meter
    pace: Pace | None
    changed: Callable[[Any], None]
    later: Callable[[float, Callable[[], None]], None]
    windows: Windows | None = None  # where barriers have to know them
    removes: set[int] = field(init=False)  # target databases where keys may be removed
    ours: set[int] = field(init=False)  # … and those that hold nothing but what the run has written

    def __post_init__(self) -> None:
        self.removes, self.ours = set(self.setup.removes), set(self.setup.ours)

    def hear(self, order: Order) -> None:
        """Take in what an order says of what may be removed."""
        if order.removes is not None:
            self.removes = set(order.removes)
        if order.ours is not None:
            self.ours = set(order.ours)

    def make(self, task: Task, link: Link, chooser: Chooser) -> Any:
        """The lane that does a task over a link; it has yet to be told to `go`."""
        setup, changed, filters = self.setup, self.changed, self.setup.filters
        if task.raw or task.work in (
            LOOK_UP,
            RECHECK,
            PRUNE,
        ):  # no SCAN has filtered these
            filters = replace(filters, scan_match=False, scan_type=False)
        if task.kind in (COPY_RANGE, COPY_KEYS):
            shared = (self.meter, setup.scan_count, changed, self.pace)
            return Lane(task, link, chooser, *shared, filters, self.windows, task.target_db in self.ours)
        if self.windows is not None and task.kind in (LIVE_KEYS, LIST_TYPE):
            return self._live(task, link, chooser, self.windows)
        if task.kind == LIST_KEYS:
            return ListLane(task, link, setup.scan_count, changed, filters)
        if task.kind == SIFT_KEYS:
            return SiftLane(task, link, changed, filters)
        return self._sourceless(task, link)

    def _live(self, task: Task, link: Link, chooser: Chooser, windows: Windows) -> Any:
        from .live_lane import LiveLane

        setup, changed = self.setup, self.changed
        if task.kind == LIST_TYPE:
            return ListLane(task, link, setup.scan_count, changed, Filters(types=(task.type,), scan_type=True))
        rights = lambda: (self.removes, self.ours)  # noqa: E731
        shared = (self.meter, setup.scan_count, changed, self.pace)
        return LiveLane(task, link, chooser, *shared, setup.filters, windows, rights)

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

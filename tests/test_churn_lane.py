"""The lane of `generate --churn`, over a real connection: what it sends at a time."""

from __future__ import annotations

import time
from collections.abc import Callable

from keyferry.workers.churn import Churn
from keyferry.workers.churn_lane import LATE_S, OPEN_BYTES, ChurnLane
from keyferry.workers.synth import Spec
from keyferry.workers.task import CHURN, Task
from tests.conftest import ServerFactory
from tests.support.window_loop import Loop

#: Due in one late tick are 120 MB of changes.
SPEC = Spec(1_000, shares=(("string", 1),), size_min=10_000, size_max=10_000)
RATE = 100_000


def test_a_pace_that_nobody_can_keep_makes_no_request_larger_than_what_may_be_on_its_way(
    server: ServerFactory,
) -> None:
    """Else the worker draws changes until its memory is full, and looks neither at its time nor at a signal."""
    target = server("7.0")
    loop = Loop(target, [target], owners=None)  # type: ignore[list-item]
    ticks: list[Callable[[], None]] = []
    sent: list[int] = []
    try:
        loop.run_until(lambda: loop.link.ready)
        sink = loop.link.router.sinks[0]
        write = sink.write

        def counted(request: bytes, replies: int, answered: Callable[[list], None]) -> None:
            sent.append(len(request))
            write(request, replies, answered)

        sink.write = counted  # type: ignore[method-assign]
        churn = Churn(SPEC, (("set", 1),), RATE)
        task = Task(0, CHURN, end=60_000)
        lane = ChurnLane(task, loop.link, churn, lambda _, tick: ticks.append(tick), lambda lane: None)
        lane.go()
        late_at = time.monotonic() + LATE_S
        loop.run_until(lambda: time.monotonic() >= late_at)
        ticks.pop()()
        lane.stop()
        loop.run_until(lambda: lane.ended)
    finally:
        loop.close()
    assert max(sent) <= OPEN_BYTES
    (news,) = lane.news()
    assert 0 < news.counts.copied < RATE * LATE_S

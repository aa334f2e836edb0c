"""The lane of `generate`, over a real connection: what it reports as written is written."""

from __future__ import annotations

from collections.abc import Callable

from keyferry.workers.generate_lane import GenerateLane
from keyferry.workers.synth import Spec, block_count, block_keys
from keyferry.workers.task import GENERATE, Task
from tests.conftest import ServerFactory
from tests.support.respproxy import Answer, Args, Hooks, Proxy
from tests.support.window_loop import Loop

SPEC = Spec(5_000, shares=(("string", 1),))


class RefusesTheFirst(Hooks):
    """Is out of memory for the first write that comes."""

    done = False

    def on_command(self, args: Args) -> Answer:
        if args[0] == b"MSET" and not self.done:
            self.done = True
            return b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"
        return args


def test_a_block_that_has_to_wait_holds_the_position_back(server: ServerFactory) -> None:
    """Who takes the task over begins at its position; and of what is behind it, nothing is counted before."""
    target = server("7.0")
    blocks = block_count(SPEC)
    with Proxy(target, RefusesTheFirst()) as proxy:
        loop = Loop(target, [proxy], owners=None)  # type: ignore[list-item]
        waiting: list[Callable[[], None]] = []
        loop.link.wait = lambda side, address, reason, hint, again: waiting.append(again)
        try:
            loop.run_until(lambda: loop.link.ready)
            lane = GenerateLane(Task(0, GENERATE, end=blocks), loop.link, SPEC, lambda lane: None)
            lane.go()
            loop.run_until(lambda: bool(waiting) and target.call("DBSIZE") >= 2 * block_keys(SPEC) and lane.open < 3)
            assert [(one.position, one.counts.copied) for one in lane.news()] in ([], [(0, 0)])
            waiting.pop()()
            loop.run_until(lambda: lane.ended)
            (news,) = lane.news()
        finally:
            loop.close()
    assert (news.position, news.counts.copied, news.finished) == (blocks, SPEC.keys, True)
    assert target.call("DBSIZE") == SPEC.keys

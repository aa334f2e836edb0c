"""What a worker is done with leaves its memory at once, and not when Python looks for what refers to itself.

It looks rarely (`workers/process.py`), so that hundreds of requests with all that they hold could wait for it.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from keyferry.workers.cursor import RING
from keyferry.workers.expiry import Clock, Expiries
from keyferry.workers.expiry_retry import ask_expiries
from keyferry.workers.filters import Filters
from keyferry.workers.generate_lane import GenerateLane
from keyferry.workers.guarded import Guarded
from keyferry.workers.news import Counts
from keyferry.workers.read import Method
from keyferry.workers.resp import arguments
from keyferry.workers.scan import Found, RangeScan
from keyferry.workers.sieve import Sieve
from keyferry.workers.synth import Block, Spec, block_count
from keyferry.workers.task import COPY_RANGE, GENERATE, Task
from tests.conftest import ServerFactory
from tests.support.window_loop import Loop

KEYS = [b"key:%d" % number for number in range(200)]


@pytest.fixture
def loop(server: ServerFactory) -> Iterator[Loop]:
    """Over a source that tells no absolute expiries, and that has all KEYS."""
    source, target = server("6.2"), server("7.0")
    source.call("MSET", *(word for key in KEYS for word in (key, "1")))
    made = Loop(source, [target], Clock(absolute=False), owners=None)
    made.run_until(lambda: made.link.ready)
    gc.collect()
    gc.disable()
    yield made
    gc.enable()
    made.close()


def are_left(kind: type) -> int:
    return sum(type(one) is kind for one in gc.get_objects())


def test_blocks_of_a_data_set(loop: Loop) -> None:
    spec = Spec(5_000, shares=(("string", 1),))
    lane = GenerateLane(Task(0, GENERATE, end=block_count(spec)), loop.link, spec, lambda lane: None)
    lane.go()
    loop.run_until(lambda: lane.ended)
    assert are_left(Block) == 0


def test_windows_that_replace_nothing(loop: Loop) -> None:
    loop.link.on_conflict = "skip"
    settled: list[Any] = []
    Guarded(loop.link, KEYS, Method.MGET, settled.append).start()
    loop.run_until(lambda: bool(settled))
    settled.clear()
    assert are_left(Guarded) == 0


def is_kept(loop: Loop, begin: Callable[[Callable[..., None]], None]) -> bool:
    """Whether what is to be called at the end is held after that, with all that it holds itself."""
    told: list[Any] = []

    def then(*what: Any) -> None:
        told.append(what)

    kept = weakref.ref(then)
    begin(then)
    del then
    loop.run_until(lambda: bool(told))
    return kept() is not None


def test_values_whose_expiries_are_asked_for_again(loop: Loop) -> None:
    def begin(then: Callable[[Expiries], None]) -> None:
        ask_expiries(loop.link, arguments(KEYS), then, lambda replies: None)

    assert not is_kept(loop, begin)


def test_names_that_are_sifted(loop: Loop) -> None:
    def begin(then: Callable[[list[bytes], Counts], None]) -> None:
        Sieve(loop.link, Filters(max_bytes=10)).sift(KEYS, then)

    assert not is_kept(loop, begin)


def test_scans(loop: Loop) -> None:
    def begin(then: Callable[[Found], None]) -> None:
        task = Task(0, COPY_RANGE, end=RING, checked=False)
        RangeScan(loop.link, task, 1_000, then, lambda why: None).ask()

    assert not is_kept(loop, begin)

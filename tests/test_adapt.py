"""The number of lanes over a distance: the search alone on simulated links, and a copy over a link with a delay."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import Self

from hypothesis import assume, given
from hypothesis import strategies as st

import keyferry
from keyferry.workers.adapt import GAIN, LONG_QUEUE, Climb, Meter, climb_from
from keyferry.workers.cursor import rev64
from tests.conftest import ServerFactory
from tests.support.filling import write_strings
from tests.support.monitor import Monitor
from tests.support.servers import Server

LEAST, MOST = 8, 128
#: Enough for every number of lanes between the two to be tried.
INTERVALS = 40


@dataclass
class Link:
    """A way of `way_s` there and back; servers that are busy with each window for `work_s`, one after the other."""

    way_s: float
    work_s: float

    def windows_a_second(self, lanes: int) -> float:
        return min(lanes / (self.way_s + self.work_s), 1 / self.work_s)

    def stretch(self, lanes: int) -> float:
        """How many times longer than alone a window takes: those before it in the queue come on top of the way."""
        alone_s = self.way_s + self.work_s
        return max(alone_s, lanes * self.work_s) / alone_s


def settled_on(link: Link, climb: Climb | None = None, noise: list[float] | None = None) -> Climb:
    climb = climb or climb_from(LEAST, MOST)
    for j in range(INTERVALS):
        factor = noise[j % len(noise)] if noise else 1.0
        climb = climb.next(1000 * factor * link.windows_a_second(climb.lanes), link.stretch(climb.lanes))
    return climb


links = st.builds(Link, way_s=st.floats(0.0001, 1.0), work_s=st.floats(0.0001, 0.1))


@given(st.lists(st.tuples(st.floats(0, 1e7), st.floats(1, 1e4)), max_size=50), st.integers(1, 16), st.integers(16, 512))
def test_whatever_is_measured_the_lanes_stay_within_their_bounds(
    seen: list[tuple[float, float]], least: int, most: int
) -> None:
    climb = climb_from(least, most)
    for rate, stretch in seen:
        climb = climb.next(rate, stretch)
        assert least <= climb.proved <= climb.lanes <= most


@given(links)
def test_the_search_ends_near_the_best_that_the_link_and_the_servers_allow(link: Link) -> None:
    best = link.windows_a_second(MOST)
    assert link.windows_a_second(settled_on(link).proved) >= best / GAIN / 1.001


@given(links, st.lists(st.floats(0.8, 1.2), min_size=7, max_size=7))
def test_a_queue_is_never_much_longer_than_the_way(link: Link, noise: list[float]) -> None:
    climb = settled_on(link, noise=noise)
    assert climb.proved == LEAST or link.stretch(climb.proved) <= LONG_QUEUE


def test_over_a_short_distance_the_lanes_stay_few() -> None:
    assert settled_on(Link(way_s=0.0002, work_s=0.001)).lanes == LEAST


def test_over_a_long_distance_the_lanes_become_many() -> None:
    assert settled_on(Link(way_s=0.2, work_s=0.001)).lanes == MOST


@given(links)
def test_lanes_that_have_become_too_many_are_given_up(link: Link) -> None:
    assume(link.stretch(MOST) > LONG_QUEUE)
    many = Climb(LEAST, MOST, lanes=MOST, proved=MOST, rate=1.0)
    assert settled_on(link, many).proved < MOST


def test_a_meter_counts_what_is_settled_after_the_interval_began() -> None:
    meter = Meter()
    meter.add(keys=100, opened_at=9.0, now=10.0)
    meter.begin(11.0)
    meter.add(keys=100, opened_at=10.0, now=10.5)
    assert not meter.is_over(12.0)
    meter.add(keys=100, opened_at=11.0, now=12.0)
    assert (meter.keys, meter.window_s, meter.shortest_s) == (100, 1.0, 0.5)
    assert not meter.is_over(13.9)
    assert meter.is_over(14.1)


# ---- over a link with a delay ------------------------------------------------------------------------------


class Far:
    """A server at the end of a long way: `with Far(server, way_s) as far:`, then connect to `far.port`."""

    def __init__(self, server: Server, way_s: float) -> None:
        self.server, self.half_s = server, way_s / 2
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._open: list[asyncio.StreamWriter] = []

    def __enter__(self) -> Self:
        self._thread.start()
        listening = asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._shut())
        self._loop.close()

    async def _shut(self) -> None:
        """Close everything: what is left to the garbage collector fails the test during which it comes."""
        self._server.close()
        await asyncio.sleep(0)  # whoever was let in is among the tasks now
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in self._open:
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.append(writer)
        there, back = await asyncio.open_connection(self.server.host, self.server.port)
        self._open.append(back)
        await asyncio.gather(self._carry(reader, back), self._carry(there, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Each piece arrives half a way later, in order."""
        while data := await reader.read(1 << 18):
            self._loop.call_later(self.half_s, writer.write, data)
        self._loop.call_later(self.half_s, writer.close)


def lanes_used(monitor: Monitor, ranges: int) -> int:
    """The most ranges that were begun and not ended at a time, by the workers' SCANs."""
    control = {one.client for one in monitor.commands if one.name == "DBSIZE"}
    scans = [one for one in monitor.commands if one.name == "SCAN" and one.client not in control]
    cursors = [int(one.args[1]) for one in scans]
    seen = [rev64(cursor) * ranges >> 64 for cursor in cursors]
    first = {part: seen.index(part) for part in set(seen)}
    last = {part: len(seen) - seen[::-1].index(part) for part in set(seen)}
    return max(sum(first[part] <= now < last[part] for part in first) for now in range(len(seen)))


def test_more_lanes_are_used_over_a_long_distance(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 10_000)
    with Far(source, 0.1) as far_source, Far(target, 0.1) as far_target, Monitor(source) as monitor:
        at_source, at_target = (f"redis://127.0.0.1:{far.port}" for far in (far_source, far_target))
        # So few keys at a time that it is the distance which holds a copy back, and not the machine.
        summary = keyferry.replicate(at_source, at_target, workers=1, ranges=64, batch=50, no_verify=True)
    assert summary.counts.copied == 10_000
    assert lanes_used(monitor, 64) > LEAST  # how many more, and for how long, is a matter of what else goes on

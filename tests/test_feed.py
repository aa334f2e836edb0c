"""The feed process by itself: it drains the source, whatever the coordinator is busy with."""

from __future__ import annotations

import re
import time

from keyferry.executors import FeedSeat, LocalProcesses
from keyferry.workers.endpoint import Endpoint
from keyferry.workers.feed_task import FeedOrder, FeedReport, FeedSetup
from keyferry.workers.setup import Node
from tests.conftest import ServerFactory
from tests.support.live import wait_until
from tests.support.servers import Server

NAME = "name:" + 100 * "x" + ":{}"
#: As many bytes of names as many workers take at a time.
MOST_BYTES = 2 << 20


def report_of(seat: FeedSeat, take: int = 0) -> FeedReport:
    seat.send(FeedOrder(ask=True, take=take))
    report = seat.receive()
    assert report is not None
    return report


def unread_bytes(source: Server) -> int:
    """What waits for the feed in the source's memory."""
    (feed,) = [line for line in source.call("CLIENT", "LIST").decode().splitlines() if ":feed " in line]
    found = re.search(r" omem=(\d+)", feed)
    assert found
    return int(found[1])


def write(source: Server, first: int, last: int) -> None:
    with source.connect() as connection:
        for number in range(first, last, 10_000):
            connection.pipeline([("SET", NAME.format(one), "1") for one in range(number, number + 10_000)])


def test_a_report_that_nobody_takes_does_not_keep_the_feed_from_the_source(server: ServerFactory) -> None:
    """The coordinator asks, and then has other things to do for as long as a verification takes."""
    source = server("7.0")
    seat = LocalProcesses().launch_feed(FeedSetup([Node(Endpoint(port=source.port))], [0]))
    try:
        wait_until(lambda: report_of(seat).confirmed)
        write(source, 0, 30_000)
        seat.send(FeedOrder(ask=True, take=MOST_BYTES))
        time.sleep(0.5)
        write(source, 30_000, 150_000)
        wait_until(lambda: unread_bytes(source) == 0, what="what has changed waits at the source")
        report = seat.receive()
        names = sum(len(one.keys) for one in report.dirtied) if report else 0
        while names < 150_000:
            names += sum(len(one.keys) for one in report_of(seat, MOST_BYTES).dirtied)
    finally:
        seat.kill()
        seat.close()
    assert names == 150_000

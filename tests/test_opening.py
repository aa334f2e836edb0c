"""Connections that a worker opens while a server is away: they are tried again, like those that were lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyferry.executors import LocalProcesses, Seat
from keyferry.workers.cursor import RING
from keyferry.workers.endpoint import Endpoint
from keyferry.workers.news import Report
from keyferry.workers.setup import Node, Order, Setup
from keyferry.workers.task import COPY_RANGE, Task
from tests.conftest import ServerFactory
from tests.support.compare import assert_equal
from tests.support.dataset import fill

KEYS = 300


def report_of(seat: Seat) -> Report:
    """The next one, of a worker that has not failed."""
    report = seat.receive()
    assert report is not None, "the worker has died"
    assert report.failure is None, report.failure
    return report


@pytest.mark.parametrize("away", ["source", "target"])
def test_a_server_that_is_away_when_a_worker_opens_a_connection_is_waited_for(
    away: str, server: ServerFactory, tmp_path: Path
) -> None:
    """One that takes the place of a dead worker, or turns to another database. A missing socket is told at once."""
    source, target = server("7.0"), server("7.0")
    fill(source, KEYS)
    place = tmp_path / "socket"
    sockets = {"source": source.socket, "target": target.socket}
    nodes = {side: [Node(Endpoint(socket=path))] for side, path in (sockets | {away: str(place)}).items()}
    seat = LocalProcesses().launch(Setup(nodes["source"], nodes["target"]))
    try:
        seat.send(Order(tasks=[Task(0, COPY_RANGE, end=RING, checked=False)]))
        while not report_of(seat).down:
            pass
        place.symlink_to(sockets[away])
        while not any(news.finished for news in report_of(seat).progress):
            pass
    finally:
        seat.kill()
        seat.close()
    assert_equal(source, target)


@pytest.mark.parametrize("full", ["source", "target"])
def test_a_server_that_takes_no_more_connections_is_told_as_one(full: str, server: ServerFactory) -> None:
    """It says so and hangs up, before it has read what we said first."""
    sides = {"source": server("7.0"), "target": server("7.0")}
    sides[full].call("CONFIG", "SET", "maxclients", "1")  # that is us
    nodes = {side: [Node(Endpoint(port=one.port))] for side, one in sides.items()}
    seat = LocalProcesses().launch(Setup(nodes["source"], nodes["target"], retry_for_s=0.2))
    try:
        seat.send(Order(tasks=[Task(0, COPY_RANGE, end=RING, checked=False)]))
        while (report := seat.receive()) and not report.failure:
            for side, _, why in report.down:
                assert (side, why) == (full, "connection lost: ERR max number of clients reached")
    finally:
        seat.kill()
        seat.close()
    assert report and report.failure, "the worker has died"
    assert report.failure["message"].startswith("connection lost: ERR max number of clients reached, for ")
    assert report.failure["hint"] == "raise maxclients, or use fewer --workers"

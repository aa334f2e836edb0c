"""Live copies under writes: a writer, the copy, and what both come to."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .compare import assert_equal
from .keyspace import Database
from .processes import VERIFIED, Result, Run, run_keyferry, start_keyferry
from .servers import Server
from .summary import result_of

#: Redis 6.2 tells expiries relative to its clock: copies are a few milliseconds off.
TOLERANCE_MS = 20
SEED = 3
#: For live copies that only a signal ends: however late a test goes on, it goes on before that.
UNTIL_A_SIGNAL = ("--idle-timeout", "1h")


@dataclass
class Followed:
    """A live copy that has ended."""

    ran: Result
    told: dict[str, Any]  # the result as JSON

    @property
    def live(self) -> dict[str, Any]:
        """What was told of the changes."""
        return self.told["live"]


def data(server: Server, keys: int, seed: int) -> tuple[str, ...]:
    """Which data set it is that is written, or changed."""
    return "generate", "-p", str(server.port), "--keys", str(keys), "--seed", str(seed), "--elements", "1-20"


def generated(server: Server, keys: int, *words: str, seed: int = SEED) -> None:
    """Write a data set."""
    ran = run_keyferry(*data(server, keys, seed), *words)
    assert ran.code == 0, ran.err


def notify(server: Server) -> None:
    """Switch the notifications of all changes on."""
    server.call("CONFIG", "SET", "notify-keyspace-events", "KA")


def start_writer(server: Server, keys: int, rate: int, seconds: float = 100, *words: str, seed: int = SEED) -> Run:
    """Keep changing that data set for so long, or until `end_writer`."""
    how = ("--churn-only", "--churn", str(rate), "--for", f"{seconds:g}s", "--workers", "1", "--progress", "none")
    return start_keyferry(*data(server, keys, seed), *how, "--retry-for", "30s", *words)


def end_writer(writer: Run) -> None:
    """Let it end in order before its time."""
    writer.signal(signal.SIGINT)
    wrote = writer.wait()
    assert wrote.code == 128 + signal.SIGINT, wrote.err


def start_live(source: Any, target: Any, *words: str) -> Run:
    """Start a live copy that ends when nothing was written for half a second; it tells its result as JSON."""
    idle = () if "--idle-timeout" in words else ("--idle-timeout", "500")
    line = ("-p", str(source.port), "replicate", *idle, "-p", str(target.port), "--live")
    return start_keyferry(*line, "--json", *words, env=VERIFIED)


def cut_over(run: Run) -> Followed:
    """The end of a live copy that only a signal ends: of what is written before it, nothing is left out."""
    run.signal(signal.SIGINT)
    return followed(run)


def followed(run: Run, timeout_s: float = 100) -> Followed:
    """The end of a live copy."""
    ran = run.wait(timeout_s)
    assert not ran.left, ran.left
    return Followed(ran, result_of(ran) if ran.out.startswith("{") else {})


def follow_writes(
    source: Server,
    target: Server,
    keys: int,
    rate: int,
    seconds: float,
    *words: str,
    meanwhile: Callable[[Run], None] | None = None,
) -> Followed:
    """Copy live while a writer is at work, from before the feed comes until so long after that.

    `meanwhile(run)` happens in the midst of it, however long it takes. The copy ends by itself.
    """
    with start_writer(source, keys, rate) as writer, start_live(source, target, "--idle-timeout", "1s", *words) as run:
        wait_for_feed(source)
        wait_for_writes(source)
        time.sleep(seconds / 2)
        if meanwhile:
            meanwhile(run)
        time.sleep(seconds / 2)
        end_writer(writer)
        return followed(run)


def assert_converged(source: Database, target: Database, done: Followed, gaps: int | None = 0) -> None:
    """It ended with exit code 0, with so many gaps (None: any number), and both sides are equal."""
    assert done.ran.code == 0, done.ran.err
    assert done.live["converged"]
    if gaps is not None:
        assert done.live["gaps"] == gaps, done.ran.err
    assert_equal(source, target, ttl_tolerance_ms=TOLERANCE_MS)


def asked_for_its_status(run: Run, text: str) -> bool:
    """Ask by SIGUSR1; whether it has told that so far."""
    run.signal(signal.SIGUSR1)
    time.sleep(0.2)
    return text in run.err


def wait_until(holds: Callable[[], bool], timeout_s: float = 60, what: str = "") -> None:
    """Return once it holds."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, what or "it did not come true"
        time.sleep(0.01)


def feeds(server: Server) -> list[str]:
    """The CLIENT IDs of feeds that listen to a server: those in both modes have tracking switched on."""
    lines = server.call("CLIENT", "LIST").decode().splitlines()
    ours = [line for line in lines if ":feed " in line and re.search(r" flags=\w*t", line)]
    return [line.split()[0].removeprefix("id=") for line in ours]


def lose_feeds(server: Server) -> None:
    """Have the server close the connections of its feeds."""
    for client in feeds(server):
        server.call("CLIENT", "KILL", "ID", client)


def wait_for_feed(server: Server) -> None:
    """Return once a feed listens to the server."""
    wait_until(lambda: bool(feeds(server)), what="no feed came")


def wait_for_writes(server: Server) -> None:
    """Return once the writer is at work."""
    changes = lambda: int(server.info("persistence")["rdb_changes_since_last_save"])  # noqa: E731
    first = changes()
    wait_until(lambda: changes() > first + 100, what="nothing is written")


def wait_until_followed(target: Server, key: str = "marker") -> None:
    """Return once a key is at the target."""
    wait_until(lambda: target.call("EXISTS", key) == 1, what=f"{key} did not come")


def feeds_port(server: Server) -> str:
    """The local port of the copy's feed."""
    line = next(line for line in server.call("CLIENT", "LIST").decode().splitlines() if ":feed " in line)
    return line.split("addr=")[1].split()[0].rpartition(":")[2]

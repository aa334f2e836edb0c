"""What it costs to be followed live: how far behind the target is, and what the source pays for its feed.

`python bench/live.py [--rate 50000] [--keys 1000000] [--seconds 30] [--kind 7.0] [--rounds 3]`: two servers of its own.
In each round, and for each feed, the same changes are made three times: with nobody listening, with a client that only
takes in the events, and with a live copy that has all keys already. See README.md, "Live copies".
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import facts
from bench.peers import keyferry
from bench.rounds import server_cpu_s
from tests.support.live import wait_for_feed, wait_until
from tests.support.servers import Server
from tests.support.threads import meanwhile

#: What a client sends to be told of changes.
FEEDS = {
    "tracking": [("HELLO", 3), ("CLIENT", "TRACKING", "ON", "BCAST")],
    "notifications": [("PSUBSCRIBE", "__keyspace@0__:*")],
}
#: For the copy of all keys before the changes begin, and for its end after them.
PATIENCE_S = 600


@dataclass
class Figures:
    """Of one way to be listened to: a figure a round."""

    rate: list[float] = field(default_factory=list)  # changes a second that were reached
    cpu_us: list[float] = field(default_factory=list)  # the source's processor time, per change
    lag_p99_s: list[float] = field(default_factory=list)
    lag_max_s: list[float] = field(default_factory=list)
    gaps: list[int] = field(default_factory=list)


def change(source: Server, given: argparse.Namespace, figures: Figures) -> None:
    """Make the changes, and note what they cost the source. Raises CalledProcessError."""
    words = [*keyferry(), "generate", "-p", str(source.port), "--keys", str(given.keys), "--churn-only", "--json"]
    words += ["--churn", str(given.rate), "--for", f"{given.seconds}s", "--progress", "none"]
    before = server_cpu_s(source)
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    used_s = server_cpu_s(source) - before
    told = json.loads(done.stdout)["churn"]
    figures.rate.append(told["changes_per_second"])
    figures.cpu_us.append(used_s / told["changes"] * 1e6)


@contextmanager
def listened_to(source: Server, feed: str) -> Iterator[None]:
    """A client takes in the events, and does nothing with them."""
    with source.connect() as connection:
        connection.send(FEEDS[feed])

        def drain(ended: threading.Event) -> None:
            with suppress(OSError):
                while not ended.is_set() and connection.drain():
                    pass

        with meanwhile(drain):
            try:
                yield
            finally:
                connection.shut()  # it waits for events


@contextmanager
def followed(source: Server, target: Server, feed: str, figures: Figures) -> Iterator[None]:
    """A live copy that has all keys. Raises AssertionError unless it converges."""
    target.call("FLUSHALL", "SYNC")
    words = [*keyferry(), "-p", str(source.port), "replicate", "-p", str(target.port), "--live", "--json"]
    words += ["--feed", feed, "--idle-timeout", "2s", "--progress", "none"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_for_feed(source)
        with keeping_busy(source):
            wait_until(lambda: source.call("DBSIZE") == target.call("DBSIZE"), PATIENCE_S, "the copy does not end")
            yield
        out, err = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    told = json.loads(out)["live"]
    assert process.returncode == 0 and told["converged"], err
    figures.lag_p99_s.append(told["lag_p99_seconds"])
    figures.lag_max_s.append(told["lag_max_seconds"])
    figures.gaps.append(told["gaps"])


def keeping_busy(source: Server) -> AbstractContextManager[None]:
    """A write now and then keeps a live copy from ending."""

    def write(ended: threading.Event) -> None:
        while not ended.wait(0.5):
            source.call("SET", "bench:busy", time.monotonic())

    return meanwhile(write)


def measure(source: Server, target: Server, given: argparse.Namespace) -> dict[str, Figures]:
    """Figures by feed and by who listens."""
    found: dict[str, Figures] = {}
    of = lambda name: found.setdefault(name, Figures())  # noqa: E731
    for number in range(given.rounds):
        change(source, given, of("nobody"))
        for feed in given.feeds.split(","):
            source.call("CONFIG", "SET", "notify-keyspace-events", "KA" if feed == "notifications" else "")
            with listened_to(source, feed):
                change(source, given, of(f"{feed}, a listener"))
            with followed(source, target, feed, of(f"{feed}, live")):
                change(source, given, of(f"{feed}, live"))
        source.call("CONFIG", "SET", "notify-keyspace-events", "")
        print(f"round {number + 1} of {given.rounds}", file=sys.stderr)
    return found


def main() -> None:
    """Measure, and print a line for each way to be listened to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=int, default=50_000, help="changes a second")
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--kind", default="7.0", choices=("6.2", "7.0", "8.2", "9.1"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--feeds", default=",".join(FEEDS), help="by which of them, with commas between")
    given = parser.parse_args()
    machine = facts.machine()
    with Server(given.kind) as source, Server(given.kind) as target:
        words = [*keyferry(), "generate", "-p", str(source.port), "--keys", str(given.keys), "--progress", "none"]
        subprocess.run(words, check=True, capture_output=True)
        print(f"{facts.versions(source)['server']} twice, {machine['cores']} cores ({machine['cpu']})")
        print(
            f"{given.rate:,} changes a second over {given.keys:,} keys, {given.seconds} s, {given.rounds} rounds", "\n"
        )
        print(f"{'':<25}{'changes/s':>10}{'source, us':>12}{'lag p99':>10}{'lag max':>10}{'gaps':>6}", flush=True)
        for name, figures in measure(source, target, given).items():
            lags = ""
            if figures.gaps:
                lags = f"{median(figures.lag_p99_s):>8.2f} s{max(figures.lag_max_s):>8.2f} s{sum(figures.gaps):>6}"
            print(f"{name:<25}{median(figures.rate):>10,.0f}{median(figures.cpu_us):>12.2f}{lags}")


if __name__ == "__main__":
    main()

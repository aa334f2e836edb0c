"""The churn of `keyferry generate`, for the masters of a cluster: data sets of one slot each, and changes at a pace."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, count, islice

from keyferry.workers.churn import DEFAULT_OPERATIONS, Churn, outcome, run_of_changes
from keyferry.workers.churn_lane import Schedule
from keyferry.workers.synth import Spec, block, block_count

from .clusternodes import Node
from .clusters import Cluster

#: Slots of each master that have keys. A tag in all names of a data set keeps it, its renames and transactions in one.
SLOTS_A_MASTER = 10
PAUSE_S = 0.01


@dataclass
class Wrote:
    """What was changed within which time."""

    changes: int = 0
    seconds: float = 0.0

    @property
    def a_second(self) -> float:
        """The rate that was reached."""
        return self.changes / self.seconds if self.seconds else 0.0


class ClusterChurn:
    """`keys` keys of all types over a cluster whose slots stay where they are."""

    def __init__(self, cluster: Cluster, keys: int, seed: int = 3) -> None:
        self.specs: dict[str, list[Spec]] = {node.address: [] for node in cluster.masters}
        self.nodes = {node.address: node for node in cluster.masters}
        self.wrote = Wrote()
        missing = SLOTS_A_MASTER * len(self.nodes)
        share = keys // missing
        for number in count():
            tag = b"{%d}:" % number
            specs = self.specs[cluster.owner(tag).address]
            if len(specs) < SLOTS_A_MASTER:
                specs.append(Spec(share, tag, elements_max=20, seed=seed + number))
                missing -= 1
            if not missing:
                break

    def fill(self) -> None:
        """Write the data sets."""
        for address, specs in self.specs.items():
            with self.nodes[address].connect() as connection:
                for spec in specs:
                    for number in range(block_count(spec)):
                        made = block(spec, number)
                        replies = connection.exchange(made.requests, made.replies)
                        assert not any(isinstance(reply, Exception) for reply in replies), replies[:3]

    @contextmanager
    def changing(self, rate: int, seconds: float) -> Iterator[None]:
        """So many changes a second in all, for so long, whatever the caller does meanwhile; see `wrote`."""
        ended = threading.Event()
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            share = rate / len(self.nodes)
            running = [pool.submit(self._change, address, share, seconds, ended) for address in self.nodes]
            try:
                yield
                self.wrote = Wrote(*map(sum, zip(*map(Future.result, running))))
                self.wrote.seconds /= len(self.nodes)
            finally:
                ended.set()

    def _change(self, address: str, rate: float, seconds: float, ended: threading.Event) -> tuple[int, float]:
        churns = [Churn(spec, DEFAULT_OPERATIONS, rate) for spec in self.specs[address]]
        changes = chain.from_iterable(run_of_changes(churns[turn % len(churns)], f"{turn}") for turn in count())
        began = time.monotonic()
        schedule, done = Schedule(rate, began), 0
        with self.nodes[address].connect() as connection:
            while (now := time.monotonic()) < began + seconds and not ended.wait(PAUSE_S):
                due = list(islice(changes, schedule.due(now)))
                replies = connection.exchange(b"".join([one.command for one in due]), sum(one.replies for one in due))
                idle, refused = outcome(due, replies)
                assert not refused, refused[0]
                schedule.give_back(idle)
                done += len(due) - idle
        return done, time.monotonic() - began


def flush_and_write_groups(master: Node, key: str) -> None:
    """What feeds tell badly: a flush of a node, and a stream whose group comes later."""
    master.call("FLUSHALL")
    master.call("XADD", key, "1-1", "field", "value")
    master.call("XGROUP", "CREATE", key, "group", "0")

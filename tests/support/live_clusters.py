"""Live copies of clusters, and who writes to these meanwhile."""

from __future__ import annotations

import random
import threading
from contextlib import AbstractContextManager
from functools import partial

from .clusters import Cluster
from .processes import VERIFIED, Run, start_keyferry
from .servers import Server
from .threads import meanwhile

#: How many different keys are written.
KEYS = 3000


def write(side: Cluster, stop: threading.Event) -> None:
    """Keys come, change and go, until told to stop; what a cluster refuses while it changes is left out."""
    chance = random.Random(3)
    with side.connect() as connection:
        number = 0
        while not stop.wait(0.005):
            number += 1
            keys = [b"key:%d" % chance.randrange(KEYS) for _ in range(20)]
            connection.pipeline([(b"SET", key, b"%d" % number) for key in keys[1:]] + [(b"DEL", keys[0])])


def written(side: Cluster) -> AbstractContextManager[None]:
    """It is written to as long as the block lasts."""
    return meanwhile(partial(write, side))


def start_live_cluster(source: Cluster | Server, target: Cluster | Server, *words: str) -> Run:
    """As `start_live`, of servers that URIs name, and which take a while."""
    idle = () if "--idle-timeout" in words else ("--idle-timeout", "1s")
    line = ("replicate", source.uri, target.uri, "--live", *idle, "--json")
    return start_keyferry(*line, *words, env=VERIFIED)

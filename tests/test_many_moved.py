"""Many slots have moved since the plan was made: one answer tells of all of its keys' slots, not of one a try."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from tests.conftest import ClusterFactory, ServerFactory
from tests.support.clusters import Cluster
from tests.support.live import wait_until
from tests.support.mover import Mover
from tests.support.processes import VERIFIED, start_keyferry

NAMES = [b"key:%d" % number for number in range(4_000)]
SLOTS = range(9_000, 10_500)
#: Not enough for a pause between two tries for each slot.
PATIENCE = ("--retry-for", "10s")


def move_many(cluster: Cluster, meanwhile: Callable[[], object] = lambda: None) -> None:
    with Mover(cluster, SLOTS, cluster.masters[0]) as mover:
        while mover.is_alive():
            meanwhile()
            time.sleep(0.2)


def test_keys_are_looked_up_at_a_source_of_which_many_slots_have_moved(
    cluster: ClusterFactory, server: ServerFactory
) -> None:
    source, target = cluster("7.0", 3, 0), server("7.0")
    with source.connect() as connection:
        connection.pipeline((b"SET", name, b"value") for name in NAMES)
    assert target.call("SET", "of somebody else", "value") == b"OK"  # so that the target's keys are looked up
    live = ("--live", "--idle-timeout", "3000", *PATIENCE)
    with start_keyferry("replicate", source.uri, target.uri, *live, env=VERIFIED) as run:
        wait_until(lambda: target.call("DBSIZE") == len(NAMES) + 1)
        move_many(source)
        ran = run.wait()
    assert ran.code == 0 and f"OK:{len(NAMES)} V:0 >:0" in ran.out, (ran.out, ran.err)


def test_keys_are_removed_at_a_target_of_which_many_slots_have_moved(
    cluster: ClusterFactory, server: ServerFactory
) -> None:
    source, target = server("7.0"), cluster("7.0", 3, 0)
    assert source.call("MSET", *(word for name in NAMES for word in (name, b"value"))) == b"OK"
    live = ("--live", "--idle-timeout", "3000", *PATIENCE)  # each window learns of its own slots
    with start_keyferry("replicate", source.uri, target.uri, *live, env=VERIFIED) as run:
        wait_until(lambda: target.dbsize() == len(NAMES))
        move_many(target, lambda: source.call("SET", NAMES[0], "value"))  # which is no long silence to end it by
        assert source.call("DEL", *NAMES[1:]) == len(NAMES) - 1
        ran = run.wait()
    assert ran.code == 0 and "OK:1 V:0 >:0 <:0 T:0" in ran.out, (ran.out, ran.err)
    assert target.dbsize() == 1


def test_existing_keys_are_passed_over_at_a_target_of_which_many_slots_have_moved(
    cluster: ClusterFactory, server: ServerFactory
) -> None:
    source, target = server("7.0"), cluster("7.0", 3, 0)
    assert source.call("MSET", *(word for name in NAMES for word in (name, b"value"))) == b"OK"
    with target.connect() as connection:
        connection.pipeline((b"SET", name, b"other") for name in NAMES[::2])
    words = ("--on-conflict", "skip", "--rate", "1000", "--workers", "1", "--no-verify", *PATIENCE)
    with start_keyferry("replicate", source.uri, target.uri, *words) as run:
        wait_until(lambda: target.dbsize() > len(NAMES) // 2)
        run.signal_all(signal.SIGSTOP)  # however long the slots take to be moved, the keys are not all done before
        move_many(target)
        run.signal_all(signal.SIGCONT)
        ran = run.wait()
    assert ran.code == 0 and f"skipped {len(NAMES) // 2:,}" in ran.out, (ran.out, ran.err)
    assert "target: slots " in ran.err

"""Slots that move, and masters that die, late: while both sides are compared, between phases, above a limit."""

from __future__ import annotations

import signal
import time

import pytest

from tests.conftest import ClusterFactory, ServerFactory
from tests.support.clusternodes import Node, slot_of
from tests.support.clusters import Cluster
from tests.support.commands import verdict_of
from tests.support.filling import write_numbers
from tests.support.hooks import SURVEYED
from tests.support.live import UNTIL_A_SIGNAL, followed, wait_until
from tests.support.live_clusters import start_live_cluster
from tests.support.processes import VERIFIED, Result, Run, run_keyferry, start_keyferry
from tests.support.proxy import FaultProxy
from tests.support.servers import Server

KEYS = 6_000
#: A comparison takes some seconds.
SLOWLY = ("--rate", "2000", "--workers", "1")
BEGUN_S = 1.0
#: Some slots, and a tag of each.
TAGS = {slot_of(tag): tag for tag in (b"%d" % number for number in range(50))}


def scanned_last(node: Node, slot: int | None = None) -> bytes:
    """The key, or that of a slot, that a scan of the node brings last."""
    keys: list[bytes] = []
    cursor = b"0"
    with node.connect() as connection:
        while True:
            cursor, found = connection.must("SCAN", cursor, "COUNT", 1000)
            keys += found
            if cursor == b"0":
                return [key for key in keys if slot in (None, slot_of(key))][-1]


def until_compared(run: Run) -> None:
    """The comparison is under way: nodes with few keys were read."""
    run.wait_for_text("verify begins")
    time.sleep(BEGUN_S)


@pytest.mark.parametrize("stays_open", [False, True], ids=["moved", "stays open"])
def test_a_key_that_goes_to_a_node_that_was_read_already_is_compared(
    stays_open: bool, cluster: ClusterFactory, server: ServerFactory
) -> None:
    """It has left the one before that came by, and arrives at the other after it had been there.

    Where its slot is open before and after, only what is written tells that keys have gone.
    """
    source, target = cluster("7.0", 2, 0), server("7.0")
    full, empty = source.masters
    owners = source.owners()
    names = [name for n in range(3 * KEYS) if owners[slot_of(name := b"key:%d" % n)] == full.address][:KEYS]
    with source.connect() as connection, target.connect() as other:
        connection.pipeline((b"SET", name, b"value") for name in names)
        other.pipeline((b"SET", name, b"value") for name in names)
    lost = scanned_last(full)
    assert target.call("DEL", lost) == 1
    if stays_open:
        source.move_slot(slot_of(lost), empty, leave_open=True, share=0)
    with start_keyferry("compare", source.uri, target.uri, *SLOWLY) as run:
        until_compared(run)
        source.move_slot(slot_of(lost), empty, leave_open=stays_open)
        assert run.running
        ran = run.wait()
    assert (ran.code, verdict_of(ran).split()[2]) == (1, ">:1"), (ran.out, ran.err)


def test_a_key_that_comes_back_to_a_node_that_was_read_already_is_compared(
    cluster: ClusterFactory, server: ServerFactory
) -> None:
    """The move of its slot is given up: no owner changes, and in the end no slot is open."""
    source, target = cluster("7.0", 2, 0), server("7.0")
    full, empty = source.masters
    owners = source.owners()
    slot = next(slot for slot, owner in owners.items() if owner == empty.address and slot in TAGS)
    names = [name for n in range(3 * KEYS) if owners[slot_of(name := b"key:%d" % n)] == full.address][:KEYS]
    names += [b"{%s}:%d" % (TAGS[slot], n) for n in range(100)]
    with source.connect() as connection, target.connect() as other:
        connection.pipeline((b"SET", name, b"value") for name in names)
        other.pipeline((b"SET", name, b"value") for name in names)
    source.move_slot(slot, full, leave_open=True)
    lost = scanned_last(full, slot)
    assert target.call("DEL", lost) == 1
    with start_keyferry("compare", source.uri, target.uri, *SLOWLY) as run:
        until_compared(run)
        source.give_up_move(slot, full)
        assert run.running
        ran = run.wait()
    assert (ran.code, verdict_of(ran).split()[2]) == (1, ">:1"), (ran.out, ran.err)


def copied(source: Cluster, target: Server) -> None:
    write_numbers(source, KEYS)
    ran = run_keyferry("replicate", source.uri, target.uri)
    assert ran.code == 0, ran.err


def assert_followed(ran: Result) -> None:
    """A master was replaced on the way, and all keys are equal in the end."""
    assert ran.code == 0, ran.err
    assert "begins again" in ran.err or "goes on with what there is now" in ran.err
    assert verdict_of(ran).startswith(f"OK:{KEYS} V:0 >:0 <:0 T:0")


@pytest.mark.parametrize("command", ["compare", pytest.param("replicate", marks=pytest.mark.soak)])
def test_a_master_that_dies_while_both_sides_are_compared_is_followed_by_its_replica(
    command: str, cluster: ClusterFactory, server: ServerFactory
) -> None:
    source, target = cluster("7.0", 3, 1, fresh=True), server("7.0")
    copied(source, target)
    first = source.masters[0]
    words = (command, source.uri, target.uri, *SLOWLY, "--retry-for", "20s")
    with start_keyferry(*words, env=VERIFIED) as run:
        until_compared(run)
        source.kill_master(first)
        ran = run.wait()
    assert_followed(ran)


@pytest.mark.parametrize("command", [pytest.param("compare", marks=pytest.mark.soak), "replicate"])
def test_a_master_that_dies_between_two_phases_is_followed_by_its_replica(
    command: str, cluster: ClusterFactory, server: ServerFactory
) -> None:
    """Nobody but the coordinator asks it then, and it would be waited for in vain."""
    source, target = cluster("7.0", 3, 1, fresh=True), server("7.0")
    copied(source, target)
    first = source.masters[0]
    counted = SURVEYED + (2 if command == "compare" else 1)
    with FaultProxy(first.port, f"stall at request DBSIZE {counted} connection 1") as proxy:
        words = ("-u", source.uri, "--remap", f"{first.address}={proxy.address}", command, target.uri)
        with start_keyferry(*words, "--retry-for", "20s", env=VERIFIED) as run:
            proxy.wait_until_fired(60)
            source.kill_master(first)
            proxy.set("reset at connect always")
            proxy.kill_all()
            ran = run.wait()
    assert_followed(ran)


def test_a_master_that_dies_at_the_last_look_of_a_live_copy_is_followed_by_its_replica(
    cluster: ClusterFactory, server: ServerFactory
) -> None:
    """The feed waits for an answer to its fence: it asks the master four times for the cut-over, and twice here."""
    source, target = cluster("7.0", 3, 1, fresh=True), server("7.0")
    write_numbers(source, KEYS)
    first = source.masters[0]
    with FaultProxy(first.port, "stall at request PING 7 connection 3") as proxy:
        words = ("-u", source.uri, "--remap", f"{first.address}={proxy.address}", "replicate", target.uri)
        with start_keyferry(*words, "--live", "--idle-timeout", "500", "--retry-for", "20s", env=VERIFIED) as run:
            proxy.wait_until_fired(60)
            assert "verify begins" in run.err
            source.kill_master(first)
            proxy.set("reset at connect always")
            proxy.kill_all()
            ran = run.wait()
    assert ran.code == 0 and "begins again" in ran.err, ran.err
    assert verdict_of(ran).startswith(f"OK:{KEYS} V:0 >:0 <:0 T:0")


@pytest.mark.parametrize("filters", [("--type", "string"), ("--type", "string", "--max-size", "1kb")], ids=len)
def test_a_limit_above_all_keys_copies_all_though_slots_move(
    filters: tuple[str, ...], cluster: ClusterFactory, server: ServerFactory
) -> None:
    """The names come by one scan a node, so what moves to a node that was read has to be looked for as well."""
    source, target = cluster("7.0", 2, 0), server("7.0")
    empty, full = source.masters
    owners = source.owners()
    names = [name for n in range(3 * KEYS) if owners[slot_of(name := b"key:%d" % n)] == full.address][:KEYS]
    with source.connect() as connection:
        connection.pipeline((b"SET", name, b"value") for name in names)
    late = scanned_last(full)
    assert source.call("HSET", b"{%s}" % late, "no", "string") == 1
    words = ("replicate", source.uri, target.uri, *SLOWLY, "--limit", "1000000", *filters)
    with start_keyferry(*words, env=VERIFIED) as run:
        run.wait_for_text("copy begins")
        time.sleep(BEGUN_S)
        source.move_slot(slot_of(late), empty)
        assert run.running
        ran = run.wait()
    assert ran.code == 0, ran.err
    assert target.call("EXISTS", late) == 1 and target.call("DBSIZE") == KEYS


def test_a_key_of_the_target_that_goes_to_a_node_that_was_read_already_is_found_in_a_live_copy(
    cluster: ClusterFactory, server: ServerFactory
) -> None:
    """Somebody else has written it there: no feed tells of that, nor of its way."""
    source, target = server("7.0"), cluster("7.0", 2, 0)
    full, empty = target.masters
    owners = target.owners()
    names = [name for n in range(3 * KEYS) if owners[slot_of(name := b"key:%d" % n)] == full.address][:KEYS]
    with source.connect() as connection:
        connection.pipeline((b"SET", name, b"value") for name in names)
    with start_live_cluster(source, target, *SLOWLY, *UNTIL_A_SIGNAL) as run:
        wait_until(lambda: target.dbsize() == KEYS)
        extra = scanned_last(full)
        source.call("DEL", extra)
        wait_until(lambda: target.dbsize() == KEYS - 1)
        target.call("SET", extra, "of somebody else", key=extra)
        scans = full.calls("scan")
        run.signal(signal.SIGINT)
        wait_until(lambda: full.calls("scan") > scans)
        target.move_slot(slot_of(extra), empty)
        assert run.running
        done = followed(run)
    assert done.ran.code == 1, done.ran.err
    assert done.told["verify"]["only_at_target"] == 1
    assert "slots of the target have moved during the verification: it is made again" in done.ran.err

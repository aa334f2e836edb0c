"""Replicas that change while they are read: synchronised anew, promoted, gone; and slots that move between masters."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

import keyferry
from keyferry.lookout import Changes, Lookout
from keyferry.moves import Moves
from keyferry.partitioners.control import Control
from keyferry.partitioners.replicas import Goal, Pair
from keyferry.partitioners.topology import describe
from keyferry.reaching_replicas import as_replica
from keyferry.replica_watch import ReplicaWatch
from keyferry.workers.errors import ChangedError
from keyferry.workers.setup import Node
from keyferry.workers.slots import ranges_of
from keyferry.workers.task import Task
from tests.conftest import ClusterFactory, ServerFactory
from tests.support.clusternodes import slot_of
from tests.support.compare import assert_equal
from tests.support.filling import Side, keys_of, write_many, write_strings
from tests.support.live import wait_until
from tests.support.mover import Mover
from tests.support.processes import VERIFIED, Result, Run, run_keyferry, start_keyferry
from tests.support.proxy import FaultProxy
from tests.support.replication import MASTER, follow, link_of, synchronise_anew, wait_until_in_step
from tests.support.sentinels import Sentinels
from tests.support.servers import Server, free_port

KEYS = 10_000


def copied_while(source: str, target: Side, happens: Callable[[], object], *words: str) -> Result:
    """A copy of about three seconds from a replica, soon after whose beginning something happens."""
    line = ("-u", source, "--read-from", "replica", "replicate", "-u", target.uri, "--rate", "3000", *words)
    with ThreadPoolExecutor(1) as others:
        ran = others.submit(run_keyferry, *line, env=VERIFIED, timeout=100)
        wait_until(lambda: keys_of(target) > 200)
        assert not ran.done()
        happens()
        return ran.result()


@pytest.mark.parametrize("kind", ["7.0", "9.1"])
def test_a_replica_that_is_synchronised_anew_is_read_again(kind: str, server: ServerFactory) -> None:
    """It keeps its run_id and its master_replid, and may be up again before anybody looks."""
    master, replica, target = server(kind, *MASTER), server(kind, fresh=True), server(kind)
    write_strings(master, KEYS)
    follow(replica, master)
    ran = copied_while(master.uri, target, lambda: synchronise_anew(master, replica))
    assert ran.code == 0, ran.err
    assert "synchronised anew (a full resync): the copy begins again" in ran.err
    assert_equal(master, target)


@contextmanager
def compared_while_synchronised_anew(server: ServerFactory, rate: str) -> Iterator[Run]:
    """A comparison with a replica that gets all its data again, with a change, soon after the beginning."""
    master, replica, target = server("7.0", *MASTER), server("7.0", fresh=True), server("7.0")
    for one in (master, target):
        write_strings(one, KEYS)
    follow(replica, master)
    line = ("-u", master.uri, "--read-from", "replica", "compare", "-u", target.uri, "--rate", rate)
    with start_keyferry(*line) as run:
        run.wait_for_text("verify begins")
        synchronise_anew(master, replica, "key:1")
        yield run


def test_a_comparison_with_a_replica_that_is_synchronised_anew_begins_again(server: ServerFactory) -> None:
    with compared_while_synchronised_anew(server, "3000") as run:
        ran = run.wait()
    assert "(a full resync): the comparison begins again" in ran.err
    assert ran.code == 1 and f"OK:{KEYS - 1} V:1 >:0 <:0 T:0" in ran.out, ran.out


def test_a_comparison_looks_at_its_replica_while_it_compares(server: ServerFactory) -> None:
    """It would take two minutes more to the end, and what it finds until then is worth nothing."""
    with compared_while_synchronised_anew(server, "80") as run:
        run.wait_for_text("(a full resync): the comparison begins again")
        run.signal(signal.SIGINT)
        assert run.wait().code == 130


def watch_of(replica: Server) -> ReplicaWatch:
    """Somebody who looks at a replica when asked to; what is said goes nowhere."""
    control = Control(keyferry.Endpoint(port=replica.port), "source")
    try:
        return ReplicaWatch(as_replica(control, describe(control)), lambda text: None)
    finally:
        control.close()


@pytest.mark.parametrize("allowed", [True, False])
def test_where_a_full_resync_cannot_be_told_any_loss_of_the_link_counts_as_one(
    allowed: bool, server: ServerFactory
) -> None:
    master, replica = server("7.0", *MASTER), server("7.0", fresh=True)
    follow(replica, master)
    if not allowed:
        replica.call("ACL", "SETUSER", "default", "-client|list")
    watch = watch_of(replica)
    try:
        assert bool(watch.then.link_id) == allowed
        watch.check(fresh=True)
        replica.call("REPLICAOF", "127.0.0.1", free_port())
        seen = nullcontext() if allowed else pytest.raises(ChangedError, match="a full resync")
        with seen:
            watch.check(fresh=True)
    finally:
        watch.close()


def test_a_link_that_comes_back_where_it_was_costs_nothing(server: ServerFactory) -> None:
    master, replica, target = server("8.2", *MASTER), server("8.2", fresh=True), server("8.2")
    write_strings(master, KEYS)
    follow(replica, master)
    ran = copied_while(master.uri, target, lambda: replica.call("CLIENT", "KILL", "TYPE", "master"))
    assert ran.code == 0 and "begins again" not in ran.err, ran.err
    assert_equal(master, target)


def test_in_the_place_of_a_replica_that_is_gone_another_is_read(server: ServerFactory) -> None:
    master, target = server("7.0", *MASTER), server("7.0")
    replicas = [server("7.0", fresh=True) for _ in range(2)]
    write_strings(master, KEYS)
    for replica in replicas:
        follow(replica, master)

    def kill_the_one_that_is_read() -> None:
        read = max(replicas, key=lambda one: one.call("CLIENT", "LIST").count(b"name=keyferry:"))
        read.kill()

    ran = copied_while(master.uri, target, kill_the_one_that_is_read)
    assert ran.code == 0, ran.err
    assert "longer than 5 s: the copy begins again" in ran.err
    assert_equal(master, target)


@pytest.mark.soak
def test_a_replica_that_becomes_the_master_is_left_for_another(server: ServerFactory) -> None:
    target = server("7.0")
    with Sentinels("7.0") as group:
        write_strings(group.master, KEYS)
        wait_until_in_step(group.master, *group.replicas)
        ran = copied_while(group.uri, target, group.failover)
        assert ran.code == 0 and "the copy begins again" in ran.err, ran.err
        assert f"(replica of {group.master.address})" in ran.err
        assert_equal(group.master, target)


def test_a_cluster_whose_replica_takes_over_loses_nothing(cluster: ClusterFactory, server: ServerFactory) -> None:
    source, target = cluster("8.2", 2, 1, fresh=True), server("8.2")
    write_many(source, KEYS)
    for master in source.masters:
        wait_until_in_step(master, *source.replicas_of(master))
    ran = copied_while(source.uri, target, lambda: source.fail_over(source.masters[1]))
    assert ran.code == 0, ran.err
    assert "what was copied of 1 node stands" in ran.err
    assert_equal(source, target)


def test_a_replica_in_a_cluster_that_is_synchronised_anew_is_read_again_alone(
    cluster: ClusterFactory, server: ServerFactory
) -> None:
    source, target = cluster("7.0", 2, 1, *MASTER), server("7.0")
    write_many(source, KEYS)
    for master in source.masters:
        wait_until_in_step(master, *source.replicas_of(master))
    master = source.masters[0]
    [replica] = source.replicas_of(master)
    key = next(f"missed:{n}" for n in range(100) if source.owner(f"missed:{n}") is master)
    ran = copied_while(source.uri, target, lambda: synchronise_anew(master, replica, key))
    assert ran.code == 0, ran.err
    assert f"what was copied of 1 node stands; {replica.address} is copied again" in ran.err
    assert_equal(source, target)


@pytest.mark.parametrize("kind", ["7.0", "9.1"])
def test_keys_of_slots_that_move_between_masters_are_found_at_their_replicas(
    kind: str, cluster: ClusterFactory, server: ServerFactory
) -> None:
    source, target = cluster(kind, 2, 1), server(kind)
    write_many(source, KEYS)
    for master in source.masters:
        wait_until_in_step(master, *source.replicas_of(master))
    to = source.masters[0]

    def move() -> None:
        with Mover(source, range(10_000, 10_200), to):
            pass

    ran = copied_while(source.uri, target, move)
    assert ran.code == 0, ran.err
    assert "of moved slots are copied again" in ran.err
    assert_equal(source, target)


def test_a_slot_that_stays_open_is_waited_for_and_then_refused(cluster: ClusterFactory, server: ServerFactory) -> None:
    """A replica does not say ASK: what has left it may be in nobody's reach."""
    source, target = cluster("7.0", 2, 1, fresh=True), server("7.0")
    write_many(source, 300)
    one, other = source.masters
    slot = min(
        slot
        for slot, owner in source.owners().items()
        if owner == one.address and one.call("CLUSTER", "COUNTKEYSINSLOT", slot)
    )
    source.move_slot(slot, other, leave_open=True)
    words = ("-u", source.uri, "--read-from", "replica", "replicate", "-u", target.uri, "--retry-for", "2s")
    ran = run_keyferry(*words, env=VERIFIED)
    assert ran.code == 7 and f"slot {slot} still moving" in ran.err and "--read-from master" in ran.err, ran.err
    source.move_slot(slot, other)
    ran = run_keyferry(*words, env=VERIFIED)
    assert ran.code == 0, ran.err
    assert_equal(source, target)


@pytest.mark.parametrize("named", [False, True], ids=["all", "named"])
def test_a_comparison_waits_for_a_slot_that_is_half_moved_and_removes_nothing(
    named: bool, cluster: ClusterFactory, server: ServerFactory, tmp_path: Path
) -> None:
    """What has moved is gone at the one replica, and the other one sends on to the one that has it no more."""
    source, target = cluster("7.0", 2, 1, fresh=True), server("7.0")
    names = [b"{tag}:%d" % number for number in range(40)]
    for side in (source, target):
        assert {side.call("SET", name, "value") for name in names} == {b"OK"}
    assert target.call("SET", "{tag}:more", "value") == b"OK"
    slot = slot_of("{tag}")
    other = next(node for node in source.masters if node is not source.owner(slot))
    source.move_slot(slot, other, leave_open=True, share=0.5)
    source.wait_until_ready()
    words = ["-u", source.uri, "--read-from", "replica", "compare", "-u", target.uri, "--retry-for", "2s"]
    if named:
        (tmp_path / "names").write_bytes(b"\n".join([*names, b"{tag}:more"]))
        words += ["--keys-from", str(tmp_path / "names")]
    words += ["--repair", "--prune"]
    ran = run_keyferry(*words)
    assert target.call("DBSIZE") == 41
    assert ran.code == 7 and f"slot {slot} still moving" in ran.err and "--read-from master" in ran.err, ran.err
    source.move_slot(slot, other)
    ran = run_keyferry(*words)
    assert ran.code == 0 and "OK:40 V:0 >:0 <:0 T:0" in ran.out, (ran.out, ran.err)
    assert target.call("DBSIZE") == 40


def test_keys_of_moved_slots_are_not_looked_for_before_the_replicas_are_in_step(
    cluster: ClusterFactory, server: ServerFactory
) -> None:
    """What a slot's new master has may not be at its replica yet."""
    source, master, replica = cluster("7.0", 2, 0), server("7.0", *MASTER), server("7.0", fresh=True)
    assert source.call("SET", "key", "value") == b"OK"
    ends = [keyferry.Endpoint(port=one.port) for one in (*source.masters, master, replica)]
    *controls, ahead, behind = [Control(end, "source") for end in ends]
    slots = [ranges_of(sorted(seen.slots)) for one in source.masters for seen in source.view() if seen.id == one.id]
    nodes = [Node(end, slots=owned) for end, owned in zip(ends, slots, strict=False)]
    lookout = Lookout("source", nodes, [one.id for one in source.masters])
    said: list[str] = []
    moves = Moves(lookout, controls, [(0, 0)], 10, said.append)
    moves.pairs = [Pair("", ahead, behind)]
    with FaultProxy(master.port, watch=False) as proxy:
        assert replica.call("REPLICAOF", "127.0.0.1", proxy.port) == b"OK"
        wait_until(lambda: link_of(replica) == "up")
        proxy.set("stall replies after 0 bytes")
        master.call("SET", "late", "1")
        moves.note(Changes({slot_of("key")}, set()))
        assert moves.tasks() == [] and not moves.settled
        assert "bytes behind its master" in said[-1]
        proxy.set("")
        proxy.release()
        found: list[Task] = []
        wait_until(lambda: bool(found.extend(moves.tasks()) or found))
    assert [task.keys for task in found] == [[b"key"]]
    lookout.close()
    for control in (*controls, ahead, behind):
        control.close()


def test_a_replica_is_not_in_step_with_a_server_that_is_not_its_master(server: ServerFactory) -> None:
    """Its offset would let a copy end too early, or never."""
    master, replica, stranger = server("7.0", *MASTER), server("7.0", fresh=True), server("7.0", fresh=True)
    follow(replica, master)
    ours, theirs, others = [Control(keyferry.Endpoint(port=one.port), "source") for one in (replica, master, stranger)]
    try:
        assert Goal([Pair("", theirs, ours)]).missing() == ("", "")
        reason, address = Goal([Pair("", others, ours)]).missing()
        assert (address, f"{stranger.address} is not its master" in reason) == (replica.address, True)
    finally:
        for control in (ours, theirs, others):
            control.close()

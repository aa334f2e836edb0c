"""Keys of slots that have moved: each is looked for until its owner has told of it, whatever comes in between."""

from __future__ import annotations

from keyferry.lookout import Changes, Lookout
from keyferry.moves import Moves
from keyferry.partitioners.control import Control
from keyferry.workers.endpoint import Endpoint
from keyferry.workers.setup import Node
from keyferry.workers.slots import ranges_of
from keyferry.workers.task import Task
from tests.conftest import ClusterFactory
from tests.support.clusternodes import slot_of
from tests.support.live import wait_until
from tests.support.proxy import FaultProxy


def test_what_one_owner_told_is_not_forgotten_when_another_does_not_answer(cluster: ClusterFactory) -> None:
    """Slots went to two masters, and the second of these is away for a moment when its names are asked for."""
    source = cluster("7.0", 2, 0)
    names = [b"key:%d" % n for n in range(20)]
    for name in names:
        assert source.call("SET", name, "value") == b"OK"
    nodes = [
        Node(Endpoint(port=one.port), slots=ranges_of(sorted(seen.slots)))
        for one in source.masters
        for seen in source.view()
        if seen.id == one.id
    ]
    lookout = Lookout("source", nodes, [one.id for one in source.masters])
    with FaultProxy(source.masters[1].port, "reset at connect always") as proxy:
        controls = [Control(Endpoint(port=port), "source") for port in (source.masters[0].port, proxy.port)]
        moves = Moves(lookout, controls, [(0, 0)], 10, print)
        moves.note(Changes({slot_of(name) for name in names}, set()))
        found: list[Task] = moves.tasks()
        assert not moves.settled
        proxy.set("")
        wait_until(lambda: bool(found.extend(moves.tasks()) or moves.settled))
    lookout.close()
    for control in controls:
        control.close()
    assert sorted(key for task in found for key in task.keys) == sorted(names)


def test_nothing_is_settled_as_long_as_no_node_tells_who_owns_the_slots(cluster: ClusterFactory) -> None:
    """All connections are lost at the end of a copy, and a slot has moved meanwhile."""
    source = cluster("7.0", 2, 0)
    assert source.call("SET", "key", "value") == b"OK"
    owner = source.owner("key")
    with FaultProxy(source.masters[0].port) as one, FaultProxy(source.masters[1].port) as other:
        nodes = [
            Node(Endpoint(port=proxy.port), slots=ranges_of(sorted(seen.slots)))
            for proxy, master in zip((one, other), source.masters, strict=True)
            for seen in source.view()
            if seen.id == master.id
        ]
        lookout = Lookout("source", nodes, [master.id for master in source.masters])
        controls = [Control(node.endpoint, "source") for node in nodes]
        moves = Moves(lookout, controls, [(0, 0)], 10, print)
        moves.note(lookout.begin())
        for proxy in (one, other):
            proxy.set("reset at connect always")
            proxy.kill_all()
        source.move_slot(slot_of("key"), next(node for node in source.masters if node is not owner))
        assert moves.tasks() == [] and not moves.settled
        for proxy in (one, other):
            proxy.set("")
        found: list[Task] = []
        wait_until(lambda: bool(found.extend(moves.tasks()) or moves.settled))
        lookout.close()
        for control in controls:
            control.close()
    assert [task.keys for task in found] == [[b"key"]]

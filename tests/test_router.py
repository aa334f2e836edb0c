"""Writes go through one sink a target node: a window routed to two plain servers, as a cluster will need it."""

from __future__ import annotations

import random

import pytest

from keyferry.workers.link import LOOK_AGAIN, TELLING_KEYS
from keyferry.workers.read import Method
from keyferry.workers.slots import SLOTS, slot_of
from keyferry.workers.window import Window
from tests.conftest import ServerFactory
from tests.support.compare import all_keys, differences
from tests.support.dataset import fill
from tests.support.live import wait_until
from tests.support.respproxy import Answer, Args, Hooks, Proxy
from tests.support.servers import free_port
from tests.support.window_loop import Loop


@pytest.mark.parametrize("method", list(Method))
@pytest.mark.parametrize("careful", [False, True])
def test_one_window_goes_to_two_servers_by_its_keys(method: Method, careful: bool, server: ServerFactory) -> None:
    source, targets = server("7.0"), [server("7.0"), server("7.0")]
    fill(source, 400)
    loop = Loop(source, targets)
    settled: list[Window] = []
    try:
        loop.run_until(lambda: loop.link.ready)
        window = Window(loop.link, sorted(all_keys(source)), method, settled.append)
        (window.careful if careful else window.start)()
        loop.run_until(lambda: bool(settled))
    finally:
        loop.close()
    assert settled[0].counts.copied == 400
    for number, target in enumerate(targets):
        here = {key for key in all_keys(source) if slot_of(key) & 1 == number}
        assert all_keys(target) == here
        assert all("missing" in line for line in differences(source, target, limit=1000))


@pytest.mark.parametrize("moved", [False, True], ids=["nothing moves", "a slot moves"])
def test_where_one_node_owns_all_slots_keys_go_there_unless_their_slot_has_moved(
    moved: bool, server: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, targets = server("7.0"), [server("7.0"), server("7.0")]
    fill(source, 400, tagged=0.3)
    loop = Loop(source, targets, owners=[0] * SLOTS)
    settled: list[Window] = []
    try:
        loop.run_until(lambda: loop.link.ready)
        loop.link.from_cluster = True
        loop.link.reader.node.slots = [(0, SLOTS - 1)]
        loop.link.note_shared(TELLING_KEYS, shared=False)  # a window before this one has found keys in any slots
        monkeypatch.setattr("keyferry.workers.window.arranged", lambda *_: pytest.fail("nobody has to know the slots"))
        keys = sorted(all_keys(source))
        Window(loop.link, keys, Method.MGET, settled.append).start()
        gone = {slot_of(keys[0])} if moved else set()
        for slot in gone:
            loop.link.router.move(slot, 1)
        loop.run_until(lambda: bool(settled))
    finally:
        loop.close()
    assert settled[0].counts.copied == 400
    assert all_keys(targets[1]) == {key for key in keys if slot_of(key) in gone}
    assert all_keys(targets[0]) == {key for key in keys if slot_of(key) not in gone}


def test_how_keys_lie_in_slots_is_looked_at_again_and_again(server: ServerFactory) -> None:
    """Only a large window tells that keys lie in any slots; where some lie together, the next one looks as well."""
    loop = Loop(server("7.0"), [server("7.0")], owners=[0] * SLOTS)
    try:
        link = loop.link
        link.from_cluster = True
        link.reader.node.slots = [(0, SLOTS - 1)]
        link.note_shared(TELLING_KEYS - 1, shared=False)
        assert link.wants_slots()
        link.note_shared(TELLING_KEYS, shared=False)
        assert [link.wants_slots() for _ in range(2 * LOOK_AGAIN)].count(True) == 2
        link.note_shared(1, shared=True)
        assert link.wants_slots()
    finally:
        loop.close()


class Moved(Hooks):
    """Refuses writes of one slot, which is another node's."""

    def __init__(self, slot: int, address: str) -> None:
        self.slot, self.refusal = slot, b"-MOVED %d %s\r\n" % (slot, address.encode())

    def on_command(self, args: Args) -> Answer:
        writes = args[0] in (b"SET", b"RESTORE")
        return self.refusal if writes and slot_of(args[1]) == self.slot else args


def test_a_slot_that_has_come_to_the_source_node_goes_where_it_belongs_at_the_second_try(server: ServerFactory) -> None:
    """The plan's slots of that node all belong to one node of the target; those that have come since need not."""
    source, targets = server("7.0"), [server("7.0"), server("7.0")]
    fill(source, 400)
    keys = sorted(all_keys(source))
    come = slot_of(keys[0])
    settled: list[Window] = []
    with Proxy(targets[0], Moved(come, targets[1].address)) as first:
        loop = Loop(source, [first, targets[1]], owners=[int(slot == come) for slot in range(SLOTS)])
        try:
            loop.run_until(lambda: loop.link.ready)
            loop.link.from_cluster = True
            loop.link.reader.node.slots = [(0, come - 1), (come + 1, SLOTS - 1)]
            loop.link.router.sinks[1].conn.node.announced = targets[1].address
            loop.link.note_shared(TELLING_KEYS, shared=False)
            Window(loop.link, keys, Method.MGET, settled.append).start()
            loop.run_until(lambda: bool(settled))
        finally:
            loop.close()
    assert (settled[0].counts.copied, settled[0].counts.retried) == (400, 1)
    assert all_keys(targets[1]) == {key for key in keys if slot_of(key) == come}


@pytest.mark.parametrize("method", list(Method))
def test_keys_that_a_scan_by_slots_brings_in_another_order_arrive_all_the_same(
    method: Method, server: ServerFactory
) -> None:
    """Where a slot ends is looked for as if they came slot by slot: the server refuses what is wrong about that."""
    source, target = server("8.2", "--cluster-enabled", "yes", "--cluster-port", str(free_port())), server("8.2")
    assert source.call("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1) == b"OK"
    tags = {slot: n for n in range(50_000) if (slot := slot_of(b"%d" % n)) < 8}
    names = [b"{%d}%d" % (tag, n) for _, tag in sorted(tags.items()) for n in range(100)]
    with source.connect() as connection:
        wait_until(lambda: b"cluster_state:ok" in connection.must("CLUSTER", "INFO"))
        connection.pipeline((b"SET", name, name) for name in names)
    middle = names[1:-1]
    random.Random(method.value).shuffle(middle)
    loop = Loop(source, [target], owners=None)
    settled: list[Window] = []
    try:
        loop.run_until(lambda: loop.link.ready)
        loop.link.by_slot = loop.link.from_cluster = True
        window = Window(loop.link, [names[0], *middle, names[-1]], method, settled.append)
        window.scanned = True
        window.start()
        loop.run_until(lambda: bool(settled))
    finally:
        loop.close()
    assert settled[0].counts.copied == len(names) and all_keys(target) == set(names)

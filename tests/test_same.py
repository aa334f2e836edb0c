"""A key that exists at the target, compared with the source's: equal in whatever encoding, or another one."""

from __future__ import annotations

import time

import pytest

from keyferry.workers.careful import Careful
from tests.conftest import ServerFactory
from tests.support.commands import copied
from tests.support.compare import all_keys
from tests.support.dataset import fill
from tests.support.servers import Server
from tests.support.window_loop import Loop

#: By type: a command that changes any value; the key comes second.
CHANGES: dict[bytes, tuple[str, ...]] = {
    b"string": ("APPEND", "more"),
    b"list": ("RPUSH", "more"),
    b"set": ("SADD", "more"),
    b"hash": ("HSET", "more", "value"),
    b"zset": ("ZADD", "0.5", "more"),
    b"stream": ("XADD", "*", "more", "value"),
}


def met(source: Server, target: Server, keys: set[bytes], strings_first: bool = True) -> tuple[int, int]:
    """How many of `keys`, written where none may be replaced, count as copied and as skipped."""
    loop = Loop(source, [target])
    loop.link.router.owners = None
    loop.link.on_conflict = "skip"
    settled: list[Careful] = []
    try:
        loop.run_until(lambda: loop.link.ready)
        Careful(loop.link, sorted(keys), strings_first, settled.append).start()
        loop.run_until(lambda: bool(settled))
    finally:
        loop.close()
    return settled[0].counts.copied, settled[0].counts.skipped


@pytest.mark.parametrize("strings_first", [True, False], ids=["strings first", "dump"])
@pytest.mark.parametrize("kind", ["7.0", "8.2", "9.1"])
def test_equal_keys_of_all_types_count_as_copied(kind: str, strings_first: bool, server: ServerFactory) -> None:
    source, target = server(kind), server(kind)
    fill(source, 1_000)
    copied(source, target)
    assert met(source, target, all_keys(source), strings_first) == (1_000, 0)


@pytest.mark.parametrize("pair", [("7.0", "8.2"), ("7.0", "9.1")], ids="-".join)
def test_equal_keys_in_the_encodings_of_other_versions_count_as_copied(
    pair: tuple[str, str], server: ServerFactory
) -> None:
    source, target = (server(kind) for kind in pair)
    fill(source, 1_000)
    copied(source, target)
    assert met(source, target, all_keys(source)) == (1_000, 0)


@pytest.mark.parametrize("kind", ["7.0", "8.2", "9.1"])
def test_a_key_that_differs_in_one_element_is_another_one(kind: str, server: ServerFactory) -> None:
    source, target = server(kind), server(kind)
    fill(source, 1_000)
    copied(source, target)
    keys = sorted(all_keys(source))
    with target.connect() as connection:
        types = connection.pipeline([("TYPE", key) for key in keys])
        changes = [(CHANGES[type][0], key, *CHANGES[type][1:]) for key, type in zip(keys, types, strict=True)]
        connection.pipeline(changes)
    assert met(source, target, set(keys)) == (0, 1_000)


@pytest.mark.parametrize("change", ["expiry", "no expiry", "type", "field's expiry"])
def test_a_key_of_equal_elements_may_be_another_one(change: str, server: ServerFactory) -> None:
    source, target = server("8.2"), server("8.2")
    later = str(int(time.time() * 1000) + 10_000_000)
    for one in (source, target):
        one.call("HSET", "key", *(f"{side}{number}" for number in range(600) for side in ("field", "value")))
        one.call("PEXPIREAT", "key", later)
        one.call("HPEXPIREAT", "key", later, "FIELDS", 1, "field1")
    assert met(source, target, {b"key"}) == (1, 0)
    if change == "type":
        target.call("DEL", "key")
        target.call("RPUSH", "key", "field1")
        target.call("PEXPIREAT", "key", later)
    elif change == "expiry":
        target.call("PEXPIREAT", "key", int(later) + 1_000)
    elif change == "no expiry":
        target.call("PERSIST", "key")
    else:
        target.call("HPERSIST", "key", "FIELDS", 1, "field1")
    assert met(source, target, {b"key"}) == (0, 1)


def test_a_string_and_a_hash_of_the_same_name_are_not_the_same(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    source.call("SET", "key", "value")
    target.call("HSET", "key", "field", "value")
    assert met(source, target, {b"key"}) == (0, 1)
    assert met(target, source, {b"key"}) == (0, 1)

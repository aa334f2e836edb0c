"""The data set has every type and encoding of each server, awkward names, and is the same for the same seed."""

from __future__ import annotations

import pytest

from tests.conftest import ServerFactory
from tests.support.binaries import KINDS
from tests.support.compare import all_keys, assert_equal, differences
from tests.support.dataset import fill
from tests.support.shapes import FAR_MS, SHAPES

CORE = {"string", "list", "set", "hash", "zset", "stream"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_shape_that_the_server_has_is_there_in_its_encoding(server: ServerFactory, kind: str) -> None:
    one = server(kind)
    summary = fill(one, 500)
    assert summary.keys == one.call("DBSIZE") == 500
    assert set(summary.types) == CORE
    assert set(summary.shapes) == {shape.name for shape in SHAPES if shape.encoding(kind)}
    for name, key in summary.examples.items():
        assert one.call("OBJECT", "ENCODING", key) == summary.encodings[name].encode(), name
    for name in ("sparse", "dense"):
        assert one.call("PFDEBUG", "ENCODING", summary.examples[f"hll {name}"]) == name.encode()
    expired = [one.call("PTTL", key) > 0 for key in all_keys(one)]
    assert sum(expired) == summary.expiring and 80 < summary.expiring < 170


def test_names_are_awkward(server: ServerFactory) -> None:
    one = server("7.0")
    fill(one, 500)
    names = all_keys(one)
    assert b"" in names
    for part in (b"\r\n", b"\x00", b"\xff", b" ", b"{tag}", b"\x1b", b"*"):
        assert any(part in name for name in names), part
    assert max(map(len, names)) > 1_000


def test_equal_seeds_give_equal_data_and_others_do_not(server: ServerFactory) -> None:
    one, other, third = server("9.1"), server("9.1"), server("9.1")
    fill(one, 400, seed=7, now_ms=FAR_MS)
    fill(other, 400, seed=7, now_ms=FAR_MS)
    fill(third, 400, seed=8, now_ms=FAR_MS)
    assert_equal(one, other)
    assert differences(one, third)


def test_extras_are_made_where_the_server_has_them(server: ServerFactory) -> None:
    new, old = server("8.2"), server("6.2")
    extras = ("huge string", "huge hash", "vector set")
    summary = fill(new, 10, extras=extras)
    assert new.call("STRLEN", summary.examples["huge string"]) == 64 << 20
    assert new.call("HLEN", summary.examples["huge hash"]) == 1_000_000
    assert new.call("TYPE", summary.examples["vector set"]) == b"vectorset"
    assert "vector set" not in fill(old, 10, extras=["vector set"]).examples

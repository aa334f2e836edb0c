"""Values of modules: copied, and compared by what they hold."""

from __future__ import annotations

import pytest

from keyferry.workers.structs.topk import without_addresses
from tests.conftest import ServerFactory
from tests.support.binaries import bloom
from tests.support.commands import at, compared, verdict_of
from tests.support.processes import VERIFIED, run_keyferry

#: Of each type of RedisBloom: how a key is made, and how it is changed.
TYPES: dict[str, tuple[list[tuple[str, ...]], tuple[str, ...]]] = {
    "bloom": ([("BF.ADD", "bloom", "a")], ("BF.ADD", "bloom", "other")),
    "cuckoo": ([("CF.ADD", "cuckoo", "a")], ("CF.ADD", "cuckoo", "other")),
    "sketch": (
        [("CMS.INITBYDIM", "sketch", "100", "5"), ("CMS.INCRBY", "sketch", "a", "3")],
        ("CMS.INCRBY", "sketch", "a", "1"),
    ),
    "top": (
        [("TOPK.RESERVE", "top", "5"), ("TOPK.ADD", "top", *(f"item{number % 9}" for number in range(300)), "12")],
        ("TOPK.ADD", "top", "item3"),
    ),
    "top of nothing": ([("TOPK.RESERVE", "top of nothing", "3")], ("TOPK.ADD", "top of nothing", "a")),
    "digest": ([("TDIGEST.CREATE", "digest"), ("TDIGEST.ADD", "digest", "1", "2")], ("TDIGEST.ADD", "digest", "3")),
}


@pytest.mark.parametrize("pair", [("7.0", "7.0"), ("7.0", "8.2"), ("6.2", "9.1")], ids="-".join)
def test_copies_of_filters_and_sketches_are_equal_and_changes_are_found(
    pair: tuple[str, str], server: ServerFactory
) -> None:
    """A TopK has addresses in its payload, which are others at each server."""
    source, target = (server(kind, modules=[bloom()]) for kind in pair)
    for made, _ in TYPES.values():
        for command in made:
            source.call(*command)
    ran = run_keyferry(*at(source), "replicate", *at(target), env=VERIFIED)
    assert ran.code == 0 and verdict_of(ran) == f"OK:{len(TYPES)} V:0 >:0 <:0 T:0", ran.out
    for number, (_, change) in enumerate(TYPES.values(), 1):
        target.call(*change)
        ran = compared(source, target)
        assert (ran.code, verdict_of(ran)) == (1, f"OK:{len(TYPES) - number} V:{number} >:0 <:0 T:0"), ran.out


@pytest.mark.parametrize("kind", ["7.0", "8.2"])
def test_how_a_server_compresses_its_payloads_is_no_difference(kind: str, server: ServerFactory) -> None:
    """Filters are mostly zeros, which LZF makes smaller; a setting of either side alone has other bytes dumped."""
    source, target = server(kind, modules=[bloom()]), server(kind, modules=[bloom()], fresh=True)
    for made, _ in TYPES.values():
        for command in made:
            source.call(*command)
    source.call("BF.RESERVE", "filter", "0.01", "10000")
    words = (*at(source), "replicate", *at(target), "--source-rdbcompression", "off")
    ran = run_keyferry(*words, env=VERIFIED)
    assert (ran.code, verdict_of(ran)) == (0, f"OK:{len(TYPES) + 1} V:0 >:0 <:0 T:0"), ran.out
    target.client.config_set("rdbcompression", "no")
    for one, other in ((source, target), (target, source)):
        ran = compared(one, other, "--show-diffs", "9")
        assert (ran.code, verdict_of(ran)) == (0, f"OK:{len(TYPES) + 1} V:0 >:0 <:0 T:0"), ran.out
    target.call("BF.ADD", "filter", "a")
    assert verdict_of(compared(source, target)) == f"OK:{len(TYPES)} V:1 >:0 <:0 T:0"


@pytest.mark.parametrize(
    "body", [b"", b"\x00\x01a", b"\x07\x01", b"\x07\x01\x02\x05\x00", b"\x07\x01\x05\xc3\x01\x05\xff"]
)
def test_a_payload_that_is_not_as_expected_is_compared_as_it_is(body: bytes) -> None:
    assert without_addresses(body) == [body]

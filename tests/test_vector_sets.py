"""Vector sets: what a comparison of two of them finds, and what is no difference."""

from __future__ import annotations

import pytest

from tests.conftest import ServerFactory
from tests.support.commands import compared, copied, verdict_of
from tests.support.servers import Server
from tests.support.wire import Arg

Command = tuple[Arg, ...]

MADE: list[Command] = [
    ("VADD", "vectors", "VALUES", 2, 1, number / 300, f"element:{number}", "NOQUANT") for number in range(300)
]
REDUCED: list[Command] = [("VADD", "vectors", "REDUCE", 2, "VALUES", 3, 0.3, 0.1, 0.7, "a", "NOQUANT")]


def vectors_of(server: Server) -> list[Command]:
    """The commands by which a tool that reads and writes elements makes the vector set again."""
    names = server.call("VRANDMEMBER", "vectors", 9)
    found = [(name, server.call("VEMB", "vectors", name)) for name in names]
    return [("VADD", "vectors", "VALUES", len(vector), *vector, name, "NOQUANT") for name, vector in found]


@pytest.mark.parametrize(
    "change",
    [
        ("VREM", "vectors", "element:7"),
        ("VADD", "vectors", "VALUES", 2, 1, 1, "another", "NOQUANT"),
        ("VADD", "vectors", "VALUES", 2, 2, 2 * 7 / 300, "element:7", "NOQUANT"),
        ("VSETATTR", "vectors", "element:7", '{"colour": "red"}'),
    ],
    ids=["an element less", "an element more", "a longer vector", "attributes"],
)
def test_one_element_that_is_another_one_is_found(change: Command, server: ServerFactory) -> None:
    source, target = server("8.2"), server("8.2", fresh=True)
    for command in MADE:
        source.call(*command)
    copied(source, target)
    assert verdict_of(compared(source, target)) == "OK:1 V:0 >:0 <:0 T:0"
    target.call(*change)
    assert verdict_of(compared(source, target)) == "OK:0 V:1 >:0 <:0 T:0"


def test_one_that_has_the_same_elements_but_does_not_reduce_vectors_is_another_one(server: ServerFactory) -> None:
    """Queries by vectors as long as those that the source was given are refused there."""
    source, target = server("8.2"), server("8.2", fresh=True)
    for command in REDUCED:
        source.call(*command)
    for command in vectors_of(source):
        target.call(*command)
    ran = compared(source, target, "--show-diffs", "1")
    assert ran.out.splitlines()[-2:] == [
        'V "vectors" vectorset: projection-input-dim',
        "OK:0 V:1 >:0 <:0 T:0",
    ], ran.out
    assert verdict_of(compared(source, target, "--repair")) == "OK:1 V:0 >:0 <:0 T:0"
    query = ("VSIM", "vectors", "VALUES", 3, 1, 0, 0)
    assert source.call(*query) == target.call(*query) == [b"a"]

"""Who owns which slot: what several nodes say, as one picture, and what has happened between two pictures."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from keyferry.lookout import Changes, Lookout, Picture, changes, picture_of, slots_text
from keyferry.outlook import Outlook
from keyferry.partitioners.cluster import Place, Seen
from keyferry.workers.endpoint import Endpoint
from keyferry.workers.errors import ChangedError
from keyferry.workers.redirects import Redirect, commands_of, redirect_of
from keyferry.workers.resp import command
from keyferry.workers.setup import Node

HALVES = {"a": [(0, 8_191)], "b": [(8_192, 16_383)]}


def seen(node_id: str, epoch: int, slots: list[tuple[int, int]], *, myself: bool = False, opened: int = -1) -> Seen:
    flags = frozenset({"master", "myself"} if myself else {"master"})
    return Seen(Place(node_id, node_id, 1), flags, epoch, slots, frozenset({opened} - {-1}))


def view(of: str, epochs: dict[str, int], slots: dict[str, list[tuple[int, int]]], opened: int = -1) -> list[Seen]:
    """What a node says of all."""
    return [
        seen(node_id, epoch, slots.get(node_id, []), myself=node_id == of, opened=opened if node_id == of else -1)
        for node_id, epoch in epochs.items()
    ]


def picture(epochs: dict[str, int], slots: dict[str, list[tuple[int, int]]], opened: int = -1) -> Picture:
    """Where all nodes agree."""
    return picture_of([view(node_id, epochs, slots, opened) for node_id in epochs])


def test_what_a_node_says_of_itself_counts_and_else_the_later_epoch() -> None:
    moved = {"a": [(0, 7), (9, 8_191)], "b": [(8, 8), (8_192, 16_383)]}
    late = view("a", {"a": 1, "b": 2}, HALVES), view("b", {"a": 1, "b": 3}, moved)
    assert picture_of(late).owners[8] == "b"  # a has not heard of it yet
    dead = [view("b", {"a": 1, "b": 2, "c": 4}, {"a": HALVES["a"], "b": HALVES["b"], "c": HALVES["a"]})]
    assert picture_of(dead).owners[0] == "c"  # a has been replaced


def test_moves_and_open_slots_are_changes() -> None:
    before = picture({"a": 1, "b": 2}, HALVES)
    after = picture({"a": 1, "b": 3}, {"a": [(0, 7), (9, 8_191)], "b": [(8, 8), (8_192, 16_383)]}, opened=11)
    assert changes(before, before) == Changes(set(), set())
    assert changes(before, after) == Changes({8}, {11})
    assert changes(picture({"a": 1, "b": 2}, HALVES, opened=11), before) == Changes(set(), {11})


def test_rule_9_a_node_that_took_its_own_slots_over_had_given_them_away() -> None:
    """Away and back again between two looks: nothing but the epoch tells of it, so all slots of the node count."""
    before, after = picture({"a": 1, "b": 2}, HALVES), picture({"a": 4, "b": 3}, HALVES)
    assert changes(before, after).moved == set(range(16_384))
    assert changes(before, picture({"a": 1, "b": 3}, HALVES)).moved == set(range(8_192, 16_384))


def test_rule_9_a_node_that_took_slots_back_while_it_lost_another_one_had_given_them_away() -> None:
    """Nothing that it has now was new to it, so its epoch tells of slots that were away."""
    before = picture({"a": 1, "b": 2}, HALVES)
    after = picture({"a": 4, "b": 3}, {"a": [(0, 7), (9, 8_191)], "b": [(8, 8), (8_192, 16_383)]})
    assert changes(before, after).moved == set(range(8_192))
    assert changes(before, picture({"a": 1, "b": 3}, {"a": [(0, 7), (9, 8_191)], "b": [(8, 8)]})).moved == {8}


def test_a_slot_that_belongs_to_a_stranger_ends_the_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [Node(Endpoint(), slots=HALVES["a"]), Node(Endpoint(), slots=HALVES["b"])]
    lookout = Lookout("target", nodes, ["a", "b"])
    now = picture({"a": 1, "b": 2, "c": 3}, {"b": HALVES["b"], "c": HALVES["a"]})
    monkeypatch.setattr(lookout, "_look", lambda: now)
    with pytest.raises(ChangedError, match="slots 0-8191 belong to another node now"):
        lookout.look()


def test_a_slot_that_nobody_claims_for_a_moment_stays_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [Node(Endpoint(), slots=HALVES["a"]), Node(Endpoint(), slots=HALVES["b"])]
    lookout = Lookout("source", nodes, ["a", "b"])
    between = picture({"a": 1, "b": 2}, {"a": [(0, 7), (9, 8_191)], "b": HALVES["b"]})
    monkeypatch.setattr(lookout, "_look", lambda: between)
    assert lookout.look().slots == set() and lookout.number_of(8) == 0


def test_slots_are_named_shortly() -> None:
    assert slots_text({5}) == "slot 5"
    assert slots_text({5, 6, 9}) == "slots 5-6, 9"
    assert slots_text(set(range(0, 20, 2))) == "slots 0, 2, 4, 6, 8, …"


def test_redirections_say_where_to_go() -> None:
    assert redirect_of(Exception("MOVED 3999 127.0.0.1:6381")) == Redirect(3999, "127.0.0.1", 6381, asks=False)
    assert redirect_of(Exception("ASK 7 node.example:1")) == Redirect(7, "node.example", 1, asks=True)
    assert redirect_of(Exception("MOVED 7 :6381")) == Redirect(7, "", 6381, asks=False)
    assert redirect_of(Exception("MOVED 7 ?:6381")) == Redirect(7, "", 6381, asks=False)
    assert redirect_of(Exception("MOVED 7 ::1:6381")) == Redirect(7, "::1", 6381, asks=False)
    assert redirect_of(Exception("TRYAGAIN Multiple keys request")) is None and redirect_of(b"MOVED 7 h:1") is None


def test_a_request_is_taken_apart_into_its_commands() -> None:
    one, two, three = command(b"GET", b"*1\r\n$4\r\nTIME\r\n"), command(b"TIME"), command(b"dump", b"")
    assert commands_of(one + two + three) == [(one, True), (two, False), (three, True)]


def test_keys_of_a_slot_that_is_open_may_have_moved_only_where_its_own_side_is_written_to() -> None:
    quiet: Any = SimpleNamespace(
        side="target",
        blind=False,
        picture=picture({"a": 1, "b": 2}, HALVES, opened=5),
        look=lambda: Changes(set(), set()),
    )
    outlook = Outlook(None, quiet, [], [], print)
    both = ["source", "target"]
    assert not outlook.moves_meanwhile(both, []) and not outlook.moves_meanwhile(both, ["source"])
    assert outlook.moves_meanwhile(both, ["target"])
    quiet.blind = True
    assert outlook.moves_meanwhile(both, [])
    assert not outlook.moves_meanwhile(["source"], [])

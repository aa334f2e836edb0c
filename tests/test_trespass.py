"""Writes of others at the target of a live copy are told from ours, and from what only reads."""

from __future__ import annotations

import time

import pytest

from keyferry.trespass import Trespass
from keyferry.workers.errors import AccessError


class Target:
    """Answers INFO commandstats, when it is looked at for the second time; by then more may have come."""

    def __init__(self, **calls: int) -> None:
        self.calls = calls
        self.asked = 0
        self._reply: bytes | None = None

    def ask(self, *words: str) -> None:
        assert words == ("INFO", "commandstats")
        self.asked += 1
        lines = [b"cmdstat_%b:calls=%d,usec=1\r\n" % (name.encode(), n) for name, n in self.calls.items()]
        self._reply = b"".join(lines)

    def answer(self, *words: str) -> bytes | None:
        reply, self._reply = self._reply, None
        return reply


def trespass_at(monkeypatch: pytest.MonkeyPatch, *targets: Target) -> Trespass:
    """It looks as often as it is asked to."""
    monkeypatch.setattr("keyferry.trespass.LOOK_S", 0)
    return Trespass(list(targets), [frozenset({"json.get"})] * len(targets))  # type: ignore[arg-type]


def count(trespass: Trespass, sent: int = 0) -> None:
    """One count: asked, and answered."""
    for _ in range(2):
        assert not trespass.look(sent, time.monotonic())


@pytest.mark.parametrize(
    ("calls", "sent", "seen"),
    [
        ({"set": 100, "hset": 5}, 0, False),
        ({"set": 150, "hset": 5}, 50, False),
        ({"set": 151, "hset": 5}, 50, True),
        ({"set": 140, "unlink": 10, "hset": 5}, 50, False),
        ({"set": 100, "hset": 6}, 50, True),
        ({"set": 1}, 50, False),
    ],
    ids=["nothing", "ours", "one more SET", "ours of two kinds", "one more HSET", "counters were reset"],
)
def test_writes_of_others_are_told_from_ours(
    calls: dict[str, int], sent: int, seen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = Target(set=100, hset=5)
    trespass = trespass_at(monkeypatch, target)
    count(trespass)
    target.calls = calls
    count(trespass)
    before = time.monotonic() - 1
    for _ in range(3):
        assert not trespass.look(0, before), "what our workers have sent by now is not told yet"
    assert trespass.look(sent, time.monotonic()) == seen


@pytest.mark.parametrize(
    ("name", "writes"),
    [
        ("hexpire", True),
        ("xgroup|create", True),
        ("json.set", True),
        ("of.next.year", True),
        ("restore-asking", True),
        ("json.get", False),
        ("client|setname", False),
        ("config|get", False),
        ("fcall", False),
        ("replconf", False),
    ],
)
def test_a_command_writes_unless_it_is_known_to_be_harmless(
    name: str, writes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = Target(set=100)
    trespass = trespass_at(monkeypatch, target)
    count(trespass)
    target.calls[name] = 1
    count(trespass)
    assert trespass.look(0, time.monotonic()) == writes


def test_keys_that_move_between_the_nodes_of_a_cluster_are_not_written_by_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, other = Target(), Target()
    trespass = trespass_at(monkeypatch, one, other)
    count(trespass)
    one.calls["migrate"] = other.calls["restore-asking"] = 1
    count(trespass)
    assert not trespass.look(0, time.monotonic())


def test_what_was_sent_while_a_target_was_slow_to_answer_is_not_taken_for_that_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first count is of before what the workers tell when it comes."""
    target = Target(set=0)
    trespass = trespass_at(monkeypatch, target)
    assert not trespass.look(0, time.monotonic())
    assert not trespass.look(50, time.monotonic())
    target.calls = {"set": 60}
    count(trespass, sent=60)
    assert not trespass.look(60, time.monotonic())


def test_when_a_worker_has_died_ours_are_counted_anew_and_those_of_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = Target(set=0, hset=5)
    trespass = trespass_at(monkeypatch, target)
    count(trespass)
    trespass.look(0, time.monotonic())  # asks, and what it is told now is of no use
    trespass.restart()
    target.calls["set"] = 30  # of the worker that has died
    count(trespass)
    count(trespass)
    count(trespass)
    target.calls["hset"] = 6
    trespass.restart()
    assert any(trespass.look(0, time.monotonic()) for _ in range(5))


def test_a_target_that_is_not_reached_is_not_asked_again_at_once() -> None:
    class Unreached(Target):
        def ask(self, *words: str) -> None:
            super().ask(*words)
            raise AccessError("no answer")

    target = Unreached()
    trespass = Trespass([target], [frozenset()])  # type: ignore[list-item]
    assert not any(trespass.look(0, time.monotonic()) for _ in range(5))
    assert target.asked == 1

"""The user's command at the end of a live copy: what ends it, and what of it goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyferry import hook
from keyferry.hook import run_hook
from keyferry.signals import Ended, Signals, from_now_on
from tests.support.live import wait_until

#: Goes on when it is asked to end, in a child that outlives the shell; its group is told.
STUBBORN = "echo $$ > {}; (trap '' TERM; sleep 20; true) & sleep 20"


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook, "GRACE_S", 0.2)


def lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@contextlib.contextmanager
def ended_when_left(group: Path) -> Iterator[None]:
    try:
        yield
    finally:
        if lives(int(group.read_text())):
            os.killpg(int(group.read_text()), signal.SIGKILL)


def test_what_the_command_has_started_ends_with_it_also_where_the_shell_ends_first(tmp_path: Path) -> None:
    group = tmp_path / "group"
    with ended_when_left(group):
        assert "did not end" in run_hook(STUBBORN.format(group), {}, Signals(), timeout_s=0.3)
        wait_until(lambda: not lives(int(group.read_text())), timeout_s=2, what="a child lives on")


def test_a_second_signal_kills_what_the_first_one_has_asked_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook, "GRACE_S", 30.0)
    group = tmp_path / "group"
    began = time.monotonic()
    with ended_when_left(group):
        with Signals() as signals, pytest.raises(Ended):
            for after_s in (0.3, 0.8):
                threading.Timer(after_s, os.kill, (os.getpid(), signal.SIGTERM)).start()
            run_hook(STUBBORN.format(group), {}, signals)
        wait_until(lambda: not lives(int(group.read_text())), timeout_s=2, what="a child lives on")
    assert time.monotonic() - began < 10


def test_what_a_command_leaves_running_when_it_has_done_its_work_goes_on(tmp_path: Path) -> None:
    """It may be the application that is to use the target now."""
    group = tmp_path / "group"
    with ended_when_left(group):
        assert run_hook(f"echo $$ > {group}; sleep 20 & true", {}, Signals()) == ""
        time.sleep(0.3)
        assert lives(int(group.read_text()))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_ends_the_command(number: signal.Signals) -> None:
    with Signals() as signals:
        threading.Timer(0.2, os.kill, (os.getpid(), number)).start()
        began = time.monotonic()
        assert run_hook("sleep 20", {}, from_now_on(signals)) == "the command was ended by a signal"
    assert time.monotonic() - began < 5


def test_the_ctrl_c_that_has_asked_to_cut_over_does_not_end_the_command() -> None:
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        assert run_hook("sleep 0.2", {}, from_now_on(signals)) == ""

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

#: Goes on when it is asked to end, in a child that outlives the shell; the shell's pid is told once that is so.
STUBBORN = "(trap '' TERM; echo $$ > {}; sleep 20; true) & sleep 20"


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook, "GRACE_S", 0.2)


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Path]:
    """The file in which a command tells the pid of its shell, which leads its group; none of it is left afterwards."""
    file = tmp_path / "group"
    yield file
    if is_told(file) and lives(file):
        os.killpg(int(file.read_text()), signal.SIGKILL)


def is_told(group: Path) -> bool:
    return group.exists() and group.read_text().endswith("\n")


def lives(group: Path) -> bool:
    try:
        os.killpg(int(group.read_text()), 0)
    except ProcessLookupError:
        return False
    return True


def test_what_the_command_has_started_ends_with_it_also_where_the_shell_ends_first(group: Path) -> None:
    assert "did not end" in run_hook(STUBBORN.format(group), {}, Signals(), timeout_s=1.5)
    wait_until(lambda: not lives(group), what="a child lives on")


@contextlib.contextmanager
def sent_once_told(group: Path, *numbers: signal.Signals) -> Iterator[Signals]:
    """This process gets a signal once the command has begun, and the next one once its shell has gone."""

    def send() -> None:
        wait_until(lambda: is_told(group))
        for number in numbers:
            os.kill(os.getpid(), number)
            wait_until(lambda: not Path("/proc", group.read_text().strip()).exists())

    with Signals() as signals:
        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield signals
        finally:
            thread.join()


def test_a_second_signal_kills_what_the_first_one_has_asked_to_end(
    group: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook, "GRACE_S", 30.0)
    began = time.monotonic()
    with sent_once_told(group, signal.SIGTERM, signal.SIGTERM) as signals, pytest.raises(Ended):
        run_hook(STUBBORN.format(group), {}, signals)
    wait_until(lambda: not lives(group), what="a child lives on")
    assert time.monotonic() - began < 20


def test_what_a_command_leaves_running_when_it_has_done_its_work_goes_on(group: Path) -> None:
    """It may be the application that is to use the target now."""
    assert run_hook(f"echo $$ > {group}; sleep 20 & true", {}, Signals()) == ""
    time.sleep(0.3)
    assert lives(group)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_ends_the_command(number: signal.Signals, group: Path) -> None:
    began = time.monotonic()
    with sent_once_told(group, number) as signals:
        assert run_hook(f"echo $$ > {group}; sleep 20", {}, from_now_on(signals)) == "the command was ended by a signal"
    assert time.monotonic() - began < 20


def test_the_ctrl_c_that_has_asked_to_cut_over_does_not_end_the_command() -> None:
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        assert run_hook("sleep 0.2", {}, from_now_on(signals)) == ""

"""No wait goes on for ever, and signals end each: also where nothing is on its way yet, or any more."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from keyferry.hook import run_hook
from keyferry.logs import Log
from keyferry.partitioners.control import Control
from keyferry.signals import Ended, Reading, Signals, ending_live
from keyferry.waiting import Waiting
from keyferry.workers.endpoint import Endpoint
from tests.conftest import ServerFactory
from tests.support.commands import at
from tests.support.filling import write_strings
from tests.support.live import start_live, wait_until
from tests.support.processes import start_keyferry
from tests.support.servers import free_port


@pytest.mark.parametrize("command", ["replicate", "compare"])
def test_waiting_for_a_server_ends_with_the_first_signal(command: str, server: ServerFactory) -> None:
    source = server("7.0")
    with start_keyferry(*at(source), command, "-p", str(free_port()), "--wait-for", "60s") as run:
        run.wait_for_text("waiting: ")
        run.signal_all(signal.SIGTERM)
        ran = run.wait()
    assert ran.code == 143, ran.err
    assert "Traceback" not in ran.err and not ran.left


def test_a_signal_that_has_come_before_ends_what_begins_to_wait() -> None:
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Ended), signals.at_once():
            raise AssertionError("it went on")


class Crossed(Signals):
    """A signal comes right after somebody has seen none."""

    def seen(self) -> int:
        found = super().seen()
        if not found:
            os.kill(os.getpid(), signal.SIGTERM)
        return found


def test_a_signal_that_comes_just_when_a_wait_begins_ends_it() -> None:
    with Crossed() as signals, pytest.raises(Ended), signals.at_once():
        raise AssertionError("it went on")


def test_what_a_part_of_a_run_makes_of_a_signal_does_not_keep_the_run_waiting() -> None:
    """Ctrl-C may mean to cut over, or to end as SIGTERM does: where nothing is on its way, it ends the run."""
    for reading in (ending_live, lambda signals: Reading(signals, lambda number: signal.SIGTERM)):
        with Signals() as signals, pytest.raises(Ended), reading(signals).at_once():
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("it went on")


def test_a_run_ends_with_the_signal_that_has_come_whatever_a_part_of_it_makes_of_it() -> None:
    """As a demo with Ctrl-C, which to its live copy is SIGTERM: also where it came right before the copy began."""
    control = Control(Endpoint(port=free_port()), "source")
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        reading = Reading(signals, lambda number: signal.SIGTERM)
        with pytest.raises(Ended) as begins, reading.at_once():
            raise AssertionError("it went on")
        with pytest.raises(Ended) as waits:
            Waiting(30.0, Log(0), reading)(control, control.open)
    assert begins.value.number == waits.value.number == signal.SIGINT


def test_a_pause_ends_with_the_first_signal() -> None:
    with Signals() as signals:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        began = time.monotonic()
        signals.pause(30)
        assert time.monotonic() - began < 20 and signals.seen() == signal.SIGTERM


def test_the_command_at_the_end_of_a_live_copy_ends_with_the_run(server: ServerFactory, tmp_path: Path) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 10)
    begun = tmp_path / "begun"
    with start_live(source, target, "--on-converged", f"echo > {begun}; sleep 100; exit 0") as run:
        wait_until(begun.exists)
        run.signal(signal.SIGINT)  # nothing is left to cut over: it ends the run
        ran = run.wait(50)
    assert ran.code == 130, ran.err
    assert not ran.left  # neither the shell nor what it had started


def test_the_command_at_the_end_of_a_live_copy_has_a_time_out() -> None:
    began = time.monotonic()
    assert run_hook("sleep 100; exit 0", {}, Signals(), timeout_s=0.3) == "the command did not end within 0.3 s"
    assert time.monotonic() - began < 50
    assert run_hook("exit 3", {}, Signals()) == "the command ended with code 3"
    assert run_hook('test "$FACT" = told', {"FACT": "told"}, Signals()) == ""

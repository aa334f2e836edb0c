"""However a run ends once it has begun to write, its table is on stdout, with the exit code of what ended it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest

from tests.conftest import ServerFactory
from tests.support.commands import at
from tests.support.filling import write_strings
from tests.support.processes import VERIFIED, Run, shell, start_keyferry
from tests.support.summary import result_of

SLOWLY = ("--rate", "500", "--batch", "10")


def wait_for(condition: Callable[[], bool], run: Run) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert run.running and time.monotonic() < deadline, run.err
        time.sleep(0.01)


@pytest.mark.parametrize("live", [False, True], ids=["snapshot", "live"])
def test_a_pass_that_cannot_follow_leaves_the_table_of_the_one_before(live: bool, server: ServerFactory) -> None:
    """The target is restarted as a replica: the copy begins again, and ends as it cannot write there."""
    source, target = server("7.0"), server("7.0", fresh=True)
    write_strings(source, 5_000)
    words = [*at(source), "replicate", *at(target), "--json", "--retry-for", "2s", *SLOWLY, *(["--live"] * live)]
    with start_keyferry(*words) as run:
        wait_for(lambda: target.call("DBSIZE") > 100, run)
        target.restart("--replicaof", "127.0.0.1 1")
        ran = run.wait()
    assert "begins again" in ran.err
    told = result_of(ran)
    assert ran.code == told["exit_code"] == 7, ran.err
    assert told["keys"] > 0 and not told["verified"]


@pytest.mark.parametrize("live", [False, True], ids=["snapshot", "live"])
def test_a_signal_goes_before_what_fails_while_the_rest_is_finished(live: bool, server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0", fresh=True)
    write_strings(source, 5_000)
    words = [*at(source), "replicate", *at(target), "--json", "--retry-for", "3s", *SLOWLY, *(["--live"] * live)]
    number = signal.SIGTERM if live else signal.SIGINT  # the other one asks a live copy to cut over
    with start_keyferry(*words) as run:
        wait_for(lambda: target.call("DBSIZE") > 100, run)
        target.stop()
        run.wait_for_text("connection lost")
        run.signal_all(number)
        ran = run.wait()
    assert ran.code == result_of(ran)["exit_code"] == 128 + number, ran.err
    assert "connection lost" in ran.err and "error: target" in ran.err


@pytest.mark.parametrize("command", ["replicate", "compare"])
def test_a_signal_goes_before_what_fails_in_a_verification(command: str, server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0", fresh=True)
    for one in (source, target):
        write_strings(one, 2_000)
    retry = ("--retry-for", "3s") if command == "replicate" else ()
    words = (*at(source), command, *at(target), "--json", *retry, *SLOWLY)
    with start_keyferry(*words, env=VERIFIED) as run:
        run.wait_for_text("verify begins")
        time.sleep(0.5)
        target.stop()
        run.wait_for_text("trying again")
        run.signal_all(signal.SIGINT)
        ran = run.wait()
    assert ran.code == result_of(ran)["exit_code"] == 128 + signal.SIGINT, ran.err


@pytest.mark.parametrize("most", [7, 40])
def test_more_workers_than_files_may_be_open_for_is_told_as_that(most: int, server: ServerFactory) -> None:
    """The fork server does not fall over the half of an order, either."""
    source, target = server("7.0"), server("7.0")
    write_strings(source, 20_000)
    ran = shell(f"ulimit -n {most}; KEYFERRY", *at(source), "replicate", *at(target), "--workers", "20")
    assert ran.code == 5, ran.err
    assert "error: a process cannot be started: Too many open files\nhint: use fewer --workers, or see " in ran.err
    assert "Traceback" not in ran.err and not ran.left

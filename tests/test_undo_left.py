"""What killed runs have left changed, and what several runs on one server leave to each other."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.conftest import ServerFactory
from tests.support.commands import at
from tests.support.dataset import fill_large
from tests.support.filling import write_strings
from tests.support.live import wait_until, wait_until_followed
from tests.support.paces import LESS_SLOWLY
from tests.support.processes import VERIFIED, Run, guard_pids, start_keyferry
from tests.support.servers import Server
from tests.support.undo import KEYS, OFF, State, compression


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "state")


# ---- what all of them have left -------------------------------------------------------------------------------------

#: Commands that reach the server that was changed: as their only one, as their source, as their target.
NEXT = {
    "ping": lambda changed, other: ("ping", *at(changed)),
    "generate": lambda changed, other: ("generate", *at(changed), "--keys", "10"),
    "source": lambda changed, other: (*at(changed), "replicate", *at(other)),
    "target": lambda changed, other: (*at(other), "replicate", *at(changed)),
    "again": lambda changed, other: (*at(changed), "replicate", *at(other), *OFF),
}


@pytest.mark.parametrize("following", NEXT)
def test_the_next_command_puts_back_what_was_left_when_everything_was_killed(
    following: str, server: ServerFactory, state: State
) -> None:
    source, target = server("7.0"), server("9.1")
    write_strings(source, 20_000)
    state.killed(source, target)
    ran = state.run(*NEXT[following](source, target))
    assert ran.code == 0, ran.err
    said = f"left by a run that was killed: source {source.address} rdbcompression is yes again"
    assert ran.err.splitlines().count(said) == 1
    assert (compression(source), state.files) == ("yes", [])


def test_a_dry_run_tells_what_was_left_and_touches_nothing(server: ServerFactory, state: State) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 20_000)
    state.killed(source, target)
    (file,) = state.files
    before = file.read_bytes()
    ran = state.run(*at(source), "replicate", *at(target), "--dry-run")
    assert ran.code == 0, ran.err
    assert "warning: left by a run that was killed" in ran.err and "CONFIG SET rdbcompression yes" in ran.err
    assert (compression(source), state.files, file.read_bytes()) == ("no", [file], before)


#: Who may not put a setting back.
BARRED = "user barred on >pw ~* &* +@all -config|set"


def test_ping_shows_what_to_type_where_it_may_not_put_back(server: ServerFactory, state: State) -> None:
    source, target = server("7.0", acl=["user default on nopass ~* &* +@all", BARRED]), server("7.0")
    write_strings(source, 20_000)
    state.killed(source, target)
    words = ("ping", *at(source), "--user", "barred", "-apw")
    ran = state.run(*words)
    assert ran.code == 0
    assert ran.out.splitlines()[-1].endswith("to put it back: CONFIG SET rdbcompression yes")
    assert json.loads(state.run(*words, "--json").out)[0]["put_back_by"] == ["CONFIG SET rdbcompression yes"]
    assert (compression(source), len(state.files)) == ("no", 1)
    assert json.loads(state.run("ping", *at(source), "--json").out)[0]["put_back_by"] == []
    assert (compression(source), state.files) == ("yes", [])


def test_a_server_that_was_restarted_meanwhile_has_its_own_value(server: ServerFactory, state: State) -> None:
    source, target = server("7.0", fresh=True), server("7.0")
    write_strings(source, 20_000)
    state.killed(source, target)
    source.restart()
    ran = state.run("ping", *at(source))
    assert (ran.code, ran.err) == (0, "")
    assert (compression(source), state.files) == ("yes", [])


def test_a_run_whose_guard_was_killed_keeps_what_it_needs(server: ServerFactory, state: State) -> None:
    """Only a run that is gone as well has left something behind."""
    source, target = server("7.0"), server("7.0")
    fill_large(source, KEYS)
    with state.copying(source, target) as run:
        for pid in guard_pids(run.pid):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not guard_pids(run.pid))
        assert state.run("ping", *at(source)).err == ""
        assert (compression(source), len(state.files)) == ("no", 1)
        run.signal(signal.SIGTERM)
        ran = run.wait()
    assert ran.code == 143, ran.err
    assert (compression(source), state.files) == ("yes", [])


def test_other_servers_leave_it_alone(server: ServerFactory, state: State) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 20_000)
    state.killed(source, target)
    assert state.run("ping", *at(target)).err == ""
    assert (compression(source), len(state.files)) == ("no", 1)


# ---- several runs on one server -------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_of_two_runs_the_last_one_puts_back(number: int, server: ServerFactory, state: State) -> None:
    source, targets = server("7.0"), (server("7.0"), server("9.1"))
    fill_large(source, KEYS)
    with state.copying(source, targets[0]) as first, standing_still(targets[0]):
        with state.copying(source, targets[1]) as second, standing_still(targets[1]):
            for run, target in ((first, targets[0]), (second, targets[1])):
                assert state.run("ping", *at(source)).err == ""
                assert (compression(source), len(state.files)) == ("no", 1)
                run.signal(number)
                target.resume()
                assert not run.wait().left
    assert (compression(source), state.files) == ("yes", [])


def notifications(server: Server) -> bytes:
    return bytes(server.call("CONFIG", "GET", "notify-keyspace-events")[1])


@pytest.mark.parametrize("asks", [True, False], ids=["asks for them", "finds them on"])
def test_of_two_live_copies_the_last_one_switches_notifications_off(
    asks: bool, server: ServerFactory, state: State
) -> None:
    """The second one finds them on, and needs them for longer than the first."""
    source, targets = server("7.0"), (server("7.0"), server("9.1"))
    source.call("SET", "key", "value")
    runs: list[Run] = []
    with ExitStack() as stack:
        for target in targets:
            words = ("--live", "--feed", "notifications", "--enable-notifications")[: 4 if asks or not runs else 3]
            line = (*at(source), "replicate", *at(target), *words)
            runs.append(stack.enter_context(start_keyferry(*line, env=state.env | VERIFIED)))
            wait_until_followed(target, "key")
        for number, run in enumerate(runs):
            assert notifications(source) == b"AK"
            source.call("SET", f"marker:{number}", "1")
            wait_until_followed(targets[number], f"marker:{number}")
            run.signal(signal.SIGINT)
            ran = run.wait()
            assert ran.code == 0, ran.err
            time.sleep(1)  # until a feed has looked at the settings
    assert (notifications(source), state.files) == (b"", [])


@pytest.mark.parametrize("flags", [b"nE", b"nocE"])
def test_flags_that_the_server_does_not_tell_beside_all_others_are_put_back(
    flags: bytes, server: ServerFactory, state: State
) -> None:
    """It says AKE of AKEn: that is our value, and nobody has set another."""
    source, targets = server("8.2"), (server("8.2"), server("9.1"))
    source.call("CONFIG", "SET", "notify-keyspace-events", flags)
    source.call("SET", "key", "value")
    words = ("--live", "--feed", "notifications", "--enable-notifications")
    lines = [(*at(source), "replicate", *at(target), *words) for target in targets]
    with start_keyferry(*lines[0], env=state.env | VERIFIED) as first:
        wait_until_followed(targets[0], "key")
        with start_keyferry(*lines[1], env=state.env | VERIFIED) as second:
            wait_until_followed(targets[1], "key")
            for run in (first, second):
                assert notifications(source) == b"AKE"
                run.signal(signal.SIGINT)
                ran = run.wait()
                assert ran.code == 0, ran.err
    assert (notifications(source), state.files) == (flags, [])


@contextmanager
def standing_still(target: Server) -> Iterator[None]:
    """The copy to this target cannot end meanwhile."""
    target.pause()
    try:
        yield
    finally:
        target.resume()


def test_a_run_that_wants_another_value_than_one_before_it_goes_on_without(server: ServerFactory, state: State) -> None:
    source, targets = server("7.0"), (server("7.0"), server("9.1"))
    write_strings(source, 20_000)
    with state.copying(source, targets[0], LESS_SLOWLY) as first:
        with standing_still(targets[0]):
            ran = state.run(*at(source), "replicate", *at(targets[1]), "--source-rdbcompression", "on")
            assert ran.code == 0, ran.err
            assert "rdbcompression is not changed to yes: another run has set it to no" in ran.err
            assert compression(source) == "no"
        assert first.wait().code == 0
    assert (compression(source), state.files) == ("yes", [])

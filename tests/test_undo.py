"""A setting that was changed for a run is put back, whatever ends the run; real servers, real kills."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from keyferry import undofile
from tests.conftest import ServerFactory
from tests.support.binaries import KINDS
from tests.support.certificates import Certificates
from tests.support.commands import at
from tests.support.compare import assert_equal
from tests.support.dataset import fill, fill_large
from tests.support.filling import write_strings
from tests.support.paces import LESS_SLOWLY, SLOWLY, wait_for_keys
from tests.support.processes import (
    VERIFIED,
    command_line,
    environment,
    guard_pids,
    run_keyferry,
    start_command,
    start_keyferry,
)
from tests.support.proxy import FaultProxy
from tests.support.undo import KEYS, OFF, State, compression

PASSWORD = "quite-a-secret"


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "state")


# ---- what a run does by itself --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_that_ends_well_has_put_the_value_back(kind: str, server: ServerFactory, state: State) -> None:
    source, target = server(kind), server(kind)
    fill(source, 2_000)
    ran = state.run(*at(source), "replicate", *at(target), *OFF)
    assert ran.code == 0, ran.err
    assert f"source {source.address} rdbcompression is no until the end of this run; it was yes" in ran.err
    assert f"source {source.address} rdbcompression is yes again" in ran.err
    assert (compression(source), compression(target), state.files) == ("yes", "yes", [])
    assert_equal(source, target, ttl_tolerance_ms=100 if kind == "6.2" else 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_to_the_whole_group_leaves_nothing_changed(number: int, server: ServerFactory, state: State) -> None:
    source, target = server("7.0"), server("7.0")
    fill_large(source, KEYS)
    with state.copying(source, target) as run:
        run.signal_all(number)
        ran = run.wait()
    assert ran.code == 128 + number, ran.err
    assert not ran.left
    assert (compression(source), state.files) == ("yes", [])


def test_a_second_signal_leaves_nothing_changed(server: ServerFactory, state: State) -> None:
    source, target = server("7.0"), server("7.0")
    fill_large(source, KEYS)
    with state.copying(source, target) as run:
        target.pause()
        try:
            run.signal_all(signal.SIGINT)
            run.wait_for_text("stopping")
            run.signal_all(signal.SIGINT)
            ran = run.wait()
        finally:
            target.resume()
    assert ran.code == 130
    assert not ran.left
    state.is_as_before(source)


def test_an_error_leaves_nothing_changed(server: ServerFactory, state: State) -> None:
    source, target = server("8.2"), server("7.0")
    fill(source, 400)
    ran = state.run(*at(source), "replicate", *at(target), *OFF, "--put-aside", "/dev/full")
    assert ran.code == 5, ran.err
    assert (compression(source), state.files) == ("yes", [])


@pytest.mark.parametrize("kill", [os.kill, os.killpg], ids=["coordinator", "group"])
def test_a_run_killed_with_9_leaves_nothing_changed(
    kill: Callable[[int, int], None], server: ServerFactory, state: State
) -> None:
    source, target = server("7.0"), server("7.0")
    fill_large(source, KEYS)
    with state.copying(source, target) as run:
        kill(run.pid, signal.SIGKILL)
        ran = run.wait()
    assert ran.code == -signal.SIGKILL
    assert not ran.left
    state.is_as_before(source)


def test_the_guard_waits_for_a_source_that_does_not_answer(server: ServerFactory, state: State) -> None:
    source, target = server("7.0"), server("7.0")
    fill_large(source, KEYS)
    with state.copying(source, target) as run:
        source.pause()
        try:
            run.signal(signal.SIGKILL)
            time.sleep(1)
            assert len(state.files) == 1
        finally:
            source.resume()
        state.is_as_before(source)
        assert not run.wait().left


def test_the_guard_takes_no_signals_and_the_run_does_without_it_if_it_is_killed(
    server: ServerFactory, state: State
) -> None:
    source, target = server("7.0"), server("7.0")
    fill_large(source, KEYS)
    with state.copying(source, target) as run:
        (guard,) = guard_pids(run.pid)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(guard, number)
        time.sleep(0.3)
        assert guard_pids(run.pid) == [guard]
        os.kill(guard, signal.SIGKILL)
        run.signal(signal.SIGTERM)
        ran = run.wait()
    assert ran.code == 143, ran.err
    assert (compression(source), state.files) == ("yes", [])


def test_a_source_that_is_restarted_on_the_way_is_changed_again_and_put_back(
    server: ServerFactory, state: State
) -> None:
    source, target = server("7.0", fresh=True), server("7.0")
    fill_large(source, KEYS)
    with state.copying(source, target, LESS_SLOWLY) as run:
        source.restart(keep_data=True)
        run.wait_for_text("the copy begins again")
        ran = run.wait()
    assert ran.code == 0, ran.err
    assert not ran.left
    assert ran.err.count("rdbcompression is no until the end of this run; it was yes") == 2
    assert (compression(source), state.files) == ("yes", [])


def test_a_copy_from_python_puts_back_too(server: ServerFactory, state: State) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 200)
    script = f"""
import keyferry
keyferry.replicate({source.uri!r}, {target.uri!r}, source_rdbcompression="off", progress="log")
"""
    with start_command(sys.executable, "-c", script, env=state.env) as run:
        ran = run.wait()
    assert ran.code == 0, ran.err
    assert "rdbcompression is yes again" in ran.err
    assert not ran.left
    assert (compression(source), state.files) == ("yes", [])


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A folder so deep that no socket in it has an absolute path that a kernel takes."""
    folder = tmp_path / ("deep" * 30)
    folder.mkdir()
    return folder


def test_a_source_at_a_relative_path_is_changed_and_put_back(server: ServerFactory, state: State, deep: Path) -> None:
    source, target = server("7.0"), server("7.0")
    fill_large(source, KEYS)
    (deep / "near.sock").symlink_to(source.socket)
    words = ("-s", "near.sock", "replicate", *at(target), *LESS_SLOWLY, *OFF)
    with start_keyferry(*words, env=state.env, cwd=str(deep)) as run:
        wait_for_keys(target, run)
        assert compression(source) == "no", run.err
        assert undofile.unpack(state.files[0].read_bytes()).address == str(deep / "near.sock")
        ran = run.wait()
    assert ran.code == 0, ran.err
    assert "source near.sock rdbcompression is no until the end of this run; it was yes" in ran.err
    assert "rdbcompression is yes again" in ran.err
    assert (compression(source), state.files) == ("yes", [])


def test_notifications_are_enabled_at_a_relative_path(server: ServerFactory, state: State, deep: Path) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 200)
    (deep / "near.sock").symlink_to(source.socket)
    live = ("--live", "--feed", "notifications", "--enable-notifications", "--idle-timeout", "500")
    ran = run_keyferry("-s", "near.sock", "replicate", *at(target), *live, env=state.env | VERIFIED, cwd=str(deep))
    assert ran.code == 0, ran.err
    assert source.call("CONFIG", "GET", "notify-keyspace-events")[1] == b""
    assert state.files == []


def test_files_of_tls_may_have_relative_paths_in_python(
    server: ServerFactory, state: State, certificates: Certificates
) -> None:
    source, target = server("7.0", tls=certificates.words()), server("7.0")
    write_strings(source, 200)
    folder, name = os.path.split(certificates.cacert)
    script = f"""
import keyferry
source = keyferry.Endpoint(port={source.tls_port}, tls=keyferry.Tls(cacert={name!r}))
keyferry.replicate(source, {target.uri!r}, source_rdbcompression="off", progress="log")
"""
    with start_command(sys.executable, "-c", script, env=state.env, cwd=folder) as run:
        ran = run.wait()
    assert ran.code == 0, ran.err
    assert "rdbcompression is no until the end of this run; it was yes" in ran.err
    assert (compression(source), state.files) == ("yes", [])


def test_another_server_at_the_same_relative_path_is_not_taken_for_its_successor(
    server: ServerFactory, state: State, tmp_path: Path
) -> None:
    """What was changed at one server is void once another process listens at its address; a name is no address."""
    source, target = server("7.0"), server("7.0")
    write_strings(source, 20_000)
    places = [tmp_path / "here", tmp_path / "there"]
    for place in places:
        place.mkdir()
    (places[0] / "s").symlink_to(source.socket)
    words = ("-s", "s", "replicate", *at(target), *SLOWLY, *OFF)
    with start_keyferry(*words, env=state.env, cwd=str(places[0])) as run:
        wait_for_keys(target, run)
        for pid in guard_pids(run.pid):
            os.kill(pid, signal.SIGKILL)
        run.end()
    time.sleep(2.1)  # ages of servers are told in whole seconds
    (places[1] / "s").symlink_to(server("7.0", fresh=True).socket)
    assert run_keyferry("ping", "-s", "s", env=state.env, cwd=str(places[1])).code == 0
    assert len(state.files) == 1
    assert run_keyferry("ping", "-s", "s", env=state.env, cwd=str(places[0])).code == 0
    assert (compression(source), state.files) == ("yes", [])


def test_a_change_whose_answer_never_comes_is_put_back(server: ServerFactory, state: State) -> None:
    """The source takes the command, and is then silent for so long that the run cannot know what became of it."""
    source, target = server("7.0"), server("7.0")
    fill_large(source, KEYS)
    map = "stall replies at reply CONFIG 2 connection 2+; stall replies at connect connection 3+ always"
    with FaultProxy(source.port, map) as proxy:
        words = (*at(proxy), "-o", "1", "replicate", *at(target), *LESS_SLOWLY, *OFF)
        with start_keyferry(*words, env=state.env) as run:
            run.wait_for_text("changed to no")
            assert (compression(source), len(state.files)) == ("no", 1)
            time.sleep(1)
            proxy.set("")
            proxy.release()
            ran = run.wait()
    assert ran.code == 0, ran.err
    assert (compression(source), state.files) == ("yes", [])
    assert "rdbcompression may be changed to no, and is put back at the end of this run" in ran.err
    assert "rdbcompression is yes again" in ran.err
    assert not ran.left


# ---- where it cannot be done ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "told_by_plan"), [("-config", True), ("-config|set", False)], ids=["no CONFIG", "no CONFIG SET"]
)
def test_a_source_that_refuses_config_is_copied_as_it_is(
    rule: str, told_by_plan: bool, server: ServerFactory, state: State
) -> None:
    source, target = server("7.0", acl=["user default on nopass ~* &* +@all " + rule]), server("7.0")
    write_strings(source, 200)
    words = (*at(source), "replicate", *at(target), *OFF)
    ran, planned = state.run(*words), state.run(*words, "--dry-run")
    assert (ran.code, planned.code) == (0, 0)
    assert "warning: source" in ran.err and "rdbcompression" in ran.err and "refused" in ran.err
    assert ("CONFIG GET is refused" in planned.out) == told_by_plan
    assert state.files == []
    assert_equal(source, target)


def test_nothing_is_changed_that_could_not_be_written_down(server: ServerFactory, tmp_path: Path) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 200)
    (tmp_path / "file").write_text("in the way")
    ran = State(tmp_path / "file").run(*at(source), "replicate", *at(target), *OFF)
    assert ran.code == 0, ran.err
    assert "rdbcompression is not changed to no: its undo file could not be kept" in ran.err
    assert source.call("INFO", "commandstats").count(b"cmdstat_config|set") == 0


# ---- what is kept meanwhile -----------------------------------------------------------------------------------------


def test_the_password_is_neither_in_the_file_nor_where_other_users_can_see_it(
    server: ServerFactory, state: State
) -> None:
    source, target = server("7.0", password=PASSWORD), server("7.0")
    write_strings(source, 20_000)
    words = ("replicate", *at(target), *SLOWLY, *OFF)
    env = state.env | {"KEYFERRY_SOURCE_PORT": str(source.port), "KEYFERRY_SOURCE_PASS": PASSWORD}
    with start_keyferry(*words, env=env) as run:
        wait_for_keys(target, run)
        (guard,) = guard_pids(run.pid)
        (file,) = state.files
        assert PASSWORD.encode() not in command_line(guard) + environment(guard) + file.read_bytes()
        assert (file.stat().st_mode & 0o777, state.folder.stat().st_mode & 0o777) == (0o600, 0o700)
        run.signal(signal.SIGKILL)
        assert not run.wait().left
    assert (compression(source), state.files) == ("yes", [])

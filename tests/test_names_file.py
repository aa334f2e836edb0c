"""The file of --keys-from is read twice, for the copy and for its proof: both times it names the same keys."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import keyferry
from keyferry.partitioners.keys import NamesFile
from keyferry.workers.errors import RunError
from tests.conftest import ServerFactory
from tests.support.commands import at, verdict_of
from tests.support.filling import write_strings
from tests.support.hooks import At
from tests.support.processes import VERIFIED, Result, run_keyferry, start_keyferry
from tests.support.respproxy import Proxy

KEYS = 1_000


def listed(path: Path, keys: int = KEYS) -> Path:
    """A list of the first keys that `write_strings` writes."""
    path.write_text("".join(f"key:{number}\n" for number in range(keys)))
    return path


def changed_on_the_way(server: ServerFactory, path: Path, change: Callable[[], object]) -> Result:
    """A verified copy of the keys that a file names, which is changed once the copy has begun to write."""
    source, target = server("7.0"), server("7.0")
    write_strings(source, KEYS + 100)
    words = (*at(source), "replicate", *at(target), "--keys-from", str(path), "--rate", "200", "--batch", "20")
    with start_keyferry(*words, env=VERIFIED) as run:
        deadline = time.monotonic() + 60
        while not target.call("DBSIZE"):
            assert run.running and time.monotonic() < deadline, run.err
            time.sleep(0.01)
        change()
        ran = run.wait()
    assert target.call("DBSIZE") == KEYS, ran.err
    return ran


def test_a_list_that_is_replaced_on_the_way_is_verified_as_it_was_copied(server: ServerFactory, tmp_path: Path) -> None:
    path, shorter = listed(tmp_path / "names"), listed(tmp_path / "shorter", 10)
    ran = changed_on_the_way(server, path, lambda: os.replace(shorter, path))
    assert (ran.code, verdict_of(ran)) == (0, f"OK:{KEYS} V:0 >:0 <:0 T:0"), ran.err


def test_a_list_that_is_removed_on_the_way_is_verified_as_it_was_copied(server: ServerFactory, tmp_path: Path) -> None:
    path = listed(tmp_path / "names")
    ran = changed_on_the_way(server, path, path.unlink)
    assert (ran.code, verdict_of(ran)) == (0, f"OK:{KEYS} V:0 >:0 <:0 T:0"), ran.err


def test_a_list_that_is_written_over_on_the_way_leaves_no_verdict(server: ServerFactory, tmp_path: Path) -> None:
    path = listed(tmp_path / "names")
    ran = changed_on_the_way(server, path, lambda: listed(path, 10))
    assert ran.code == 5, ran.out
    assert "names other keys now than when it was read first" in ran.err
    assert f"copy    {KEYS:>11,} keys" in ran.out and "verify    not done" in ran.out


def test_a_list_that_grows_on_the_way_is_verified_as_far_as_it_was_copied(
    server: ServerFactory, tmp_path: Path
) -> None:
    path = listed(tmp_path / "names")
    ran = changed_on_the_way(server, path, lambda: listed(path, KEYS + 100))
    assert (ran.code, verdict_of(ran)) == (0, f"OK:{KEYS} V:0 >:0 <:0 T:0"), ran.err


def test_a_file_on_standard_input_is_verified_as_well(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 10)
    words = (*at(source), "replicate", *at(target), "--keys-from", "-")
    ran = run_keyferry(*words, input=b"key:1\nkey:7\n", env=VERIFIED)
    assert (ran.code, verdict_of(ran)) == (0, "OK:2 V:0 >:0 <:0 T:0"), ran.err


@pytest.mark.parametrize("command", ["replicate", "compare"])
def test_records_and_names_that_are_passed_over_are_told(command: str, server: ServerFactory, tmp_path: Path) -> None:
    """Else a list of another database would compare nothing, and call it equal."""
    source, target = server("7.0"), server("7.0")
    write_strings(source, 3)
    write_strings(target, 3)
    path = tmp_path / "records"
    records = ('{"key": "key:1", "db": 0}', '{"key": "key:1"}', '{"key": "key:2", "db": 3}', '{"key": "none", "db": 3}')
    path.write_text("\n".join(records))
    words = (*at(source), command, *at(target), "--keys-from", str(path), "--keys-format", "jsonl")
    ran = run_keyferry(*words, env=VERIFIED)
    assert (ran.code, verdict_of(ran)) == (0, "OK:1 V:0 >:0 <:0 T:0"), ran.err
    assert f"warning: --keys-from '{path}': 2 records of other databases passed over" in ran.err
    assert f"--keys-from '{path}': 1 name came again" in ran.err
    assert "none of" not in ran.err


@pytest.mark.parametrize("command", ["replicate", "compare"])
def test_where_names_do_not_fit_into_the_memory_figures_are_about(
    command: str, server: ServerFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyferry.partitioners.keys.REMEMBERED_BYTES", 0)
    source, target = server("7.0"), server("7.0")
    write_strings(source, 3)
    write_strings(target, 3)
    path = tmp_path / "names"
    path.write_text("key:1\nkey:1\n")
    summary = getattr(keyferry, command)(source.uri, target.uri, keys_from=str(path), workers=1)
    assert summary.verdict.line == "OK:~2 V:0 >:0 <:0 T:0"


# ---- a pass that begins again -------------------------------------------------------------------------------------


def restarted_on_the_way(server: ServerFactory, change: Callable[[], object], *words: str) -> Result:
    """A copy whose target is restarted, and loses its keys, when a part is copied; `change` happens as well."""
    source, target = server("7.0"), server("7.0", fresh=True)
    write_strings(source, KEYS)

    def restart() -> None:
        change()
        target.restart()

    with Proxy(source, At(5, restart, lambda args: args[0] == b"MGET")) as proxy:
        return run_keyferry(*at(proxy), "replicate", *at(target), "--batch", "50", *words, env=VERIFIED)


def test_a_copy_that_begins_again_reads_the_list_that_it_began_with(server: ServerFactory, tmp_path: Path) -> None:
    path, shorter = listed(tmp_path / "names"), listed(tmp_path / "shorter", 10)
    ran = restarted_on_the_way(server, lambda: os.replace(shorter, path), "--keys-from", str(path))
    assert "the copy begins again" in ran.err
    assert (ran.code, verdict_of(ran)) == (0, f"OK:{KEYS} V:0 >:0 <:0 T:0"), ran.err


def test_a_copy_of_names_from_a_pipe_does_not_begin_again(server: ServerFactory, tmp_path: Path) -> None:
    """Of a pipe that has a name the second pass would get only the names that the first one has not read."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = [sys.executable, "-c", f"import sys; open({str(path)!r}, 'wb').write(sys.stdin.buffer.read())"]
    with subprocess.Popen(writer, stdin=subprocess.PIPE) as other:
        assert other.stdin
        other.stdin.write(listed(tmp_path / "names").read_bytes())
        other.stdin.close()
        ran = restarted_on_the_way(server, lambda: None, "--keys-from", str(path))
    assert ran.code == 5, ran.out
    assert f"a copy with --keys-from '{path}' cannot begin again" in ran.err


@pytest.fixture
def many_open_files() -> Iterator[None]:
    """So many that the next one has a number above 1,024."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, limits[1]))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1024)]
    yield
    for fd in held:
        os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.usefixtures("many_open_files")
def test_names_come_from_a_pipe_however_many_files_are_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with open(os.open(tmp_path / "pipe", os.O_RDWR), "wb", buffering=0) as writer:
        names = NamesFile(str(tmp_path / "pipe"), "lines", 0)
        assert names.batch() == []
        writer.write(b"one\ntwo\n")
        assert names.batch() == [b"one", b"two"]
    assert names.batch() is None
    names.close()


def test_a_list_is_read_again_piece_by_piece_however_much_of_it_was_read(tmp_path: Path) -> None:
    path = listed(tmp_path / "names", 50_000)
    names = NamesFile(str(path), "lines", 0)
    first = names.batch()
    path.unlink()
    again = names.anew()
    batches = list(iter(again.batch, None))
    assert batches[0] == first
    assert sum(map(len, batches)) == 50_000
    names.close()


def test_a_list_in_which_a_later_piece_was_changed_is_refused(tmp_path: Path) -> None:
    path = listed(tmp_path / "names", 50_000)
    names = NamesFile(str(path), "lines", 0)
    assert sum(map(len, iter(names.batch, None))) == 50_000
    with path.open("r+b") as file:
        file.seek(200_000)
        file.write(b"X")
    again = names.again()
    assert again.batch()
    with pytest.raises(RunError, match="names other keys now"):
        list(iter(again.batch, None))
    names.close()

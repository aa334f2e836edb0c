"""What the options do that name keys: --keys-from and --keys-format."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ServerFactory
from tests.support.commands import at, copied
from tests.support.compare import all_keys, assert_equal
from tests.support.dataset import fill
from tests.support.filling import names, strings_and_hashes, write_strings
from tests.support.monitor import Monitor
from tests.support.processes import VERIFIED, run_keyferry, start_command
from tests.support.prompts import at_a_terminal
from tests.support.servers import Server
from tests.support.summary import result_of


@pytest.fixture
def pair(server: ServerFactory) -> tuple[Server, Server]:
    return strings_and_hashes(server)


@pytest.mark.covers("keys-from", "keys-format")
@pytest.mark.parametrize("form", ["lines", "nul", "jsonl"])
def test_the_keys_that_a_file_names_are_copied(form: str, pair: tuple[Server, Server], tmp_path: Path) -> None:
    source, target = pair
    chosen = sorted(names("key", range(30)) | names("hash", [3]))
    listed = [*chosen, b"absent", *chosen[:4]]
    texts = {
        "lines": b"\n".join(listed),
        "nul": b"\0".join(listed),
        "jsonl": b"\n".join(json.dumps({"key": name.decode()}).encode() for name in listed),
    }
    (tmp_path / "names").write_bytes(texts[form])
    with Monitor(source) as reads:
        ran = copied(source, target, "--keys-from", str(tmp_path / "names"), "--keys-format", form, "--json")
    told = result_of(ran)
    assert all_keys(target) == set(chosen)
    assert [one for one in reads.commands if one.name == "SCAN"] == [
        one for one in reads.commands if one.args == (b"SCAN", b"0", b"COUNT", b"1")
    ]
    assert (told["keys"], told["absent"], told["expired"], told["read"]) == (31, 1, 0, 32)
    assert told["exact"] and "4 names came again" in ran.err


@pytest.mark.covers("keys-from")
def test_a_put_aside_file_is_a_list_of_keys(server: ServerFactory, tmp_path: Path) -> None:
    source, older, same = server("8.2"), server("7.0"), server("8.2")
    fill(source, 300)
    words = ("--put-aside", str(tmp_path / "aside"))
    assert run_keyferry(*at(source), "replicate", *at(older), *words, cwd=str(tmp_path)).code == 1
    arrived = all_keys(older)
    listed = ("--keys-from", str(tmp_path / "aside"), "--keys-format", "jsonl")
    copied(source, same, *listed)
    assert all_keys(same) == all_keys(source) - arrived
    copied(source, same)
    assert_equal(source, same)


@pytest.mark.covers("keys-from")
def test_names_come_by_standard_input_while_a_password_is_typed(server: ServerFactory) -> None:
    source, target = server("7.0", password="typed secret"), server("9.1")
    write_strings(source, 10)
    words = (*at(source), "--askpass", "replicate", *at(target), "--keys-from", "-")
    ran, _ = at_a_terminal(*words, typed=["typed secret"], input=b"key:1\nkey:7\n")
    assert ran.code == 0
    assert all_keys(target) == names("key", [1, 7])


def test_names_that_come_slowly_are_copied_as_they_come(pair: tuple[Server, Server]) -> None:
    source, target = pair
    words = (*at(source), "replicate", *at(target), "--keys-from", "-", "--json", "--progress", "none")
    with subprocess.Popen(
        [sys.executable, "-m", "keyferry", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as run:
        assert run.stdin and run.stdout
        for count, name in enumerate(sorted(names("key", range(3))), 1):
            run.stdin.write(name + b"\n")
            run.stdin.flush()
            deadline = time.monotonic() + 60
            while target.call("DBSIZE") < count:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        run.stdin.close()
        told = json.loads(run.stdout.read())
    assert (told["exit_code"], told["keys"]) == (0, 3)


def test_a_file_in_the_wrong_format_is_told_before_anything_is_sent(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    source, target = pair
    (tmp_path / "names").write_text("key:1\n")
    with Monitor(source) as reads:
        ran = run_keyferry(
            *at(source), "replicate", *at(target), "--keys-from", str(tmp_path / "names"), "--keys-format", "jsonl"
        )
    assert ran.code == 2
    assert "line 1 is no record of a key" in ran.err and '{"key": "name"}' in ran.err
    assert not reads.commands


def test_a_wrong_line_further_on_ends_the_run_after_what_was_named_before(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    source, target = pair
    lines = [json.dumps({"key": f"key:{number % 100}", "n": number}) for number in range(100)]
    lines += [json.dumps({"key": f"absent:{number}"}) for number in range(10_000)]
    (tmp_path / "names").write_text("\n".join([*lines, "wrong"]))
    ran = run_keyferry(
        *at(source), "replicate", *at(target), "--keys-from", str(tmp_path / "names"), "--keys-format", "jsonl"
    )
    assert ran.code == 5
    assert "line 10101 is no record of a key" in ran.err


@pytest.mark.parametrize("keys", [800, 20_000])
def test_a_full_disk_under_names_that_are_kept_ends_the_run_in_words(keys: int, server: ServerFactory) -> None:
    """A limit for sizes of files is met as a full disk is: at the first write, or only when what is buffered goes."""
    source, target = server("7.0"), server("7.0")
    write_strings(source, keys)
    command = shlex.join([sys.executable, "-m", "keyferry", *at(source), "replicate", *at(target), "--keys-from", "-"])
    listed = f"seq -f key:%.0f 0 {keys - 1}"
    with start_command("bash", "-c", f"ulimit -f 4; {listed} | {command}", env=VERIFIED) as run:
        ran = run.wait()
    assert ran.code == 5, ran.err
    assert ran.err.endswith("error: --keys-from -: cannot write a temporary file: File too large\nhint: see TMPDIR\n")
    assert ran.out.startswith("copy  ")


# ---- a file for each option ---------------------------------------------------------------------------------------

WRITERS = ("--diff-file", "--put-aside", "--log-file")


def refused(*words: str, **more: Any) -> str:
    """What is said of a copy that is wrong usage."""
    ran = run_keyferry("replicate", "127.0.0.1:1", "127.0.0.1:2", *words, env=VERIFIED, **more)
    assert ran.code == 2, ran.err
    return ran.err


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("way", ["same name", "other name", "hard link", "symbolic link", "standard input"])
def test_a_list_of_keys_is_never_what_is_written_to(writer: str, way: str, tmp_path: Path) -> None:
    """--diff-file would empty it before it is read, the others append what is read as names of keys."""
    path, other = tmp_path / "names", tmp_path / "other"
    path.write_text("key:1\nkey:2\n")
    if way == "hard link":
        os.link(path, other)
    elif way == "symbolic link":
        other.symlink_to(path)
    written = {"same name": path, "other name": tmp_path / "." / ".." / tmp_path.name / "names", "standard input": path}
    words = (writer, str(written.get(way, other)))
    if way == "standard input":
        command = shlex.join([sys.executable, "-m", "keyferry", "replicate", "127.0.0.1:1", "127.0.0.1:2", *words])
        with start_command("sh", "-c", f"{command} --keys-from - < {path}", env=VERIFIED) as run:
            ran = run.wait()
        assert ran.code == 2, ran.err
        said = ran.err
    else:
        said = refused("--keys-from", str(path), *words)
    assert f"--keys-from and {writer} name the same file" in said
    assert path.read_text() == "key:1\nkey:2\n"


@pytest.mark.parametrize(("one", "other"), [*combinations(WRITERS, 2)])
def test_no_two_options_write_to_one_file(one: str, other: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert "name the same file" in refused(one, str(path), other, str(path))
    assert not path.exists()


@pytest.mark.parametrize("command", ["replicate", "compare"])
@pytest.mark.parametrize(
    ("listed", "said"),
    [(b"key:1\r\nkey:2\r\n", "none of its 2 names is a key there"), (b"\n", "it names no key of this database")],
    ids=["other ends of lines", "empty"],
)
def test_a_list_that_leads_to_no_key_draws_a_warning(
    command: str, listed: bytes, said: str, server: ServerFactory
) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 5)
    ran = run_keyferry(*at(source), command, *at(target), "--keys-from", "-", input=listed)
    assert f"warning: --keys-from -: {said}\nhint: is it for this database, and as --keys-format says?" in ran.err


def test_what_is_no_file_may_be_named_twice(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    words = (*at(source), "compare", *at(target), "--diff-file", "/dev/null", "--log-file", "/dev/null")
    assert run_keyferry(*words, "--put-aside", "/dev/null").code == 0


@pytest.mark.parametrize(
    "line", ["[" * 200_000, '{"key": "\\ud800"}', '{"key": 5}', '{"key_b64": "%"}', "null", "1" * 5_000]
)
def test_whatever_stands_in_the_place_of_a_record_is_wrong_usage(line: str, tmp_path: Path) -> None:
    (tmp_path / "names").write_text(line + "\n")
    said = refused("--keys-from", str(tmp_path / "names"), "--keys-format", "jsonl")
    assert "line 1 is no record of a key" in said and "hint: a line is like" in said

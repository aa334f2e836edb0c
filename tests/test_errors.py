"""What goes wrong, one row each: the exit code, one line that says what and where, and a hint what to do."""

from __future__ import annotations

import base64
import json
import random
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ServerFactory
from tests.support.binaries import bloom
from tests.support.commands import at
from tests.support.compare import all_keys, differences
from tests.support.dataset import fill
from tests.support.filling import write_strings
from tests.support.hooks import At
from tests.support.processes import Result, start_command
from tests.support.respproxy import Proxy
from tests.support.servers import Server, free_port, start_loading

#: No refusal takes longer, seconds.
REFUSED_S = 40.0


@dataclass
class Stage:
    """What a row arranges: two servers at first, a source with 20 keys and an empty target."""

    server: ServerFactory
    stack: ExitStack
    folder: Path
    source: Server = field(init=False)
    target: Server = field(init=False)

    def __post_init__(self) -> None:
        self.source, self.target = self.server("7.0"), self.server("9.1")
        write_strings(self.source, 20)

    def words(self, source: tuple[str, ...] = (), target: tuple[str, ...] = ()) -> list[str]:
        """A copy between the two; what is given replaces a side's address."""
        return [*(source or at(self.source)), "replicate", *(target or at(self.target)), "--no-verify"]

    def listening(self, answer: bytes | None) -> tuple[str, ...]:
        """A port of something that is no Redis: it gives one answer, or none at all; one second is the time-out."""
        listener = self.stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        if answer is not None:
            threading.Thread(target=_answer, args=(listener, answer), daemon=True).start()
        return "-p", str(listener.getsockname()[1]), "-o", "1"

    @property
    def aside(self) -> Path:
        """The file for keys that are put aside."""
        return self.folder / "aside.jsonl"

    def with_aside(self) -> list[str]:
        return [*self.words(), "--put-aside", str(self.aside)]


def _answer(listener: socket.socket, answer: bytes) -> None:
    try:
        while True:
            taken, _ = listener.accept()
            with taken:
                taken.recv(1_000)
                taken.sendall(answer)
    except OSError:  # the listener is closed
        return


# -- checks of what is left -------------------------------------------------------------------------------------------

Check = Callable[[Stage, Result], None]


def nothing_written(stage: Stage, ran: Result) -> None:
    assert ran.out == ""
    assert all_keys(stage.target) == set()
    assert ran.seconds < REFUSED_S


def everything_copied(stage: Stage, ran: Result) -> None:
    assert all_keys(stage.target) >= all_keys(stage.source)


def said_that_it_waits(stage: Stage, ran: Result) -> None:
    everything_copied(stage, ran)
    assert ran.err.count(f"waiting: target {stage.target.address} is loading its data set") == 1


def a_table_of_what_was_written(window: int) -> Check:
    """The table tells the keys that are there; at most two windows of so many keys had no answer yet."""

    def check(stage: Stage, ran: Result) -> None:
        first, *rest = ran.out.splitlines()
        told = int(first.split()[1].strip("~").replace(",", ""))
        written = stage.target.call("DBSIZE")
        assert written > 0
        assert max(1, written - 2 * window) <= told <= written
        assert any(line.startswith("expired 0") for line in rest)

    return check


def put_aside(*keys: bytes) -> Check:
    """Exactly these keys are listed, and all others are equal on both sides."""

    def check(stage: Stage, ran: Result) -> None:
        records = [json.loads(line) for line in stage.aside.read_text().splitlines()]
        assert {record["key"].encode() for record in records} == set(keys)
        for record in records:
            assert record.keys() == {"key", "db", "type", "size", "reason"}
            assert record["size"] > 0 and record["reason"]
        assert f"put aside {len(keys)} ·" in ran.out
        assert f"put aside, listed in {stage.aside}:" in ran.out
        stage.source.call("DEL", *keys)
        assert differences(stage.source, stage.target) == []

    return check


def key_of(record: dict[str, str]) -> bytes:
    return base64.b64decode(record["key_b64"]) if "key_b64" in record else record["key"].encode()


def strings_arrived(stage: Stage, ran: Result) -> None:
    """What is missing at the target is listed, with its exact name, and no string is."""
    listed = [json.loads(line) for line in stage.aside.read_text().splitlines()]
    missing = all_keys(stage.source) - all_keys(stage.target)
    assert missing == {key_of(record) for record in listed} and len(missing) == len(listed)
    assert any("key_b64" in record for record in listed)
    assert {stage.source.call("TYPE", key) for key in missing} & {b"string"} == set()
    assert {record["type"] for record in listed} >= {"hash", "list", "set", "zset", "stream"}
    stage.source.call("DEL", *missing)
    assert differences(stage.source, stage.target) == []


# -- arrangements -----------------------------------------------------------------------------------------------------


def no_right_to(command: str, side: str) -> Callable[[Stage], list[str]]:
    def arrange(stage: Stage) -> list[str]:
        users = ("user default on nopass ~* &* +@all", f"user bob on >pw ~* &* +@all -mget -{command}")
        limited = stage.server("7.0", acl=users)
        setattr(stage, side, limited)
        login = (*at(limited), "--user", "bob", "-a", "pw")
        return stage.words(**{side: login})

    return arrange


def loading(seconds: float, *words: str) -> Callable[[Stage], list[str]]:
    def arrange(stage: Stage) -> list[str]:
        stage.target = stage.stack.enter_context(start_loading("7.0", seconds))
        return [*stage.words(), *words]

    return arrange


def full(stage: Stage) -> list[str]:
    stage.target = stage.server("7.0", maxmemory="3mb")
    write_strings(stage.source, 6_000, 1_000)
    return stage.words()


def replica(stage: Stage) -> list[str]:
    stage.target = stage.server("7.0", fresh=True)
    stage.target.call("REPLICAOF", "127.0.0.1", free_port())
    return stage.words()


def read_only_from(write: int) -> Callable[[Stage], list[str]]:
    def arrange(stage: Stage) -> list[str]:
        stage.target = target = stage.server("7.0", fresh=True)
        write_strings(stage.source, 3_000)
        hooks = At(write, lambda: target.call("REPLICAOF", "127.0.0.1", free_port()))
        proxy = stage.stack.enter_context(Proxy(target, hooks))
        return [*stage.words(target=at(proxy)), "--batch", "20"]

    return arrange


def silent_from(write: int) -> Callable[[Stage], list[str]]:
    def arrange(stage: Stage) -> list[str]:
        stage.target = target = stage.server("7.0", fresh=True)
        stage.stack.callback(target.resume)
        write_strings(stage.source, 3_000)
        proxy = stage.stack.enter_context(Proxy(target, At(write, target.pause)))
        return [*stage.words(target=at(proxy)), "--batch", "20", "-o", "1"]

    return arrange


def too_long(stage: Stage) -> list[str]:
    stage.target = stage.server("9.1", "--proto-max-bulk-len", "1mb")
    fill(stage.source, 200)
    stage.source.call("SET", "big string", b"x" * 2_000_000)
    noise = random.Random(1)  # does not shrink when it is compressed
    fields = [word for number in range(2_000) for word in (number, noise.randbytes(1_000))]
    stage.source.call("HSET", "big hash", *fields)
    return stage.with_aside()


def module_value(stage: Stage) -> list[str]:
    stage.source, stage.target = stage.server("8.2", modules=[bloom()]), stage.server("8.2")
    fill(stage.source, 200)
    stage.source.call("BF.ADD", "bloom", "x")
    return stage.with_aside()


def older(kind: str) -> Callable[[Stage], list[str]]:
    def arrange(stage: Stage) -> list[str]:
        stage.source, stage.target = stage.server("8.2"), stage.server(kind)
        fill(stage.source, 200)
        return stage.with_aside()

    return arrange


def no_folder_for_the_list(stage: Stage) -> list[str]:
    stage.source, stage.target = stage.server("8.2"), stage.server("7.0")
    fill(stage.source, 200)
    return [*stage.words(), "--put-aside", str(stage.folder / "none" / "aside")]


def no_room_for_the_list(stage: Stage) -> list[str]:
    stage.source, stage.target = stage.server("8.2"), stage.server("7.0")
    fill(stage.source, 200)
    return [*stage.words(), "--put-aside", "/dev/full"]


# -- the table --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """`says` must stand in the one error line; without it there is none. `hint` must stand in the hint."""

    arrange: Callable[[Stage], list[str]]
    code: int
    says: str = ""
    hint: str = ""
    check: Check = nothing_written
    impatient: bool = False


NOBODY = ("-h", "no.such.host.invalid")
HTTP = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"


def locked(stage: Stage) -> tuple[str, ...]:
    return at(stage.server("7.0", password="right"))


def refused_port(stage: Stage) -> tuple[str, ...]:
    return "-p", str(free_port())


Words = Callable[[Stage], tuple[str, ...]]


def source_at(words: Words) -> Callable[[Stage], list[str]]:
    return lambda stage: stage.words(source=words(stage))


def target_at(words: Words) -> Callable[[Stage], list[str]]:
    return lambda stage: stage.words(target=words(stage))


ROWS: dict[str, Row] = {
    # Not reached.
    "wrong source host": Row(source_at(lambda s: NOBODY), 3, "source no.such.host.invalid:6379: not reached: ", "-h"),
    "wrong target host": Row(target_at(lambda s: NOBODY), 4, "target no.such.host.invalid:6379: not reached: ", "-h"),
    "no name of a host": Row(target_at(lambda s: ("-h", "db..example")), 4, "not reached: it is no host's name", "-h"),
    "refused source port": Row(source_at(refused_port), 3, "not reached: Connection refused", "-p"),
    "refused target port": Row(target_at(refused_port), 4, "not reached: Connection refused", "-p"),
    "silent source": Row(source_at(lambda s: s.listening(None)), 3, "not reached: no answer in time", "-o"),
    "silent target": Row(target_at(lambda s: s.listening(None)), 4, "not reached: no answer in time", "-o"),
    "source is no Redis": Row(source_at(lambda s: s.listening(HTTP)), 3, "not reached: Protocol error", "-p"),
    "target is no Redis": Row(target_at(lambda s: s.listening(HTTP)), 4, "not reached: Protocol error", "-p"),
    # Not let in.
    "wrong source password": Row(source_at(lambda s: (*locked(s), "-a=wrong")), 3, "login refused: WRONGPASS", "-a"),
    "wrong target password": Row(target_at(lambda s: (*locked(s), "-a=wrong")), 4, "login refused: WRONGPASS", "-a"),
    "no source password": Row(source_at(locked), 3, "not logged in: NOAUTH", "--pass-file"),
    "no target password": Row(target_at(locked), 4, "not logged in: NOAUTH", "--pass-file"),
    "source without DUMP": Row(no_right_to("dump", "source"), 3, "may not run DUMP, MGET", "+dump +mget"),
    "target without RESTORE": Row(no_right_to("restore", "target"), 4, "may not run RESTORE", "+restore"),
    "no such source database": Row(
        lambda s: [*at(s.source), "-n", "99", *s.words()[2:]], 3, "database 99: ERR DB index is out of range", "-n"
    ),
    "no such target database": Row(
        lambda s: [*s.words(), "--db-map", "0:99"], 4, "database 99: ERR DB index is out of range", "--db-map"
    ),
    # States.
    "loading for a while": Row(loading(8), 0, check=said_that_it_waits),
    "loading for long": Row(
        loading(15, "--wait-for", "1s"), 7, "loading its data set for longer than 1 s", "--wait-for", lambda *_: None
    ),
    "out of memory": Row(full, 7, ": out of memory for ", "raise maxmemory", a_table_of_what_was_written(500), True),
    "a replica": Row(replica, 7, ": read only: a replica", "its master"),
    "read only at once": Row(read_only_from(3), 7, "read only for ", "master", a_table_of_what_was_written(20), True),
    "read only later": Row(read_only_from(90), 7, "read only for ", "master", a_table_of_what_was_written(20), True),
    # Values that the target does not take.
    "too long": Row(too_long, 1, check=put_aside(b"big string", b"big hash")),
    "of a module": Row(module_value, 1, check=put_aside(b"bloom")),
    "from 8.2 to Valkey 9.1": Row(older("9.1"), 1, check=strings_arrived),
    "from 8.2 to 7.0": Row(older("7.0"), 1, check=strings_arrived),
    # The rest.
    "the same database": Row(
        lambda s: s.words(target=at(s.source)), 6, "are the same database", "name two", lambda *_: None
    ),
    "no list of what is put aside": Row(no_folder_for_the_list, 2, "--put-aside ", "can be written"),
    "no room for the list": Row(no_room_for_the_list, 5, "cannot write ", "--put-aside", lambda *_: None),
    "gone after few writes": Row(silent_from(3), 5, "no answer within 1 s", "-o", lambda *_: None, impatient=True),
}


@pytest.fixture
def stage(server: ServerFactory, tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(server, stack, tmp_path)


@pytest.mark.parametrize("name", ROWS)
def test_each_error_has_its_code_one_line_and_a_hint(name: str, stage: Stage) -> None:
    row = ROWS[name]
    ran = run(stage, row.arrange(stage), row.impatient)
    assert ran.code == row.code, ran.err
    assert_told_well(ran.err, row.says, row.hint)
    row.check(stage, ran)


def run(stage: Stage, words: list[str], impatient: bool) -> Result:
    patience = ["--retry-for", "1s"] if impatient else []
    with start_command(sys.executable, "-m", "keyferry", *words, *patience, cwd=str(stage.folder)) as run:
        ran = run.wait()
    assert not ran.left
    return ran


def assert_told_well(err: str, says: str, hint: str) -> None:
    """One line for the error and one for the hint, at the end; none where nothing is wrong. Warnings have hints too."""
    assert "Traceback" not in err
    lines = err.splitlines()
    assert sum(line.startswith("error: ") for line in lines) == bool(says)
    before = [one for one, following in zip(lines, lines[1:], strict=False) if following.startswith("hint: ")]
    assert all(line.startswith(("error: ", "warning: ")) for line in before)
    if says:
        error, told = lines[-2:]
        assert error.startswith("error: ") and told.startswith("hint: ")
        assert says in error and hint in told


# -- before anything is connected -------------------------------------------------------------------------------------

#: Words that make no sense, and what is said.
USAGE: dict[str, tuple[list[str], str]] = {
    "bad option": (["{source}", "{target}", "--nonsense"], "unknown option --nonsense"),
    "no unit": (["{source}", "{target}", "--wait-for", "5"], "--wait-for '5': the unit is missing"),
    "bad URI": (["redis://{source}:x", "{target}"], "redis://…"),
    "a lone word in a URI": (["redis://word@{source}", "{target}"], "redis-cli reads the one word"),
    "bad scheme": (["http://{source}", "{target}"], "the scheme is unknown"),
    "below the range": (["{source}", "{target}", "--workers", "0"], "--workers '0': must be a whole number from 1"),
    "above the range": (["{source}", "{target}", "-m", "99999"], "-m '99999': must be a whole number from 1"),
    "a bad choice": (["{source}", "{target}", "--method", "magic"], "--method 'magic': must be one of auto"),
    "two databases into one": (["{source}", "{target}", "--db-map", "0:1,2:1"], "two databases into one"),
    "more workers than pool": (["{source}", "{target}", "--workers", "9", "-m", "2"], "is more than --pool 2"),
    "log file": (["{source}", "{target}", "--log-file", "/none/log"], "--log-file /none/log: No such file"),
    "password file": (["{source}", "{target}", "--pass-file", "/none/pw"], "No such file"),
}


@pytest.mark.parametrize("name", USAGE)
def test_wrong_usage_connects_to_nothing(name: str, stage: Stage) -> None:
    words, says = USAGE[name]
    places = {"source": stage.source.address, "target": stage.target.address}
    before = [connections_taken(one) for one in (stage.source, stage.target)]
    ran = run(stage, ["replicate", *(word.format(**places) for word in words)], False)
    assert ran.code == 2, ran.err
    assert_told_well(ran.err, says, "")
    assert [connections_taken(one) for one in (stage.source, stage.target)] == before
    assert ran.out == ""


def connections_taken(server: Server) -> Any:
    """Counted by the server; asked on a connection that is there already."""
    return server.call("INFO", "stats").split(b"total_connections_received:")[1].split()[0]


def test_an_error_that_ends_a_copy_claims_no_list_that_does_not_exist(stage: Stage) -> None:
    ran = run(stage, no_folder_for_the_list(stage), False)
    assert "listed in :" not in ran.out

"""The parts of the filters by themselves: globs, files of names, and the room that a limit leaves."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyferry.partitioners.keys import BATCH_BYTES, BATCH_KEYS, LINE_BYTES_MAX, READ_BYTES, NamesFile, cut
from keyferry.supply import Source, Supply
from keyferry.workers import globs
from keyferry.workers.errors import RunError, UsageError
from keyferry.workers.filters import Filters
from keyferry.workers.task import COPY_KEYS, SIFT_KEYS, Task
from tests.conftest import ServerFactory

# ---- globs --------------------------------------------------------------------------------------------------------

SIGNS = st.sampled_from([bytes([byte]) for byte in b"ab-]^[*?\\c\xff\x80\n\x00"])
NAMES = st.lists(SIGNS, max_size=6).map(b"".join)

#: What a hand would not write, but servers take.
ODD = [b"", b"*", b"**", b"[", b"[^", b"[]", b"[^]", b"[a-]", b"\\", b"a\\", b"*[", b"[a-\xff]", b"[\xff-a]", b"[c-a]"]


def fits(glob: bytes, name: bytes) -> bool:
    return re.match(globs.regex([glob]), name, re.DOTALL) is not None


@pytest.mark.parametrize("kind", ["6.2", "7.0", "8.2", "9.1"])
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(names=st.sets(NAMES, min_size=10, max_size=60), drawn=st.lists(NAMES, min_size=5, max_size=30))
def test_a_glob_fits_the_names_that_the_server_finds_by_it(
    kind: str, server: ServerFactory, names: set[bytes], drawn: list[bytes]
) -> None:
    source = server(kind)
    with source.connect() as connection:
        connection.must("FLUSHALL")
        connection.pipeline(("SET", name, "value") for name in names)
        for glob in ODD + drawn:
            wanted = {name for name in names if fits(glob, name)}
            assert set(connection.must("KEYS", glob)) == wanted, glob
            assert set(connection.must("SCAN", 0, "COUNT", 1000, "MATCH", glob)[1]) == wanted, glob


def test_many_stars_take_no_longer_than_the_name_is_long() -> None:
    assert not fits(b"*a" * 30 + b"b", b"a" * 2_000)


@pytest.mark.parametrize("glob", [b"user:[0-9", b"[", b"[^a", b"[a\\]", b"end\\", b"[a-]"])
def test_a_glob_that_nobody_means_has_a_flaw(glob: bytes) -> None:
    assert globs.flaw(glob)


@pytest.mark.parametrize("glob", [b"*", b"user:[0-9]*", b"\\[", b"a]", b"[]", b"[\\]]", b"\\\\"])
def test_any_other_glob_has_none(glob: bytes) -> None:
    assert globs.flaw(glob) == ""


def test_an_exclude_wins_over_an_include_and_several_includes_are_one_or_the_other() -> None:
    filters = Filters(include=[b"a*", b"b?"], exclude=[b"*2", b"ax*"])
    assert filters.named([b"a1", b"a2", b"ax1", b"b1", b"b2", b"b11", b"c1"]) == [b"a1", b"b1"]


def test_what_scan_matches_is_not_matched_again() -> None:
    assert Filters(match=b"a*").named([b"a", b"b"]) == [b"a"]
    assert Filters(match=b"a*", scan_match=True).named([b"a", b"b"]) == [b"a", b"b"]
    assert not Filters(match=b"a*", scan_match=True).sifts


# ---- files of names -----------------------------------------------------------------------------------------------


def read(path: Path | str, form: str = "lines", db: int = 0) -> list[bytes]:
    """All names of a file."""
    names = NamesFile(str(path), form, db)
    try:
        return [name for batch in iter(names.batch, None) for name in batch]
    finally:
        names.close()


@pytest.mark.parametrize(
    ("form", "text", "names"),
    [
        ("lines", b"one\ntwo\n", [b"one", b"two"]),
        ("lines", b"\none\n\n\nlast without an end", [b"one", b"last without an end"]),
        ("lines", b"carriage\r\n\xff\x00\n", [b"carriage\r", b"\xff\x00"]),
        ("nul", b"one\0two\nlines\0\0", [b"one", b"two\nlines", b""]),
        ("jsonl", b'{"key": "one"}\n\n {"key": ""} \n', [b"one", b""]),
        ("jsonl", b'{"key": "\xef\xbf\xbd", "key_b64": "/wA=", "db": 0, "type": "hash"}\n', [b"\xff\x00"]),
        ("lines", b"", []),
    ],
)
def test_each_format_gives_its_names(form: str, text: bytes, names: list[bytes], tmp_path: Path) -> None:
    (tmp_path / "names").write_bytes(text)
    assert read(tmp_path / "names", form) == names


@pytest.mark.parametrize(
    "line",
    [b"plain", b"[]", b"{}", b'{"key": 3}', b'{"key_b64": "*"}', b"\xff", b'{"key": "\\ud800"}', b"3", b'{"key": "a"'],
)
def test_a_line_that_is_no_record_is_told_by_its_number(line: bytes, tmp_path: Path) -> None:
    (tmp_path / "names").write_bytes(b'{"key": "one"}\n' + line + b"\n")
    with pytest.raises(UsageError, match="line 2 is no record") as caught:
        read(tmp_path / "names", "jsonl")
    assert '{"key": "name"}' in caught.value.hint


def test_a_wrong_line_after_names_were_given_out_is_no_wrong_usage(tmp_path: Path) -> None:
    line = b'{"key": "%07d"}\n'
    count = 2 * READ_BYTES // len(line % 0)
    (tmp_path / "names").write_bytes(b"".join(line % number for number in range(count)) + b"wrong\n")
    with pytest.raises(RunError, match=f"line {count + 1} is no record"):
        read(tmp_path / "names", "jsonl")


def test_a_file_that_cannot_be_read_is_wrong_usage(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(UsageError, match="--keys-from"):
            read(path)


def test_a_file_without_ends_of_lines_does_not_fill_the_memory(tmp_path: Path) -> None:
    with open(tmp_path / "names", "wb") as file:
        file.truncate(LINE_BYTES_MAX + (1 << 20))
    with pytest.raises(UsageError, match="line 1 is longer than 8 MB"):
        read(tmp_path / "names")


@given(st.lists(st.binary(max_size=12_000), max_size=1_300))
def test_batches_are_bounded_by_number_and_by_bytes(names: list[bytes]) -> None:
    batches = list(cut(names))
    assert [name for batch in batches for name in batch] == names
    assert all(0 < len(batch) <= BATCH_KEYS and sum(map(len, batch[:-1])) < BATCH_BYTES for batch in batches)


def test_a_name_that_comes_again_is_passed_over_and_counted(tmp_path: Path) -> None:
    (tmp_path / "names").write_bytes(b"one\ntwo\none\n" + b"one\n" * 2 * BATCH_KEYS)
    names = NamesFile(str(tmp_path / "names"), "lines", 0)
    assert list(iter(names.batch, None)) == [[b"one", b"two"]]
    assert (names.repeated, names.distinct) == (2 * BATCH_KEYS + 1, True)


def test_where_names_do_not_fit_into_the_memory_all_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyferry.partitioners.keys.REMEMBERED_BYTES", 250)
    (tmp_path / "names").write_bytes(b"one\ntwo\nthree\none\nthree\n")
    names = NamesFile(str(tmp_path / "names"), "lines", 0)
    assert list(iter(names.batch, None)) == [[b"one", b"two", b"three", b"three"]]
    assert not names.distinct


def test_records_of_other_databases_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "names").write_bytes(b'{"key": "one", "db": 3}\n{"key": "two", "db": 0}\n{"key": "three"}\n')
    names = NamesFile(str(tmp_path / "names"), "jsonl", 3)
    assert list(iter(names.batch, None)) == [[b"one", b"three"]]
    assert names.elsewhere == 1


def test_who_writes_slowly_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(tmp_path / "pipe", os.O_WRONLY)
    names = NamesFile(str(tmp_path / "pipe"), "lines", 0)
    os.close(reader)
    try:
        assert names.batch() == []
        os.write(writer, b"one\ntw")
        assert names.batch() == [b"one"]
        assert names.batch() == []
        os.write(writer, b"o\n")
        assert names.batch() == [b"two"]
    finally:
        os.close(writer)
    assert names.batch() is None
    names.close()


# ---- the limit ----------------------------------------------------------------------------------------------------


class Listed:
    """Names in batches, as a file or a scan gives them."""

    def __init__(self, sizes: list[int]) -> None:
        self._batches = [[b"%d:%d" % (number, j) for j in range(size)] for number, size in enumerate(sizes)]

    def batch(self) -> list[bytes] | None:
        return self._batches.pop(0) if self._batches else None


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(0, 1200), max_size=8), limit=st.integers(1, 3_000), sifts=st.booleans(), data=st.data()
)
def test_no_more_keys_than_the_limit_are_ever_copied_and_no_fewer_than_there_are(
    sizes: list[int], limit: int, sifts: bool, data: st.DataObject
) -> None:
    supply = Supply([Source(Task(0, COPY_KEYS), Listed(sizes))], limit, sifts)
    open_tasks: list[Task] = []
    seen: set[bytes] = set()
    given: list[bytes] = []
    copied = 0
    while not (supply.finished and not open_tasks):
        new_tasks = supply.tasks(data.draw(st.integers(1, 4)))
        open_tasks += new_tasks
        given += [key for task in new_tasks if task.kind == COPY_KEYS for key in task.keys]
        assert copied + sum(len(task.keys) for task in open_tasks if task.kind == COPY_KEYS) <= limit
        if open_tasks:
            task = open_tasks.pop(data.draw(st.integers(0, len(open_tasks) - 1)))
            if task.kind == SIFT_KEYS:
                assert sifts
                supply.sifted(task, task.keys[::2])
            else:
                assert not seen & set(task.keys)
                seen |= set(task.keys)
                arrived = data.draw(st.sampled_from([len(task.keys), len(task.keys) // 2]))
                copied += arrived
                supply.settled(task, arrived)
    assert copied == limit or not supply.sources
    passing = [key for keys in iter(Listed(sizes).batch, None) for part in cut(keys) for key in part[:: 1 + sifts]]
    assert given == passing[: len(given)], "which keys are taken depends on who was quicker"

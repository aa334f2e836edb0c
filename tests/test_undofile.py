"""Undo files: nothing that lies in their folder can crash a command, and no run loses the file of another."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry import undo, undofile
from keyferry.partitioners.control import Control
from keyferry.undo import NotChanged, Unanswered, Wanted
from keyferry.undofile import Held, Record
from keyferry.workers.endpoint import Endpoint
from tests.conftest import ServerFactory
from tests.support.proxy import FaultProxy
from tests.support.servers import Server

RUN_ID = "0123456789abcdef0123456789abcdef01234567"
RECORD = Record("source", "127.0.0.1:6379", RUN_ID, "maxmemory-samples", "5", "7", 4711, 1_700_000_000_000)

RECORDS = st.builds(
    Record,
    side=st.text(),
    address=st.text(),
    run_id=st.from_regex(undofile.RUN_ID, fullmatch=True),
    setting=st.from_regex(undofile.SETTING, fullmatch=True),
    old=st.text(),
    ours=st.text(),
    pid=st.integers(),
    changed_at_ms=st.integers(),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the files lie for this test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "keyferry" / "undo"


# ---- content --------------------------------------------------------------------------------------------------------


@given(RECORDS)
def test_a_record_comes_out_as_it_went_in(record: Record) -> None:
    assert undofile.unpack(record.pack()) == record


@given(RECORDS, st.data())
def test_a_torn_record_is_none(record: Record, data: st.DataObject) -> None:
    packed = record.pack().rstrip(b"\n")
    assert undofile.unpack(packed[: data.draw(st.integers(0, len(packed) - 1))]) is None


@given(st.binary() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda it: repr(it).encode()))
def test_garbage_is_no_record(data: bytes) -> None:
    assert undofile.unpack(data) is None


@given(RECORDS, st.sampled_from([field.name for field in fields(Record)]), st.none() | st.booleans() | st.floats())
def test_a_field_of_another_kind_makes_it_no_record(record: Record, name: str, value: object) -> None:
    assert undofile.unpack(replace(record, **{name: value}).pack()) is None


@pytest.mark.parametrize("run_id", ["", "../x", "a/b", "a" * 65, "a\n"])
def test_what_cannot_be_a_files_name_is_no_record(run_id: str) -> None:
    assert undofile.unpack(replace(RECORD, run_id=run_id).pack()) is None


@pytest.mark.parametrize("depth", [10, 100_000])
def test_content_nested_too_deeply_is_no_record(depth: int) -> None:
    assert undofile.unpack(b"[" * depth) is None


# ---- files and their locks ------------------------------------------------------------------------------------------


def test_a_file_is_its_owners_alone_and_its_folder_too(folder: Path) -> None:
    folder.mkdir(parents=True, mode=0o777)
    folder.chmod(0o777)
    held = created()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [(path.name, path.stat().st_mode & 0o777) for path in folder.iterdir()] == [(RECORD.name, 0o600)]
    held.close()


def created(record: Record = RECORD) -> Held:
    held = undofile.create(record)
    assert held is not None
    return held


def test_of_many_that_create_a_file_at_once_one_does(folder: Path) -> None:
    made: list[Held | None] = []
    threads = [threading.Thread(target=lambda: made.append(undofile.create(RECORD))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(held is not None for held in made) == 1
    assert [path.name for path in folder.iterdir()] == [RECORD.name]
    for held in made:
        if held is not None:
            held.close()


def test_of_many_that_give_their_share_up_the_last_one_gets_the_file(folder: Path) -> None:
    shares: list[Held | None] = [created()]
    shares += [undofile.share(RUN_ID, RECORD.setting) for _ in range(7)]
    alone: list[bool] = []

    def give_up(held: Held) -> None:
        alone.append(held.alone())

    threads = [threading.Thread(target=give_up, args=(held,)) for held in shares if held]
    assert len(threads) == 8
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(alone) == 1
    for held in shares:
        if held is not None:
            held.close()


def test_a_file_that_a_run_needs_is_not_shown_as_left_over(folder: Path) -> None:
    held = created()
    assert list(undofile.unneeded()) == []
    held.close()
    assert [one.record for one in undofile.unneeded()] == [RECORD]
    assert (folder / RECORD.name).exists()


def test_what_a_killed_run_had_not_finished_is_removed_later(folder: Path) -> None:
    created().close()
    old, young = folder / ".aa.new", folder / ".bb.new"
    for path in (old, young):
        path.write_bytes(b"{")
    os.utime(old, (1, 1))
    created(replace(RECORD, setting="other")).close()
    assert (old.exists(), young.exists()) == (False, True)


#: Content that is no record, or not the one that the file's name promises.
GARBAGE = {
    "empty": b"",
    "torn": RECORD.pack()[:50],
    "binary": bytes(range(256)),
    "another's": replace(RECORD, setting="another").pack(),
}


@pytest.mark.parametrize("content", GARBAGE.values(), ids=list(GARBAGE))
def test_a_damaged_file_harms_nobody_and_is_left_alone(content: bytes, folder: Path, one: Changed) -> None:
    other = created(replace(RECORD, setting="other"))
    other.close()
    damaged = folder / f"{one.server.run_id}.maxmemory-samples.json"
    damaged.write_bytes(content)
    assert undo.left_behind(one.control, one.server.run_id, may_change=True) == []
    with pytest.raises(NotChanged, match="damaged"):
        one.change("7")
    assert (one.value, damaged.read_bytes()) == (one.first, content)
    assert (folder / other.record.name).read_bytes() == other.record.pack()


@pytest.mark.parametrize("place", ["folder", "fifo", "link"])
def test_what_is_no_plain_file_is_left_alone(place: str, folder: Path, tmp_path: Path, one: Changed) -> None:
    created().close()
    path = folder / f"{one.server.run_id}.maxmemory-samples.json"
    if place == "folder":
        path.mkdir()
    elif place == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / "elsewhere")
    assert undo.left_behind(one.control, one.server.run_id, may_change=True) == []
    assert os.path.lexists(path)


# ---- changes at a server --------------------------------------------------------------------------------------------


class Changed:
    """A server, and a setting of it that takes any number."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.control = Control(Endpoint(port=server.port), "source")
        self.control.open()
        self.first = self.value

    @property
    def value(self) -> str:
        """The setting as it is now."""
        return str(self.server.call("CONFIG", "GET", "maxmemory-samples")[1].decode())

    def change(self, value: str) -> Held:
        """Give it a value as a run does."""
        held = undo.change(self.control, Wanted(self.server.run_id, "maxmemory-samples", value))
        assert held is not None
        return held


@pytest.fixture
def one(folder: Path, server: ServerFactory) -> Iterator[Changed]:
    changed = Changed(server("7.0"))
    yield changed
    changed.control.close()


def test_what_somebody_has_set_meanwhile_is_left_and_told(one: Changed, folder: Path) -> None:
    held = one.change("7")
    one.server.call("CONFIG", "SET", "maxmemory-samples", "9")
    outcome = undo.give_up(one.control, held)
    assert (outcome.failed, one.value, list(folder.iterdir())) == (False, "9", [])
    assert outcome.text.endswith("maxmemory-samples is left at 9, as somebody has set it meanwhile")
    held.close()


def test_what_somebody_has_put_back_already_is_not_worth_a_word(one: Changed, folder: Path) -> None:
    held = one.change("7")
    one.server.call("CONFIG", "SET", "maxmemory-samples", one.first)
    assert undo.give_up(one.control, held) == undo.Outcome("")
    assert list(folder.iterdir()) == []
    held.close()


def test_a_second_run_keeps_the_old_value_of_the_first(one: Changed, folder: Path) -> None:
    first, second = one.change("7"), one.change("7")
    assert second.record.old == one.first
    assert undo.give_up(one.control, first) == undo.Outcome("")
    assert one.value == "7"
    assert undo.give_up(one.control, second).text.endswith(f"maxmemory-samples is {one.first} again")
    assert (one.value, list(folder.iterdir())) == (one.first, [])
    first.close(), second.close()


def test_two_runs_that_begin_at_the_same_moment_both_keep_the_change(
    one: Changed, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one has looked for a file, in vain; before it looks at the setting, the first one has made it so."""
    firsts: list[Held] = []
    look = undo.value_of

    def after_the_first(control: Control, setting: str) -> str:
        monkeypatch.setattr(undo, "value_of", look)
        firsts.append(one.change("7"))
        return look(control, setting)

    monkeypatch.setattr(undo, "value_of", after_the_first)
    second = one.change("7")
    assert undo.give_up(one.control, firsts[0]) == undo.Outcome("")
    assert one.value == "7"
    assert undo.give_up(one.control, second).text.endswith(f"maxmemory-samples is {one.first} again")
    assert (one.value, list(folder.iterdir())) == (one.first, [])
    firsts[0].close(), second.close()


def test_a_run_may_begin_while_an_earlier_one_cannot_put_back(one: Changed, folder: Path) -> None:
    """Whose guard tries on for a while: it then is the second run that does."""
    first = one.change("7")
    one.server.call("ACL", "SETUSER", "default", "-config|set")
    try:
        assert undo.give_up(one.control, first).failed
    finally:
        one.server.call("ACL", "SETUSER", "default", "+@all")
    second = one.change("7")
    assert undo.give_up(one.control, first) == undo.Outcome("")
    assert one.value == "7"
    assert undo.give_up(one.control, second).text.endswith(f"maxmemory-samples is {one.first} again")
    assert (one.value, list(folder.iterdir())) == (one.first, [])
    first.close(), second.close()


def test_a_second_run_does_not_touch_what_somebody_has_set_meanwhile(one: Changed) -> None:
    first = one.change("7")
    one.server.call("CONFIG", "SET", "maxmemory-samples", "9")
    with pytest.raises(NotChanged, match="another run has set it to 7, and somebody else to 9"):
        one.change("7")
    assert one.value == "9"
    undo.give_up(one.control, first)
    first.close()


def test_a_second_run_that_gets_no_answer_keeps_its_share(one: Changed, folder: Path) -> None:
    first = one.change("7")
    one.server.call("CONFIG", "SET", "maxmemory-samples", one.first)
    silent = "stall replies at reply CONFIG 2; stall replies at connect connection 2+ always"
    with FaultProxy(one.server.port, silent) as proxy, pytest.raises(Unanswered) as caught:
        control = Control(Endpoint(port=proxy.port, timeout_s=0.5), "source")
        undo.change(control, Wanted(one.server.run_id, "maxmemory-samples", "7"))
    second = caught.value.held
    assert one.value == "7"
    assert undo.give_up(one.control, first) == undo.Outcome("")
    assert undo.give_up(one.control, second).text.endswith(f"maxmemory-samples is {one.first} again")
    assert (one.value, list(folder.iterdir())) == (one.first, [])
    first.close(), second.close()


def test_a_change_that_the_server_refuses_leaves_no_file(one: Changed, folder: Path) -> None:
    with pytest.raises(NotChanged, match="CONFIG SET was refused"):
        one.change("many")
    assert (one.value, list(folder.iterdir())) == (one.first, [])


def test_what_has_that_value_anyway_is_not_written_down(one: Changed, folder: Path) -> None:
    wanted = Wanted(one.server.run_id, "maxmemory-samples", one.first)
    assert undo.change(one.control, wanted) is None
    assert not folder.exists()


def test_nothing_is_changed_at_another_process_than_the_one_that_was_looked_at(one: Changed) -> None:
    for run_id, why in ((RUN_ID, "another process"), ("", "does not say who it is")):
        with pytest.raises(NotChanged, match=why):
            undo.change(one.control, Wanted(run_id, "maxmemory-samples", "7"))
    assert one.value == one.first


@pytest.mark.parametrize(("late_ms", "void"), [(-3_600_000, True), (3_600_000, False)])
def test_a_file_is_void_only_if_the_server_began_after_the_change(
    late_ms: int, void: bool, one: Changed, folder: Path
) -> None:
    """Else it is another server that took over the name, and the one that was changed may be alive."""
    changed_at_ms = undo.clock_ms_of(one.control) + late_ms
    created(replace(RECORD, address=one.server.address, changed_at_ms=changed_at_ms)).close()
    assert undo.left_behind(one.control, one.server.run_id, may_change=True) == []
    assert (folder / RECORD.name).exists() != void


# ---- a disk that can only be read ------------------------------------------------------------------------------------


@pytest.fixture
def read_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """What makes the folder one of a disk that takes no writes any more; root may write to any other."""
    opened, unlinked = os.open, Path.unlink

    def refuse(path: object) -> None:
        if Path(str(path)).parent == folder:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def only_to_read(path: Path, flags: int, *more: int) -> int:
        if flags & os.O_ACCMODE != os.O_RDONLY:
            refuse(path)
        return opened(path, flags, *more)

    def not_at_all(path: Path, missing_ok: bool = False) -> None:
        refuse(path)
        unlinked(path, missing_ok)

    def begin() -> None:
        monkeypatch.setattr(os, "open", only_to_read)
        monkeypatch.setattr(Path, "unlink", not_at_all)

    return begin


def test_a_file_that_cannot_be_removed_keeps_no_setting_from_being_put_back(
    one: Changed, folder: Path, read_only: Callable[[], None]
) -> None:
    held = one.change("7")
    read_only()
    outcome = undo.give_up(one.control, held)
    held.close()
    assert (one.value, outcome.failed) == (one.first, False)
    assert f"maxmemory-samples is {one.first} again" in outcome.text
    assert f"{held.path} could not be removed: Read-only file system" in outcome.text


def test_what_was_left_is_put_back_although_its_file_can_only_be_read(
    one: Changed, folder: Path, read_only: Callable[[], None]
) -> None:
    one.change("7").close()
    read_only()
    (outcome,) = undo.left_behind(one.control, one.server.run_id, may_change=True)
    assert (one.value, outcome.failed) == (one.first, False)
    assert "could not be removed: Read-only file system" in outcome.text
    (again,) = undo.left_behind(one.control, one.server.run_id, may_change=True)
    assert "could not be removed" in again.text and "again" not in again.text

"""Names of keys, batch by batch: from a file or from standard input, or from one SCAN of a database.

Both give `batch()`: names, [] while there is nothing to read yet, None at the end. Memory is bounded, whatever the
number of names, and no call waits for whoever writes the file.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any

from ..workers.errors import AccessError, KeyferryError, RunError, UsageError
from ..workers.packs import pack, unpack_all
from ..workers.policy import Action, rule_for
from .control import Control, ReplyError
from .pieces import PIECE_BYTES, Changed, Pieces

#: A batch is a task of a worker: so few names that orders never fill a pipe.
BATCH_KEYS = 500
BATCH_BYTES = 1 << 14
READ_BYTES = PIECE_BYTES
#: SCAN may bring nothing for long, where it filters. Whoever asks for names has other things to do as well.
SCAN_S = 0.5
#: A line, or name, that is longer is a mistake, and must not fill the memory.
LINE_BYTES_MAX = 8 << 20
#: Names are remembered up to this sum of their bytes, so that each is copied and counted once.
REMEMBERED_BYTES = 64 << 20
#: What a remembered name costs besides its bytes.
NAME_OVERHEAD_BYTES = 100

_ENDS = {"lines": b"\n", "jsonl": b"\n", "nul": b"\0"}
_SHOULD_BE = {
    "lines": "a name a line; --keys-format nul or jsonl takes any name",
    "nul": "names that each end with a zero byte; --keys-format lines has one a line",
    "jsonl": 'a line is like {"key": "name"} or {"key_b64": "bmFtZQ=="}, as in a put-aside file',
}


def _has_something(fd: int) -> bool:
    """Whether a read would not wait, be it for the end; `fd` may be any number, as programs that call us have files."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


def cut(names: list[bytes]) -> Iterator[list[bytes]]:
    """Names in batches."""
    begin, size = 0, 0
    for end, name in enumerate(names, 1):
        size += len(name)
        if end - begin == BATCH_KEYS or size >= BATCH_BYTES:
            yield names[begin:end]
            begin, size = end, 0
    if begin < len(names):
        yield names[begin:]


class NamesFile:
    """The names in a file; `path` - is standard input. `db`: records of other databases are passed over.

    A name that comes again is passed over too, as long as names fit into REMEMBERED_BYTES; `distinct` says whether all
    did, `repeated` and `elsewhere` count what was passed over. Raises UsageError; RunError once names were given out.

    `before`: the same file, opened for another reading; its name may lead to other names by now, or nowhere.
    """

    def __init__(self, path: str, form: str, db: int, before: NamesFile | None = None) -> None:
        self.form, self.db = form, db
        self.label = "--keys-from -" if path == "-" else f"--keys-from {path!r}"
        self.repeated = self.elsewhere = 0
        self.distinct = True
        self._path = path
        self._kept: Any = None  # names that cannot be read a second time
        self._line = 0
        self._given: bool = before is not None and before._given
        self._rest = b""
        self._ended = False
        self._remembered: set[bytes] = set()
        self._room = REMEMBERED_BYTES
        self._batches: Iterator[list[bytes]] = self._read()
        self._piece = 0  # the next one
        self._fd: int
        self._pieces: Pieces | None  # where it can be read more than once
        self._fd, self._pieces = (before._fd, before._pieces) if before else self._open()
        if self._pieces:
            # A file in the wrong format is told before anything is connected.
            self._batches = chain(list(islice(self._batches, 1)), self._batches)

    def _open(self) -> tuple[int, Pieces | None]:
        """The file's descriptor, and its pieces where it can be read more than once."""
        try:
            fd = 0 if self._path == "-" else os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            os.read(fd, 0)  # tells what cannot be read at all, like a folder
            return fd, Pieces(fd) if stat.S_ISREG(os.fstat(fd).st_mode) else None
        except OSError as error:
            raise UsageError(f"{self.label}: {error.strerror}", hint=_SHOULD_BE[self.form]) from None

    def batch(self) -> list[bytes] | None:
        """The next names. Raises UsageError or RunError for a line that is none, or if a second reading differs."""
        names = next(self._batches, None)
        self._given = self._given or bool(names)
        if names and self._kept:
            with self._temporary():
                self._kept.write(pack(names))
        return names

    def keep(self) -> None:
        """Have `again` bring the names once more, also where they come from a pipe: then they go to a file."""
        if not self._pieces:
            with self._temporary():
                self._kept = tempfile.TemporaryFile()  # noqa: SIM115

    def again(self) -> NamesFile | KeptNames:
        """The names that were given out, once more."""
        if self._pieces:
            self._pieces.end_here()
            return self.anew()
        with self._temporary():
            self._kept.flush()
        return KeptNames(self._kept)

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[None]:
        """Within `with`, names go to a file of ours; raises RunError where the disk does not take them."""
        try:
            yield
        except OSError as error:
            text = f"{self.label}: cannot write a temporary file: {error.strerror}"
            raise RunError(text, hint="see TMPDIR") from None

    def anew(self) -> NamesFile:
        """The file from its beginning, for a pass that begins again; only where `begins_again`."""
        return NamesFile(self._path, self.form, self.db, before=self)

    @property
    def begins_again(self) -> bool:
        """Whether it can be read from its beginning: what came by a pipe is gone."""
        return self._pieces is not None

    def close(self) -> None:
        """Give the file back, once for all readings."""
        if self._fd:
            os.close(self._fd)

    def _read(self) -> Iterator[list[bytes]]:
        """Names as they are read; an empty list where the file has nothing to read yet."""
        while (lines := self._lines()) is not None:
            names = [name for line in lines if (name := self._name(line)) is not None and self._is_new(name)]
            if names or not self._pieces:
                yield names

    def _lines(self) -> list[bytes] | None:
        """The next whole lines, [] where there are none yet, None at the end."""
        if self._ended or not (self._pieces or _has_something(self._fd)):
            return None if self._ended else []
        data = self._data()
        *lines, self._rest = (self._rest + data).split(_ENDS[self.form])
        if len(self._rest) > LINE_BYTES_MAX:
            raise self._error(f"line {self._line + len(lines) + 1} is longer than {LINE_BYTES_MAX >> 20} MB")
        if not data:
            self._ended = True
            return [self._rest] if self._rest else None
        return lines

    def _data(self) -> bytes:
        """The next bytes; b'' at the end."""
        try:
            if self._pieces is None:
                return os.read(self._fd, READ_BYTES)
            self._piece += 1
            return self._pieces.read(self._piece - 1)
        except OSError as error:
            raise self._error(error.strerror or str(error)) from None
        except Changed:
            what = "was written to, and names other keys now than when it was read first"
            raise RunError(f"{self.label}: {what}", hint="run the same command again, with a list that stays") from None

    def _name(self, line: bytes) -> bytes | None:
        """The name in a line; None for a blank line, or the record of another database."""
        self._line += 1
        if self.form == "nul" or (self.form == "lines" and line):
            return line
        if not line.strip():
            return None
        try:
            record = json.loads(line)
            name = base64.b64decode(record["key_b64"], validate=True) if "key_b64" in record else record["key"].encode()
            other = record.get("db", self.db) != self.db
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise self._error(f"line {self._line} is no record of a key") from None
        self.elsewhere += other
        return None if other else name

    def _is_new(self, name: bytes) -> bool:
        if name in self._remembered:
            self.repeated += 1
            return False
        self._room -= len(name) + NAME_OVERHEAD_BYTES
        if self._room >= 0:
            self._remembered.add(name)
        else:
            self.distinct = False
        return True

    def _error(self, message: str) -> KeyferryError:
        kind = RunError if self._given else UsageError
        return kind(f"{self.label}: {message}", hint=_SHOULD_BE[self.form])


class KeptNames:
    """Names that were kept in a file as batches."""

    def __init__(self, file: Any) -> None:
        self._batches = unpack_all(file)

    def batch(self) -> list[bytes] | None:
        """The next names; None at the end."""
        return next(self._batches, None)


class NamesScan:
    """The names that one SCAN of a database brings, over the control connection; `words` are its filters."""

    def __init__(self, control: Control, db: int, count: int, words: Sequence[bytes], retry_for_s: float) -> None:
        self.control, self.db, self.count, self.words = control, db, count, words
        self.retry_for_s = retry_for_s
        self._failing_since: float | None = None
        self.cursor: bytes | None = b"0"  # as the server tells it: some have no numbers for cursors

    def batch(self) -> list[bytes] | None:
        """The next names; [] where none came for SCAN_S. Raises AccessError: refused, or not reached for too long."""
        deadline = time.monotonic() + SCAN_S
        names: list[bytes] = []
        while not names and self.cursor is not None and time.monotonic() < deadline:
            names = self._step()
        return None if self.cursor is None and not names else names

    def _step(self) -> list[bytes]:
        try:
            reply = self.control.select(self.db)
            if reply == b"OK":
                reply = self.control.call("SCAN", self.cursor or b"0", "COUNT", self.count, *self.words)
        except AccessError as error:
            return self._wait(error)
        if isinstance(reply, ReplyError):
            refused = self.control.refused("SCAN", reply)
            if rule_for(reply).action is Action.WAIT:
                return self._wait(refused)
            raise refused
        self._failing_since = None
        self.cursor = reply[0] if reply[0] != b"0" else None
        return list(reply[1])

    def _wait(self, error: AccessError) -> list[bytes]:
        """No names yet; raises the error where that has lasted for too long."""
        self._failing_since = self._failing_since or time.monotonic()
        if time.monotonic() - self._failing_since > self.retry_for_s:
            raise error
        time.sleep(SCAN_S / 10)
        return []

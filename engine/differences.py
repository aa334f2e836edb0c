"""Differences as users get them: lines of text, and JSON, a line each in a file (--diff-file)."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterable, Iterator
from typing import Any

from .aside import key_fields
from .text import key_text, shortened
from .workers.errors import RunError, UsageError
from .workers.finding import CHANGING, EXPIRY, ONLY_SOURCE, ONLY_TARGET, TYPE, UNREADABLE, VALUE, Finding, Sight

#: How a kind stands at the beginning of a line: as in the verdict, where it is in it.
SIGNS = {VALUE: "V", TYPE: "V", ONLY_SOURCE: ">", ONLY_TARGET: "<", EXPIRY: "T", CHANGING: "~", UNREADABLE: "!"}
#: Which side has the key.
SIDES = {ONLY_SOURCE: "source", ONLY_TARGET: "target"}
#: What a size counts: bytes of a string, else elements.
_UNITS = {"string": "bytes", "hash": "fields", "list": "elements", "set": "members", "zset": "members"}


def record(found: Finding) -> dict[str, Any]:
    """One difference for programs: see `docs/difference.schema.json`."""
    return {
        **key_fields(found.key),
        "db": found.db,
        "target_db": found.target_db,
        "kind": found.kind,
        "side": SIDES.get(found.kind, "both"),
        "source": _sight_fields(found.source),
        "target": _sight_fields(found.target),
        "where": found.where or None,
    }


def _sight_fields(sight: Sight) -> dict[str, Any] | None:
    if sight.type == "none":
        return None
    return {"type": sight.type, "size": sight.size, "expires_ms": sight.expires_ms}


def line(found: Finding) -> str:
    """One difference for people, on a line of at most 80 columns."""
    name = shortened(key_text(found.key))
    where = f"db {found.db} " if found.db else ""
    return shortened(f"{SIGNS[found.kind]} {name} {where}{_told(found)}", 80)


def _told(found: Finding) -> str:
    source, target = found.source, found.target
    if found.kind == EXPIRY:
        return f"expires {_instant(source)} → {_instant(target)}"
    if found.kind == TYPE:
        return f"{source.type} → {target.type}"
    if found.kind == VALUE:
        sizes = _sizes(source, target) if source.size != target.size else source.type
        return f"{sizes}: {found.where}"
    if found.kind in SIDES:
        sight = source if found.kind == ONLY_SOURCE else target
        return f"{sight.type}{_size(sight)}"
    return found.where or found.kind


def _instant(sight: Sight) -> str:
    return "never" if sight.expires_ms is None else f"{sight.expires_ms} ms"


def _sizes(source: Sight, target: Sight) -> str:
    return f"{source.type} of {source.size} → {target.size} {_UNITS.get(source.type, 'elements')}"


def _size(sight: Sight) -> str:
    return "" if sight.size is None else f" of {sight.size} {_UNITS.get(sight.type, 'elements')}"


class DiffFile:
    """The file of --diff-file, readable by its owner only. Made at once, so that it fails at once."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError as error:
            raise UsageError(f"--diff-file {path}: {error.strerror}", hint="name a file that can be written") from None
        self._begins_anew = stat.S_ISREG(os.fstat(self._handle).st_mode)  # what went into a pipe is gone

    def write(self, found: Iterable[Finding]) -> None:
        """Write all differences of a verification, in the place of those of one before, where a run makes several.

        Raises RunError when the disk does not take them.
        """
        try:
            if self._begins_anew:
                os.ftruncate(self._handle, 0)
                os.lseek(self._handle, 0, os.SEEK_SET)
            with open(self._handle, "w", encoding="utf-8", closefd=False) as file:
                file.writelines(json.dumps(record(one)) + "\n" for one in found)
        except OSError as error:
            raise RunError(f"cannot write {self.path}: {error.strerror}", hint="see --diff-file") from None

    def close(self) -> None:
        """Close the file; everything is written by then."""
        os.close(self._handle)


@contextlib.contextmanager
def diff_file(path: str | None) -> Iterator[DiffFile | None]:
    """The file within `with`; None where none was asked for. Raises UsageError for one that cannot be made."""
    if not path:
        yield None
        return
    file = DiffFile(path)
    try:
        yield file
    finally:
        file.close()

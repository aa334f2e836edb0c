"""Undo files: what a run has changed at a server, kept on disk until it is put back. One setting of one server a file.

They lie in `$XDG_STATE_HOME/keyferry/undo`, or `~/.local/state/keyferry/undo`: a folder that only its owner may enter.
A file is complete or not there: it is written under another name, synced, and then given its own. No password is in
it, for whoever comes to put the value back brings a login of their own.

A lock of the kernel on the file says that somebody still needs the change. Every run that does shares it; one that
puts the value back has it alone. It ends with its process, so nobody has to ask whether a number is still the same
process. Only files that are locked alone are removed, so that no run loses one under its hands.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

#: Parts of a file's name: what a server says is not to lead anywhere else.
RUN_ID = re.compile(r"[0-9A-Za-z]{1,64}")
SETTING = re.compile(r"[a-z][a-z0-9-]{0,63}")
#: The setting for notifications, and those of its flags that servers do not tell beside A.
NOTIFICATIONS, HIDDEN_BY_A = "notify-keyspace-events", "noc"
#: A value that is empty, as redis-cli has it typed.
EMPTY = '""'
#: A file that is still being written after so long is of a run that was killed meanwhile.
STALE_S = 3600.0


@dataclass(frozen=True)
class Record:
    """A change: which server process, what the setting was and what we made of it."""

    side: str
    address: str
    run_id: str
    setting: str
    old: str
    ours: str
    pid: int  # of the process that wrote this, for people
    changed_at_ms: int  # by the server's clock

    @property
    def name(self) -> str:
        """The file's name."""
        return f"{self.run_id}.{self.setting}.json"

    def is_ours(self, value: str) -> bool:
        """Whether this is the value that we have set, as far as a server tells."""
        return as_told(self.setting, value) == as_told(self.setting, self.ours)

    @property
    def command(self) -> str:
        """What puts the value back, to type."""
        return f"CONFIG SET {self.setting} {self.old or EMPTY}"

    def pack(self) -> bytes:
        """The file's content."""
        return json.dumps(asdict(self)).encode() + b"\n"


def unpack(data: bytes) -> Record | None:
    """The record in a file's content; None where it is none."""
    try:
        found = json.loads(data)
        record = Record(**{field.name: found[field.name] for field in fields(Record)})
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    sound = all(type(getattr(record, field.name)).__name__ == field.type for field in fields(Record))
    return record if sound and is_name(record.run_id, record.setting) else None


def as_told(setting: str, value: str) -> str:
    """A value as servers tell it: of notifications, A hides some (seen on Redis 7.0, 8.2 and Valkey 9.1)."""
    hidden = HIDDEN_BY_A if setting == NOTIFICATIONS and "A" in value else ""
    return "".join(sign for sign in value if sign not in hidden)


def is_name(run_id: str, setting: str) -> bool:
    """Whether a file can be named after these."""
    return bool(RUN_ID.fullmatch(run_id) and SETTING.fullmatch(setting))


def folder() -> Path:
    """Where the files lie; raises OSError where there is no home."""
    state = os.environ.get("XDG_STATE_HOME", "")
    try:
        # The standard has a relative path ignored.
        base = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    except RuntimeError as error:
        raise OSError(str(error)) from None
    return base / "keyferry" / "undo"


@dataclass
class Held:
    """A file that we have locked, shared or alone, until `close`."""

    path: Path
    handle: int
    record: Record

    def alone(self) -> bool:
        """Exchange our share of the lock for the whole; False, and no lock is left, while others have a share.

        Of several that try, the last one gets it: each gives its own share away before it asks.
        """
        return _locked(self.handle, fcntl.LOCK_EX) and _is_at(self.handle, self.path)

    def share_again(self) -> None:
        """Exchange the whole lock for a share of it."""
        _locked(self.handle, fcntl.LOCK_SH)

    def remove(self) -> None:
        """Remove the file, which is locked alone."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Give the lock back, also where a process that was forked from ours has the file open as well."""
        fcntl.flock(self.handle, fcntl.LOCK_UN)
        os.close(self.handle)


def create(record: Record) -> Held | None:
    """Write a file and share its lock; None where one of its name is there already. Raises OSError."""
    path = _private_folder() / record.name
    new = path.with_name(f".{os.urandom(8).hex()}.new")
    handle = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)
        os.write(handle, record.pack())
        os.fsync(handle)
        os.link(new, path)  # unlike a rename it replaces nothing
        _sync(path.parent)
    except BaseException as error:
        os.close(handle)
        if isinstance(error, FileExistsError):
            return None
        raise
    finally:
        new.unlink(missing_ok=True)
    return Held(path, handle, record)


def share(run_id: str, setting: str) -> Held | None:
    """Take a share of a file that is there; None where none is. Raises OSError: damaged, or held alone by another."""
    if not is_there(run_id, setting):
        return None
    path = folder() / f"{run_id}.{setting}.json"
    held = _open(path, fcntl.LOCK_SH)
    if held is None and path.exists():
        raise OSError(f"{path} is damaged, or in use")
    return held


def is_there(run_id: str, setting: str) -> bool:
    """Whether a run has changed the setting, and it is not put back yet."""
    try:
        return is_name(run_id, setting) and (folder() / f"{run_id}.{setting}.json").exists()
    except OSError:
        return False


def unneeded() -> Iterator[Held]:
    """Each file that no run needs any more, locked alone while it is looked at. What is damaged is left alone."""
    try:
        paths = sorted(folder().glob("*.json"))
    except OSError:
        return
    for path in paths:
        held = _open(path, fcntl.LOCK_EX)
        if held is not None:
            try:
                yield held
            finally:
                held.close()


def _open(path: Path, how: int) -> Held | None:
    """The file with its lock; None where it is gone, locked by others, damaged, or not our own."""
    handle = _handle_of(path)
    if handle is None:
        return None
    record = None
    with contextlib.suppress(OSError):
        if os.fstat(handle).st_uid == os.geteuid() and _locked(handle, how) and _is_at(handle, path):
            record = unpack(os.read(handle, 1 << 16))
    if record is None or record.name != path.name:
        os.close(handle)
        return None
    return Held(path, handle, record)


def _handle_of(path: Path) -> int | None:
    """NFS locks alone only what may be written; but of a disk that takes no writes any more, reading has to do."""
    for access in (os.O_RDWR, os.O_RDONLY):
        with contextlib.suppress(OSError):
            return os.open(path, access | os.O_NOFOLLOW | os.O_NONBLOCK)
    return None


def _locked(handle: int, how: int) -> bool:
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(handle: int, path: Path) -> bool:
    """Whether the open file still has its name: it may have been removed before we had the lock."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _private_folder() -> Path:
    """The folder, made if need be, and without what killed runs had not finished. Raises OSError."""
    path = folder()
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_uid != os.geteuid():
        raise PermissionError(f"{path} belongs to another user")
    path.chmod(0o700)
    for new in path.glob(".*.new"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - new.stat().st_mtime > STALE_S:
                new.unlink()
    return path


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

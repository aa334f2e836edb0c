"""The put-aside file: one JSON line for each key that could not be copied, with the reason. Made when needed."""

from __future__ import annotations

import base64
import contextlib
import errno
import json
import os
import tempfile
import time
from collections.abc import Callable
from typing import IO, Any

from .workers.errors import RunError
from .workers.news import Aside
from .workers.task import Scope


def default_path() -> str:
    """Where the file goes unless --put-aside says otherwise: the folder of the run, named by its start and process."""
    return time.strftime(f"./keyferry-put-aside-%Y%m%d-%H%M%S-{os.getpid()}.jsonl")


def obstacle(path: str) -> str:
    """Why a file could not be written there, as far as that can be told without making it; "" if it can be."""
    if os.path.isdir(path):
        return os.strerror(errno.EISDIR)
    if os.path.exists(path):
        return "" if os.access(path, os.W_OK) else os.strerror(errno.EACCES)
    try:
        with tempfile.TemporaryFile(dir=os.path.dirname(path) or "."):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def key_fields(key: bytes) -> dict[str, str]:
    """A key in JSON: `key` as text, and `key_b64` with its exact bytes where they are not UTF-8."""
    try:
        return {"key": key.decode()}
    except UnicodeDecodeError:
        return {"key": key.decode("utf-8", "replace"), "key_b64": base64.b64encode(key).decode()}


class AsideFile:
    """Appends records; readable by its owner only, as keys may be confidential. `tell` is told of each, too."""

    def __init__(self, path: str, tell: Callable[[Aside], None] = lambda aside: None) -> None:
        self.path, self._tell = path or default_path(), tell
        self.reasons: dict[str, int] = {}
        self._file: IO[str] | None = None

    def forget(self, scope: Scope) -> None:
        """A database is read again; its records stay, as the file is told of each key at least once."""

    def add(self, aside: Any) -> None:
        """Write one record, an Aside; raises RunError when the disk does not take it."""
        self.reasons[aside.reason] = self.reasons.get(aside.reason, 0) + 1
        record = {**key_fields(aside.key), "db": aside.db, "type": aside.type, "size": aside.size}
        try:
            if self._file is None:
                handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                self._file = os.fdopen(handle, "w", encoding="utf-8")
            self._file.write(json.dumps(record | {"reason": aside.reason}) + "\n")
            self._file.flush()
        except OSError as error:
            raise RunError(f"cannot write {self.path}: {error.strerror}", hint="see --put-aside") from None
        self._tell(aside)

    @property
    def used(self) -> bool:
        """Whether there is a file."""
        return self._file is not None

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # what a full disk did not take has been told by `add`
                self._file.close()

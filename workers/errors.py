"""Everything that can end a run, drawn as one tree. The class decides the exit code.

    KeyferryError
      ├─ UsageError         2      wrong option, address, file: nothing was touched
      ├─ AccessError        3 / 4  before the first key: login, TLS or permission refused (source / target)
      │    └─ UnreachedError       … or not reached: those who wait for servers that are starting try again
      ├─ RunError           5      ended after the first key: connection gone, disk full, workers keep dying
      │    └─ ChangedError         a server is not the one that the copy began with: another pass follows
      │         └─ AppearedError   … the same, and a database has appeared that the plan does not know
      ├─ RefusedError       6      we will not do this: same database, unsupported pair
      ├─ StateError         7      the server answers, but LOADING, OOM, READONLY, … lasted too long
      ├─ NotConverged       8      live: it cannot be claimed that both sides are equal
      └─ InternalError      70     our bug

A raised error is one line for the user: what, which side and address, which key or option; the hint is a
second line that says what to do. Errors of a worker travel to the coordinator as plain maps (`pack`, `unpack`).
"""

from __future__ import annotations

EXIT_OK = 0  # done, and proved as far as asked
EXIT_INCOMPLETE = 1  # finished, but keys differ, were put aside or failed
EXIT_USAGE = 2
EXIT_SOURCE = 3
EXIT_TARGET = 4
EXIT_RUN = 5
EXIT_REFUSED = 6
EXIT_STATE = 7
EXIT_NOT_CONVERGED = 8  # live: events were lost and not made good, or the proof needs what a server hides
EXIT_BUG = 70
EXIT_SIGNAL = 128  # + the signal's number


class KeyferryError(Exception):
    """Base of all errors that users see. `side` is 'source', 'target' or ''; `address` as printed, without secrets."""

    exit_code = EXIT_BUG

    def __init__(self, message: str, *, side: str = "", address: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.side = side
        self.address = address
        self.hint = hint

    def __str__(self) -> str:
        where = " ".join(part for part in (self.side, self.address) if part)
        return f"{where}: {self.message}" if where else self.message

    def pack(self) -> dict[str, str]:
        """The error as a map of strings, for a report from a worker."""
        return {
            "kind": type(self).__name__,
            "message": self.message,
            "side": self.side,
            "address": self.address,
            "hint": self.hint,
        }


class UsageError(KeyferryError):
    """Wrong usage; nothing was touched, nor connected, unless servers had to be asked whether they are one cluster."""

    exit_code = EXIT_USAGE


class AccessError(KeyferryError):
    """Before the first key was written: no address answered, or login, or permission was refused."""

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        return EXIT_TARGET if self.side == "target" else EXIT_SOURCE


class UnreachedError(AccessError):
    """No address answered; in a moment one may."""


class RunError(KeyferryError):
    """Anything else that ends a run after its first key."""

    exit_code = EXIT_RUN


class ChangedError(RunError):
    """A server's identity has changed; what was copied until then proves nothing."""


class AppearedError(ChangedError):
    """A database has appeared that is to be copied too: it takes another plan."""


class RefusedError(KeyferryError):
    """Something that would be unsafe, so it is not done."""

    exit_code = EXIT_REFUSED


class StateError(KeyferryError):
    """A server answers, but refuses work for longer than the run may wait."""

    exit_code = EXIT_STATE


class NotConverged(KeyferryError):
    """A live copy that cannot claim that both sides are equal."""

    exit_code = EXIT_NOT_CONVERGED


class InternalError(KeyferryError):
    """A bug of keyferry."""

    exit_code = EXIT_BUG


def key_text(key: bytes) -> str:
    """A key in quotes, escaped as redis-cli does."""
    out = []
    for byte in key:
        char = chr(byte)
        if char in '"\\':
            out.append("\\" + char)
        elif 32 <= byte < 127:
            out.append(char)
        else:
            out.append({7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 13: "\\r"}.get(byte, f"\\x{byte:02x}"))
    return '"' + "".join(out) + '"'


_REACH = (UsageError, AccessError, UnreachedError, RefusedError)
_RUN = (RunError, ChangedError, AppearedError, StateError, NotConverged, InternalError)
_KINDS = {kind.__name__: kind for kind in _REACH + _RUN}


def unpack(packed: dict[str, str]) -> KeyferryError:
    """The error that `KeyferryError.pack` described."""
    return _KINDS[packed["kind"]](
        packed["message"], side=packed["side"], address=packed["address"], hint=packed["hint"]
    )


def told(error: Exception) -> str:
    """An error that nobody has foreseen, and where it happened, in a line."""
    import traceback  # a process that does its work needs none

    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({last.filename.rpartition('/')[2]}:{last.lineno})"


def after_too_long(error: KeyferryError, text: str) -> KeyferryError:
    """What ends the run where a trouble has lasted too long: a state of a server stays one, all else is a RunError."""
    kind = StateError if isinstance(error, StateError) else RunError
    return kind(text, side=error.side, address=error.address, hint=error.hint)

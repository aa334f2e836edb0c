"""Passwords that do not stand on the command line: from a file, or typed at the terminal."""

from __future__ import annotations

import os
import stat

from .workers.errors import UsageError

_LINE_MAX = 1 << 16  # bytes: no password is longer, and /dev/zero must end


_FILE_HINT = "a file whose first line is the password"


def from_file(path: str, side: str) -> tuple[str, str]:
    """The first line of a file, and a warning ("" for none). Raises UsageError."""
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            line = file.readline(_LINE_MAX)
        password = line.rstrip(b"\r\n").decode()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise UsageError(f"--pass-file {path!r}: {reason}", side=side, hint=_FILE_HINT) from None
    if not password:
        raise UsageError(f"--pass-file {path!r}: the first line is empty", side=side, hint=_FILE_HINT)
    readable = stat.S_ISREG(mode) and mode & (stat.S_IRGRP | stat.S_IROTH)
    return password, f"--pass-file {path!r} can be read by others: chmod 600 would mend that" if readable else ""


def from_terminal(side: str, address: str) -> str:
    """What the user types at the terminal, unseen; standard input is left alone. Raises UsageError."""
    hint = "--pass-file FILE needs no terminal"
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        raise UsageError(
            "there is no terminal to ask for the password", side=side, address=address, hint=hint
        ) from None
    from getpass import getpass  # only here: most runs never ask

    where = " ".join(part for part in (side, address) if part)
    try:
        password = getpass(f"Password of {where}: ")
    except EOFError:
        password = ""
    except UnicodeDecodeError:
        raise UsageError("the password is not UTF-8 text", side=side, address=address, hint=hint) from None
    if not password:
        raise UsageError("the password is empty", side=side, address=address, hint=hint)
    return password

"""What tests do between a command and a server; see respproxy.py."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from .respproxy import Answer, Args, Hooks

#: Commands that write a key, as the product sends them.
WRITES = (b"MSET", b"SET", b"RESTORE")


def is_write(args: Args) -> bool:
    """Whether a command writes a key; the writes that only ask for permission do not count."""
    return args[0].upper() in WRITES and not args[1].startswith(b"keyferry:")


class At(Hooks):
    """Does something once, when the command with this number arrives among those that `counts` picks."""

    def __init__(self, number: int, act: Callable[[], object], counts: Callable[[Args], bool] = is_write) -> None:
        self._left, self._act, self._counts = number, act, counts

    def on_command(self, args: Args) -> Answer:
        if self._counts(args):
            self._left -= 1
            if self._left == 0:
                self._act()
        return args


class Slow(Hooks):
    """Every write takes so many seconds, as long as that is not changed."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_command(self, args: Args) -> Answer:
        if is_write(args):
            time.sleep(self.seconds)
        return args


class Verifying(Hooks):
    """Something happens at the first command that only verification sends to the target."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.act = act
        self.acted = False

    def on_command(self, args: Args) -> Answer:
        if args[0] in (b"MGET", b"GET", b"DUMP") and b"key" in args and not self.acted:
            self.acted = True
            self.act()
        return args


class TurnsOpaque(Hooks):
    """A ring while it is probed; afterwards a scan may only begin at 0 and go on where it was: others end at once."""

    replies_of = frozenset({b"SCAN"})

    def __init__(self) -> None:
        self.copying = False
        self.given = {b"0"}

    def on_command(self, args: Args) -> Answer:
        self.copying = self.copying or (args[:2] == [b"CLIENT", b"SETNAME"] and b"control" not in args[2])
        return args

    def on_reply(self, args: Args, reply: Any) -> Any:
        if not self.copying:
            return reply
        if args[1] not in self.given:
            return [b"0", reply[1]]
        self.given.add(reply[0])
        return reply


#: The control connection asks for the size of the database three times before the first key, and then, when all is
#: copied: to see whether that was all (of the source only), and at the beginning of the verification. An empty target
#: of a live copy is asked once more before the first key.
SURVEYED = 3

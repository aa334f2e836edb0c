"""Keys that exist at the target, where none may be replaced (--on-conflict skip or fail).

HOW IT WORKS
    Before any key of a SCAN reply is read, the target is asked which of them exist (`Look`). `skip` leaves those and
    counts them, `fail` ends the run. The others are written by commands that the target refuses for a key that has
    come to exist meanwhile (SET NX, RESTORE without REPLACE), so no race ever overwrites one.

WHAT HAPPENS IF the key is our own: written by a window that is sent again, by a worker that died, or while the target
    was being filled from nothing. Then asking first tells nothing, and is left out (`Task.own`). A write that is
    refused is settled by comparison (`look.py`): what equals the source's key counts as copied, anything else is a
    conflict. Keys that come twice because ranges overlap are put off until all ranges are done, so that the range
    that counts a key is the first to write it. Keys that come twice because the source's table has shrunk come soon
    after each other, in one range: what it has taken in lately is known (`Recent`).

LIMITATIONS
    A source key that was changed between the two writes is taken for a conflict, as nobody can tell it from one. So is
    one that comes again when its range has taken in more than RECENT_KEYS since.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from functools import partial
from itertools import compress, islice
from typing import TYPE_CHECKING

from .errors import RefusedError, key_text
from .policy import Action, rule_for
from .read import exists_request
from .resp import arguments
from .router import Sink

if TYPE_CHECKING:
    from .link import Link


def exists(reply: object) -> bool:
    """Whether a reply to a write says that its key exists: nil of SET NX, BUSYKEY of RESTORE."""
    return reply is None or str(reply).startswith("BUSYKEY")


def leave_or_refuse(link: Link, node: int, key: bytes) -> None:
    """What is done about a key that somebody else wrote: nothing, or the run ends with RefusedError."""
    if link.on_conflict == "fail":
        raise RefusedError(
            f"key {key_text(key)} exists in db {link.target_db}",
            side="target",
            address=link.router.sinks[node].conn.endpoint.address,
            hint="--on-conflict skip leaves such keys as they are, replace overwrites them",
        )


#: So many keys before the last one are known. A table that becomes a hundred times smaller brings as many again.
RECENT_KEYS = 4096


class Recent(dict[bytes, None]):
    """The last keys that a range has taken in, to write them."""

    def note(self, keys: Iterable[bytes]) -> None:
        """Take in some more; the oldest are forgotten."""
        self.update(dict.fromkeys(keys))
        for key in list(islice(self, max(0, len(self) - RECENT_KEYS))):
            del self[key]


class Look:
    """Asks which of `keys` exist; then told(those that do not).

    `fail`: raises RefusedError for the first that does, unless it is one of `ours`.
    """

    def __init__(
        self, link: Link, keys: list[bytes], told: Callable[[list[bytes]], None], ours: Container[bytes] = ()
    ) -> None:
        self.link, self.keys, self.told, self.ours = link, keys, told, ours
        self._absent: set[bytes] = set()
        self._pending = 0

    def start(self) -> None:
        """Send the questions."""
        groups = self.link.router.group(self.keys)
        self._pending = len(groups)
        for sink, keys in groups:
            self._ask(sink, keys)

    def _ask(self, sink: Sink, keys: list[bytes]) -> None:
        request, count = exists_request(arguments(keys))
        sink.write(request, count, partial(self._answered, sink, keys))

    def _answered(self, sink: Sink, keys: list[bytes], replies: list) -> None:
        error = next((reply for reply in replies if _concerns_all(reply)), None)
        if error is not None:
            self.link.learn_all(sink.node, replies)
            return self.link.trouble("target", sink.node, error, lambda: self._ask_again(keys))
        found = [reply == 1 for reply in replies]
        for key in compress(keys, found):
            if key not in self.ours:
                leave_or_refuse(self.link, sink.node, key)
        self._absent.update(compress(keys, [not here for here in found]))
        self._pending -= 1
        if not self._pending:
            self.told([key for key in self.keys if key in self._absent])

    def _ask_again(self, keys: list[bytes]) -> None:
        """Slots may have moved meanwhile: each key is looked for where it belongs now."""
        groups = self.link.router.group(keys)
        self._pending += len(groups) - 1
        for sink, some in groups:
            self._ask(sink, some)


def _concerns_all(reply: object) -> bool:
    """An error of the server or the user; one about a single key will come again when that is written."""
    return isinstance(reply, Exception) and rule_for(reply).action in (Action.WAIT, Action.STOP, Action.REDIRECT)

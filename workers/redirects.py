"""Keys that another node of a cluster holds: what MOVED and ASK say, and how one key is asked about wherever it lives.

HOW IT WORKS
    While a slot moves, its keys are at two nodes. The old one serves those that it still has, and answers ASK for all
    others, those that do not exist included; the new one serves a command that follows an ASKING, one command each. So
    a nil counts only from the node that ASK has named, or where no slot moves. Once the slot has moved, the old node
    answers MOVED.

    Commands on several keys are refused (TRYAGAIN, ASK) while their keys are at two nodes. So windows meet these errors
    as a reason to do the same key by key (`careful.py`), and there each key is an `Errand`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .policy import Gone
from .read import EXEC, MULTI, moment_of
from .resp import command

if TYPE_CHECKING:
    from .conn import Connection, Request
    from .link import Link

ASKING = command(b"ASKING")
#: What stands for a host that the cluster does not know; then it is the one that we have reached it by.
UNKNOWN_HOSTS = ("", "?")
#: So many nodes one after the other may send us on; then we wait until they agree.
HOPS_MAX = 5

_FORM = re.compile(r"(MOVED|ASK) (\d+) (\S*):(\d+)$")


@dataclass(frozen=True)
class Redirect:
    """`address` is as the cluster announces it; '' before the colon is the host of who says it."""

    slot: int
    host: str
    port: int
    asks: bool  # only the next command, after ASKING

    @property
    def address(self) -> str:
        """host:port, as nodes announce themselves."""
        return f"{self.host}:{self.port}"


def redirect_of(reply: object) -> Redirect | None:
    """What an error reply says about where to go, if it does."""
    found = _FORM.match(str(reply)) if isinstance(reply, Exception) else None
    if not found:
        return None
    host = "" if found[3] in UNKNOWN_HOSTS else found[3]
    return Redirect(int(found[2]), host, int(found[4]), found[1] == "ASK")


def asking(request: Request) -> Request:
    """A request of one command, for a node that takes its key in."""
    return ASKING + request if isinstance(request, bytes) else [ASKING, *request]


def commands_of(request: bytes) -> list[tuple[bytes, bool]]:
    """The commands of a request, and whether each names a key: all but TIME do."""
    found = []
    at = 0
    while at < len(request):
        begin = at
        words, at = _number_at(request, at)
        name = b""
        for number in range(words):
            size, at = _number_at(request, at)
            name = name if number else request[at : at + size].upper()
            at += size + 2
        found.append((request[begin:at], name != b"TIME"))
    return found


def _number_at(request: bytes, at: int) -> tuple[int, int]:
    """The number behind a sign, up to the line's end, and where the next line begins."""
    end = request.index(b"\r\n", at)
    return int(request[at + 1 : end]), end + 2


class Errand:
    """Commands about one key, sent to whichever node has it; then then(a reply for each).

    `keyed` says which of the commands name the key: each of those needs an ASKING of its own. `home` is the connection
    to the node that should have the key. `moment`: all in one transaction.
    """

    def __init__(
        self,
        link: Link,
        commands: Sequence[tuple[bytes, bool]],
        then: Callable[[list], None],
        home: Callable[[], Connection] | None = None,
        moment: bool = False,
    ) -> None:
        self.link, self.commands, self.then, self.moment = link, commands, then, moment
        self.home = home or (lambda: link.reader)
        self._hops = 0

    def start(self) -> None:
        """Ask the node that should have the key."""
        self._hops = 0
        self._ask(self.home(), asks=False)

    def _ask(self, conn: Connection, asks: bool) -> None:
        plain = b"".join([words for words, _ in self.commands])
        if self.moment:
            request = (ASKING if asks else b"") + MULTI + plain + EXEC
            count = len(self.commands) + 2
            conn.ask(request, count + asks, lambda got: self._answered(conn, moment_of(got[asks:])))
        elif asks:
            request = b"".join([ASKING + words if keyed else words for words, keyed in self.commands])
            count = sum(1 + keyed for _, keyed in self.commands)
            conn.ask(request, count, lambda got: self._answered(conn, self._without_asking(got)))
        else:
            conn.ask(plain, len(self.commands), lambda got: self._answered(conn, got))

    def _without_asking(self, replies: list) -> list:
        kept, at = [], 0
        for _, keyed in self.commands:
            kept.append(replies[at + keyed])
            at += 1 + keyed
        return kept

    def _answered(self, conn: Connection, replies: list) -> None:
        if self._hops and any(isinstance(reply, Gone) for reply in replies):
            return self._later(conn)
        redirect = next((found for found in map(redirect_of, replies) if found), None)
        if redirect is None or self._hops >= HOPS_MAX:
            return self.then(replies)
        self._hops += 1
        there = self.link.visit(conn, redirect)
        if there.ready:
            self._ask(there, redirect.asks)
        else:
            self._later(there)

    def _later(self, conn: Connection) -> None:
        """The other node is not reached yet, or not any more: from the beginning, after a pause."""
        self.link.wait(conn.side, conn.endpoint.address, "connecting to another node", "", self.start)

"""The handshake: what a connection says before it takes requests, and what it learns from the answers.

It logs in, selects its database, and checks that the process and the data at the other end are those that the plan was
made for. It raises StateError where another try may succeed, and what is of another class where none will.

WHY A STATE THAT PASSES IS WAITED FOR: a server that is busy with a script refuses to say which process it is, and which
CLIENT ID we have. Work on such a connection might go to another server than the one that was read before, and what was
written on it could not be kept from being executed late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from .endpoint import Endpoint
from .errors import AccessError, ChangedError, KeyferryError, StateError
from .policy import Action, login_reply, rule_for
from .replies import new_mark
from .resp import command, info_fields
from .setup import Node


@dataclass
class Step:
    """One command of the handshake; an error reply to a step that is not `needed` is let pass.

    But one that tells of a state which passes is no answer, where an answer would have been checked.
    """

    words: tuple[bytes, ...]
    needed: bool
    check: Callable[[object], None] | None = None


class Handshake:
    """The steps for one connection, `more` ones after all others; the fields hold what the server has told."""

    def __init__(self, side: str, node: Node, db: int, name: str, more: Sequence[Step] = ()) -> None:
        self.side, self.node = side, node
        self.endpoint: Endpoint = node.endpoint
        self.client_id = 0  # 0 = the server does not tell
        self.direct = False  # proved: the server sees our own address, so nobody is in between
        self.echoes = False  # it sends back what PING brings: then requests may be marked
        self._own_address = ""
        self.steps = [*self._first(db, name), *more]

    @property
    def request(self) -> bytes:
        """All steps, to be sent at once."""
        return b"".join([command(*step.words) for step in self.steps])

    def answered(self, replies: Sequence[object], own_address: str) -> None:
        """Take in the reply to each step; `own_address` is that of our end of the socket, as CLIENT INFO tells it.

        Raises KeyferryError where this connection cannot be used.
        """
        self._own_address = own_address
        for step, reply in zip(self.steps, replies):
            if isinstance(reply, Exception):
                if step.needed or str(reply).startswith("NOAUTH") or (step.check and is_for_now(reply)):
                    raise self.refusal(step.words[0], reply)
            elif step.check:
                step.check(reply)

    def check_replid(self, reply: object) -> None:
        """Raise ChangedError where INFO replication is of other data than the plan was made for."""
        # The same process holds other data when it has been somebody's replica in between.
        self._check_identity("master_replid", self.node.replid, reply)

    # ---- steps ----------------------------------------------------------------------------------------------

    def _first(self, db: int, name: str) -> Iterator[Step]:
        where = self.endpoint
        if where.password:
            words = (where.user, where.password) if where.user else (where.password,)
            yield Step((b"AUTH", *(word.encode() for word in words)), needed=True)
        yield Step((b"SELECT", b"%d" % db), needed=db != 0)
        yield Step((b"CLIENT", b"SETNAME", name.encode()), needed=False)
        yield Step((b"CLIENT", b"ID"), needed=False, check=self._note_id)
        yield Step((b"INFO", b"server"), needed=False, check=self._check_run_id)
        yield Step((b"INFO", b"replication"), needed=False, check=self.check_replid)
        if self.node.replica:
            yield Step((b"READONLY",), needed=True)
        if self.node.no_touch and self.node.read:
            # Reading must not make a cold key look hot to the server's eviction.
            yield Step((b"CLIENT", b"NO-TOUCH", b"ON"), needed=False)
        if self.node.read:
            yield Step((b"CLIENT", b"INFO"), needed=False, check=self._note_who_we_are)
            mark = new_mark()
            yield Step((b"PING", mark), needed=False, check=partial(self._note_echo, mark))

    # ---- what the server tells ------------------------------------------------------------------------------

    def _note_echo(self, mark: bytes, reply: object) -> None:
        self.echoes = reply == mark

    def _note_id(self, reply: object) -> None:
        self.client_id = reply if isinstance(reply, int) else 0

    def _note_who_we_are(self, reply: object) -> None:
        """A proxy has a connection of its own to the server, so the server tells another address than ours."""
        self.direct = isinstance(reply, bytes) and f" addr={self._own_address} ".encode() in reply

    def _check_run_id(self, reply: object) -> None:
        self._check_identity("run_id", self.node.run_id, reply)

    def _check_identity(self, name: str, wanted: str, reply: object) -> None:
        found = info_fields(reply).get(name, "") if isinstance(reply, bytes) else ""
        if wanted and found and found != wanted:
            text = f"its {name} is another than when the copy began (restarted, failed over or replaced)"
            raise ChangedError(text, side=self.side, address=self.endpoint.address)

    def refusal(self, word: bytes, reply: Exception) -> KeyferryError:
        """The error for a command that was refused."""
        rule, where = rule_for(reply), {"side": self.side, "address": self.endpoint.address}
        if is_for_now(reply):
            return StateError(rule.reason, hint=rule.hint, **where)
        said = login_reply(reply, self.endpoint.password) if word == b"AUTH" else reply
        return AccessError(f"{word.decode()} refused: {said}", hint=rule.hint, **where)


def is_for_now(reply: object) -> bool:
    """Whether the server is in a state that passes: LOADING, or busy."""
    return rule_for(reply).action is Action.WAIT

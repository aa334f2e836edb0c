"""Commands to a cluster for tests: each goes to the node that owns its key, and follows redirections."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

from .clusternodes import slot_of
from .wire import BATCH, Arg, Command, Connection, Refused, ServerError

if TYPE_CHECKING:
    from .clusters import Cluster

#: Where the key of a command is, if it is not the first argument.
KEY_AT: Mapping[str, int] = {"DEBUG": 2, "EVAL": 3, "EVALSHA": 3, "MEMORY": 2, "OBJECT": 2, "XGROUP": 2, "XINFO": 2}

#: Replies that mean: look again where the slot is, and try again.
PASSING = ("MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN")

#: So long a command is tried again, seconds.
PATIENCE_S = 30.0


def key_of(command: Command) -> bytes:
    """The first key of a command."""
    name = str(command[0]).upper()
    if name in ("XREADGROUP", "XREAD"):
        words = [str(word).upper() if isinstance(word, str) else "" for word in command]
        return _bytes(command[words.index("STREAMS") + 1])
    return _bytes(command[KEY_AT.get(name, 1)])


def _bytes(word: Arg) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode()


class ClusterConnection:
    """A connection to each node as needed. For one thread. Database `db` needs a server that has such in a cluster."""

    def __init__(self, cluster: Cluster, db: int = 0) -> None:
        self._cluster, self._db = cluster, db
        self._open: dict[str, Connection] = {}
        self._owners = cluster.owners()

    def call(self, *command: Arg, key: Arg | None = None) -> Any:
        """The reply to one command; `key` says where it goes if its own words do not. Error replies are values."""
        [reply] = self.routed([(key_of(command) if key is None else _bytes(key), command)])
        return reply

    def must(self, *command: Arg, key: Arg | None = None) -> Any:
        """Like `call`, but raises Refused for an error reply."""
        reply = self.call(*command, key=key)
        if isinstance(reply, ServerError):
            raise Refused(f"{command[0]!r}: {reply}")
        return reply

    def pipeline(self, commands: Iterable[Command]) -> list[Any]:
        """The replies to all commands, in order; each goes where its key is."""
        return self.routed((key_of(command), command) for command in commands)

    def routed(self, commands: Iterable[tuple[bytes, Command]]) -> list[Any]:
        """The replies to all commands, in order; each comes with the key by which it goes.

        What is redirected, or met a node that is gone, is sent again: where slots move or nodes fail, a command may be
        carried out twice, or after a later one of its key.
        """
        waiting, replies = iter(commands), []
        while some := list(islice(waiting, BATCH)):
            replies += self._batch([command for _, command in some], [slot_of(key) for key, _ in some])
        return replies

    def _batch(self, commands: list[Command], slots: list[int]) -> list[Any]:
        replies: list[Any] = [None] * len(commands)
        todo, asked = list(range(len(commands))), dict[int, str]()
        deadline = time.monotonic() + PATIENCE_S
        while True:
            self._send_to_owners(todo, commands, slots, asked, replies)
            todo = [at for at in todo if _passing(replies[at])]
            if not todo or time.monotonic() > deadline:
                return replies
            asked = {at: str(replies[at]).split()[2] for at in todo if str(replies[at]).startswith("ASK ")}
            if len(asked) < len(todo):
                time.sleep(0.02)
                self._owners = self._cluster.owners()

    def _send_to_owners(
        self, todo: list[int], commands: list[Command], slots: list[int], asked: dict[int, str], replies: list[Any]
    ) -> None:
        lanes: dict[str, list[int]] = {}
        for at in todo:
            lanes.setdefault(asked.get(at) or self._owners.get(slots[at], ""), []).append(at)
        for address, lane in lanes.items():
            words = [word for at in lane for word in ([("ASKING",)] if at in asked else []) + [commands[at]]]
            try:
                said = iter(self._at(address).pipeline(words))
            except OSError as error:
                self._forget(address)
                said = iter([ServerError(f"CLUSTERDOWN {address}: {error}")] * len(words))
            for at in lane:
                if at in asked:
                    next(said)
                replies[at] = next(said)

    def _at(self, address: str) -> Connection:
        if address not in self._open:
            self._open[address] = self._cluster.node_at(address).connect(self._db, timeout_s=10)
        return self._open[address]

    def _forget(self, address: str) -> None:
        with contextlib.suppress(KeyError):
            self._open.pop(address).close()

    def close(self) -> None:
        """Close all; again is allowed."""
        for address in list(self._open):
            self._forget(address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _passing(reply: Any) -> bool:
    return isinstance(reply, ServerError) and str(reply).startswith(PASSING)

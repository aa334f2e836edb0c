"""Killing connections that were given up, so that their last bytes are not executed after what replaces them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from .crew import Client
from .ledger import Entry
from .partitioners.control import Control, ReplyError, hurried
from .workers.errors import AccessError, StateError, after_too_long
from .workers.policy import Action, rule_for
from .workers.resp import info_fields
from .workers.setup import Node
from .workers.task import COPY_KEYS, COPY_RANGE, LIST_KEYS, Scope

#: What a pass over a database is made of.
_OF_A_PASS = (COPY_RANGE, COPY_KEYS, LIST_KEYS)
#: What could not be killed because the target was not reached is tried again after so long.
AGAIN_S = 0.5


@dataclass
class _Grave:
    """A dead worker's connections at the target, and the tasks that wait until those are killed."""

    clients: list[Client]
    entries: list[Entry]
    since: float = field(default_factory=time.monotonic)
    next_try: float = 0.0


class Fence:
    """Stands between dead workers and those that go on with their tasks. `warn` is for the log.

    No `controls`: the target's nodes cannot be told (a data set is written, which may be written twice).
    """

    def __init__(
        self, controls: list[Control], nodes: list[Node], retry_for_s: float, warn: Callable[[str], None]
    ) -> None:
        self.controls, self.nodes, self.retry_for_s, self.warn = controls, nodes, retry_for_s, warn
        self.late_writes: Callable[[], None] = lambda: None  # told each time that old values may be written late
        self._graves: list[_Grave] = []
        self._warned = False

    @property
    def holds_tasks(self) -> bool:
        """Tasks of dead workers are not free yet."""
        return bool(self._graves)

    def hold(self, clients: list[Client], entries: list[Entry]) -> None:
        """Keep a dead worker's tasks until its connections are killed."""
        self._graves.append(_Grave(clients, entries))

    def released(self) -> list[Entry]:
        """The tasks that may be done again now.

        Raises RunError where the target is not reached for too long, StateError where it kills nothing for so long.
        """
        free: list[Entry] = []
        now = time.monotonic()
        for grave in [grave for grave in self._graves if grave.next_try <= now]:
            try:
                with hurried(self.controls):
                    self._kill(grave.clients)
            except (AccessError, StateError) as error:
                if now - grave.since > self.retry_for_s:
                    raise after_too_long(error, error.message) from None
                grave.next_try = time.monotonic() + AGAIN_S
                continue
            self._graves.remove(grave)
            free += grave.entries
        return free

    def forget(self, scope: Scope, work: str) -> None:
        """Give back nothing of a database whose pass begins again; what was sent for it is kept from arriving.

        What a live copy had under way is no part of the pass: names of changed keys, and lists of one type.
        """
        again = lambda entry: (entry.task.scope, entry.task.work) == (scope, work) and entry.task.kind in _OF_A_PASS  # noqa: E731
        for grave in self._graves:
            grave.entries = [entry for entry in grave.entries if not again(entry)]

    @property
    def held(self) -> list[Entry]:
        """Tasks of dead workers that are not free yet."""
        return [entry for grave in self._graves for entry in grave.entries]

    def close(self, clients: list[Client]) -> None:
        """Kill connections of workers that have ended with work on its way; a failure is only warned of."""
        left = [*clients, *(client for grave in self._graves for client in grave.clients)]
        for number in range(len(self.controls)):
            try:
                self._kill_at(number, left)
            except (AccessError, StateError) as error:  # the others are not spared for that
                self.warn_of_late_writes(str(error))

    def _kill(self, clients: list[Client]) -> None:
        for number in range(len(self.controls)):
            self._kill_at(number, clients)

    def _kill_at(self, number: int, clients: list[Client]) -> None:
        ids = [client_id for at, client_id in clients if at == number]
        if refused := kill_clients(self.controls[number], self.nodes[number], ids):
            self.warn_of_late_writes(refused)

    def warn_of_late_writes(self, words: str) -> None:
        """Say, once, that old values may be written after new ones, and why nothing can be done."""
        self.late_writes()
        if not self._warned:
            self._warned = True
            self.warn(f"a connection that was given up could not be killed ({words}): it may still write old values")


def kill_clients(control: Control, node: Node, client_ids: list[int]) -> str:
    """Kill connections of the process `node` by their CLIENT IDs; the server's words where it does not let us, or "".

    A process that has taken its place has other connections under these numbers; those of the old one died with it.
    Raises AccessError where the server is not reached, StateError where it is in a state that passes.
    """
    if not client_ids:
        return ""
    info = control.call("INFO", "server")
    found = info_fields(info).get("run_id", "") if isinstance(info, bytes) else ""
    if node.run_id and found and found != node.run_id:
        return ""
    for client_id in client_ids:
        reply = control.call("CLIENT", "KILL", "ID", client_id)
        if isinstance(reply, ReplyError) and (rule := rule_for(reply)).action is Action.WAIT:
            raise StateError(rule.reason, side=control.side, address=control.endpoint.address, hint=rule.hint)
        if isinstance(reply, ReplyError) and not str(reply).startswith("ERR No such client"):
            return str(reply)
    return ""

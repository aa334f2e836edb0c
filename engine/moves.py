"""Slots that move between nodes of the source while it is read: their keys are looked at again where they live now.

WHY
    A key that moves from one node to another may be missed by both scans: it had left the one before that came by, and
    arrived at the other after it had been there. And what was read from a node that had given the slot away may be old.

HOW IT WORKS
    Each slot that the lookout reports is remembered. When everything else is copied, the names of its keys are asked of
    its owner (CLUSTER GETKEYSINSLOT), and those keys are copied again. Where the slot is still open, its owner is asked
    first, then the node that takes it in: keys go only that way, so none escapes. Then the cluster is looked at once
    more: only when nothing has moved since is the source read.

WHERE REPLICAS ARE READ they have to get in step with their masters first: what has left one of them may not have
    arrived at the other. And a replica does not say ASK: a slot that is open is waited for.

LIMITATIONS
    Where a file names the keys, none is looked for: a name leads to its key wherever that is. Keys that were copied
    before their slot moved are counted twice, also by --limit; the figures carry `~`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from .lookout import Changes, Lookout, slots_text
from .partitioners.control import Control, ReplyError
from .partitioners.keys import cut
from .partitioners.replicas import REMEDY, Goal, Pair
from .text import plural
from .workers.errors import AccessError, RunError, StateError, UnreachedError
from .workers.task import COPY_KEYS, Task

#: A slot's names are asked for with room for so many that come meanwhile.
SPARE_KEYS = 1000
#: About so many names are asked for at a time.
NAMES_A_TIME = 50_000
#: A node that does not answer is asked again after so long.
AGAIN_S = 0.5

Databases = Sequence[tuple[int, int]]  # source, target


class Moves:
    """What is left to do because of moved slots; `settled` once that is nothing, as a fresh look has shown."""

    def __init__(
        self,
        lookout: Lookout,
        controls: Sequence[Control],
        databases: Databases,
        retry_for_s: float,
        say: Callable[[str], None],
    ) -> None:
        self.lookout, self.controls, self.databases, self.retry_for_s, self.say = (
            lookout, controls, databases, retry_for_s, say,
        )  # fmt: skip
        self.pending: set[int] = set()
        self.settled = False
        self.any = False  # slots have moved in this run
        self.pairs: list[Pair] = []  # where replicas are read; `controls` are connected to these
        self._goal: Goal | None = None
        self._failing_since: float | None = None
        self._next_try = 0.0

    def note(self, found: Changes) -> None:
        """Remember what the lookout has found, and say it."""
        if new := found.slots - self.pending:
            self.any, self.settled, self._goal = True, False, None
            self.pending |= new
            what = ": the keys there are looked at again at the end" if self.databases else ""
            self.say(f"source: {slots_text(new)} moving or moved{what}")

    def tasks(self) -> list[Task]:
        """Tasks with the names of about NAMES_A_TIME keys, at least of one slot, to be given when all others are done.

        None where nothing is left (then it is `settled`), and none for the time being where a node does not answer, a
        slot is open or a replica is behind. Raises ChangedError for a cluster of other nodes; RunError for a node that
        does not answer for `retry_for_s`, and StateError for any other of these that lasts so long.
        """
        if time.monotonic() < self._next_try:
            return []
        try:
            if not self.pending:
                self.note(self.lookout.look())
                if self.lookout.blind:
                    where = self.lookout.nodes[0].endpoint.address
                    raise UnreachedError("no node tells who owns which slot", side="source", address=where)
                self.settled = not self.pending
            if self.pairs and self.pending:
                self._look_at_replicas()
            made = self._tasks_of_some()
        except (AccessError, StateError) as error:
            self._fail(error)
            return []
        self._failing_since = None
        return made

    def _look_at_replicas(self) -> None:
        """Raise StateError while keys of moved slots may be in no replica, or cannot be asked of one."""
        still_open = self.pending & self.lookout.picture.open_slots
        if still_open:
            text = f"{slots_text(still_open)} still moving, which replicas do not tell"
            hint = "end the move, or read the masters: --read-from master"
            raise StateError(text, side="source", address=self.controls[0].endpoint.address, hint=hint)
        self._goal = self._goal or Goal(self.pairs)
        reason, address = self._goal.missing()
        if reason:
            raise StateError(reason, side="source", address=address, hint=REMEDY)

    def _tasks_of_some(self) -> list[Task]:
        made: list[Task] = []
        names = 0
        slots, asked = sorted(self.pending), []
        while slots and names < NAMES_A_TIME:
            slot = slots.pop(0)
            for number in self._nodes_of(slot):
                for db, target_db in self.databases:
                    found = names_in_slot(self.controls[number], db, slot)
                    names += len(found)
                    pattern = Task(0, COPY_KEYS, node=number, db=db, target_db=target_db, own=True, raw=True)
                    made += [replace(pattern, keys=keys) for keys in cut(found)]
            asked.append(slot)
        # Not before all have answered: where one does not, what the others told is asked again.
        self.pending.difference_update(asked)
        if made:
            self.say(f"source: {plural(names, 'key')} of moved slots are copied again")
        return made

    def _nodes_of(self, slot: int) -> list[int]:
        """Who may hold keys of a slot: its owner, and after that, while it is open, all others."""
        owner = self.lookout.number_of(slot)
        others = [number for number in range(len(self.controls)) if number != owner]
        return [owner, *others] if slot in self.lookout.picture.open_slots else [owner]

    def _fail(self, error: AccessError | StateError) -> None:
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
            self.say(f"waiting: {error}")
        self._next_try = now + AGAIN_S
        if now - self._failing_since > self.retry_for_s:
            kind = StateError if isinstance(error, StateError) else RunError
            raise kind(error.message, side=error.side, address=error.address, hint=error.hint) from None


def names_in_slot(control: Control, db: int, slot: int) -> list[bytes]:
    """The names of all keys of a slot that a node holds. Raises AccessError."""
    reply = control.select(db)
    count = 0
    while not isinstance(reply, ReplyError):
        reply = control.call("CLUSTER", "COUNTKEYSINSLOT", slot)
        if isinstance(reply, ReplyError) or not reply:
            break
        count = int(reply) + SPARE_KEYS
        reply = control.call("CLUSTER", "GETKEYSINSLOT", slot, count)
        if isinstance(reply, list) and len(reply) < count:
            return reply
    if isinstance(reply, ReplyError):
        raise control.refused(f"keys of slot {slot}", reply)
    return []

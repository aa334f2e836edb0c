"""What may change under a copy: clusters and masters on either side, replicas that are read, and what follows."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from .lookout import Changes, Lookout, slots_text
from .moves import Moves
from .partitioners.control import Control
from .plans import Plan
from .replica_watch import ReplicaWatch, pairs_of, watches_of
from .signals import Signals
from .succession import Succession
from .workers.task import Task

#: Replicas that have to get in step before anything is compared are looked at so often.
REPLICAS_PAUSE_S = 0.1


class Outlook:
    """From `begin` to `close`; between them `take_in` and, when all else is done, `tasks` until `settled`."""

    def __init__(
        self,
        moves: Moves | None,
        target: Lookout | None,
        successions: list[Succession],
        replicas: list[ReplicaWatch],
        say: Callable[[str], None],
    ) -> None:
        self.moves, self.target, self.successions, self.replicas, self.say = moves, target, successions, replicas, say
        self.watches: list[Succession | ReplicaWatch] = [*successions, *replicas]
        self.target_moved = False

    def comparing(self) -> Outlook:
        """The same from now on, for a phase that copies nothing: no key is looked for because its slot moves."""
        moves = None
        if self.moves:
            moves = Moves(self.moves.lookout, self.moves.controls, [], self.moves.retry_for_s, self.say)
            moves.pairs = self.moves.pairs
        return Outlook(moves, self.target, self.successions, self.replicas, self.say)

    @property
    def _lookouts(self) -> list[Lookout]:
        return [one for one in (self.moves.lookout if self.moves else None, self.target) if one]

    @property
    def settled(self) -> bool:
        """No key has to be looked at again."""
        return self.moves is None or self.moves.settled

    @property
    def has_moved(self) -> bool:
        """Slots of the source have moved, so that keys may be counted twice."""
        return self.moves is not None and self.moves.any

    @property
    def as_planned(self) -> bool:
        """All slots of the source are, as a whole, where the plan has them, as far as was seen."""
        return self.moves is None or self.moves.lookout.as_planned

    @property
    def any_moved(self) -> bool:
        """Slots have moved on either side, so that the plan's map is of the past."""
        return self.has_moved or self.target_moved

    def go_on(self, before: Outlook) -> None:
        """What an earlier phase of the same run has seen, as far as the summary tells it."""
        for replica in self.replicas:
            for other in before.replicas:
                replica.go_on(other)

    def begin(self) -> None:
        """Look at both sides, and go on looking. Raises ChangedError where the plan is out of date already."""
        if self.moves:
            self.moves.note(self.moves.lookout.begin())
        if self.target:
            self._note_target(self.target.begin())
        for watch in self.watches:
            watch.begin()

    def take_in(self) -> None:
        """What was seen since the last call. Raises ChangedError where nodes have come that the plan does not know."""
        self.check()
        if self.moves:
            self.moves.note(self.moves.lookout.news())
        if self.target:
            self._note_target(self.target.news())

    def check(self) -> None:
        """Raise ChangedError where that was seen; what else was seen is left to be taken in."""
        for watch in self.watches:
            watch.check()
        for lookout in self._lookouts:
            lookout.check()

    def wait_for_replicas(self, signals: Signals) -> None:
        """Where replicas are read: until no slot is half moved, and they have what has moved.

        Raises as `Moves.tasks` does, and Ended where a signal comes.
        """
        while self.moves and self.moves.pairs and not self.moves.settled:
            self.moves.tasks()
            signals.pause(0 if self.moves.settled else REPLICAS_PAUSE_S)
            signals.obey()

    def tasks(self) -> list[Task]:
        """The next tasks for keys of moved slots; none where the source is no cluster. Raises as `Moves.tasks` does."""
        return self.moves.tasks() if self.moves else []

    def last_look(self) -> None:
        """Once everything is written. Raises ChangedError where a master or a replica that is read, of either side, is
        not the one any more that it was, or where a node has come to the target that the plan does not know."""
        for watch in self.watches:
            watch.check(fresh=True)
        if self.target:
            self._note_target(self.target.look())

    def moves_meanwhile(self, sides: Collection[str], written: Collection[str]) -> bool:
        """Whether slots have moved on one of these sides since it has begun, as a last look shows. Raises ChangedError.

        Keys of a slot that is open all the time may have, if anything was `written` to that side, and slots where no
        node answers.
        """
        self.last_look()
        if self.moves:
            self.moves.note(self.moves.lookout.look())
        lookouts = [one for one in self._lookouts if one.side in sides]
        may_have = [one.blind or (one.picture.open_slots and one.side in written) for one in lookouts]
        have = {"source": self.has_moved, "target": self.target_moved}
        return any(have[side] for side in sides) or any(may_have)

    def _note_target(self, found: Changes) -> None:
        """Redirections lead the writers; but whoever scans the target may miss what moves."""
        self.target_moved = self.target_moved or bool(found.slots)
        if found.moved:
            self.say(f"target: {slots_text(found.moved)} moved")

    def close(self) -> None:
        """Look no more, and give all connections back."""
        for lookout in self._lookouts:
            lookout.close()
        for watch in self.watches:
            watch.close()
        for pair in self.moves.pairs if self.moves else ():
            pair.master.close()


def outlook_of(plan: Plan, sources: list[Control], say: Callable[[str], None]) -> Outlook | None:
    """What a plan's servers make possible: slots that move, masters that Sentinels replace, replicas that are lost.

    None where nothing of that can happen. `sources` are connected to the plan's source nodes.
    """
    found, setup = plan.survey, plan.setup
    moves = target = None
    if found.sources[0].clustered:
        # Who owns a slot, masters know; and what they have given away, their replicas have to learn first.
        owners = [replace(node, endpoint=one.master or one.endpoint) for node, one in zip(setup.sources, found.sources)]
        lookout = Lookout("source", owners, [server.node_id for server in found.sources])
        parts = [] if plan.keys_from else plan.databases
        databases = list(dict.fromkeys((part.db, part.target_db) for part in parts))
        moves = Moves(lookout, sources, databases, setup.retry_for_s, say)
        moves.settled = bool(plan.keys_from)  # names lead to their keys wherever those are
        moves.pairs = pairs_of(plan, sources)
    if found.targets[0].clustered:
        target = Lookout("target", setup.targets, [server.node_id for server in found.targets])
    nodes = [(one.side, one.master or one.endpoint) for one in found.sources + found.targets]
    successions = [Succession(side, endpoint) for side, endpoint in nodes if endpoint.sentinels]
    replicas = watches_of(plan, say)
    if not (moves or target or successions or replicas):
        return None
    return Outlook(moves, target, successions, replicas, say)

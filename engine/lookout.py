"""The lookout: who owns which slot, asked of all nodes of a cluster again and again while a copy runs.

HOW IT WORKS
    Every second a thread asks each master that the plan knows for its view of the cluster. What a node says of itself
    counts most; of one that is not reached, what the others say. Where two claim a slot, the later epoch is right: it
    grows whenever a node takes slots over. A `Picture` is the result, and `changes` tells two of them apart.

WHAT HAPPENS IF a slot has moved to another node of the plan: at the target, redirections lead the writers; at the
    source its keys are looked at again (`moves.py`). If it belongs to a node that the plan does not know, a replica has
    taken a master's place, or there is a new master: another pass follows (`handover.py`). So it does where a slot is
    only on its way there: keys of it may be at that node already, and nobody would look for them there.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from .partitioners import cluster
from .partitioners.cluster import Seen, range_text
from .partitioners.control import Control
from .workers.errors import AccessError, ChangedError
from .workers.setup import Node
from .workers.slots import SLOTS, ranges_of

#: The cluster is looked at so often.
LOOK_S = 1.0
#: A node has so long to answer.
ANSWER_S = 5.0
#: So many ranges of slots are named.
RANGES_NAMED = 5


@dataclass(frozen=True)
class Picture:
    """Who owns each slot ('' nobody), by node id; which slots are open; the epoch of each node; where nodes are; and
    who takes in the slots that are given away."""

    owners: list[str]
    open_slots: frozenset[int]
    epochs: dict[str, int]
    addresses: dict[str, str]
    takers: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Changes:
    """Slots that were given to another node, or may have been in between, and slots that are open now or were so."""

    moved: set[int]
    opened: set[int]  # or closed

    @property
    def slots(self) -> set[int]:
        """All of them."""
        return self.moved | self.opened


def picture_of(views: Sequence[list[Seen]]) -> Picture:
    """What several nodes see, as one: each view is one node's CLUSTER NODES."""
    own = {seen.place.node_id: seen for view in views for seen in view if "myself" in seen.flags}
    told: dict[str, Seen] = {}
    for seen in (seen for view in views for seen in view):
        known = told.get(seen.place.node_id)
        if known is None or seen.epoch > known.epoch:
            told[seen.place.node_id] = seen
    told |= own
    owners = [""] * SLOTS
    # The highest epoch is written last; of equal ones, that of the node that was named first.
    in_order = list(told.items())[::-1]
    in_order.sort(key=lambda one: one[1].epoch)
    for node_id, seen in in_order:
        for first, last in seen.slots:
            owners[first : last + 1] = [node_id] * (last + 1 - first)
    return Picture(
        owners,
        frozenset().union(*(seen.open_slots for seen in own.values())),
        {node_id: seen.epoch for node_id, seen in told.items()},
        {node_id: seen.place.address for node_id, seen in told.items()},
        {slot: taker for seen in own.values() for slot, taker in seen.takers.items()},
    )


def changes(before: Picture, now: Picture) -> Changes:
    """What has happened between two pictures."""
    moved: set[int] = set()
    if before.owners != now.owners:
        pairs = zip(before.owners, now.owners)
        moved = {slot for slot, (then, owner) in enumerate(pairs) if owner and then != owner}
    for node_id in [node_id for node_id, epoch in now.epochs.items() if before.epochs.get(node_id, epoch) < epoch]:
        held = _slots_of(before, node_id)
        if set(held).issuperset(_slots_of(now, node_id)):
            moved.update(held)  # it took slots over that it has had before: they were away for a moment
    # A move that was given up has brought keys back, and no owner tells of that.
    return Changes(moved, set(now.open_slots ^ before.open_slots))


def _slots_of(picture: Picture, node_id: str) -> list[int]:
    return [slot for slot, owner in enumerate(picture.owners) if owner == node_id]


def slots_text(slots: set[int]) -> str:
    """`slots 5, 7-9`, shortened."""
    ranges = ranges_of(sorted(slots))
    more = ", …" if len(ranges) > RANGES_NAMED else ""
    return f"slot{'' if len(slots) == 1 else 's'} {', '.join(map(range_text, ranges[:RANGES_NAMED]))}{more}"


class Lookout(threading.Thread):
    """Watches one side that is a cluster, from `begin` to `close`. `ids` are the node ids of its nodes."""

    def __init__(self, side: str, nodes: Sequence[Node], ids: Sequence[str]) -> None:
        super().__init__(name=f"keyferry-lookout-{side}", daemon=True)
        self.side, self.nodes, self.ids = side, nodes, list(ids)
        self._ended = threading.Event()
        self._controls: list[Control] = []
        self._looking = threading.Lock()
        owners = [""] * SLOTS
        for node, node_id in zip(nodes, ids):
            for first, last in node.slots:
                owners[first : last + 1] = [node_id] * (last + 1 - first)
        self.planned = owners
        self.picture = Picture(owners, frozenset(), {}, {})  # the last one that was judged; first, that of the plan
        self._latest: Picture | None = None
        self.blind = False  # no node has answered to the last `look`: whatever has changed is not known

    def begin(self) -> Changes:
        """Look at once, and then again and again, from the first call on; what has changed since the plan was made, or
        since the last look. Raises ChangedError."""
        found = self.look()
        if self.ident is None:
            self.start()
        return found

    def go_on(self, before: Lookout, ids: Sequence[str]) -> None:
        """An earlier pass has watched these nodes: epochs that have grown since tell of slots that were away."""
        self.picture = replace(self.picture, epochs={node_id: before.picture.epochs[node_id] for node_id in ids})

    def close(self) -> None:
        """Look no more, and give the connections back."""
        self._ended.set()
        with self._looking:
            for control in self._controls:
                control.close()

    def run(self) -> None:
        """Look until told to end."""
        while not self._ended.wait(LOOK_S):
            with self._looking:
                self._latest = self._look() or self._latest

    def look(self) -> Changes:
        """Look now; what has changed since the last call of this or of `news`. Raises ChangedError."""
        with self._looking:
            now, self._latest = self._look(), None  # what was seen before this must not be judged after it
        self.blind = now is None
        return self._judge(now)

    def news(self) -> Changes:
        """What the last look has found; asks nobody. Raises ChangedError where the plan's nodes are not enough."""
        latest, self._latest = self._latest, None
        return self._judge(latest)

    @property
    def as_planned(self) -> bool:
        """Every slot belongs to the node that the plan has, and none is half moved, as was last judged."""
        return self.picture.owners == self.planned and not self.picture.open_slots

    def check(self) -> None:
        """Raise ChangedError where the last look has found that the plan's nodes are not enough; it is judged later."""
        if latest := self._latest:
            self._refuse_strangers(latest)

    def number_of(self, slot: int) -> int:
        """The plan's number of the slot's owner, as it was last judged."""
        return self.ids.index(self.picture.owners[slot])

    def _look(self) -> Picture | None:
        """None where no node answers: then nothing is known. One look at a time."""
        if not self._controls:
            self._controls = [Control(node.endpoint.within(ANSWER_S), self.side) for node in self.nodes]
        views = []
        for control in self._controls:
            try:
                views.append(cluster.nodes_seen(control))
            except AccessError:
                continue  # its own workers meet the same, and tell
        return picture_of(views) if views else None

    def _judge(self, now: Picture | None) -> Changes:
        if now is None:
            return Changes(set(), set())
        # While a slot moves, the old owner may have been asked after that, and the new one before it.
        before = self.picture
        if "" in now.owners:
            now = replace(now, owners=[owner or then for owner, then in zip(now.owners, before.owners)])
        self._refuse_strangers(now)
        self.picture = now
        return changes(before, now)

    def _refuse_strangers(self, now: Picture) -> None:
        for holders, text in (
            (dict(enumerate(now.owners)), "belong to another node now (failed over, or a new master)"),
            (now.takers, "moving to another node (a new master)"),
        ):
            if strangers := set(holders.values()) - {"", *self.ids}:
                one = min(strangers)
                slots = {slot for slot, holder in holders.items() if holder == one}
                raise ChangedError(f"{slots_text(slots)} {text}", side=self.side, address=now.addresses[one])

"""A replica that is read: looked at again and again, for what would make a scan of it miss keys, and for its lag.

WHAT HAPPENS IF it loads its data or was synchronised anew (a full resync), is another process, has other data, or has
become a master: the copy, or the comparison, begins again, with whichever replica is the best then. So it does where
the replica is not reached, or has lost its master, for longer than `GONE_S`. A link that comes back with a partial
resync goes on where it was: nothing is missed.

LIMITATIONS
    Where CLIENT LIST is refused, nobody can tell a full resync from a partial one: any loss of the link that a look
    sees counts as one. One that is over between two looks is not seen.
    A replica that had no master when the copy began is read as it is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from .partitioners.control import Control
from .partitioners.replicas import Pair, Standing, standing_of
from .partitioners.server import Server
from .plans import Plan
from .text import size_text
from .workers.errors import AccessError, ChangedError

#: It is looked at so often.
LOOK_S = 1.0
#: It, or its master, has so long to answer.
ANSWER_S = 5.0
#: A replica that is gone, or cut off, for so long is given up.
GONE_S = 5.0


@dataclass(frozen=True)
class Lag:
    """How far a replica was behind its master, in bytes of the stream of changes; -1 = its master does not tell."""

    address: str
    master: str
    most: int
    last: int

    @property
    def text(self) -> str:
        """For the closing table."""
        if self.last < 0:
            return f"{self.address}, how far behind its master is not known"
        return f"{self.address}, at most {size_text(self.most)} behind its master, {size_text(self.last)} at the end"

    def fields(self) -> dict[str, object]:
        """For programs."""
        return {
            "address": self.address,
            "master": self.master,
            "lag_bytes_most": None if self.most < 0 else self.most,
            "lag_bytes_end": None if self.last < 0 else self.last,
        }


class ReplicaWatch(threading.Thread):
    """Watches one replica from `begin` to `close`; `server` is what the plan was made for."""

    def __init__(self, server: Server, say: Callable[[str], None]) -> None:
        super().__init__(name="keyferry-replica-watch", daemon=True)
        assert server.standing is not None and server.master is not None
        self.server, self.then, self.say = server, server.standing, say
        self.most = self.last = server.lag_bytes
        self._replica = Control(server.endpoint.within(ANSWER_S), server.side)
        self._master = Control(server.master.within(ANSWER_S), server.side)
        self._looking = threading.Lock()
        self._ended = threading.Event()
        self._failing_since: float | None = None
        self._changed = ""

    @property
    def lag(self) -> Lag:
        """What was seen until now."""
        assert self.server.master is not None
        return Lag(self.server.endpoint.address, self.server.master.address, self.most, self.last)

    def go_on(self, before: ReplicaWatch) -> None:
        """What was seen of the same replica earlier in this run still counts."""
        if (before.server.endpoint, before.server.master) == (self.server.endpoint, self.server.master):
            self.most, self.last = max(self.most, before.most), before.last

    def run(self) -> None:
        """Look until told to end."""
        while not self._ended.wait(LOOK_S):
            self._look()

    def begin(self) -> None:
        """Look again and again, from the first call on."""
        if self.ident is None:
            self.start()

    def close(self) -> None:
        """Look no more, and give the connections back."""
        self._ended.set()
        with self._looking:
            self._replica.close()
            self._master.close()

    def check(self, fresh: bool = False) -> None:
        """Raise ChangedError for what makes a scan of the replica worthless; `fresh`: look first."""
        if fresh:
            self._look()
        if self._changed:
            raise ChangedError(self._changed, side=self.server.side, address=self.server.endpoint.address)

    def _look(self) -> None:
        with self._looking:
            try:
                now = standing_of(self._replica)
            except AccessError as error:
                return self._failing(error.message)
            self._changed = self._changed or self._difference(now)
            if self.then.link_up and not now.link_up:
                return self._failing("the link to its master is down")
            self._failing_since = None
            self._measure(now)

    def _difference(self, now: Standing) -> str:
        then = self.then
        if now.role != "slave":
            return "it is no replica any more (failed over?)"
        if now.run_id != then.run_id:
            return "it was restarted"
        if now.replid != then.replid:
            return "its master_replid is another than when the copy began: it has other data"
        anew = now.link_id and now.link_id != then.link_id
        unsure = not now.link_up and then.link_up and not then.link_id
        return "it was synchronised anew (a full resync)" if now.loading or anew or unsure else ""

    def _failing(self, why: str) -> None:
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
            self.say(f"source {self.server.endpoint.address}: {why}")
        elif now - self._failing_since > GONE_S:
            self._changed = self._changed or f"{why} for longer than {GONE_S:g} s"

    def _measure(self, now: Standing) -> None:
        try:
            master = standing_of(self._master)
        except AccessError:
            return  # a master that is down is nothing that its replicas could not live with
        if master.has_data_of(now):
            self.last = max(0, master.offset - now.offset)
            self.most = max(self.most, self.last)


def pairs_of(plan: Plan, sources: list[Control]) -> list[Pair]:
    """The replicas that are read, each with a new connection to its master; `sources` are connected to the replicas."""
    return [
        Pair(server.node_id, Control(server.master.within(ANSWER_S), server.side), control)
        for server, control in zip(plan.survey.sources, sources)
        if server.master and server.standing
    ]


def watches_of(plan: Plan, say: Callable[[str], None]) -> list[ReplicaWatch]:
    """One for each source node that is a replica."""
    return [ReplicaWatch(server, say) for server in plan.survey.sources if server.standing]

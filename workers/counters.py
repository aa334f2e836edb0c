"""What a source tells of itself besides events: whether it is written to, flushed, swapped, or changed silently. Pure.

WHY
    No feed tells everything (design: both have holes). SWAPDB moves all keys without an event, XACK and its like change
    a stream without one, and notifications tell no flush, nor of vector sets. INFO counts the calls of each command,
    also inside of transactions and scripts. And a source at rest is known by its count of changes, not by the silence
    of a feed: keys go on expiring long after the last write.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_CALLS = re.compile(rb"^cmdstat_([^:]+):calls=(\d+)", re.MULTILINE)
_FLUSHES = ("flushall", "flushdb")
_SILENT = re.compile(r"x(ack|ackdel|claim|autoclaim|readgroup|setid|group)\b")
#: … and what notifications do not tell besides: changes of vector sets.
_UNNOTIFIED = re.compile(r"v(add|rem|setattr)\b")
#: Of these, what takes the key along with its last element.
_REMOVING = "vrem"


@dataclass(frozen=True)
class Calls:
    """How often commands were called that the feed does not tell of, or not in full. `known`: the source tells."""

    known: bool = False
    flushes: int = 0
    swaps: int = 0
    silent: int = 0  # of streams; where notifications are the feed, also of vector sets
    configured: int = 0  # CONFIG SET; 0 before 7.0, which counts all of CONFIG together
    removing: int = 0  # of the silent ones, those that may remove a key

    @classmethod
    def told(cls, reply: object, notifications: bool = False) -> Calls:
        """What a reply to INFO commandstats says."""
        if not isinstance(reply, bytes) or not (found := _CALLS.findall(reply)):
            return cls()
        calls = {name.decode("ascii", "replace").lower(): int(count) for name, count in found}
        silent = lambda name: _SILENT.match(name) or (notifications and _UNNOTIFIED.match(name))  # noqa: E731
        return cls(
            known=True,
            flushes=sum(calls.get(name, 0) for name in _FLUSHES),
            swaps=calls.get("swapdb", 0),
            silent=sum(count for name, count in calls.items() if silent(name)),
            configured=calls.get("config|set", 0),
            removing=calls.get(_REMOVING, 0) if notifications else 0,
        )

    def fell(self, before: Calls) -> bool:
        """Whether a counter is below what it was: somebody has reset them, and what they counted meanwhile is lost."""
        names = ("flushes", "swaps", "silent", "configured")
        return before.known and (not self.known or any(getattr(self, name) < getattr(before, name) for name in names))


@dataclass(frozen=True)
class Saves:
    """What INFO persistence says: changes since the last save, and what makes that count begin anew."""

    changes: int
    saved_at: str
    saving: bool

    @classmethod
    def told(cls, fields: dict[str, str]) -> Saves | None:
        """None where the source does not tell."""
        changes = fields.get("rdb_changes_since_last_save", "")
        if not changes.isdigit():
            return None
        return cls(int(changes), fields.get("rdb_last_save_time", ""), fields.get("rdb_bgsave_in_progress") == "1")


#: A save is known by the second in which it ended: another one that ends in that second looks the same.
SAVE_S = 1.0


@dataclass
class Stillness:
    """Since when a source was not written to, by its count of changes.

    A save sets that count back, so nobody knows of changes before its end, nor of those in the rest of the second in
    which it ended, as another save may have hidden them.
    """

    last: Saves | None = None
    since: float = 0.0  # when the first of equal looks was told; 0: not still
    _save_told_at: float = 0.0  # when we first knew of the last save

    def look(self, now: Saves | None, asked_at: float, told_at: float) -> None:
        """Take in what a look has told: by times of ours, when it was asked for and when its answer had come."""
        if now is None or now.saving:
            self.since = 0.0
        elif self.last is None or now.saved_at != self.last.saved_at:
            self.since, self._save_told_at = 0.0, told_at
        elif now != self.last or not self.since:
            self.since = told_at if asked_at >= self._save_told_at + SAVE_S else 0.0
        self.last = now


@dataclass
class Mute:
    """A feed that brings nothing while the source is written to: some proxies say OK to it and never push.

    One silent command may count as a thousand changes (XACK of as many entries), so nothing is judged across one.
    """

    changes: int = -1  # of the source, when the last event had come, and the last silent command; -1: not known
    events: int = 0
    silent: int = 0
    suspected_at: float = 0.0  # when the first look was told that found it mute; 0: none has since

    def look(self, saves: Saves | None, events: int, silent: int, came: int, asked_at: float, told_at: float) -> bool:
        """Whether it is mute; `silent` commands make no event. Times are ours, as with `Stillness.look`.

        Of the events so many `came` since the look was asked for: they may be of what was written behind its answer.

        Two looks must find that, the second one asked for MUTE_S after the first was told: a server answers all that
        it has been asked, and sends the events of what it did meanwhile behind these answers.
        """
        quiet = (events, silent) == (self.events, self.silent)
        if saves is None or not quiet or came or saves.changes < self.changes or self.changes < 0:
            self.changes, self.suspected_at = saves.changes if saves and not came else -1, 0.0
            self.events, self.silent = events, silent
        elif saves.changes - self.changes < MUTE_CHANGES:
            self.suspected_at = 0.0
        elif self.suspected_at:
            return asked_at - self.suspected_at >= MUTE_S
        else:
            self.suspected_at = told_at
        return False


#: So many changes without one event are no chance …
MUTE_CHANGES = 1000
#: … where the events have had so long to come.
MUTE_S = 0.1


#: A flush may be counted so long after its event: from 7.4 on Redis frees the memory first, without blocking others.
#: (Seen on 8.2: 152 ms for 200,000 keys.) An event that nothing counts tells of a resync.
COUNTED_S = 60.0


@dataclass
class Watched:
    """The counters of one source, look by look; `gaps(...)` says why events may have been lost since the one before."""

    calls: Calls = field(default_factory=Calls)
    _flushes: int = 0  # whose event has come, and not their count; below 0: counted, and no event has come yet
    _flushed_at: float = 0.0  # the last event

    def flushed(self, at: float) -> None:
        """An event tells of a flush, or of a resync."""
        self._flushes, self._flushed_at = self._flushes + 1, at

    def gaps(self, now: Calls, notifications: bool, at: float) -> list[str]:
        """The reasons to look at everything again, as far as no event has told of them."""
        before, self.calls = self.calls, now
        seen, self._flushes = self._flushes, 0
        if seen > 0 and at - self._flushed_at > COUNTED_S:
            seen = 0
        if not before.known and not now.known:
            return []
        if now.fell(before):
            return ["the source's counters were reset"]
        if not before.known:
            return []
        found = []
        flushes = now.flushes - before.flushes
        self._flushes = seen - flushes
        if flushes > max(0, seen):
            found.append("the source was flushed")
        if now.swaps > before.swaps:
            found.append("SWAPDB at the source")
        if notifications and now.configured > before.configured:
            found.append("the source's settings were changed")
        return found

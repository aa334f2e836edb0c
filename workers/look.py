"""One key looked at closely, on both sides: what `compare.py` and `lookup.py` do about keys that do not look equal.

    source: type, expiry ─→ target: type, expiry ─→ elements of both (`structs/`) ─→ whatever differs: seen again

WHAT HAPPENS IF the key changes meanwhile: see `structs/ask.py`. Whatever seems to differ is confirmed by one more
reading of the target and then of the source, so that a key that expired or was deleted in between is no difference.

A key that only the source has, and whose time there is up within a moment, counts as expired: its copy has gone just
before. So does a hash that only one side has, and all fields of which have expired: the other has collected it, or was
never given any. Nothing else is excused by an expiry that is near: a tolerance may be of hours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from . import structs
from .expiry import FOREVER, Clock, time_ms
from .filters import Question, together
from .finding import CHANGING, EXPIRY, ONLY_SOURCE, ONLY_TARGET, TYPE, UNREADABLE, VALUE, Finding, Sight
from .resp import argument
from .structs.ask import SOURCE, TARGET, Ask, Changing, Steps, Times, Unreadable, ask, ask_all


@dataclass(frozen=True)
class Lens:
    """How a link's keys are looked at: clocks of both sides, and how far expiries may be apart."""

    source_clock: Clock
    target_clock: Clock
    times: Times
    node: int = 0
    db: int = 0
    target_db: int = 0
    quick: bool = False  # sizes instead of values
    named: bool = False  # a key of the target that the source does not have is a finding …
    chosen_by: Sequence[Question] = ()  # … if it passes these


@dataclass(frozen=True)
class _Facts:
    type: str
    expires_ms: int  # FOREVER: never
    left_ms: int  # to live; only of a key that expires

    @property
    def gone(self) -> bool:
        return self.type == "none"

    def ends_within(self, ms: int) -> bool:
        return self.expires_ms != FOREVER and self.left_ms <= ms


def look(key: bytes, lens: Lens) -> Steps[Finding | bool]:
    """A Finding; or True where both sides are equal, False where the source does not have the key (any more)."""
    nothing = Finding(key, lens.node, lens.db, lens.target_db, UNREADABLE)
    try:
        ours = yield from _facts(SOURCE, key, lens)
        if ours.gone and lens.named and (yield from _passes(TARGET, key, lens.chosen_by)):
            found = yield from look_for_extra(key, lens, ())
            return found if isinstance(found, Finding) else False
        if ours.gone:
            return False
        theirs = yield from _facts(TARGET, key, lens)
        kind, where = yield from _difference(key, ours, theirs, lens)
        if not kind:
            return True
        return (yield from _confirmed(replace(nothing, kind=kind, where=where), ours, lens))
    except Changing:
        return (yield from _confirmed_change(replace(nothing, kind=CHANGING), lens))
    except Unreadable as error:
        return replace(nothing, where=str(error))


def look_for_extra(key: bytes, lens: Lens, questions: Sequence[Question]) -> Steps[Finding | bool]:
    """A Finding where only the target has the key; False where it has gone by itself; True where the source has it.

    A key that the source has, but that does not pass the filters there (`questions`), is the target's only, unless it
    is equal: it was copied before, or by another run. Where a side refuses to show it, or where it keeps changing,
    nobody knows, and the finding says that.
    """
    try:
        theirs = yield from _facts(TARGET, key, lens)
        if theirs.gone:
            return False
        ours = yield from _facts(SOURCE, key, lens)
        if not ours.gone and (yield from _passes(SOURCE, key, questions)):
            return True
        if not ours.gone:
            found = yield from look(key, lens)
            if not isinstance(found, Finding):
                return True
            return found if found.kind in (UNREADABLE, CHANGING) else replace(found, kind=ONLY_TARGET)
        theirs = yield from _facts(TARGET, key, lens)
        if theirs.gone or theirs.ends_within(lens.times.tolerance_ms):
            return False
        if (yield from _is_empty(TARGET, key, theirs)):
            return False
        sight = yield from _sight(TARGET, key, theirs)
        return Finding(key, lens.node, lens.db, lens.target_db, ONLY_TARGET, target=sight)
    except (Changing, Unreadable) as error:
        return Finding(key, lens.node, lens.db, lens.target_db, UNREADABLE, where=str(error))


def _passes(side: str, key: bytes, questions: Sequence[Question]) -> Steps[bool]:
    """Whether the key of a side passes the filters."""
    columns = []
    for question in questions:
        replies = yield Ask(side, *question.request([argument(key)]))
        columns.append(question.verdicts(replies, 1))
    return together(columns) == [True] if columns else True


def _difference(key: bytes, ours: _Facts, theirs: _Facts, lens: Lens) -> Steps[tuple[str, str]]:
    """What seems to differ first: kind and place; or ('', '')."""
    if theirs.gone:
        return ONLY_SOURCE, ""
    if ours.type != theirs.type:
        return TYPE, ""
    # Instants inside of a value travel as they are stored: they do not follow the target's clock.
    inside = Times(0, lens.times.tolerance_ms)
    if lens.quick:
        where = yield from _size_differs(key, ours.type, inside)
    else:
        where = yield from structs.differs(ours.type)(key, inside)
    if where:
        return VALUE, where
    same = not lens.source_clock.wanted and theirs.expires_ms == FOREVER
    return ("", "") if same or lens.times.equal(_wanted(ours, lens), theirs.expires_ms) else (EXPIRY, "")


def _wanted(ours: _Facts, lens: Lens) -> int:
    return ours.expires_ms if lens.source_clock.wanted else FOREVER


def _confirmed(found: Finding, ours: _Facts, lens: Lens) -> Steps[Finding | bool]:
    """The finding once both sides were seen again, with their sights; or what else it is."""
    theirs = yield from _facts(TARGET, found.key, lens)
    again = yield from _facts(SOURCE, found.key, lens)
    if again.gone:
        return False
    if theirs.gone:
        if again.ends_within(lens.times.moment_ms):
            return False
        if (yield from _is_empty(SOURCE, found.key, again)):
            return False
    kind = found.kind
    still_there = theirs.gone if kind == ONLY_SOURCE else not theirs.gone
    if again.type != ours.type or not Times(0, lens.times.tolerance_ms).equal(ours.expires_ms, again.expires_ms):
        kind = CHANGING
    elif theirs.gone:
        kind = ONLY_SOURCE
    elif not still_there or (kind == EXPIRY and lens.times.equal(_wanted(again, lens), theirs.expires_ms)):
        kind = CHANGING
    return (yield from _with_sights(replace(found, kind=kind), again, theirs))


def _is_empty(side: str, key: bytes, facts: _Facts) -> Steps[bool]:
    """Whether clients see nothing of a key that is there: a hash whose fields have all expired."""
    return facts.type == "hash" and (yield from structs.hash.is_empty(side, key))


def _confirmed_change(found: Finding, lens: Lens) -> Steps[Finding | bool]:
    try:
        theirs = yield from _facts(TARGET, found.key, lens)
        ours = yield from _facts(SOURCE, found.key, lens)
        if ours.gone:
            return False
        return (yield from _with_sights(found, ours, theirs))
    except (Changing, Unreadable):
        return found


def _with_sights(found: Finding, ours: _Facts, theirs: _Facts) -> Steps[Finding]:
    source = yield from _sight(SOURCE, found.key, ours)
    target = yield from _sight(TARGET, found.key, theirs)
    return replace(found, source=source, target=target)


def _sight(side: str, key: bytes, facts: _Facts) -> Steps[Sight]:
    size = None
    if command := structs.SIZE.get(facts.type):
        (reply,) = yield from ask_all(side, (command, key))
        size = reply if isinstance(reply, int) else None
    return Sight(facts.type, size, None if facts.gone or facts.expires_ms == FOREVER else facts.expires_ms)


def _size_differs(key: bytes, type: str, inside: Times) -> Steps[str]:
    """Whether lengths differ, and then whether the values do: equal hyperloglogs may have strings of other lengths."""
    command = structs.SIZE.get(type)
    if command is None:
        return ""
    ours = yield from ask(SOURCE, (command, key))
    theirs = yield from ask(TARGET, (command, key))
    return "" if ours == theirs else (yield from structs.differs(type)(key, inside))


def _facts(side: str, key: bytes, lens: Lens) -> Steps[_Facts]:
    clock = lens.source_clock if side == SOURCE else lens.target_clock
    if clock.absolute:
        now, kind, told = yield from ask(side, (b"TIME",), (b"TYPE", key), (b"PEXPIRETIME", key))
        now_ms = time_ms(now)
        expires_ms = told
    else:
        now, kind, told, after = yield from ask(side, (b"TIME",), (b"TYPE", key), (b"PTTL", key), (b"TIME",))
        now_ms = (time_ms(now) + time_ms(after)) // 2
        expires_ms = told if told < 0 else now_ms + told
    gone = kind == b"none" or told == -2 or (told != FOREVER and expires_ms <= now_ms)
    return _Facts("none" if gone else kind.decode("utf-8", "replace"), expires_ms, expires_ms - now_ms)

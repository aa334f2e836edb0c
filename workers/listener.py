"""One source of the feed: its connection, what it tells of itself, and the fences on it.

A LOOK asks for the source's counters, on the connection that brings the events: so what the counters say is known
after the events of what they count have arrived; but what a server does in the same turn as it answers is counted, and
told of behind the answer. Short looks are frequent, and tell whether the source is written to; long ones tell of
flushes, of swapped databases and of settings.

A FENCE is a look, a PING, a second PING at least 100 ms after the first one's answer, and a look again. One PING is not
enough: a server with several threads for its connections may answer it before it sends an event of an earlier write
(seen on Redis 8: 10 of 2 965 were overtaken by one PING, none of 889 by two).

WHAT HAPPENS IF the source is in a state in which it answers nothing but that, as while a script runs for long: that is
no answer. What the script has written is told of when it has ended, so no look and no fence comes to an end before.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from .conn import Lost
from .counters import Calls, Mute, Saves, Stillness, Watched
from .errors import AppearedError, NotConverged, StateError
from .feed_conn import PING, FeedConnection
from .feed_task import NOTIFICATIONS, FeedSetup, enough_flags
from .policy import Action, rule_for
from .resp import command, info_fields

#: A short look so often, and a long one every so many.
LOOK_S = 0.1
LONG_EVERY = 4
#: Between the two PINGs of a fence.
FENCE_S = 0.1

_SHORT = command(b"INFO", b"persistence")
_LONG = b"".join([
    _SHORT,
    command(b"INFO", b"commandstats"),
    command(b"INFO", b"replication"),
    command(b"CLIENT", b"INFO"),
    command(b"CONFIG", b"GET", b"notify-keyspace-events"),
    command(b"INFO", b"keyspace"),
])  # fmt: skip
_SIZES = re.compile(rb"^db(\d+):keys=(\d+)", re.MULTILINE)


@dataclass
class Owner:
    """What a listener tells the feed: gap(why), and what to do later."""

    gap: Callable[[str], None]
    later: Callable[[float, Callable[[], None]], None]
    passed: Callable[[int], None]  # the number of a fence
    news: Callable[[], None]


class Listener:
    """Watches one source over `conn`, which has been through its handshake when `begin` is called."""

    def __init__(self, number: int, setup: FeedSetup, owner: Owner) -> None:
        self.number, self.setup, self.owner = number, setup, owner
        self.node = setup.sources[number]
        self.conn: FeedConnection | None = None
        self.confirmed = False
        self.raw_events = 0  # in scope or not
        self.watched = Watched()
        self.stillness = Stillness()
        self.mute = Mute()
        self.unread_bytes = 0
        self.sizes: dict[int, int] | None = None  # keys by database, as the last look has told; None: not yet
        self.hides_sizes = False  # it has told none
        self._looks = 0
        self._fences: list[int] = []  # to be passed, the first one is under way
        self._busy_since = 0.0  # the source is in a state that passes; 0: it is not

    # ---- the connection -------------------------------------------------------------------------------------

    def begin(self, conn: FeedConnection, heard: Callable[[], None]) -> None:
        """Listen on a new connection; `heard` is called when events are sure to come, and the counters are known.

        Not before: a source that hangs up on what it is asked first would be tried for ever.
        """
        self.conn = conn

        def looked() -> None:
            heard()
            self._confirmed()

        conn.listen(lambda: self._look(True, looked))

    def _confirmed(self) -> None:
        self.confirmed = True
        self.owner.news()
        if self._fences:
            self._pass_fence()
        self._look_later()

    def lost(self) -> None:
        """The connection is gone: events may be, too. The counters go on where they were, if the source tells them."""
        self.conn, self.confirmed = None, False
        self.stillness = Stillness()

    # ---- looks ----------------------------------------------------------------------------------------------

    def _look_later(self) -> None:
        conn = self.conn

        def due() -> None:
            if conn is self.conn and conn is not None:
                self._looks += 1
                self._look(self._looks % LONG_EVERY == 0, self._look_later)

        self.owner.later(LOOK_S, due)

    def _look(self, long: bool, then: Callable[[], None]) -> None:
        asked_at, conn, events = time.monotonic(), self.conn, self.raw_events
        assert conn is not None

        def told(replies: list) -> None:
            if conn is not self.conn or not conn.ready:
                return  # lost: who has lost it knows
            if state := _state(replies):
                self.stillness.look(None, asked_at, time.monotonic())
                return self._wait(state, conn, lambda: self._look(long, then))
            self._busy_since = 0.0
            info = info_fields(replies[0]) if isinstance(replies[0], bytes) else {}
            saves = Saves.told(info)
            self.stillness.look(saves, asked_at, time.monotonic())
            if long:
                self._take_long(replies, conn, info.get("loading") == "1")
                self._check_mute(saves, self.raw_events - events, asked_at)
            then()

        conn.ask(_LONG if long else _SHORT, 6 if long else 1, told)

    def _wait(self, state: Exception, conn: FeedConnection, again: Callable[[], None]) -> None:
        """Do it again while the source is in a state that passes. Raises StateError where that lasts too long."""
        now, rule = time.monotonic(), rule_for(state)
        self._busy_since = self._busy_since or now
        if now - self._busy_since > self.setup.retry_for_s:
            text = f"{rule.reason} for {now - self._busy_since:.0f} s"
            raise StateError(text, side="source", address=self.node.endpoint.address, hint=rule.hint)
        self.owner.later(LOOK_S, lambda: again() if conn is self.conn else None)

    def _take_long(self, replies: list, conn: FeedConnection, loading: bool) -> None:
        _, calls, replication, client, flags, keyspace = replies
        notifications = self.setup.mode == NOTIFICATIONS
        for why in self.watched.gaps(Calls.told(calls, notifications), notifications, time.monotonic()):
            self.owner.gap(why)
        if isinstance(replication, bytes):
            conn.handshake.check_replid(replication)
        if isinstance(client, bytes) and (found := re.search(rb" omem=(\d+)", client)):
            self.unread_bytes = int(found[1])
        if notifications and self.setup.flags_told:
            self._check_flags(flags)
        self.hides_sizes = not isinstance(keyspace, bytes)
        if isinstance(keyspace, bytes) and not loading:  # a part of a data set that is being loaded is no size of it
            told = {int(db): int(keys) for db, keys in _SIZES.findall(keyspace)}
            if told or keyspace.startswith(b"# Keyspace"):  # that alone is what a server without a key says
                self.sizes = told
            for db in told:
                self.check_database(db)

    def named_database(self, db: int) -> None:
        """An event is of a database that the plan does not know. Whether there is one the next look will tell: others
        may publish under any name. Raises Lost where the source tells that by events only."""
        if self.hides_sizes:
            self.check_database(db)

    def check_database(self, db: int) -> None:
        """Raise Lost where a database is in scope that the plan does not know: another one is made."""
        if self.setup.every_db and db not in self.setup.dbs:
            text = f"database {db} has appeared, and is to be copied too"
            raise Lost(AppearedError(text, side="source", address=self.node.endpoint.address))

    def _check_mute(self, saves: Saves | None, came: int, asked_at: float) -> None:
        silent, now = self.watched.calls.silent, time.monotonic()
        if self.setup.whole and self.mute.look(saves, self.raw_events, silent, came, asked_at, now):
            self._fail("its feed brings no events, though it is written to", "another --feed may bring them")

    def _check_flags(self, reply: object) -> None:
        pairs = reply if isinstance(reply, dict) else {}
        flags = pairs.get(b"notify-keyspace-events")
        if flags is not None and not enough_flags(flags.decode()):
            self._fail(
                f"its notifications were switched off: notify-keyspace-events is '{flags.decode()}' by now",
                "CONFIG SET notify-keyspace-events KA, and run the same command again; or --feed tracking",
            )

    def _fail(self, text: str, hint: str) -> None:
        raise Lost(NotConverged(text, side="source", address=self.node.endpoint.address, hint=hint))

    # ---- fences ---------------------------------------------------------------------------------------------

    def fence(self, number: int) -> None:
        """Pass a fence: `owner.passed` is called when it is."""
        self._fences.append(number)
        if len(self._fences) == 1 and self.confirmed:
            self._pass_fence()

    def _pass_fence(self) -> None:
        conn = self.conn
        assert conn is not None

        def looked() -> None:
            conn.ask(PING, 1, lambda replies: answered(replies, lambda: self.owner.later(FENCE_S, again)))

        def again() -> None:
            if conn is self.conn:
                conn.ask(PING, 1, lambda replies: answered(replies, lambda: self._look(True, passed)))

        def answered(replies: list, then: Callable[[], None]) -> None:
            if conn is not self.conn or not conn.ready:
                return
            if state := _state(replies):
                return self._wait(state, conn, self._pass_fence)
            then()

        def passed() -> None:
            self.owner.passed(self._fences.pop(0))
            if self._fences:
                self._pass_fence()

        self._look(True, looked)


def _state(replies: list) -> Exception | None:
    """What a source has said of a state that passes, in the place of an answer; None where it has answered."""
    errors = [reply for reply in replies if isinstance(reply, Exception)]
    return next((error for error in errors if rule_for(error).action is Action.WAIT), None)

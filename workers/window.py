"""A window: one step of a lane, from the names of keys to the target's acknowledgement.

    read values and expiries ─→ (DUMP what is no string) ─→ write ─→ all OK ─→ settled
         │ an error reply                                     │ an error reply
         └────────────── the state passes: again ─────────────┘
                         anything else: again, key by key (`careful.py`)

The fast way keeps no account of single keys: it knows that all went well, or it knows nothing. As every write
replaces a whole key, doing the window again is harmless: it writes what the source holds then. That is what lets
one careful window find out about each key, and what lets another worker repeat the window of one that died. Where
nothing may be replaced this does not hold: `conflict.py` has the window for that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import compress
from typing import TYPE_CHECKING

from .batch import Batch, batch_of
from .careful import LOSSES_TO_SUSPECT, Careful
from .conn import Request
from .expiry import Expiries, none_of
from .expiry_retry import ask_expiries
from .finding import Finding
from .news import Aside, Counts
from .policy import Action, Gone, first_error, rule_for
from .read import (
    INFO_KEYSPACE,
    Apart,
    Method,
    database_has_expiries,
    expiries_of,
    expiries_request,
    odd_keys,
    one_each,
    values_of,
    values_request,
)
from .replies import Then, Way
from .resp import OK, argument_value, arguments
from .scope import Scope
from .slots import arranged, runs_of, slots_of
from .write import Build, Part, are_large

if TYPE_CHECKING:
    from .link import Link
    from .router import Sink

#: In a transaction nobody comes in between, so that only a slow machine can part the moments: a few tries will do.
ATOMIC_TRIES = 5
#: The first byte of a DUMP payload of a string.
STRING_PAYLOAD = 0


Take = Callable[[list, Expiries], None]

_NOTHING: Sequence[bytes] = ()


class Window:
    """Copies `keys` over `link`, then calls settled(window): see `counts`, `asides`, `strings`."""

    def __init__(self, link: Link, keys: list[bytes], method: Method, settled: Callable[[Window], None]) -> None:
        self.link, self.keys, self.method, self.settled = link, keys, method, settled
        self.encoded: list[bytes] = []  # the keys as arguments, from the start until the writes
        self.slots: list[int] | None = None  # … and their slots, where they matter; sorted where they are shared
        self.shared = True
        self.way = Way.MARKED  # how replies are taken, unless values are large
        self.scanned = False  # the keys come in the order in which a scan by slots has brought them
        self.counts = Counts()
        self.asides: list[Aside] = []
        self.findings: list[Finding] = []
        self.strings = 0  # keys of this window that turned out to be strings
        self.losses = 0  # of a connection under this window
        self.alone = False  # it had to be tried with nothing else under way
        self.too_much = False  # it may bring more than may be asked for at a time
        self.scope: Scope | None = None  # what values have to pass by themselves, where that matters
        self.left_out = 0  # keys that do not
        self.usual_bytes = 0.0  # with more bytes than these, its largest value is looked for …
        self.largest = 0  # … and this many bytes long
        self._pending = 0  # writes on their way
        self._apart = 0  # transactions that took too long to tell a moment
        self._failed: tuple[str, int, Exception] | None = None

    def start(self) -> None:
        """Send the first request. Called again, it does the whole window again."""
        self._failed, self.left_out = None, 0
        self.counts = Counts(retried=self.counts.retried)
        if self.link.atomic and self.link.from_cluster:
            return self.careful()  # a transaction takes keys of one slot only
        self._arrange()
        self.encoded = arguments(self.keys)
        request, replies = self._values_request()
        if self.link.no_expiries:
            # Only what INFO says after the values, on their own connection, proves that none of them expires.
            self._ask(request + INFO_KEYSPACE, replies + 1, self._read_without_expiries)
        else:
            more, count = expiries_request(self.link.clock, self.encoded)
            self._ask(request + more, replies + count, partial(self._read, replies))

    def _ask(self, request: bytes, replies: int, then: Then) -> None:
        # One by one, replies are not in memory in one piece beside what they are parsed to.
        large = self.too_much or are_large(self.usual_bytes, len(self.keys))
        self.link.read(request, replies, then, Way.EACH if large else self.way)

    def _arrange(self) -> None:
        """Bring the keys in the order of their slots, where that is good for anything: see `slots.arranged`."""
        link = self.link
        if not link.by_slot:
            return
        self.slots, self.shared = None, False
        if link.wants_slots() or self.counts.retried:
            self.keys, self.slots, self.shared = arranged(self.keys, self.scanned and not self.counts.retried)
            link.note_shared(len(self.keys), self.shared)

    def _values_request(self) -> tuple[bytes, int]:
        """The request for the values. In a cluster MGET takes keys of one slot: unless there are some in each, GET."""
        if self.method is not Method.MGET or not self.link.from_cluster:
            return values_request(self.method, self.encoded)
        if not self.shared:
            self.method = Method.GET
            return values_request(self.method, self.encoded)
        assert self.slots is not None
        return values_request(self.method, self.encoded, runs_of(self.slots))

    # ---- reading --------------------------------------------------------------------------------------------

    def _read(self, values: int, replies: list) -> None:
        self._told(self.method, self.encoded, values, replies, self._take)

    def _read_without_expiries(self, replies: list) -> None:
        if isinstance(replies[-1], Gone):
            return self._read_failed(replies)
        if database_has_expiries(replies[-1], self.link.db):
            self.link.no_expiries = False
            return self.start()
        try:
            values = one_each(values_of(self.method, replies[:-1]), len(self.encoded))
            self._take(values, none_of(len(self.encoded)))
        except TypeError:
            self._read_failed(replies)

    def _told(self, method: Method, keys: Sequence[bytes], count: int, replies: list, take: Take) -> None:
        """Give what the first `count` replies say of values, and the others of expiries, to `take`.

        A TypeError means that an error is among them, or that they are not one for each key.
        """
        try:
            values = one_each(values_of(method, replies[:count]), len(keys))
            expiries = expiries_of(replies[count:], self.link.clock, len(keys), strict=self._apart < ATOMIC_TRIES)
            take(values, expiries)
        except Apart:
            if self.link.atomic:  # an expiry that is asked for alone may be of another value
                self._apart += 1
                return self.start()
            ask_expiries(self.link, keys, lambda expiries: take(values, expiries), self._read_failed)
        except TypeError:
            self._read_failed(replies)

    def _take(self, values: list, expiries: Expiries) -> None:
        """Make a batch of what came for the window's keys; write it, or first dump what is no string."""
        keys, slots, odd = self.encoded, self._target_slots, _NOTHING
        try:
            size = sum(map(len, values))
        except TypeError:  # some are gone, or no strings
            odd = odd_keys(self.method, keys, values)
            there = [isinstance(value, bytes) for value in values]
            keys, values, expiries = list(compress(keys, there)), list(compress(values, there)), expiries.only(there)
            slots = list(compress(slots, there)) if slots is not None else None
            size = sum(map(len, values))
        build = self.link.writes.payloads if self.method is Method.DUMP else self.link.writes.strings
        part = self._part(build, batch_of(keys, values, expiries, slots, self._together), size, len(keys))
        self.strings = len(part.batch)
        if self.method is Method.DUMP:
            self.strings = sum([payload[0] == STRING_PAYLOAD for payload in part.batch.all_values()])
        if odd:
            self._dump(odd, part)
        else:
            self._write([part])

    @property
    def _target_slots(self) -> list[int] | None:
        """The slots of the keys, where they matter to the target."""
        return self.slots if self.link.to_cluster else None

    @property
    def _together(self) -> bool:
        """Whether several keys may be written by one command."""
        return self.shared or not self.link.to_cluster

    def _dump(self, odd: Sequence[bytes], strings: Part) -> None:
        request, count = values_request(Method.DUMP, odd)
        more, more_count = expiries_request(self.link.clock, odd)

        def take(payloads: list, expiries: Expiries) -> None:
            there = [payload is not None for payload in payloads]
            keys, payloads = list(compress(odd, there)), list(compress(payloads, there))
            slots = slots_of(list(map(argument_value, keys))) if self._target_slots is not None else None
            batch = batch_of(keys, payloads, expiries.only(there), slots, self._together)
            self._write([strings, self._part(self.link.writes.payloads, batch, sum(map(len, payloads)), len(keys))])

        self.link.read(request + more, count + more_count, partial(self._told, Method.DUMP, odd, count, take=take))

    def _part(self, build: Build, batch: Batch, size: int, count: int) -> Part:
        """What is written of `count` keys whose values had `size` bytes. TypeError: the target would hang up on one."""
        if self.scope:
            found = len(batch)
            batch = self.scope.of(batch, build is self.link.writes.payloads)
            self.left_out += found - len(batch)
        if len(batch) < count:
            size = sum(map(len, batch.all_values()))
        if size > self.link.max_value_bytes and max(map(len, batch.all_values())) > self.link.max_value_bytes:
            raise TypeError("a value over the target's limit")
        if size > self.usual_bytes:
            self.largest = max(self.largest, *map(len, batch.all_values()))
        return Part(build, batch, size)

    def _read_failed(self, replies: list) -> None:
        error = first_error(replies)
        if error is not None and rule_for(error).action in (Action.WAIT, Action.STOP):
            self.losses += isinstance(error, Gone)
            self.link.trouble("source", 0, error, self.again)
        else:
            self.careful()

    # ---- writing --------------------------------------------------------------------------------------------

    def _write(self, parts: list[Part]) -> None:
        requests = []
        for part in parts:
            large = are_large(part.size, len(part.batch))
            for sink, batch in self.link.split(part.batch):
                requests.append((sink, *part.build(batch, large), self._acknowledged(sink.node, batch)))
        self._send(requests, sum([len(part.batch) for part in parts]), sum([part.size for part in parts]))

    def _send(self, requests: Sequence[tuple[Sink, Request, int, Then]], copied: int, size: int) -> None:
        """Send the writes of so many keys, with so many bytes of values; the window's other keys are gone."""
        self.counts.copied, self.counts.bytes = copied, size
        self.counts.skipped = self.left_out
        self.counts.expired = len(self.keys) - copied - self.left_out
        self._pending = len(requests)
        self.encoded, self.slots = [], None
        if not requests:
            return self.settled(self)
        for sink, request, replies, then in requests:
            sink.write(request, replies, then)

    def _acknowledged(self, node: int, batch: Batch) -> Callable[[list], None]:
        """What takes the replies to the writes of a batch.

        Values are not kept until then: the next ones find the memory that they leave behind in the processor's cache.
        """
        return partial(self._written, node)

    def _written(self, node: int, replies: list) -> None:
        if replies.count(OK) != len(replies):
            error = first_error(replies) or RuntimeError(f"unexpected reply {replies[0]!r}")
            if self._failed is None or rule_for(error).action is not Action.PUT_ASIDE:
                self._failed = ("target", node, error)
            if self.link.router.owners is not None:
                self.link.learn_all(node, replies)
        self._pending -= 1
        if self._pending:
            return
        if self._failed is None:
            return self.settled(self)
        side, node, error = self._failed
        if rule_for(error).action in (Action.WAIT, Action.STOP, Action.REDIRECT):
            self.losses += isinstance(error, Gone)
            self.link.trouble(side, node, error, self.again)
        else:
            self.careful()

    # ---- again ----------------------------------------------------------------------------------------------

    def again(self) -> None:
        """Do the whole window again, because a server's state or a lost connection has let it fail."""
        self.counts.retried += 1
        if self.losses < LOSSES_TO_SUSPECT:
            return self.start()
        self.alone = True
        self.link.suspects.add(self._careful(alone=True).start)

    def careful(self) -> None:
        """Do the whole window again, key by key."""
        self._careful().start()

    def _careful(self, alone: bool = False) -> Careful:
        """Strings are read as values, if they may be, also where this window dumped them: any version takes those."""
        first, settled = self.link.strings_as_values, self._settled_carefully
        return Careful(self.link, self.keys, first, settled, alone=alone, scope=self.scope)

    def _settled_carefully(self, careful: Careful) -> None:
        careful.counts.retried += self.counts.retried
        self.counts, self.asides = careful.counts, careful.asides
        self.strings, self.alone = careful.strings, careful.alone
        self.settled(self)

"""A window: one step of a lane, from the names of keys to the target's acknowledgement.

    read values and expiries ─→ (DUMP what is no string) ─→ write ─→ all OK ─→ settled
         │ an error reply                                     │ an error reply
         └────────────── the state passes: again ─────────────┘
                         anything else: again, key by key (`careful.py`)

The fast way keeps no account of single keys: it knows that all went well, or it knows nothing. As every write
replaces a whole key, doing the window again is harmless: it writes what the source holds then. That is what lets
one careful window find out about each key, and what lets another worker repeat the window of one that died.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .careful import Careful
from .expiry import NEVER
from .policy import Action, first_error, rule_for
from .read import (
    INFO_KEYSPACE,
    Apart,
    Method,
    database_has_expiries,
    expiries_request,
    instants_of,
    values_of,
    values_request,
)
from .resp import HEADS
from .task import Aside, Counts
from .write import Item, payloads_request, strings_request, value_bytes

if TYPE_CHECKING:
    from .link import Link

#: Expiries that are asked for once more come so many at a time: the request stays far below 16 KB.
MOMENT_KEYS = 50
#: A source that is never quick enough to tell them in one moment is believed after so many tries.
MOMENT_TRIES = 40
#: The first byte of a DUMP payload of a string.
STRING_PAYLOAD = 0


class Window:
    """Copies `keys` over `link`, then calls settled(window): see `counts`, `asides`, `strings`."""

    def __init__(self, link: Link, keys: list[bytes], method: Method, settled: Callable[[Window], None]) -> None:
        self.link, self.keys, self.method, self.settled = link, keys, method, settled
        self.encoded = [HEADS[len(key)] + key for key in keys]
        self.counts = Counts()
        self.asides: list[Aside] = []
        self.strings = 0  # keys of this window that turned out to be strings
        self._pending = 0  # writes on their way
        self._failed: tuple[str, int, Exception] | None = None

    def start(self) -> None:
        """Send the first request. Called again, it does the whole window again."""
        self._failed = None
        self.counts = Counts(retried=self.counts.retried)
        request, replies = values_request(self.method, self.encoded)
        if self.link.no_expiries:
            # Only what INFO says after the values, on their own connection, proves that none of them expires.
            self.link.reader.ask(request + INFO_KEYSPACE, replies + 1, self._read_without_expiries)
        else:
            more, count = expiries_request(self.link.clock, self.encoded)
            self.link.reader.ask(request + more, replies + count, self._read)

    # ---- reading --------------------------------------------------------------------------------------------

    def _read(self, replies: list) -> None:
        count = len(self.encoded) + (1 if self.link.clock.absolute else 2)
        try:
            self._take(self.method, self.encoded, replies, instants_of(replies[-count:], self.link.clock))
        except Apart:
            self._ask_instants(self.encoded, lambda instants: self._take(self.method, self.encoded, replies, instants))
        except TypeError:
            self._read_failed(replies)

    def _read_without_expiries(self, replies: list) -> None:
        if database_has_expiries(replies[-1], self.link.db):
            self.link.no_expiries = False
            return self.start()
        try:
            self._take(self.method, self.encoded, replies, [NEVER] * len(self.encoded))
        except TypeError:
            self._read_failed(replies)

    def _take(self, method: Method, encoded: list[bytes], replies: list, instants: list[int | None]) -> None:
        """Sort what was read into strings, payloads, keys still to be dumped and keys that are gone."""
        values = values_of(method, replies)
        items = list(zip(encoded, values, instants))
        if None in instants:
            items = [item for item in items if item[2] is not None]
        odd: list[bytes] = []
        if method is Method.GET:
            odd = [key for key, value, _ in items if _is_other_type(value)]
            items = [item for item in items if not isinstance(item[1], Exception)]
        elif method is Method.MGET and None in values:
            odd = [key for key, value, _ in items if value is None]
        if None in values:
            items = [item for item in items if item[1] is not None]
        if method is Method.DUMP:
            self._write([], self._sized(items))
        elif odd:
            self._dump(odd, self._sized(items))
        else:
            self._write(self._sized(items), [])

    def _dump(self, odd: list[bytes], strings: list[Item]) -> None:
        request, count = values_request(Method.DUMP, odd)
        more, more_count = expiries_request(self.link.clock, odd)

        def dumped(replies: list) -> None:
            try:
                take(replies, instants_of(replies[-more_count:], self.link.clock))
            except Apart:
                self._ask_instants(odd, lambda instants: take(replies, instants))
            except TypeError:
                self._read_failed(replies)

        def take(replies: list, instants: list[int | None]) -> None:
            triples = zip(odd, replies, instants)
            items = [item for item in triples if item[1] is not None and item[2] is not None]
            self._write(strings, self._sized(items))

        self.link.reader.ask(request + more, count + more_count, dumped)

    def _ask_instants(self, encoded: list[bytes], then: Callable[[list[int | None]], None]) -> None:
        """Ask for the expiries again, alone, by requests short enough to be executed in one go."""
        found: list[int | None] = []
        tries = 0

        def ask() -> None:
            chunk = encoded[len(found) : len(found) + MOMENT_KEYS]
            self.link.reader.ask(*expiries_request(self.link.clock, chunk), answered)

        def answered(replies: list) -> None:
            nonlocal tries
            try:
                found.extend(instants_of(replies, self.link.clock, strict=tries < MOMENT_TRIES))
                tries = 0
                return then(found) if len(found) == len(encoded) else ask()
            except Apart:
                tries += 1
                ask()
            except TypeError:
                self._read_failed(replies)

        ask()

    def _sized(self, items: list) -> list[Item]:
        """Count the bytes of items; one that the target would refuse by hanging up makes the window careful."""
        size = value_bytes(items)
        self.counts.bytes += size
        if size > self.link.max_value_bytes and any(len(item[1]) > self.link.max_value_bytes for item in items):
            raise TypeError("a value over the target's limit")
        return items

    def _read_failed(self, replies: list) -> None:
        error = first_error(replies)
        if error is not None and rule_for(error).action in (Action.WAIT, Action.STOP, Action.REDIRECT):
            self.link.trouble("source", 0, error, self.again)
        else:
            self.careful()

    # ---- writing --------------------------------------------------------------------------------------------

    def _write(self, strings: list[Item], payloads: list[Item]) -> None:
        self.counts.copied = len(strings) + len(payloads)
        self.counts.expired = len(self.keys) - self.counts.copied
        self.strings = len(strings)
        if self.method is Method.DUMP:
            self.strings = sum([item[1][0] == STRING_PAYLOAD for item in payloads])
        requests = []
        for items, build in ((strings, strings_request), (payloads, payloads_request)):
            requests += [(sink, *build(part)) for sink, part in self.link.router.split(items)]
        self._pending = len(requests)
        if not requests:
            return self.settled(self)
        for sink, request, replies in requests:
            sink.write(request, replies, lambda got, node=sink.node: self._written(node, got))  # type: ignore[misc]

    def _written(self, node: int, replies: list) -> None:
        if replies.count(b"OK") != len(replies):
            error = first_error(replies) or RuntimeError(f"unexpected reply {replies[0]!r}")
            if self._failed is None or rule_for(error).action is not Action.PUT_ASIDE:
                self._failed = ("target", node, error)
        self._pending -= 1
        if self._pending:
            return
        if self._failed is None:
            return self.settled(self)
        side, node, error = self._failed
        if rule_for(error).action in (Action.WAIT, Action.STOP, Action.REDIRECT):
            self.link.trouble(side, node, error, self.again)
        else:
            self.careful()

    # ---- again ----------------------------------------------------------------------------------------------

    def again(self) -> None:
        """Do the whole window again, because a server's state has let it fail."""
        self.counts.retried += 1
        self.start()

    def careful(self) -> None:
        """Do the whole window again, key by key."""
        Careful(self.link, self.keys, self.method is not Method.DUMP, self._settled_carefully).start()

    def _settled_carefully(self, careful: Careful) -> None:
        careful.counts.retried += self.counts.retried
        self.counts, self.asides = careful.counts, careful.asides
        self.strings = careful.strings
        self.settled(self)


def _is_other_type(value: object) -> bool:
    """Whether GET says that the key is no string; any other error is not ours to judge here."""
    if not isinstance(value, Exception):
        return False
    if rule_for(value).action is not Action.OTHER_METHOD:
        raise TypeError(value)
    return True

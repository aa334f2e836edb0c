"""A window whose replies become its writes as they are, where that can be: see `unparsed.py`.

It asks for its replies unparsed. Where something in them is not as expected, they are parsed, and it goes on as any
other window does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from .expiry import Clock
from .read import Method, database_has_expiries, expiries_request, values_request
from .replies import Unparsed, Way, listed
from .unparsed import Asked, Spliced, splice
from .window import Window
from .write import are_large

if TYPE_CHECKING:
    from .link import Link
    from .router import Sink

Pieces = tuple[Spliced, list["Sink"]]  # and the nodes that take them


class Splicing(Window):
    """As Window, for links of which `splices` is true: all keys replace what is there."""

    def __init__(self, link: Link, keys: list[bytes], method: Method, settled: Callable[[Window], None]) -> None:
        super().__init__(link, keys, method, settled)
        if method is not Method.GET:  # which is for values that are better sent from where they are
            self.way = Way.UNPARSED
        self._spliced: list[Pieces] = []

    def start(self) -> None:
        """Send the first request."""
        self._spliced = []
        super().start()

    def _read(self, values: int, replies: Unparsed | list) -> None:
        found = self._splice(replies, self.encoded, self.slots, self._asked, self.link.clock)
        if found is None:
            return super()._read(values, listed(replies))
        self._found(found)

    def _read_without_expiries(self, replies: Unparsed | list) -> None:
        found = self._splice(replies, self.encoded, self.slots, self._asked, None)
        if found is None:
            return super()._read_without_expiries(listed(replies))
        if database_has_expiries(listed(replies[found[0].past :])[0], self.link.db):
            self.link.no_expiries = False
            return self.start()
        self._found(found)

    def _splice(
        self, replies: Unparsed | list, keys: list[bytes], slots: list[int] | None, asked: Asked, clock: Clock | None
    ) -> Pieces | None:
        """What is written, unless Python has to look at each reply, or to send large values from where they are."""
        if isinstance(replies, list) or (nodes := self.link.takers(slots, self._together)) is None:
            return None
        takers, sinks = nodes
        found = splice(replies, keys, asked, clock, takers)
        if found is None or are_large(found.size, found.copied) or found.largest > self.link.max_value_bytes:
            return None
        return found, sinks

    @property
    def _asked(self) -> Asked:
        """How the values were asked for: see `_values_request`."""
        if self.method is Method.MGET:
            return Asked.MGETS if self.link.from_cluster else Asked.MGET
        return Asked.GET if self.method is Method.GET else Asked.DUMP

    def _found(self, pieces: Pieces) -> None:
        """Write what was asked for first, once what is no string has been dumped."""
        found, _ = pieces
        self.strings = found.strings
        self._spliced.append(pieces)
        if self.method is Method.DUMP or not found.odd:
            return self._write_spliced()
        odd = [self.encoded[place] for place in found.odd]
        slots = [self.slots[place] for place in found.odd] if self.slots is not None else None
        request, count = values_request(Method.DUMP, odd)
        more, more_count = expiries_request(self.link.clock, odd)
        self.link.read(request + more, count + more_count, partial(self._read_payloads, odd, slots), Way.UNPARSED)

    def _read_payloads(self, odd: list[bytes], slots: list[int] | None, replies: Unparsed | list) -> None:
        pieces = self._splice(replies, odd, slots, Asked.DUMP, self.link.clock)
        if pieces is None:
            # The strings are in a request already; so all of them are read once more.
            self.way = Way.MARKED
            return self.start()
        self._spliced.append(pieces)
        self._write_spliced()

    def _write_spliced(self) -> None:
        spliced, self._spliced = self._spliced, []
        parts = [found for found, _ in spliced]
        size = sum([part.size for part in parts])
        if size > self.usual_bytes:
            self.largest = max(self.largest, *[part.largest for part in parts])
        requests = [
            (sinks[place], request, commands, partial(self._written, sinks[place].node))
            for found, sinks in spliced
            for place, request, commands in found.requests
        ]
        self._send(requests, sum([part.copied for part in parts]), size)

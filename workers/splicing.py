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
from .unparsed import Spliced, splice
from .window import Window
from .write import are_large

if TYPE_CHECKING:
    from .link import Link


class Splicing(Window):
    """As Window, for links of which `splices` is true: all keys go to one node, and replace what is there."""

    def __init__(self, link: Link, keys: list[bytes], method: Method, settled: Callable[[Window], None]) -> None:
        super().__init__(link, keys, method, settled)
        if method is not Method.GET:  # which is for values that are better sent from where they are
            self.way = Way.UNPARSED
        self._spliced: list[Spliced] = []

    def start(self) -> None:
        """Send the first request."""
        self._spliced = []
        super().start()

    def _read(self, values: int, replies: Unparsed | list) -> None:
        found = self._splice(replies, self.encoded, self._dumped, self.link.clock)
        if found is None:
            return super()._read(values, listed(replies))
        self._found(found)

    def _read_without_expiries(self, replies: Unparsed | list) -> None:
        found = self._splice(replies, self.encoded, self._dumped, None)
        if found is None:
            return super()._read_without_expiries(listed(replies))
        if database_has_expiries(listed(replies[found.past :])[0], self.link.db):
            self.link.no_expiries = False
            return self.start()
        self._found(found)

    def _splice(self, replies: Unparsed | list, keys: list[bytes], dumped: bool, clock: Clock | None) -> Spliced | None:
        """What is written, unless Python has to look at each reply, or to send large values from where they are."""
        found = None if isinstance(replies, list) else splice(replies, keys, dumped, clock)
        if found and (are_large(found.size, found.copied) or found.largest > self.link.max_value_bytes):
            return None
        return found

    @property
    def _dumped(self) -> bool:
        return self.method is Method.DUMP

    def _found(self, found: Spliced) -> None:
        """Write what was asked for first, once what is no string has been dumped."""
        self.strings = found.strings
        self._spliced.append(found)
        if self._dumped or not found.odd:
            return self._write_spliced()
        odd = [self.encoded[place] for place in found.odd]
        request, count = values_request(Method.DUMP, odd)
        more, more_count = expiries_request(self.link.clock, odd)
        self.link.read(request + more, count + more_count, partial(self._read_payloads, odd), Way.UNPARSED)

    def _read_payloads(self, odd: list[bytes], replies: Unparsed | list) -> None:
        found = self._splice(replies, odd, True, self.link.clock)
        if found is None:
            # The strings are in a request already; so all of them are read once more.
            self.way = Way.MARKED
            return self.start()
        self._spliced.append(found)
        self._write_spliced()

    def _write_spliced(self) -> None:
        parts, self._spliced = self._spliced, []
        size = sum([part.size for part in parts])
        if size > self.usual_bytes:
            self.largest = max(self.largest, *[part.largest for part in parts])
        sink = self.link.router.sinks[0]
        then = partial(self._written, sink.node)
        requests = [(sink, part.request, part.commands, then) for part in parts if part.commands]
        self._send(requests, sum([part.copied for part in parts]), size)

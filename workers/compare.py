"""A window that compares: the keys of one step of a lane, read on both sides at once.

    values and expiries of both sides ─→ (DUMP of both, of what is no string) ─→ equal: counted
                                          └─→ elements of what is small (`elements.py`) ─→ equal: counted
                                                                                    └─→ not equal: `look.py`

The fast way compares whole replies: values as bytes, DUMP payloads as bytes, expiries as numbers. Equal bytes are an
equal value. Unequal ones tell nothing yet, as tables come in any order and versions have encodings of their own, and
both sides were not read at one moment: such keys are looked at one by one, element by element.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import compress
from operator import add
from typing import TYPE_CHECKING

from .both import Both, ByCommand, OfTypes, OfValues, Values
from .careful import LOSSES_TO_SUSPECT
from .elements import same_elements, type_of_both, whole_command
from .finding import Finding
from .look import look
from .policy import Action, Gone, rule_for
from .read import Method
from .resp import CRLF, HEADS
from .slots import in_slot_order
from .structs import SIZE
from .structs.module import FOOTER_BYTES
from .task import Aside, Counts
from .walk import Walks

if TYPE_CHECKING:
    from .link import Link

#: The first byte of a DUMP payload of a string.
STRING_PAYLOAD = 0
#: The footer of a payload begins with the version of its format, in so many bytes.
VERSION_BYTES = 2


class Comparison:
    """Compares `keys` over `link`, then calls settled(self): see `counts`, `findings`.

    `counted` False: the keys' outcomes are counted elsewhere; differences are findings all the same.
    """

    def __init__(
        self,
        link: Link,
        keys: list[bytes],
        method: Method,
        settled: Callable[[Comparison], None],
        counted: bool = True,
    ) -> None:
        self.link, self.method, self.settled, self.counted = link, method, settled, counted
        if link.by_slot:
            keys, _ = in_slot_order(keys)
        self.keys = keys
        self.encoded = list(map(add, map(HEADS.__getitem__, map(len, keys)), keys))
        self.counts = Counts()
        self.asides: list[Aside] = []
        self.findings: list[Finding] = []
        self.strings = 0
        self.largest = 0
        self.losses = 0
        self.alone = False
        self._bytes = 0
        self._equal = 0  # keys that are equal as far as bytes tell
        self._unequal: list[bytes] = []

    def start(self) -> None:
        """Ask both sides. Called again, it does the whole window again."""
        self._bytes = self._equal = self.strings = 0
        self._unequal = []
        Both(self.link, self.keys, self.encoded, OfValues(self.method), True, self._compare, self._failed).ask()

    # ---- the fast way ---------------------------------------------------------------------------------------

    def _compare(self, ours: Values, theirs: Values, expiries_equal: Sequence[bool] | None) -> None:
        """`expiries_equal` None: all are."""
        if None not in ours:
            self._bytes = sum(map(len, ours))
            if self.method is not Method.DUMP:
                self.strings = len(ours)
            if ours == theirs and expiries_equal is None:
                self._note_payloads(ours)
                self._equal = len(self.keys)
                return self._count()
        if self.method is Method.DUMP:
            self._note_payloads(ours)
            return self._settle_payloads(self.keys, self.encoded, (ours, theirs), expiries_equal)
        same = [one == other for one, other in zip(ours, theirs)]
        kept = [value is not None for value in ours]
        if all(kept):
            return self._settle(self.keys, same, expiries_equal)
        values = list(compress(ours, kept))
        self.strings, self._bytes = len(values), sum(map(len, values))
        self._note(list(compress(self.keys, kept)), list(compress(same, kept)), _only(expiries_equal, kept))
        self._dump([not strings for strings in kept], expiries_equal)

    def _note_payloads(self, payloads: Values) -> None:
        if self.method is Method.DUMP:
            there = [payload for payload in payloads if payload is not None]
            self._bytes = sum(map(len, there))
            self.strings = sum([payload[0] == STRING_PAYLOAD for payload in there])

    def _dump(self, odd: Sequence[bool], expiries_equal: Sequence[bool] | None) -> None:
        """Compare what is no string, or gone."""
        keys, encoded = list(compress(self.keys, odd)), list(compress(self.encoded, odd))
        expiries = _only(expiries_equal, odd)

        def compare(ours: Values, theirs: Values, none_asked: Sequence[bool] | None) -> None:
            self._bytes += sum([len(payload) for payload in ours if payload is not None])
            self._settle_payloads(keys, encoded, (ours, theirs), expiries)

        Both(self.link, keys, encoded, OfValues(Method.DUMP), False, compare, self._failed).ask()

    def _settle_payloads(
        self,
        keys: list[bytes],
        encoded: list[bytes],
        payloads: tuple[Values, Values],
        expiries_equal: Sequence[bool] | None,
    ) -> None:
        """Where payloads differ, compare elements: of small collections together, of others one key after the other."""
        same = _same_payloads(*payloads)
        types = ["" if is_same else type_of_both(*pair) for is_same, *pair in zip(same, *payloads)]
        if not any(types):
            return self._settle(keys, same, expiries_equal)
        rest = [not type for type in types]
        self._note(list(compress(keys, rest)), list(compress(same, rest)), _only(expiries_equal, rest))
        small, small_encoded = list(compress(keys, types)), list(compress(encoded, types))
        names = [type for type in types if type]
        expiries = None if expiries_equal is None else list(compress(expiries_equal, types))

        def compare(ours: Values, theirs: Values, none_asked: Sequence[bool] | None) -> None:
            self._settle(small, list(map(same_elements, names, ours, theirs)), expiries)

        commands = {key: whole_command(type, key) for key, type in zip(small_encoded, names)}
        Both(self.link, small, small_encoded, ByCommand(commands), False, compare, self._failed).ask()

    def _settle(self, keys: list[bytes], same: Sequence[bool], expiries_equal: Sequence[bool] | None) -> None:
        self._note(keys, same, expiries_equal)
        if self._unequal:
            self._look(self._unequal)
        else:
            self._count()

    def _note(self, keys: list[bytes], same: Sequence[bool], expiries_equal: Sequence[bool] | None) -> None:
        good = same if expiries_equal is None else [one and other for one, other in zip(same, expiries_equal)]
        equal = sum(good)
        self._equal += equal
        if equal < len(keys):
            self._unequal += [key for key, is_good in zip(keys, good) if not is_good]

    # ---- key by key -----------------------------------------------------------------------------------------

    def _look(self, keys: list[bytes]) -> None:
        self.findings, self.counts = [], Counts(retried=self.counts.retried)
        lens_of = self.link.lens_of
        Walks(self.link, keys, lambda key: look(key, lens_of(key)), self._told, self._count, self.alone).start()

    def _told(self, key: bytes, result: Finding | bool) -> None:
        if isinstance(result, Finding):
            self.counts.doubtful += 1
            self.findings.append(result)
        elif result:
            self.counts.copied += 1
        else:
            self.counts.expired += 1

    def _count(self) -> None:
        self.counts.copied += self._equal
        self.counts.bytes = self._bytes
        if not self.counted:
            self.findings = [replace(finding, counted=False) for finding in self.findings]
            self.counts = Counts(again=self.counts.read, retried=self.counts.retried)
        self.settled(self)

    # ---- again ----------------------------------------------------------------------------------------------

    def _failed(self, side: str, node: int, error: Exception) -> None:
        """A reply is an error: the server's state, or one of the keys."""
        action = rule_for(error).action
        if action in (Action.WAIT, Action.STOP) or (action is Action.REDIRECT and side == "target"):
            self.losses += isinstance(error, Gone)
            self.link.trouble(side, node, error, self._again)
        else:
            self._one_by_one()

    def _again(self) -> None:
        self.counts.retried += 1
        if self.losses < LOSSES_TO_SUSPECT:
            return self.start()
        self.alone = True
        self.link.suspects.add(self._one_by_one)

    def _one_by_one(self) -> None:
        self._bytes = self._equal = self.strings = 0
        self._look(self.keys)


class QuickComparison(Comparison):
    """Compares types, expiries and sizes (--verify quick); only what differs in size is looked at."""

    def start(self) -> None:
        """Ask both sides for types. Called again, it does the whole window again."""
        self._equal = 0
        self._unequal = []
        Both(self.link, self.keys, self.encoded, OfTypes(), True, self._compare, self._failed).ask()

    def _compare(self, ours: Values, theirs: Values, expiries_equal: Sequence[bool] | None) -> None:
        """Ask for the sizes of keys of equal types."""
        sizes = {name.encode(): b"*2\r\n$%d\r\n%s" % (len(word), word) for name, word in SIZE.items()}
        same = [one is not None and one == other for one, other in zip(ours, theirs)]
        sized = [is_same and type in sizes for is_same, type in zip(same, ours)]
        rest = [not is_sized for is_sized in sized]
        self._note(list(compress(self.keys, rest)), list(compress(same, rest)), _only(expiries_equal, rest))
        keys, encoded = list(compress(self.keys, sized)), list(compress(self.encoded, sized))
        expiries = _only(expiries_equal, sized)

        def compare(ours: Values, theirs: Values, none_asked: Sequence[bool] | None) -> None:
            self._settle(keys, [one == other for one, other in zip(ours, theirs)], expiries)

        if not keys:
            return self._settle([], [], None)
        commands = {key: sizes[type] + key + CRLF for key, type in zip(encoded, compress(ours, sized))}
        Both(self.link, keys, encoded, ByCommand(commands), False, compare, self._failed).ask()


def _same_payloads(ours: Values, theirs: Values) -> list[bool]:
    """Which DUMP payloads are there, and equal. Versions differ in the footer only, so then it is left out."""
    cut = -FOOTER_BYTES
    if _versions(ours) == _versions(theirs):
        return [one is not None and one == other for one, other in zip(ours, theirs)]
    return [one is not None and other is not None and one[:cut] == other[:cut] for one, other in zip(ours, theirs)]


def _versions(payloads: Values) -> set[bytes]:
    """The versions of the format in these payloads: one, unless nodes of a cluster have several."""
    return {payload[-FOOTER_BYTES : VERSION_BYTES - FOOTER_BYTES] for payload in payloads if payload is not None}


def _only(expiries_equal: Sequence[bool] | None, wanted: Sequence[bool]) -> list[bool] | None:
    return None if expiries_equal is None else list(compress(expiries_equal, wanted))

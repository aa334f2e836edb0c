"""A window that compares: the keys of one step of a lane, read on both sides at once.

    strings and all expiries of both sides ─→ equal: counted
        └─→ what is no string: asked what it is ─→ elements or payload of both (`elements.py`) ─→ equal: counted
                                                      └─→ unequal payloads: elements ─→ equal: counted
                                                                                 └─→ unequal: `look.py`

The fast way compares whole replies: values and payloads as bytes, elements as lists of them, expiries as numbers. What
is equal there is equal. What is not tells nothing yet, as both sides were not read at one moment: such keys are looked
at one by one, and so are those that are too large to be read whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import compress, groupby
from typing import TYPE_CHECKING

from .both import Both
from .careful import LOSSES_TO_SUSPECT
from .elements import (
    CLOSELY,
    COMMANDS,
    IN_ONE_PIECE,
    PAYLOAD,
    Kind,
    kind_of_both,
    kinds_of,
    kinds_request,
    same_of,
)
from .finding import Finding
from .look import look
from .news import Aside, Counts
from .policy import Action, Gone, first_error, rule_for
from .read import Method
from .readings import ByKind, OfTypes, OfValues, Values
from .replies import Way
from .resp import CRLF, arguments
from .slots import in_slot_order
from .structs import SIZE
from .walk import Walks

if TYPE_CHECKING:
    from .link import Link


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
        slots: list[int] = []
        if link.by_slot:
            keys, slots = in_slot_order(keys)
        self._strays = link.strays_among(slots)
        self.keys = keys
        self.encoded = arguments(keys)
        self.counts = Counts()
        self.asides: list[Aside] = []
        self.findings: list[Finding] = []
        self.strings = 0
        self.largest = 0
        self.losses = 0
        self.alone = False
        self.too_much = False  # it may bring more than may be asked for at a time
        self._bytes = 0
        self._equal = 0  # keys with the same value, as bytes or elements, and the same expiry
        self._unequal: list[bytes] = []
        self._apart: set[bytes] = set()  # keys whose expiries differ

    def start(self) -> None:
        """Ask both sides. Called again, it does the whole window again."""
        self._reset()
        if self.method is Method.DUMP or self.too_much:  # few keys are strings, or one is huge
            self._ask_kinds(self.keys, self.encoded, expiries=True)
        else:
            asked = self.link, self.keys, self.encoded, OfValues(self.method)
            Both(*asked, True, self._compare, self._failed, same=self._are_same).ask()

    def _reset(self) -> None:
        self.findings, self.counts = [], Counts(retried=self.counts.retried)
        self._bytes = self._equal = self.strings = 0
        self._unequal, self._apart = [], set()

    def _are_same(self, size: int) -> None:
        """Both sides have told the same of the whole window, which are strings."""
        self._bytes, self.strings, self._equal = size, len(self.keys), len(self.keys)
        self._count()

    # ---- strings --------------------------------------------------------------------------------------------

    def _compare(self, ours: Values, theirs: Values, expiries_equal: Sequence[bool] | None) -> None:
        """`expiries_equal` None: all are."""
        self._note_expiries(self.keys, expiries_equal)
        if None not in ours and ours == theirs and not self._apart:
            return self._are_same(sum(map(len, ours)))
        strings = [value is not None for value in ours]
        values = list(compress(ours, strings))
        self._bytes, self.strings = sum(map(len, values)), len(values)
        same = [one == other for one, other in zip(values, compress(theirs, strings))]
        self._note(list(compress(self.keys, strings)), same)
        odd = [not string for string in strings]
        keys = list(compress(self.keys, odd))
        if keys:
            self._ask_kinds(keys, list(compress(self.encoded, odd)), expiries=False)
        else:
            self._settle()

    # ---- anything -------------------------------------------------------------------------------------------

    def _ask_kinds(self, keys: list[bytes], encoded: list[bytes], expiries: bool) -> None:
        """Ask the source what these keys are, then read them. `expiries`: they are still to be compared."""

        def told(replies: list) -> None:
            error = first_error(replies[: len(keys)])
            if error is not None:
                return self._failed("source", 0, error)
            kinds, size = kinds_of(replies, fields_expire=not self.link.no_field_expiries)
            self._bytes += size
            self.strings += kinds.count(b"string")
            self._read(keys, encoded, kinds, expiries)

        self.link.reader.ask(*kinds_request(encoded), told, Way.MARKED)

    def _read(self, keys: list[bytes], encoded: list[bytes], kinds: list[Kind], expiries: bool = False) -> None:
        """Read each key on both sides, as its kind has it; large ones are left to be looked at."""
        parts = [(kind, [one == kind for one in kinds]) for kind in set(kinds)]
        self._unequal += [key for kind, wanted in parts if kind == CLOSELY for key in compress(keys, wanted)]
        parts = [(kind, wanted) for kind, wanted in parts if kind != CLOSELY]
        if not parts:
            return self._settle()
        keys, encoded = ([one for _, wanted in parts for one in compress(column, wanted)] for column in (keys, encoded))
        groups = [(kind, wanted.count(True)) for kind, wanted in parts]
        # HGETALL does not tell when fields expire: both sides have to say afterwards that none does.
        trusts = b"hash" in kinds and self.link.no_field_expiries

        def compare(ours: Values, theirs: Values, expiries_equal: Sequence[bool] | None) -> None:
            if trusts and not self.link.no_field_expiries:
                return self.start()
            self._note_expiries(keys, expiries_equal)
            self._compare_kinds(groups, keys, ours, theirs)

        def are_same(size: int) -> None:
            if trusts and not self.link.no_field_expiries:
                return self.start()
            self._bytes += size
            self._note(keys, [True] * len(keys))
            self._settle()

        reading = ByKind(encoded, [(COMMANDS[kind], count) for kind, count in groups])
        Both(self.link, keys, encoded, reading, expiries, compare, self._failed, trusts, are_same).ask()

    def _compare_kinds(self, groups: list[tuple[Kind, int]], keys: list[bytes], ours: Values, theirs: Values) -> None:
        """Compare what was read; where payloads differ, elements are read: encodings are no difference."""
        odd_keys: list[bytes] = []
        odd_kinds: list[Kind] = []
        end = 0
        for kind, count in groups:
            begin, end = end, end + count
            some, one_side, other_side = (column[begin:end] for column in (keys, ours, theirs))
            same = same_of(kind, one_side, other_side)
            if kind in IN_ONE_PIECE:
                self._bytes += sum(map(len, filter(None, one_side)))
            if kind == PAYLOAD and not all(same):
                odd = [not is_same for is_same in same]
                odd_keys = list(compress(some, odd))
                odd_kinds = list(map(kind_of_both, compress(one_side, odd), compress(other_side, odd)))
                some, same = list(compress(some, same)), [True] * (len(same) - len(odd_keys))
            self._note(some, same)
        if odd_keys:
            self._read(odd_keys, arguments(odd_keys), odd_kinds)
        else:
            self._settle()

    # ---- outcomes -------------------------------------------------------------------------------------------

    def _note_expiries(self, keys: list[bytes], expiries_equal: Sequence[bool] | None) -> None:
        if expiries_equal is not None:
            self._apart |= {key for key, is_equal in zip(keys, expiries_equal) if not is_equal}

    def _note(self, keys: list[bytes], same: Sequence[bool]) -> None:
        """Count what has the same value and the same expiry; the others are to be looked at."""
        if self._apart:
            same = [is_same and key not in self._apart for key, is_same in zip(keys, same)]
        equal = sum(same)
        self._equal += equal
        if equal < len(keys):
            self._unequal += [key for key, is_same in zip(keys, same) if not is_same]

    def _settle(self) -> None:
        if self._unequal:
            self._look(self._unequal)
        else:
            self._count()

    # ---- key by key -----------------------------------------------------------------------------------------

    def _look(self, keys: list[bytes]) -> None:
        look_at = lambda key: look(key, self.link.lens_of(key))  # noqa: E731
        Walks(self.link, keys, look_at, self._told, self._count, self.alone, self._failed).start()

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
        self.counts.bytes, self.counts.strays = self._bytes, self._strays
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
        self._reset()
        self._look(self.keys)


class QuickComparison(Comparison):
    """Compares types, expiries and sizes (--verify quick); only what differs in size is looked at."""

    def start(self) -> None:
        """Ask both sides for types. Called again, it does the whole window again."""
        self._reset()
        Both(self.link, self.keys, self.encoded, OfTypes(), True, self._compare, self._failed).ask()

    def _compare(self, ours: Values, theirs: Values, expiries_equal: Sequence[bool] | None) -> None:
        """Ask for the sizes of keys of equal types."""
        self._note_expiries(self.keys, expiries_equal)
        sizes = {name.encode(): b"*2\r\n$%d\r\n%s" % (len(word), word) for name, word in SIZE.items()}
        same = [one is not None and one == other for one, other in zip(ours, theirs)]
        sized = [is_same and type in sizes for is_same, type in zip(same, ours)]
        rest = [not is_sized for is_sized in sized]
        self._note(list(compress(self.keys, rest)), list(compress(same, rest)))
        keys, encoded = list(compress(self.keys, sized)), list(compress(self.encoded, sized))

        def compare(ours: Values, theirs: Values, none_asked: Sequence[bool] | None) -> None:
            self._note(keys, [one is not None and one == other for one, other in zip(ours, theirs)])
            self._settle()

        if not keys:
            return self._settle()
        kinds = [((sizes[type], CRLF), len(list(same_type))) for type, same_type in groupby(compress(ours, sized))]
        Both(self.link, keys, encoded, ByKind(encoded, kinds), False, compare, self._failed).ask()

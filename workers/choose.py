"""How the next window is read, and how many keys it takes: chosen by what the last ones held.

One chooser serves all lanes of a link. Keys lie on the ring by their hash, so every range sees the same mix, and a
lane that begins need not learn it again.
"""

from __future__ import annotations

from dataclasses import dataclass

from .budget import Budget
from .read import Method

#: The first window of a link; the next ones double as long as the values stay small.
FIRST_WINDOW_KEYS = 16
#: MGET costs the client a whole reply before the first byte is used; above this many bytes a value, GET wins.
GET_VALUE_BYTES = 3 << 10
#: Below this share of strings, asking for strings first costs more than it saves …
DUMP_BELOW = 0.35
#: … and above this one it pays again. Apart, so that a mix in between does not make it waver.
STRINGS_ABOVE = 0.55
#: What one window counts for in the running averages.
WEIGHT = 0.2
#: A window this much heavier than usual holds larger values than usual: the largest is looked for.
HEAVY = 1.25
#: So much of the largest value seen is still expected one window later.
FADE = 0.95
#: Where a giant is expected, windows become smaller; but rather than below so many keys, sizes are asked first.
CAUTIOUS_KEYS = 64
#: What a key costs besides its name and its value: heads of replies, its expiry, and what holds it on both sides.
KEY_BYTES = 100
#: Names of keys are thought so long until some were seen.
FIRST_NAME_BYTES = 64


@dataclass
class Chooser:
    """`policy` is the user's --method; `max_keys` the user's --batch."""

    policy: str
    max_keys: int
    budget: Budget
    keys: int = FIRST_WINDOW_KEYS
    string_share: float = 1.0
    value_bytes: float = 0.0
    name_bytes: float = FIRST_NAME_BYTES
    largest_bytes: float = 0.0  # of a single value, of late
    sizes_first: bool = True  # the next window could bring far more than expected: ask for its sizes
    _method: Method = Method.MGET

    def __post_init__(self) -> None:
        self.keys = min(self.keys, self.max_keys)
        if self.policy == "dump":
            self._method = Method.DUMP

    @property
    def method(self) -> Method:
        """How the next window is read."""
        return self._method

    # ---- what is expected -----------------------------------------------------------------------------------

    def usual_bytes(self, keys: int) -> float:
        """A window of so many keys with more bytes than this holds larger values than usual."""
        return HEAVY * keys * self.value_bytes

    def window_bytes(self, keys: int) -> int:
        """What a window of so many keys is expected to bring."""
        return int(keys * (self.value_bytes + self.name_bytes + KEY_BYTES))

    def scan_count(self, most: int) -> int:
        """How many names one SCAN may ask for."""
        return max(1, min(most, int(self.budget.window_bytes / self.name_bytes)))

    # ---- what came ------------------------------------------------------------------------------------------

    def learn_names(self, keys: list[bytes]) -> None:
        """Take in a SCAN reply: one name stands for all."""
        if keys:
            self.name_bytes = max(1, len(keys[0]), FADE * self.name_bytes)

    def learn(self, keys: int, strings: int, size: int, largest: int = 0) -> None:
        """Take in a settled window: how many keys it had, how many were strings, and bytes of all values.

        `largest` is the size of its largest value, where the window was heavier than usual.
        """
        if not keys:
            return
        mean = size / keys
        self.value_bytes += (mean - self.value_bytes) * (WEIGHT if self.value_bytes else 1)
        self.string_share += (strings / keys - self.string_share) * WEIGHT
        self.largest_bytes = max(largest, mean, FADE * self.largest_bytes, 1)
        self.keys = max(1, min(self.max_keys, self.keys * 2, self._fitting(mean)))
        self.sizes_first = self.budget.tight or self.keys * self.largest_bytes > self.budget.limit
        if self.policy != "dump":
            self._method = self._strings_first()

    def _fitting(self, mean: float) -> int:
        # The larger of both: a giant shrinks the next window at once, small values let it grow by doubling.
        usual = int(self.budget.window_bytes / max(mean, self.value_bytes, 1))
        return min(usual, max(CAUTIOUS_KEYS, int(self.budget.limit / self.largest_bytes)))

    def _strings_first(self) -> Method:
        if self.policy == "auto":
            if self.string_share < DUMP_BELOW:
                return Method.DUMP
            if self._method is Method.DUMP and self.string_share < STRINGS_ABOVE:
                return Method.DUMP
        return Method.GET if self.value_bytes > GET_VALUE_BYTES else Method.MGET

"""How the next window is read, and how many keys it takes: chosen by what the last ones held.

One chooser serves all lanes of a link. Keys lie on the ring by their hash, so every range sees the same mix, and a
lane that begins need not learn it again.
"""

from __future__ import annotations

from dataclasses import dataclass

from .read import Method

#: A window should bring about so many bytes of values: more only fills caches and output buffers.
WINDOW_BYTES = 1 << 20
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


@dataclass
class Chooser:
    """`policy` is the user's --method; `max_keys` the user's --batch."""

    policy: str
    max_keys: int
    keys: int = FIRST_WINDOW_KEYS
    string_share: float = 1.0
    value_bytes: float = 0.0
    _method: Method = Method.MGET

    def __post_init__(self) -> None:
        self.keys = min(self.keys, self.max_keys)
        if self.policy == "dump":
            self._method = Method.DUMP

    @property
    def method(self) -> Method:
        """How the next window is read."""
        return self._method

    def learn(self, keys: int, strings: int, size: int) -> None:
        """Take in a settled window: how many keys it had, how many were strings, and bytes of all values."""
        if not keys:
            return
        mean = size / keys
        self.value_bytes += (mean - self.value_bytes) * (WEIGHT if self.value_bytes else 1)
        self.string_share += (strings / keys - self.string_share) * WEIGHT
        # The larger of both: a giant shrinks the next window at once, small values let it grow by doubling.
        fitting = int(WINDOW_BYTES / max(mean, self.value_bytes, 1))
        self.keys = max(1, min(self.max_keys, self.keys * 2, fitting))
        if self.policy != "dump":
            self._method = self._strings_first()

    def _strings_first(self) -> Method:
        if self.policy == "auto":
            if self.string_share < DUMP_BELOW:
                return Method.DUMP
            if self._method is Method.DUMP and self.string_share < STRINGS_ABOVE:
                return Method.DUMP
        return Method.GET if self.value_bytes > GET_VALUE_BYTES else Method.MGET

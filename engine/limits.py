"""How hard a run may be on its servers: the limits that the user has set, over all workers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """None: as much as it can."""

    keys_a_second: int | None = None
    bytes_a_second: int | None = None  # of values, as they are read
    slower_s: float | None = None  # the source's answers to others, above the smallest round trip seen to it

    def __bool__(self) -> bool:
        return any(limit is not None for limit in (self.keys_a_second, self.bytes_a_second, self.slower_s))

    def texts(self) -> list[str]:
        """Each limit that is set, with its unit."""
        found = []
        if self.keys_a_second is not None:
            found.append(f"{self.keys_a_second:,} keys/s")
        if self.bytes_a_second is not None:
            found.append(f"{self.bytes_a_second:,} bytes/s")
        if self.slower_s is not None:
            found.append(f"source at most {1000 * self.slower_s:g} ms slower")
        return found

    def seconds(self, keys: int, size: int) -> float:
        """What the limits let a copy of so many keys, and bytes of values, take at least."""
        return max(keys / (self.keys_a_second or float("inf")), size / (self.bytes_a_second or float("inf")))

"""Percentiles of the workers' requests, for the sides whose user asked for them (-l).

Workers report the times one by one; HdrHistogram adds them up in a few kilobytes a command, to three digits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .workers.endpoint import Endpoint
from .workers.errors import UsageError

#: Shares of the requests, in percent, that took no longer than the figure shown.
PERCENTILES = (50, 90, 99, 99.9, 100)
#: What is longer than an hour counts as an hour.
LONGEST_US = 3_600_000_000
DIGITS = 3
#: The order of the table; what is not named comes last.
ORDER = ("SCAN", "MGET", "GET", "DUMP", "expiries", "MSET/SET", "RESTORE")


@dataclass(frozen=True)
class Row:
    """One command of one side: how many requests, and their percentiles in ms, by `percentile_name`."""

    side: str
    command: str
    requests: int
    times_ms: dict[str, float]

    def fields(self) -> dict[str, object]:
        """The row for programs."""
        return {"side": self.side, "command": self.command, "requests": self.requests, **self.times_ms}


class Latencies:
    """Takes in what workers measured, and makes rows of it."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        """Raises UsageError where a side asks for percentiles and the library for them is not installed."""
        self._by_command: dict[tuple[str, str], Any] = {}
        if any(endpoint.latency for endpoint in endpoints):
            _histogram()

    def add(self, told: list[list[Any]]) -> None:
        """Take in [side, command, times in µs] of a worker's report."""
        for side, command, times_us in told:
            histogram = self._by_command.get((side, command))
            if histogram is None:
                histogram = self._by_command[side, command] = _histogram()
            for time_us in times_us:
                histogram.record_value(max(1, min(time_us, LONGEST_US)))

    def rows(self) -> list[Row]:
        """A row for each command that was sent, the source's first."""
        return [
            Row(side, command, histogram.get_total_count(), _percentiles_ms(histogram))
            for (side, command), histogram in sorted(self._by_command.items(), key=lambda item: _place(*item[0]))
        ]


def _place(side: str, command: str) -> tuple[str, int, str]:
    return side, ORDER.index(command) if command in ORDER else len(ORDER), command


def _percentiles_ms(histogram: Any) -> dict[str, float]:
    return {percentile_name(share): histogram.get_value_at_percentile(share) / 1000 for share in PERCENTILES}


def _histogram() -> Any:
    try:
        from hdrh.histogram import HdrHistogram  # of the few who ask for it
    except ImportError:
        raise UsageError("-l/--latency needs the package hdrhistogram", hint="pip install hdrhistogram") from None
    return HdrHistogram(1, LONGEST_US, DIGITS)


def percentile_name(share: float) -> str:
    """`p50`, `p99.9`, `max`."""
    return "max" if share == 100 else f"p{share:g}"


def table(rows: list[Row]) -> list[str]:
    """Lines of at most 80 columns, the heading first; none where nothing was measured."""
    if not rows:
        return []
    heads = "".join(f"{percentile_name(share):>10}" for share in PERCENTILES)
    lines = [f"{'latency, ms':<18}{'requests':>10}{heads}"]
    for row in rows:
        times = "".join(f"{time_ms:>10,.2f}" for time_ms in row.times_ms.values())
        lines.append(f"{row.side:<7}{row.command:<11}{row.requests:>10,}{times}")
    return lines

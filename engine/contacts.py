"""Whom a phase of work is in contact with: its user, by the log and the display, and the user by signals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .latency import Latencies
from .logs import Log
from .progress import Display
from .signals import Signals
from .state import State


@dataclass
class Contacts:
    """What a coordinator calls: with lines for the log, its state, and latencies; and for the signal that has come."""

    say: Callable[[str], None]
    warn: Callable[[str], None]
    tick: Callable[[State], None]
    signal_seen: Callable[[], int] = lambda: 0
    measured: Callable[[list[list[Any]]], None] = lambda told: None

    @classmethod
    def of(cls, log: Log, shown: Display, signals: Signals, latencies: Latencies) -> Contacts:
        """Those of a command."""
        return cls(log.notice, log.warning, shown.tick, signals.seen, latencies.add)

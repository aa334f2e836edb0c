"""What a comparison talks with: its user, and the user's signals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .differences import DiffFile
from .latency import Latencies
from .logs import Log
from .signals import Signals


@dataclass
class Desk:
    """The same for all comparisons of a run."""

    options: dict[str, Any]
    log: Log
    signals: Signals
    latencies: Latencies
    diff_file: DiffFile | None = None

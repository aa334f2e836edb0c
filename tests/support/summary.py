"""What a run of the command says about itself, read back."""

from __future__ import annotations

import json
from typing import Any

from .processes import Result

#: Each key of the source is counted under one of these.
OUTCOMES = ("ok", "value", "type", "only_at_source", "expiry", "changing", "expired", "unreadable", "skipped")


def result_of(ran: Result) -> dict[str, Any]:
    """The object that `--json` prints."""
    return json.loads(ran.out)

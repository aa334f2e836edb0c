"""What a run of the command says about itself, read back."""

from __future__ import annotations

import json
from typing import Any

from tests.support.processes import Result


def result_of(ran: Result) -> dict[str, Any]:
    """The object that `--json` prints."""
    return json.loads(ran.out)

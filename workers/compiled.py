"""Whether the one part in C is there: see `unparsed.py`. It is not where there was no compiler, or none is wanted."""

from __future__ import annotations

import os

#: Set to anything, all is done in Python: to find out where a fault lies, and what the compiled part is worth.
PURE_PYTHON = "KEYFERRY_PURE_PYTHON"

try:
    if os.environ.get(PURE_PYTHON):
        raise ImportError(PURE_PYTHON)
    from . import _unparsed  # noqa: F401
except ImportError:
    BUILT = False
else:
    BUILT = True

"""The mark of tests that need the part in C."""

from __future__ import annotations

import os

import pytest

from keyferry.workers.compiled import BUILT

#: Without a compiler they are skipped; where all is required, as in continuous integration, they fail then.
compiled = pytest.mark.skipif(not BUILT and not os.environ.get("CI"), reason="there was no compiler")

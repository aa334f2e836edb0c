"""Characters that must not reach a terminal."""

from __future__ import annotations

import re

#: A key that would rename a terminal's window, and begin a new line.
EVIL = b"\x1b]0;x\x07\n"
#: All control characters but the line feed, those of Latin-1 included.
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")

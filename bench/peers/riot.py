"""RIOT 4: becomes `riot replicate` between two servers, without its comparison afterwards.

`riot.py SOURCE_PORT TARGET_PORT COMMAND`, both servers on 127.0.0.1; the command as a shell would split it. Batches are
larger, and threads more, than by default (50 and 1).
"""

from __future__ import annotations

import os
import shlex
import sys

OPTIONS = ("--scan-count", "1000", "--read-batch", "500", "--read-threads", "2", "--batch", "500", "--threads", "2")


def main(source: str, target: str, command: str) -> None:
    """Never returns."""
    words = [*shlex.split(command), "replicate", f"redis://127.0.0.1:{source}", f"redis://127.0.0.1:{target}"]
    os.execvp(words[0], [*words, *OPTIONS, "--compare", "NONE", "--progress", "NONE"])


if __name__ == "__main__":
    main(*sys.argv[1:])

"""RedisShake 4 in its scan mode: writes its configuration into the current folder, then becomes it.

`shake.py SOURCE_PORT TARGET_PORT COMMAND`, both servers on 127.0.0.1; the command as a shell would split it. COUNT and
pipelines are larger than by default (1 and 1,024).
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

CONFIGURATION = """\
[scan_reader]
cluster = false
address = "127.0.0.1:{source}"
scan = true
ksn = false
count = 1000

[redis_writer]
cluster = false
address = "127.0.0.1:{target}"

[advanced]
dir = "{folder}"
log_file = "{folder}/log"
log_level = "warn"
pipeline_count_limit = 4096
rdb_restore_command_behavior = "rewrite"
"""


def main(source: str, target: str, command: str) -> None:
    """Never returns."""
    file = Path.cwd() / "shake.toml"
    file.write_text(CONFIGURATION.format(source=source, target=target, folder=file.parent))
    words = shlex.split(command)
    os.execvp(words[0], [*words, str(file)])


if __name__ == "__main__":
    main(*sys.argv[1:])

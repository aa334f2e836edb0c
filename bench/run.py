#!/usr/bin/env python3
"""`bench/run.py`: keyferry against other ways to copy, interleaved in one run on one machine. See README.md."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

if not __package__:  # started as a file: the packages are found from its folder's parent
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench import facts
from bench.goals import goals
from bench.options import Options, parse
from bench.parts import MEASURES
from bench.publish import publish
from bench.report import heading
from bench.turns import Run, say
from tests.support.binaries import MissingServer
from tests.support.servers import Server


def measure(options: Options) -> dict[str, Any]:
    """All parts that were asked for, by name; prints each table as soon as it is known."""
    begun = {"machine": facts.machine(), "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    parts: dict[str, Any] = {}
    with Server(options.kind) as source, Server(options.kind) as target:
        begun |= {"versions": facts.versions(source), "keys": options.keys, "rounds": options.rounds}
        print(heading(begun), flush=True)
        for name in options.parts:
            at = time.monotonic()
            data = MEASURES[name](Run(options, source, target))
            parts[name] = {**begun, "seconds": round(time.monotonic() - at, 1), "data": data}
    return parts


def failed(parts: dict[str, Any]) -> bool:
    """Whether any tool failed in any round."""
    return any(tool["failures"] for part in parts.values() for item in part["data"] for tool in item["tools"].values())


def main() -> int:
    """0 when every tool copied everything, 1 when a round failed, 3 without the server's program."""
    options = parse()
    try:
        parts = measure(options)
    except MissingServer as missing:
        say(str(missing))
        return 3
    except subprocess.CalledProcessError as broken:
        say(f"{Path(broken.cmd[0]).name} failed: {broken.stderr}")
        return 1
    print()
    for goal in [] if options.smoke else goals(parts):
        print(f"{'met    ' if goal.met else 'NOT MET'} {goal.what}: {goal.reached}, goal {goal.wanted}"[:80])
    if options.json:
        options.json.write_text(json.dumps({"parts": parts}, indent=1) + "\n")
    if options.publish:
        publish(options.kind, parts)
    return int(failed(parts))


if __name__ == "__main__":
    sys.exit(main())

"""A link with a round trip on both sides, compared to the same link without one.

Both links lead through the proxies of tests/support, each a process of its own, so that passing bytes on costs the same
and only the time of the way differs.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from bench.data import DATASETS
from bench.facts import ROOT
from bench.peers import Tool, keyferry
from bench.turns import Run
from tests.support.servers import Server, free_port

#: What a round trip takes more on each side, ms.
ROUND_TRIP_MS = 20
NEAR, FAR = "near", f"+{ROUND_TRIP_MS} ms"


@contextmanager
def proxy(server: Server, delay_ms: float) -> Iterator[tuple[int, int]]:
    """A proxy's port and process id; round trips through it take `delay_ms` more."""
    port = free_port()
    words = [sys.executable, "-m", "tests.support.proxy", str(port), str(server.port), f"delay {delay_ms}ms"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            if not process.stdout.readline():  # it says where it listens, or ends
                raise RuntimeError(f"no proxy listens on port {port}")
            yield port, process.pid
        finally:
            process.terminate()


def through(stack: ExitStack, run: Run, name: str, delay_ms: float, *options: str) -> Tool:
    """keyferry over such a link to both servers, open as long as the stack is."""
    source, source_pid = stack.enter_context(proxy(run.source, delay_ms))
    target, target_pid = stack.enter_context(proxy(run.target, delay_ms))
    words = [*keyferry(), "-p", str(source), "replicate", "-p", str(target), "--no-verify", "--json", *options]
    return Tool(name, lambda *_: words, (source_pid, target_pid))


def measure(run: Run) -> list[dict[str, Any]]:
    """One item: how much of the speed of the near link the far one keeps, with no option set."""
    dataset = DATASETS[0]
    loaded = run.load(dataset, run.options.keys)
    with ExitStack() as stack:
        tools = [through(stack, run, NEAR, 0), through(stack, run, FAR, ROUND_TRIP_MS)]
        what = f"{dataset.what}; both sides through a proxy"
        return [run.take_turns(dataset.name, what, loaded, tools, ours=FAR, title="distance")]

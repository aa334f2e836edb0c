"""One round: one tool copies the source to the emptied target, and everything that this cost is measured."""

from __future__ import annotations

import json
import os
import tempfile
import time
from dataclasses import dataclass

from bench.data import Loaded
from bench.measure import Measured, cpu_ticks, measured
from bench.peers import Tool
from tests.support.servers import Server

#: After the target was emptied, seconds: the servers' timers and the allocator come to rest.
REST_S = 0.3


@dataclass(frozen=True)
class Round:
    """What one copy took: times in seconds, `pss_bytes` at its peak. `failed` says why it does not count, or is empty.

    `client_cpu_s` is of all the command's processes as the kernel counts them; `client_cpu_seen_s` the same as last
    seen in /proc; `client_cpu_said_s` and `copy_s` (the time without start and end) are what keyferry says, None of
    other tools. `others_share` is the part of the machine's processors that neither the tool nor its helpers nor the
    two servers used but somebody else (0..1).
    """

    tool: str
    number: int
    keys: int
    bytes: int
    seconds: float
    client_cpu_s: float
    client_cpu_seen_s: float
    client_cpu_said_s: float | None
    copy_s: float | None
    source_cpu_s: float
    target_cpu_s: float
    pss_bytes: int
    others_share: float
    failed: str


def play(
    tool: Tool, number: int, data: str, loaded: Loaded, source: Server, target: Server, rest_s: float = REST_S
) -> Round:
    """Empty the target, let the tool copy, look at what it did. Only the copy is timed. A failure is in the result."""
    target.call("FLUSHALL", "SYNC")
    time.sleep(rest_s)
    words = tool.words(data, source.port, target.port)
    before = (server_cpu_s(source), server_cpu_s(target), _cpu_s(tool.helpers))
    with tempfile.TemporaryDirectory(prefix="keyferry-bench-") as folder:  # for what a tool leaves in its folder
        done = measured(words, folder)
    after = (server_cpu_s(source), server_cpu_s(target), _cpu_s(tool.helpers))
    source_s, target_s, helpers_s = (late - early for early, late in zip(before, after, strict=True))
    others_s = max(0.0, done.machine_busy_s - source_s - target_s - helpers_s - done.cpu_s)
    return Round(
        tool=tool.name,
        number=number,
        keys=loaded.keys,
        bytes=loaded.bytes,
        seconds=done.seconds,
        client_cpu_s=done.cpu_s,
        client_cpu_seen_s=done.cpu_seen_s,
        client_cpu_said_s=_said(done, "cpu_seconds"),
        copy_s=_said(done, "seconds"),
        source_cpu_s=source_s,
        target_cpu_s=target_s,
        pss_bytes=done.pss_bytes,
        others_share=others_s / (done.seconds * len(os.sched_getaffinity(0))),
        failed=_what_failed(done.code, done.err, done.left, source, target),
    )


def _said(done: Measured, name: str) -> float | None:
    """A figure of the JSON object that keyferry prints; None of what prints none."""
    try:
        return float(json.loads(done.out)[name])
    except (ValueError, KeyError, TypeError):
        return None


def _cpu_s(pids: tuple[int, ...]) -> float:
    return sum(map(cpu_ticks, pids)) / os.sysconf("SC_CLK_TCK")


def server_cpu_s(server: Server) -> float:
    """Processor time of all the server's threads so far."""
    info = server.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


def _what_failed(code: int, errors: str, left: int, source: Server, target: Server) -> str:
    if code:
        return f"exit code {code}: {errors.strip()[-300:]}"
    if left:
        return f"{left} processes were left behind"
    wanted, found = source.call("DBSIZE"), target.call("DBSIZE")
    return "" if found == wanted else f"{found} keys arrived of {wanted}"

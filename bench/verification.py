"""How long a verification takes, beside the copy of the same data and a comparison script with redis-py.

`python bench/verification.py [--keys N] [--pairs 7.0:7.0,7.0:8.2] [--rounds 5]`: two servers of its own, tools by
turns; medians and processor time a key, of strings of 100 bytes and of mixed types, for each pair of versions.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import facts
from bench.measure import measured
from bench.peers import PIPELINE_KEYS, keyferry
from tests.support.servers import Server

#: Data sets: options of `keyferry generate`.
DATA = {
    "strings of 100 bytes": ("--types", "string=1", "--size", "100-100"),
    "mixed types": ("--elements", "1-10"),
}


@dataclass
class Figures:
    """Of one tool: seconds and µs of processor time a key, of each round."""

    seconds: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)


def timed(words: list[str], keys: int, figures: Figures, codes: tuple[int, ...] = (0,)) -> str:
    """Run a command and note what it took, with all of its processes; its stdout.

    Raises CalledProcessError unless it ends with one of these codes.
    """
    done = measured(words)
    if done.code not in codes:
        raise subprocess.CalledProcessError(done.code, words, done.out, done.err)
    figures.seconds.append(done.seconds)
    figures.cpu_us.append(done.cpu_s / keys * 1e6)
    return done.out


def measure(source: Server, target: Server, keys: int, rounds: int) -> dict[str, Figures]:
    """The tools by turns at what the source holds."""
    tools = {name: Figures() for name in ("copy", "compare", "redis-py")}
    ours, ports = keyferry(), [str(source.port), str(target.port)]
    script = [sys.executable, str(Path(__file__).parent / "peers" / "compare.py"), *ports, str(PIPELINE_KEYS)]
    for _ in range(rounds):
        target.call("FLUSHALL", "SYNC")
        timed([*ours, "-p", ports[0], "replicate", "-p", ports[1], "--no-verify", "--json"], keys, tools["copy"])
        told = timed([*ours, "-p", ports[0], "compare", "-p", ports[1], "--json"], keys, tools["compare"])
        assert json.loads(told)["verify"]["ok"] == keys, told
        timed(script, keys, tools["redis-py"], codes=(0, 1))  # 1: it takes other encodings for differences
    return tools


def main() -> None:
    """Measure each data set at each pair."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--pairs", default="7.0:7.0", help="versions of source and target, the target's no older")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    machine = facts.machine()
    for pair in given.pairs.split(","):
        old, new = pair.split(":")
        with Server(old) as source, Server(new) as target:
            servers = [facts.versions(one)["server"] for one in (source, target)]
            print(f"{' and '.join(servers)}, {machine['cores']} cores ({machine['cpu']})")
            for name in DATA:
                show(name, pair, source, target, given)


def show(name: str, pair: str, source: Server, target: Server, given: argparse.Namespace) -> None:
    """Write a data set to the source, measure, and print a line a tool."""
    keys = given.keys
    source.call("FLUSHALL", "SYNC")
    words = [*keyferry(), "generate", "-p", str(source.port), "--keys", str(keys), *DATA[name]]
    subprocess.run(words, check=True, capture_output=True)
    print(f"{name}, {keys:,} keys, {pair}, medians of {given.rounds}", flush=True)
    found = measure(source, target, keys, given.rounds)
    for tool, figures in found.items():
        seconds, cpu_us = statistics.median(figures.seconds), statistics.median(figures.cpu_us)
        times = [one / compare for one, compare in zip(figures.seconds, found["compare"].seconds)]
        spread = f"{statistics.median(times):5.2f}x ({min(times):.2f}-{max(times):.2f})"
        speed = f"{keys / seconds:10,.0f} keys/s"
        print(f"  {tool:<10}{seconds:8.2f} s  {speed}  {spread}  {cpu_us:6.2f} us/key", flush=True)


if __name__ == "__main__":
    main()

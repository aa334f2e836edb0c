"""What the options of `replicate` do that change settings of the source for the time of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ServerFactory
from tests.support.binaries import KINDS
from tests.support.commands import at
from tests.support.compare import assert_equal
from tests.support.monitor import Monitor
from tests.support.processes import run_keyferry
from tests.support.servers import Server


@pytest.mark.covers("source-rdbcompression")
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_dumped_is_compressed_as_the_option_says(kind: str, server: ServerFactory, tmp_path: Path) -> None:
    source, target = server(kind), server(kind)
    with source.connect() as connection:
        connection.pipeline(("HSET", f"hash:{number}", "field", b"v" * 2_000) for number in range(300))
    compressed, plain = 300 * 200, 300 * 2_000
    assert dumped_bytes(source, target, tmp_path) < compressed
    assert dumped_bytes(source, target, tmp_path, "--source-rdbcompression", "off") > plain
    source.call("CONFIG", "SET", "rdbcompression", "no")
    assert dumped_bytes(source, target, tmp_path) > plain
    assert dumped_bytes(source, target, tmp_path, "--source-rdbcompression", "on") < compressed
    assert source.call("CONFIG", "GET", "rdbcompression")[1] == b"no"
    assert_equal(source, target)


def dumped_bytes(source: Server, target: Server, state: Path, *words: str) -> int:
    """How many bytes the payloads of a copy have, as the target gets them."""
    with Monitor(target) as writes:
        line = (*at(source), "replicate", *at(target), "--method", "dump", *words)
        ran = run_keyferry(*line, env={"XDG_STATE_HOME": str(state)})
    assert ran.code == 0, ran.err
    return sum(len(one.args[3]) for one in writes.commands if one.name == "RESTORE")


@pytest.mark.covers("source-rdbcompression")
def test_the_plan_says_what_would_be_changed_and_changes_nothing(server: ServerFactory, tmp_path: Path) -> None:
    source, target = server("7.0"), server("7.0")
    words = (*at(source), "replicate", *at(target), "--source-rdbcompression", "off", "--dry-run")
    ran = run_keyferry(*words, env={"XDG_STATE_HOME": str(tmp_path)})
    assert "setting   source rdbcompression no for the time of the run; it is yes now" in ran.out.splitlines()
    assert b"cmdstat_config|set" not in source.call("INFO", "commandstats")
    assert list(tmp_path.iterdir()) == []

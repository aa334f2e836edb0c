"""Keys that close the connection whenever they are copied or compared: found, told, and nobody else suffers."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.conftest import ServerFactory
from tests.support.commands import at
from tests.support.compare import all_keys, differences
from tests.support.dataset import fill
from tests.support.processes import run_keyferry
from tests.support.servers import Server
from tests.support.summary import result_of

HUGE = {b"huge:string", b"huge:hash"}


def with_huge_values(source: Server) -> None:
    """Two values of 6 MB among many small ones."""
    fill(source, 1_500)
    noise = random.Random(2).randbytes(100_000)  # nothing that LZF could make small
    source.call("SET", "huge:string", random.Random(1).randbytes(6_000_000))
    source.call("HSET", "huge:hash", *[part for n in range(60) for part in (b"f%d" % n, noise)])


@pytest.mark.parametrize("method", ["native", "dump"])
@pytest.mark.parametrize("limited", ["source", "target"])
def test_a_key_that_closes_the_connection_is_put_aside(
    limited: str, method: str, server: ServerFactory, tmp_path: Path
) -> None:
    source, target = server("7.0", fresh=True), server("8.2", fresh=True)
    with_huge_values(source)
    if limited == "source":
        source.call("CONFIG", "SET", "client-output-buffer-limit", "normal 3mb 0 0")
    else:
        target.call("CONFIG", "SET", "client-query-buffer-limit", "3mb")
    aside = tmp_path / "aside.jsonl"
    ran = run_keyferry(
        *at(source), "replicate", *at(target), "--no-verify", "--method", method, "--put-aside", str(aside), timeout=110
    )
    assert ran.code == 1, ran.err
    assert {json.loads(line)["key"].encode() for line in aside.read_text().splitlines()} == HUGE
    source.call("CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0")
    assert all_keys(source) - all_keys(target) == HUGE
    assert all("missing" in line for line in differences(source, target))


@pytest.mark.parametrize("limited", ["source", "target"])
def test_a_key_that_closes_the_connection_when_its_elements_are_compared_is_unreadable(
    limited: str, server: ServerFactory
) -> None:
    source, target = server("7.0", fresh=True), server("7.0", fresh=True)
    with_huge_values(source)
    source.call("DEL", "huge:string")  # it would cost its window connections before any element is read
    copied = run_keyferry(*at(source), "replicate", *at(target), "--no-verify")
    assert copied.code == 0, copied.err
    (source if limited == "source" else target).call("CONFIG", "SET", "client-output-buffer-limit", "normal 3mb 0 0")
    ran = run_keyferry(*at(source), "compare", *at(target), "--json", "--retry-for", "30s", timeout=110)
    assert ran.code == 1, ran.err
    told = result_of(ran)["verify"]
    assert (told["verdict"], told["unreadable"]) == ("OK:1500 V:0 >:0 <:0 T:0", 1)
    assert "huge:hash" in ran.err and "the connection is closed whenever this key is read" in ran.err

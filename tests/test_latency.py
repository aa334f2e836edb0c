"""-l: percentiles of requests, for the side that asks, and at no cost where nobody does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from keyferry.workers.latency import kind_of
from tests.conftest import ServerFactory
from tests.support.commands import at, copied
from tests.support.compare import assert_equal
from tests.support.dataset import fill
from tests.support.filling import write_strings
from tests.support.hooks import Slow
from tests.support.monitor import Monitor
from tests.support.processes import run_keyferry, start_keyferry
from tests.support.respproxy import Proxy
from tests.support.servers import Server
from tests.support.summary import result_of

HEADING = "latency, ms         requests       p50       p90       p99     p99.9       max"


@pytest.fixture
def pair(server: ServerFactory) -> tuple[Server, Server]:
    source, target = server("6.2"), server("9.1")
    fill(source, 300)
    return source, target


@pytest.mark.covers("latency")
@pytest.mark.parametrize(
    ("before", "after", "sides"),
    [("", "", set()), ("-l", "", {"source"}), ("", "-l", {"target"}), ("-l", "--latency", {"source", "target"})],
)
def test_each_side_is_measured_where_it_asks(
    before: str, after: str, sides: set[str], pair: tuple[Server, Server]
) -> None:
    source, target = pair
    ran = run_keyferry(*before.split(), *at(source), "replicate", *after.split(), *at(target))
    assert ran.code == 0, ran.err
    table = ran.out.partition("retried 0\n")[2].splitlines()
    assert table[:1] == ([HEADING] if sides else [])
    assert {line.split()[0] for line in table[1:]} == sides
    assert [line for line in table if len(line) > 80] == []


@pytest.mark.covers("latency")
def test_every_request_is_counted_once_under_its_first_command(pair: tuple[Server, Server]) -> None:
    source, target = pair
    with Monitor(source) as seen:
        ran = run_keyferry("-l", *at(source), "replicate", *at(target), "-l", "--json", "--method", "native")
    rows = {(row["side"], row["command"]): row for row in result_of(ran)["latency_ms"]}
    mgets = [one for one in seen.commands if one.name == "MGET" and not one.args[1].startswith(b"keyferry:")]
    assert rows["source", "MGET"]["requests"] == len(mgets) > 0
    assert rows.keys() >= {("source", "SCAN"), ("source", "DUMP"), ("target", "MSET/SET"), ("target", "RESTORE")}
    for row in rows.values():
        times = [row[name] for name in ("p50", "p90", "p99", "p99.9", "max")]
        assert times == sorted(times) and times[0] > 0


def test_a_request_takes_as_long_as_its_server_does(server: ServerFactory) -> None:
    source, target = server("7.0"), server("9.1")
    write_strings(source, 200)
    with Proxy(target, Slow(0.05)) as proxy:
        told = result_of(copied(source, proxy, "-l", "--json", "--batch", "20"))
    assert told["latency_ms"][0]["p50"] >= 50


def test_a_connection_that_is_lost_ends_neither_the_copy_nor_the_measuring(server: ServerFactory) -> None:
    source, target = server("7.0"), server("9.1")
    write_strings(source, 1_000)
    with Proxy(target, Slow(0.02)) as proxy:
        with start_keyferry("-l", *at(source), "replicate", "-l", *at(proxy), "--batch", "20") as run:
            while target.call("DBSIZE") < 100:
                assert run.running
            target.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            ran = run.wait()
    assert ran.code == 0, ran.err
    assert HEADING in ran.out
    assert_equal(source, target)


def test_generate_measures_its_blocks(server: ServerFactory) -> None:
    ran = run_keyferry("generate", *at(server("7.0")), "-l", "--keys", "2000")
    assert re.search(rf"{HEADING}\ntarget blocks +\d+ ", ran.out)


def test_ping_shows_more_percentiles(server: ServerFactory) -> None:
    (told,) = json.loads(run_keyferry("ping", *at(server("7.0")), "-l", "--json").out)
    assert list(told["round_trip_ms"]) == ["p50", "p90", "p99", "p99.9", "max"]


def test_without_the_library_the_extra_is_named_and_nothing_is_touched(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    source, target = pair
    (tmp_path / "hdrh.py").write_text("raise ImportError")
    env = {"PYTHONPATH": str(tmp_path)}
    ran = run_keyferry(*at(source), "replicate", *at(target), "-l", env=env)
    assert (ran.code, ran.out, target.call("DBSIZE")) == (2, "", 0)
    assert "hint: pip install hdrhistogram" in ran.err.splitlines()
    assert run_keyferry(*at(source), "replicate", *at(target), env=env).code == 0


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (b"*2\r\n$4\r\nMGET\r\n$1\r\na\r\n*1\r\n$4\r\nTIME\r\n", "MGET"),
        (b"*1\r\n$4\r\nTIME\r\n*2\r\n$4\r\nPTTL\r\n$1\r\na\r\n", "expiries"),
        ([b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$9999\r\n", b"x" * 9999, b"\r\n"], "MSET/SET"),
        (b"*5\r\n$7\r\nRESTORE\r\n$1\r\na\r\n", "RESTORE"),
    ],
)
def test_a_request_is_called_by_its_first_command(request_: bytes | list[bytes], kind: str) -> None:
    assert kind_of(request_) == kind

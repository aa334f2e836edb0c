"""Large strings: each arrives as it is, and the target is asked to answer for several at once."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from bench.measure import measured
from tests.conftest import ServerFactory
from tests.support.compare import assert_equal
from tests.support.processes import run_keyferry
from tests.support.servers import Server
from tests.support.summary import result_of

KINDS = ("6.2", "7.0", "8.2", "9.1")
KEYS = 3_000
EXPIRING = 300
LARGE_BYTES = (8_000, 12_000)


def fill_with_large_strings(server: Server) -> None:
    """Random bytes; a tenth of the keys expire, and a few values are as large as hundreds of others."""
    draw = random.Random(5)
    with server.connect() as connection:
        for number in range(KEYS):
            size = 3_000_000 if number % 1_000 == 7 else draw.randint(*LARGE_BYTES)
            until = ("PX", "90000000") if number < EXPIRING else ()
            connection.must("SET", f"large:{number}", draw.randbytes(size), *until)


@pytest.mark.parametrize("kind", KINDS)
def test_large_strings_arrive_by_few_commands(kind: str, server: ServerFactory) -> None:
    source, target = server(kind), server(kind)
    fill_with_large_strings(source)
    ran = run_keyferry("-p", str(source.port), "replicate", "-p", str(target.port), "--json")
    assert ran.code == 0, ran.err
    assert result_of(ran)["keys"] == KEYS
    # 6.2 tells no absolute expiries.
    assert_equal(source, target, ttl_tolerance_ms=100 if kind == "6.2" else 0)
    lasting = KEYS - EXPIRING
    assert 0 < target.calls("mset") < lasting / 2
    # One SET for each key that expires; of the others, those that a window had as its only lasting one.
    assert EXPIRING <= target.calls("set") < EXPIRING + lasting / 4


def test_a_target_that_refuses_some_large_strings_gets_all_others(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    fill_with_large_strings(source)
    target.call("CONFIG", "SET", "proto-max-bulk-len", "1mb")
    ran = run_keyferry("-p", str(source.port), "replicate", "-p", str(target.port), "--json")
    told = result_of(ran)
    assert (ran.code, told["keys"], told["put_aside"]) == (1, KEYS - 3, 3), ran.err
    assert target.call("DBSIZE") == KEYS - 3


@pytest.mark.parametrize("method", ["native", "dump"])
def test_a_target_that_does_not_show_its_limit_gets_all_others_as_well(
    method: str, server: ServerFactory, tmp_path: Path
) -> None:
    """It may not be asked for its settings. It refuses what is too large, and hangs up."""
    source = server("7.0")
    target = server("7.0", "--proto-max-bulk-len", "1mb", acl=["user default on nopass ~* &* +@all -config"])
    fill_with_large_strings(source)
    words = ("--put-aside", str(tmp_path / "aside"), "--method", method, "--json")
    ran = run_keyferry("-p", str(source.port), "replicate", "-p", str(target.port), *words)
    assert ran.code == 1, ran.err
    told = result_of(ran)
    assert (told["keys"], told["put_aside"]) == (KEYS - 3, 3), ran.err
    assert target.call("DBSIZE") == KEYS - 3


#: More than both workers of a run may have asked for together.
HUGE_BYTES = 100_000_000


@pytest.fixture
def with_a_huge_string(server: ServerFactory) -> Server:
    source = server("7.0", fresh=True)
    source.call("MSET", "huge", random.Random(6).randbytes(HUGE_BYTES), "small", "1")
    return source


def test_a_huge_string_is_in_memory_once_as_it_comes_and_once_as_it_goes(
    with_a_huge_string: Server, server: ServerFactory
) -> None:
    target = server("7.0", fresh=True)
    words = ("-p", str(with_a_huge_string.port), "replicate", "-p", str(target.port), "--no-verify")
    ran = measured([sys.executable, "-m", "keyferry", *words])
    assert ran.code == 0, ran.err
    assert ran.pss_bytes < 2.6 * HUGE_BYTES
    assert_equal(with_a_huge_string, target)


@pytest.mark.parametrize("differs", [False, True])
def test_a_huge_string_is_compared_in_pieces(differs: bool, with_a_huge_string: Server, server: ServerFactory) -> None:
    source, target = with_a_huge_string, server("7.0", fresh=True)
    for name in ("huge", "small"):
        target.call("SET", name, source.call("GET", name))
    if differs:
        target.call("SETRANGE", "huge", HUGE_BYTES - 3, "no")
    ran = measured([sys.executable, "-m", "keyferry", "-p", str(source.port), "compare", "-p", str(target.port)])
    assert ran.code == differs, ran.err
    assert f"OK:{2 - differs} V:{int(differs)} >:0 <:0 T:0" in ran.out
    assert ran.pss_bytes < HUGE_BYTES

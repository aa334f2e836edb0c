"""`--atomic` and `--no-ttl`: what is read of a key is of one moment; expiries may be left behind."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.conftest import ServerFactory
from tests.support.busy import is_busy
from tests.support.commands import at, copied
from tests.support.compare import differences
from tests.support.dataset import fill, fill_large
from tests.support.filling import write_strings
from tests.support.live import wait_until
from tests.support.monitor import Monitor
from tests.support.processes import run_keyferry, start_keyferry
from tests.support.servers import Server
from tests.support.summary import result_of

KINDS = ("6.2", "7.0", "8.2", "9.1")
#: What is read in a transaction.
READS = {"MGET", "GET", "DUMP", "PEXPIRETIME", "PTTL", "TIME", "INFO"}

# -- torn reads -------------------------------------------------------------------------------------------------------

HOT_KEYS = 4_000
#: Windows as large as they get: their requests are far longer than what a server reads at once.
LARGE_WINDOWS = ("--batch", "4000", "--scan-count", "4000", "--workers", "1", "--method", "native")
#: Expiries of one key lie days apart, and these are no two of them.
SAME_MS = 1_000


@contextmanager
def rewriting(source: Server) -> Iterator[None]:
    """Keys are set again and again meanwhile, by two writers, each to the very instant at which it will expire."""
    stop = threading.Event()
    base_ms = int(time.time() * 1000) + 10**9

    def write(seed: int) -> None:
        some = random.Random(seed)
        with source.connect() as connection:
            while not stop.is_set():
                instants = [base_ms + 10**8 * some.randrange(1_000) for _ in range(20)]
                keys = [b"key:%d" % some.randrange(HOT_KEYS) for _ in instants]
                connection.pipeline([set_until(key, instant) for key, instant in zip(keys, instants, strict=True)])

    with source.connect() as connection:
        connection.pipeline([set_until(b"key:%d" % number, base_ms + number) for number in range(HOT_KEYS)])
    writers = [threading.Thread(target=write, args=(seed,)) for seed in range(2)]
    for writer in writers:
        writer.start()
    try:
        yield
    finally:
        stop.set()
        for writer in writers:
            writer.join()


def set_until(key: bytes, instant: int) -> tuple[bytes | str, ...]:
    return "SET", key, b"%d" % instant, "PXAT", b"%d" % instant


def torn(target: Server) -> int:
    """How many keys hold another instant than the one at which they expire."""
    keys = [b"key:%d" % number for number in range(HOT_KEYS)]
    now_ms = time.time() * 1000
    with target.connect() as connection:
        values = connection.must("MGET", *keys)
        ttls = connection.pipeline([("PTTL", key) for key in keys])
    return sum(abs(now_ms + ttl - int(value)) > SAME_MS for value, ttl in zip(values, ttls, strict=True))


@pytest.mark.covers("atomic")
@pytest.mark.parametrize("kind", KINDS)
def test_a_value_never_comes_with_the_expiry_of_another_one(kind: str, server: ServerFactory) -> None:
    source, target = server(kind), server(kind)
    found = {(): 0, ("--atomic",): 0}
    with rewriting(source):
        for _ in range(20):
            for words in found:
                copied(source, target, *LARGE_WINDOWS, *words)
                found[words] += torn(target)
            if found[()]:
                break
    assert found[()] > 0  # else this test shows nothing
    assert found["--atomic",] == 0


@pytest.mark.parametrize("method", ["auto", "dump", "native"])
@pytest.mark.parametrize("kind", KINDS)
def test_all_types_are_copied_in_transactions(kind: str, method: str, server: ServerFactory) -> None:
    source, target = server(kind), server(kind)
    fill(source, 2_000)
    ran = copied(source, target, "--atomic", "--method", method, "--json")
    assert result_of(ran)["keys"] == 2_000
    assert differences(source, target, ttl_tolerance_ms=20) == []


@pytest.mark.covers("atomic")
@pytest.mark.parametrize("expiring", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_all_that_is_read_of_keys_is_read_in_transactions_and_nothing_else(
    kind: str, expiring: bool, server: ServerFactory
) -> None:
    source, target = server(kind), server(kind)
    write_strings(source, 25_000)
    source.call("HSET", "hash", "field", "value")
    if expiring:
        source.call("EXPIRE", "hash", 1_000)
    with Monitor(source) as reads:
        copied(source, target, "--atomic", "--workers", "1")
    within: dict[str, bool] = {}
    seen = set()
    for one in reads.commands:
        if one.name in ("MULTI", "EXEC"):
            within[one.client] = one.name == "MULTI"
        elif one.args[-1].startswith(b"keyferry:") or one.client not in within:
            continue  # the survey's own
        elif within[one.client]:
            seen.add(one.name)
        else:
            assert one.name not in READS - {"INFO", "TIME"}
    assert {"MGET", "DUMP"} <= seen <= READS


def test_a_transaction_that_meets_a_busy_server_is_made_again(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    fill_large(source, 20_000)
    source.call("CONFIG", "SET", "busy-reply-threshold", 50)
    words = ("--atomic", "--batch", "8", "--scan-count", "8", "--workers", "1", "--rate", "4000", "--json")
    with start_keyferry(*at(source), "replicate", *at(target), *words) as run:
        deadline = time.monotonic() + 60
        while target.call("DBSIZE") < 500:
            assert run.running and time.monotonic() < deadline, run.err
            time.sleep(0.005)
        busy_for(source, 1.0)
        ran = run.wait()
    assert ran.code == 0, ran.err
    told = result_of(ran)
    assert (told["keys"], told["put_aside"]) == (20_000, 0)
    assert told["retried"] > 0
    assert differences(source, target) == []


def busy_for(server: Server, seconds: float) -> None:
    """Let a script hold the server for some time, in which it answers BUSY."""
    with server.connect() as stuck, server.connect() as other:
        script = threading.Thread(target=stuck.call, args=("EVAL", "while true do end", 0))
        script.start()
        wait_until(lambda: is_busy(server))
        time.sleep(seconds)
        other.call("SCRIPT", "KILL")
        script.join()


@pytest.mark.parametrize("missing", ["multi", "exec"])
def test_who_may_make_no_transactions_is_told_before_the_first_key(missing: str, server: ServerFactory) -> None:
    users = ("user default on nopass ~* &* +@all", f"user bob on >pw ~* &* +@all -{missing}")
    source, target = server("7.0", acl=users), server("7.0")
    write_strings(source, 10)
    ran = run_keyferry(*at(source), "--user", "bob", "-a", "pw", "replicate", *at(target), "--atomic")
    assert ran.code == 3
    assert f"may not run {missing.upper()}" in ran.err
    assert target.call("DBSIZE") == 0


# -- without expiries -------------------------------------------------------------------------------------------------


@pytest.mark.covers("no-ttl")
@pytest.mark.parametrize("words", [(), ("--method", "dump"), ("--atomic",)], ids=["auto", "dump", "atomic"])
@pytest.mark.parametrize("kind", KINDS)
def test_copies_without_expiry_are_equal_in_all_else(kind: str, words: tuple[str, ...], server: ServerFactory) -> None:
    source, target = server(kind), server(kind)
    filled = fill(source, 2_000)
    assert filled.expiring
    with Monitor(source) as reads:
        ran = copied(source, target, "--no-ttl", "--json", *words)
    assert result_of(ran)["keys"] == 2_000
    assert sum(one.name in ("PTTL", "PEXPIRETIME") for one in reads.commands) <= 1  # the survey asks whether it may
    with source.connect() as connection:
        keys = connection.must("KEYS", "*")
        connection.pipeline([("PERSIST", key) for key in keys])
    assert differences(source, target) == []


@pytest.mark.covers("no-ttl")
@pytest.mark.parametrize("kind", KINDS)
def test_a_key_whose_time_is_up_is_not_copied_without_expiry(kind: str, server: ServerFactory) -> None:
    source, target = server(kind), server(kind)
    write_strings(source, 500)
    source.call("DEBUG", "SET-ACTIVE-EXPIRE", 0)  # what has expired stays, as on a server that is behind with it
    with source.connect() as connection:
        connection.pipeline([("SET", b"dead:%d" % number, b"value", "PX", 1) for number in range(300)])
        connection.pipeline([("HSET", b"dead hash:%d" % number, b"field", b"value") for number in range(300)])
        connection.pipeline([("PEXPIRE", b"dead hash:%d" % number, 1) for number in range(300)])
    time.sleep(0.05)
    assert source.call("DBSIZE") > 1_000
    try:
        ran = copied(source, target, "--no-ttl", "--json")
    finally:
        source.call("DEBUG", "SET-ACTIVE-EXPIRE", 1)
    assert result_of(ran)["keys"] == 500
    assert sorted(target.call("KEYS", "dead*")) == []

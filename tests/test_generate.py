"""`keyferry generate` as a command: each option is seen in what the server holds."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.conftest import ServerFactory
from tests.support.commands import at, generated
from tests.support.compare import all_keys
from tests.support.filling import write_strings
from tests.support.monitor import Monitor, connection_names, connections_taken
from tests.support.processes import run_keyferry
from tests.support.servers import Server
from tests.support.summary import result_of

EPOCH = 4_000_000_000  # seconds since 1970: in the year 2096


def asked(server: Server, *command: str, keys: set[bytes] | None = None) -> dict[bytes, Any]:
    """The reply to a command about each key."""
    names = sorted(all_keys(server) if keys is None else keys)
    with server.connect() as connection:
        return dict(zip(names, connection.pipeline((*command, name) for name in names), strict=True))


@pytest.mark.covers("keys", "prefix", "types")
def test_there_are_as_many_keys_as_asked_for_of_the_types_and_names_asked_for(server: ServerFactory) -> None:
    target = server("7.0")
    ran = generated(target, "--keys", "1234", "--prefix", "my:", "--types", "set=3,hash=1")
    types = asked(target, "TYPE")
    assert len(types) == 1_234
    assert all(key.startswith(b"my:") for key in types)
    counted = Counter(types.values())
    assert counted.keys() == {b"set", b"hash"}
    assert 2 < counted[b"set"] / counted[b"hash"] < 4.5
    assert ran.out.startswith("generate      1,234 keys ")


def test_without_options_all_types_are_written(server: ServerFactory) -> None:
    target = server("9.1")
    generated(target)
    assert Counter(asked(target, "TYPE").values()).keys() == {b"string", b"hash", b"list", b"set", b"zset", b"stream"}
    assert target.call("DBSIZE") == 20_000


@pytest.mark.covers("size", "elements")
def test_sizes_are_of_elements_and_elements_of_collections(server: ServerFactory) -> None:
    target = server("7.0")
    generated(target, "--keys", "300", "--types", "string=1,list=1", "--size", "1kb-2k", "--elements", "60-70")
    types = asked(target, "TYPE")
    strings = {key for key, kind in types.items() if kind == b"string"}
    lengths = asked(target, "STRLEN", keys=strings).values()
    assert 1_024 <= min(lengths) < 1_100 and 1_900 < max(lengths) <= 2_000
    counts = asked(target, "LLEN", keys=types.keys() - strings).values()
    assert set(counts) == set(range(60, 71))


@pytest.mark.covers("ttl-share", "ttl", "epoch")
def test_a_share_of_the_keys_expires_within_the_span_counted_from_the_epoch(server: ServerFactory) -> None:
    target = server("7.0")
    generated(target, "--keys", "1000", "--ttl-share", "40%", "--ttl", "10s-20s", "--epoch", str(EPOCH))
    times = [time / 1000 - EPOCH for time in asked(target, "PEXPIRETIME").values() if time > 0]
    assert 330 < len(times) < 470
    assert 10 <= min(times) < 11 and 19 < max(times) <= 20


@pytest.mark.covers("seed")
def test_the_same_seed_gives_equal_servers_whatever_the_workers(server: ServerFactory) -> None:
    digests = []
    for seed, workers in (("7", "1"), ("7", "3"), ("8", "1")):
        target = server("7.0")
        words = (
            "--keys",
            "35000",
            "--types",
            "string=8,hash=1,stream=1",
            "--elements",
            "1-3",
            "--ttl-share",
            "10%",
            "--epoch",
            str(EPOCH),
        )
        generated(target, *words, "--seed", seed, "--workers", workers)
        digests.append(target.call("DEBUG", "DIGEST"))
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.covers("workers")
def test_as_many_workers_write_as_were_asked_for(server: ServerFactory) -> None:
    target = server("7.0")
    with Monitor(target) as writes:
        generated(target, "--keys", "100000", "--types", "string=1", "--workers", "3")
    workers = {name.rpartition(b":")[2] for name in connection_names(writes.commands)} - {b"control"}
    assert workers == {b"1", b"2", b"3"}


@pytest.mark.covers("binary")
@pytest.mark.parametrize("words", [(), ("--binary",)])
def test_names_and_values_have_all_bytes_only_if_asked_for(words: tuple[str, ...], server: ServerFactory) -> None:
    target = server("7.0")
    generated(target, "--keys", "500", "--types", "string=1", *words)
    values = asked(target, "GET")
    for texts in (values.keys(), values.values()):
        assert b"".join(texts).isascii() != bool(words)
        assert (set(b"".join(texts)) == set(range(256))) == bool(words)


@pytest.mark.covers("flush", "yes")
def test_the_database_is_emptied_only_if_that_is_confirmed(server: ServerFactory) -> None:
    target = server("7.0")
    for db in (0, 1):
        write_strings(target, 30, db=db, prefix="old:")
    refused = run_keyferry("generate", *at(target), "--keys", "10", "--flush")
    assert refused.code == 2
    assert "add --yes" in refused.err
    generated(target, "--keys", "10")
    assert target.call("DBSIZE") == 40
    generated(target, "--keys", "10", "--flush", "--yes")
    assert target.call("DBSIZE") == 10
    assert len(all_keys(target, 1)) == 30


@pytest.mark.covers("json", "progress")
def test_the_result_is_one_object_if_asked_for(server: ServerFactory) -> None:
    ran = generated(server("7.0"), "--keys", "10", "--json", "--progress", "none")
    told = result_of(ran)
    assert (told["phase"], told["keys"], told["exit_code"]) == ("generate", 10, 0)
    assert "generate begins" not in ran.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--types", "sting=1"), "'sting' is no type"),
        (("--ttl", "1m"), "--ttl-share"),
        (("--size", "9-3"), "--size '9-3'"),
        (("--ttl-share", "25"), "the unit is missing"),
    ],
)
def test_what_makes_no_sense_is_refused(words: tuple[str, ...], says: str, server: ServerFactory) -> None:
    target = server("7.0")
    ran = run_keyferry("generate", *at(target), *words)
    assert ran.code == 2
    assert says in ran.err.splitlines()[0]
    assert target.call("DBSIZE") == 0


@pytest.mark.parametrize(
    ("words", "env"),
    [
        (["--size", "1-9gb"], {}),
        (["--elements", "1-9999999999"], {}),
        (["-u", "redis://{0}", "-u", "redis://{0}"], {}),
        ([], {"KEYFERRY_BINARY": "maybe"}),
    ],
)
def test_a_data_set_that_cannot_be_made_connects_to_nothing(
    words: list[str], env: dict[str, str], server: ServerFactory
) -> None:
    target = server("9.1")
    address = [] if "-u" in words else [target.address]
    before = connections_taken(target)
    ran = run_keyferry("generate", *address, *(word.format(target.address) for word in words), env=env)
    assert ran.code == 2, ran.err
    assert ran.err.splitlines()[-1].startswith("hint: ")
    assert connections_taken(target) == before

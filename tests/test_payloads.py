"""Whether a target restores what a source dumps is known before the first key, and told."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from keyferry.partitioners.payloads import format_of, restores
from keyferry.partitioners.server import Server as Described
from keyferry.partitioners.topology import describe
from keyferry.workers.endpoint import Endpoint
from tests.conftest import ServerFactory
from tests.support.binaries import KINDS
from tests.support.commands import at
from tests.support.compare import all_keys
from tests.support.control import control_of
from tests.support.filling import write_strings
from tests.support.processes import run_keyferry
from tests.support.servers import Server
from tests.support.summary import result_of
from tests.support.wire import ServerError

#: Bytes of a payload after its value: the version of its format, in the first two, and a checksum.
FOOTER_BYTES = 10


def described(server: Server) -> Described:
    with control_of(server) as control:
        return describe(control)


def test_what_is_known_of_formats_is_what_servers_do(server: ServerFactory) -> None:
    servers = {kind: server(kind) for kind in KINDS}
    known = {kind: described(one) for kind, one in servers.items()}
    payloads = {}
    for kind, one in servers.items():
        one.call("SET", "key", "value")
        payloads[kind] = one.call("DUMP", "key")
        footer = payloads[kind][-FOOTER_BYTES:]
        assert int.from_bytes(footer[:2], "little") == format_of(known[kind])
    for source, target in product(KINDS, KINDS):
        with servers[target].connect() as connection:
            reply = connection.call("RESTORE", "restored", 0, payloads[source], "REPLACE")
        assert restores(known[target], known[source]) is not isinstance(reply, ServerError), (source, target, reply)


def test_of_servers_that_nobody_knows_nothing_is_said() -> None:
    nobody = Described(Endpoint(), "target", foreign=True, version="7.0.0")
    assert format_of(nobody) == 0 and restores(nobody, Described(Endpoint(), "source", version="8.2.3"))


@pytest.mark.parametrize("words", [(), ("--on-conflict", "skip")], ids=["replace", "skip"])
@pytest.mark.parametrize("pair", [("8.2", "7.0"), ("9.1", "8.2"), ("8.2", "9.1")], ids="-".join)
def test_strings_arrive_at_an_older_server_though_they_are_few_among_others(
    pair: tuple[str, str], words: tuple[str, ...], server: ServerFactory, tmp_path: Path
) -> None:
    """Where few keys are strings all are dumped, for a lack of something better to do with the others."""
    source, target = (server(kind) for kind in pair)
    write_strings(source, 300)
    with source.connect() as connection:
        connection.pipeline(("RPUSH", f"list:{number}", "a") for number in range(3_000))
    words += ("--workers", "1", "--batch", "50", "--put-aside", str(tmp_path / "aside"), "--json")
    ran = run_keyferry(*at(source), "replicate", *at(target), *words)
    told = result_of(ran)
    assert (ran.code, told["keys"], told["put_aside"]) == (1, 300, 3_000)
    assert all_keys(target) == {b"key:%d" % number for number in range(300)}


@pytest.mark.parametrize(
    ("pair", "words", "warning"),
    [
        (("8.2", "9.1"), (), "keys that are no strings will be put aside: Valkey 9.1"),
        (("7.0", "6.2"), ("--dry-run",), "keys that are no strings will be put aside: Redis 6.2"),
        (("7.0", "6.2"), ("--dry-run", "--method", "dump"), "keys will be put aside: Redis 6.2"),
        (("7.0", "8.2"), ("--dry-run",), ""),
    ],
)
def test_the_plan_warns_of_keys_that_the_target_will_not_restore(
    pair: tuple[str, str], words: tuple[str, ...], warning: str, server: ServerFactory
) -> None:
    source, target = (server(kind) for kind in pair)
    source.call("SET", "string", "value")
    source.call("HSET", "hash", "field", "value")
    ran = run_keyferry(*at(source), "replicate", *at(target), "--put-aside", "/dev/null", *words)
    assert ("will be put aside" in ran.out + ran.err) is bool(warning)
    assert warning in ran.out + ran.err
    assert ran.code == (0 if words else 1)

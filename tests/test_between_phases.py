"""A server that is lost between the phases of a run, when only the coordinator asks."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.conftest import ServerFactory
from tests.support.dataset import fill_large
from tests.support.processes import VERIFIED, start_command, start_keyferry
from tests.support.proxy import FaultProxy
from tests.support.servers import Server
from tests.test_options import at, write_strings
from tests.test_signals import SLOWLY, wait_for_keys

KEYS = 2_000
#: No fault takes longer to come, seconds.
FAULT_S = 60.0
LIVE = ("--live", "--idle-timeout", "500")

#: The control connection asks for the size of the database three times before the first key, and then, when all is
#: copied: to see whether that was all (of the source only), and at the beginning of the verification.
SURVEYED = 3
AT_THE_END = {
    "source-counted": ("source", SURVEYED + 1, ()),
    "source-verified": ("source", SURVEYED + 2, ()),
    "target-verified": ("target", SURVEYED + 1, ()),
    "source-live": ("source", SURVEYED + 1, LIVE),
    "target-live": ("target", SURVEYED + 1, LIVE),
}


@contextmanager
def lost(side: str, number: int, source: Server, target: Server) -> Iterator[tuple[FaultProxy, list[str]]]:
    """A proxy in which the control connection hangs when it asks for the size that often; with the words of a copy."""
    write_strings(source, KEYS)
    behind = source if side == "source" else target
    with FaultProxy(behind.port, f"stall at request DBSIZE {number} connection 1") as one:
        ends = (one, target) if side == "source" else (source, one)
        yield one, [*at(ends[0]), "replicate", *at(ends[1]), "--workers", "1"]


def goes_away(proxy: FaultProxy) -> None:
    """Once the moment has come: the connections are lost, and no other is taken."""
    proxy.wait_until_fired(FAULT_S)
    proxy.set("reset at connect always")
    proxy.kill_all()


@pytest.mark.parametrize(("side", "number", "more"), AT_THE_END.values(), ids=list(AT_THE_END))
def test_a_server_that_is_away_for_longer_than_allowed_ends_the_run(
    side: str, number: int, more: tuple[str, ...], server: ServerFactory
) -> None:
    """The first key was written long ago, so it is no server that was not reached: 5, not 3 or 4."""
    source, target = server("7.0"), server("7.0")
    with lost(side, number, source, target) as (proxy, words):
        with start_keyferry(*words, *more, "--retry-for", "1s", "--json", env=VERIFIED) as run:
            goes_away(proxy)
            ran = run.wait()
    assert ran.code == 5, ran.err
    assert f"error: {side} {proxy.address}: not reached" in ran.err
    told = json.loads(ran.out)
    assert (told["exit_code"], told["keys"]) == (5, KEYS)


def test_the_python_api_tells_that_the_run_has_ended(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    with lost("target", SURVEYED + 1, source, target) as (proxy, _):
        script = f"""
import keyferry
try:
    keyferry.replicate({source.uri!r}, "redis://{proxy.address}", workers=1, retry_for=0.5)
except keyferry.KeyferryError as error:
    print(type(error).__name__, error.exit_code, error.side)
"""
        with start_command(sys.executable, "-c", script) as run:
            goes_away(proxy)
            ran = run.wait()
    assert ran.out.split() == ["RunError", "5", "target"], ran.err


def test_a_server_that_is_away_when_the_copy_begins_again_ends_the_run(server: ServerFactory) -> None:
    """Another process answers at the source's address, and is lost while it is asked what it is."""
    source, target = server("7.0", fresh=True), server("7.0")
    fill_large(source, 20_000)
    with FaultProxy(source.port, "reset at request DBSIZE connection 3+ always") as proxy:
        words = (*at(proxy), "replicate", *at(target), *SLOWLY, "--retry-for", "1s")
        with start_keyferry(*words) as run:
            wait_for_keys(target, run)
            source.restart(keep_data=True)
            ran = run.wait()
    assert ran.code == 5, ran.err
    assert "the copy begins again" in ran.err
    assert f"error: source {proxy.address}: not reached" in ran.err

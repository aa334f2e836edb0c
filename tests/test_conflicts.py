"""`--on-conflict skip` and `fail`, `--require-empty`: what exists at the target is never written over."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from keyferry.workers.errors import key_text
from tests.conftest import ServerFactory
from tests.support.commands import at
from tests.support.compare import all_keys, differences, lost
from tests.support.dataset import fill, fill_large
from tests.support.disguises import OffsetCursors
from tests.support.filling import write_strings
from tests.support.hooks import At, TurnsOpaque, is_write
from tests.support.monitor import Monitor
from tests.support.processes import VERIFIED, Result, run_keyferry, start_keyferry, worker_pids
from tests.support.respproxy import Answer, Args, Chain, Hooks, Proxy
from tests.support.servers import Server
from tests.support.summary import result_of
from tests.support.threads import meanwhile

KINDS = ("6.2", "7.0", "8.2", "9.1")
MODES = ("skip", "fail")
#: Enough for many ranges, with keys at their borders that come twice.
RING_KEYS = 25_000
#: Redis 6.2 tells expiries relative to its clock.
TTL_TOLERANCE_MS = 20


def copy(source: Server | Proxy, target: Server | Proxy, *words: str) -> Result:
    return run_keyferry(*at(source), "replicate", *at(target), "--json", *words)


def occupy(target: Server, keys: list[bytes]) -> None:
    """Put something else at the target under these names."""
    with target.connect() as connection:
        connection.pipeline([("SET", key, b"theirs") for key in keys])


def assert_all_copied(ran: Result, source: Server, target: Server, keys: int) -> None:
    assert ran.code == 0, ran.err
    told = result_of(ran)
    assert (told["keys"], told["skipped"], told["expired"], told["put_aside"]) == (keys, 0, 0, 0)
    assert differences(source, target, ttl_tolerance_ms=TTL_TOLERANCE_MS) == []


# -- keys that exist --------------------------------------------------------------------------------------------------


@pytest.mark.covers("on-conflict")
@pytest.mark.parametrize(("kind", "method"), [*((kind, "auto") for kind in KINDS), ("7.0", "dump")])
def test_skip_leaves_keys_that_exist_and_counts_them(kind: str, method: str, server: ServerFactory) -> None:
    source, target = server(kind), server(kind)
    fill(source, 3_000)
    existing = sorted(all_keys(source))[::7]
    occupy(target, existing)
    with Monitor(target) as writes:
        ran = copy(source, target, "--on-conflict", "skip", "--method", method)
    assert ran.code == 0, ran.err
    told = result_of(ran)
    assert told["exact"]
    assert (told["skipped"], told["keys"]) == (len(existing), 3_000 - len(existing))
    assert target.call("MGET", *existing) == [b"theirs"] * len(existing)
    assert "MSET" not in {one.name for one in writes.commands if is_write(list(one.args))}
    source.call("DEL", *existing)
    target.call("DEL", *existing)
    assert differences(source, target, ttl_tolerance_ms=TTL_TOLERANCE_MS) == []


@pytest.mark.covers("on-conflict")
@pytest.mark.parametrize("kind", KINDS)
def test_fail_ends_the_run_at_a_key_that_exists_and_names_it(kind: str, server: ServerFactory) -> None:
    source, target = server(kind), server(kind)
    fill(source, 3_000)
    existing = b"\x1b line\r\nbreak"
    source.call("SET", existing, "ours")
    occupy(target, [existing])
    ran = copy(source, target, "--on-conflict", "fail")
    assert ran.code == 6
    assert f"key {key_text(existing)} exists in db 0" in ran.err
    assert "hint: --on-conflict skip leaves such keys" in ran.err
    assert target.call("GET", existing) == b"theirs"
    # What was copied until then is told, and nothing else was written.
    assert result_of(ran)["keys"] <= target.call("DBSIZE") - 1


@pytest.mark.parametrize("mode", MODES)
def test_a_copy_that_is_made_twice_writes_nothing_the_second_time(mode: str, server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    fill_large(source, RING_KEYS)
    assert_all_copied(copy(source, target), source, target, RING_KEYS)
    changes = target.info("persistence")["rdb_changes_since_last_save"]
    ran = copy(source, target, "--on-conflict", mode)
    assert target.info("persistence")["rdb_changes_since_last_save"] == changes
    assert ran.code == (0 if mode == "skip" else 6)
    if mode == "skip":
        told = result_of(ran)
        assert (told["keys"], told["skipped"], told["exact"]) == (0, RING_KEYS, True)


@pytest.mark.parametrize(("kind", "mode"), [*((kind, "fail") for kind in KINDS), ("7.0", "skip")])
def test_keys_that_come_twice_at_the_borders_of_ranges_are_no_conflicts(
    kind: str, mode: str, server: ServerFactory
) -> None:
    source, target = server(kind), server(kind)
    write_strings(source, RING_KEYS)
    write_strings(target, 10, prefix="others:")
    ran = copy(source, target, "--on-conflict", mode)
    assert ran.code == 0, ran.err
    told = result_of(ran)
    assert (told["keys"], told["skipped"], told["exact"]) == (RING_KEYS, 0, True)
    assert target.call("DBSIZE") == RING_KEYS + 10


@pytest.mark.parametrize("mode", MODES)
def test_two_databases_that_go_into_one_meet_each_others_keys(mode: str, server: ServerFactory) -> None:
    source, target = server("7.0"), server("9.1")
    for db in (0, 1):
        write_strings(source, 100, size=10 + db, db=db)
    ran = copy(source, target, "--on-conflict", mode, "--db-map", "0:2,1:2", "--merge-dbs")
    if mode == "fail":
        assert ran.code == 6 and " exists in db 2" in ran.err
    else:
        told = result_of(ran)
        assert (ran.code, told["keys"], told["skipped"]) == (0, 100, 100)


class Repeats(OffsetCursors):
    """Some keys come once more at the end of the scan."""

    def _list(self) -> list[bytes]:
        keys = super()._list()
        return keys + keys[:100]


@pytest.mark.parametrize("mode", MODES)
def test_a_source_that_tells_keys_twice_is_no_conflict(mode: str, server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, RING_KEYS)
    write_strings(target, 10, prefix="others:")
    with Proxy(source, Repeats(source)) as proxy:
        ran = copy(proxy, target, "--on-conflict", mode)
    assert ran.code == 0, ran.err
    assert (result_of(ran)["keys"], result_of(ran)["skipped"]) == (RING_KEYS + 100, 0)
    assert lost(all_keys(source), target) == []


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["7.0", "9.1"])
def test_keys_that_come_again_after_the_sources_table_has_shrunk_are_no_conflicts(
    kind: str, mode: str, server: ServerFactory
) -> None:
    source, target = server(kind), server(kind)
    write_strings(source, 2_500)
    write_strings(source, 29_500, prefix="doomed:")
    write_strings(target, 10, prefix="others:")

    def shrink(ended: threading.Event) -> None:
        while target.call("DBSIZE") < 6_000 and not ended.is_set():
            time.sleep(0.01)
        with source.connect() as connection:
            connection.pipeline([("UNLINK", f"doomed:{number}") for number in range(29_500)])

    with meanwhile(shrink):
        ran = copy(source, target, "--on-conflict", mode, "--scan-count", "20", "--batch", "20", "--rate", "5000")
    assert ran.code == 0, ran.err
    assert result_of(ran)["skipped"] == 0
    assert lost(all_keys(source), target) == []


@pytest.mark.parametrize("mode", MODES)
def test_a_pass_that_begins_again_does_not_meet_its_own_keys(mode: str, server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    fill_large(source, RING_KEYS)
    target.call("SET", "others", "value")
    with Proxy(source, TurnsOpaque()) as proxy:
        ran = copy(proxy, target, "--on-conflict", mode)
    assert "cursors cannot be split" in ran.err
    target.call("DEL", "others")
    assert_all_copied(ran, source, target, RING_KEYS)


# -- keys that come to exist meanwhile --------------------------------------------------------------------------------


class Before(Hooks):
    """Does something right before the first write of a key reaches the target."""

    def __init__(self, key: bytes, act: Callable[[Args], bytes | None]) -> None:
        self.key, self.act = key, act
        self.done = False

    def on_command(self, args: Args) -> Answer:
        if is_write(args) and args[1] == self.key and not self.done:
            self.done = True
            return self.act(args) or args
        return args


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("shape", "empty"), [("string", False), ("hash", True)])
def test_no_race_ever_overwrites_a_key(kind: str, mode: str, shape: str, empty: bool, server: ServerFactory) -> None:
    source, target = server(kind), server(kind)
    write_strings(source, 500)
    source.call(*(("SET", "raced", "ours") if shape == "string" else ("HSET", "raced", "field", "ours")))
    if not empty:
        write_strings(target, 10, prefix="others:")
    with Proxy(target, Before(b"raced", lambda args: target.call("SET", "raced", "theirs") and None)) as proxy:
        ran = copy(source, proxy, "--on-conflict", mode)
    assert target.call("GET", "raced") == b"theirs"
    if mode == "fail":
        assert ran.code == 6 and 'key "raced" exists' in ran.err
    else:
        told = result_of(ran)
        assert (ran.code, told["keys"], told["skipped"]) == (0, 500, 1)


OOM = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("empty", [True, False], ids=["empty", "not empty"])
def test_a_window_that_is_sent_again_does_not_meet_its_own_keys(mode: str, empty: bool, server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    fill(source, 2_000)
    source.call("SET", "late", "value")
    if not empty:
        target.call("SET", "others", "value")
    with Proxy(target, Before(b"late", lambda args: OOM)) as proxy:
        ran = copy(source, proxy, "--on-conflict", mode)
    target.call("DEL", "others")
    assert_all_copied(ran, source, target, 2_001)
    assert result_of(ran)["retried"] >= 1


def test_what_a_window_has_written_is_not_written_again_also_where_the_source_has_changed(
    server: ServerFactory,
) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 12)  # one window

    def change_what_is_copied(args: Args) -> bytes:
        for key in target.call("KEYS", "*"):
            source.call("SET", key, "newer")
        return OOM

    with Proxy(target, Before(b"key:7", change_what_is_copied)) as proxy:
        ran = copy(source, proxy, "--on-conflict", "fail")
    assert ran.code == 0, ran.err
    assert (result_of(ran)["keys"], target.call("DBSIZE")) == (12, 12)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", ["string", "hash"])
def test_a_write_that_was_done_but_not_acknowledged_counts_as_done(
    shape: str, mode: str, server: ServerFactory
) -> None:
    source, target = server("7.0"), server("7.0")
    fill(source, 500)
    source.call(*(("SET", "key", "value") if shape == "string" else ("HSET", "key", "field", "value")))
    target.call("SET", "others", "value")
    with Proxy(target, Before(b"key", lambda args: (target.call(*args), OOM)[1])) as proxy:
        ran = copy(source, proxy, "--on-conflict", mode)
    target.call("DEL", "others")
    assert_all_copied(ran, source, target, 501)


def test_a_key_in_the_way_that_closes_the_connection_when_it_is_looked_at_is_left(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0", fresh=True)
    write_strings(source, 500)
    source.call("HSET", "raced", *[word for n in range(60) for word in (f"field:{n}", "x" * 100_000)])
    target.call("CONFIG", "SET", "client-output-buffer-limit", "normal 3mb 0 0")
    theirs = [word for n in range(60) for word in (f"field:{n}", "y" * 100_000)]
    with Proxy(target, Before(b"raced", lambda args: target.call("HSET", "raced", *theirs) and None)) as proxy:
        ran = copy(source, proxy, "--on-conflict", "skip", "--retry-for", "20s")
    assert ran.code == 0, ran.err
    assert (result_of(ran)["keys"], result_of(ran)["skipped"]) == (500, 1)


# -- what is lost on the way ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_writes_on_a_connection_that_was_lost_are_no_conflicts(kind: str, mode: str, server: ServerFactory) -> None:
    source, target = server(kind), server(kind)
    fill(source, 3_000)
    target.call("SET", "others", "value")
    losses = [At(number, lambda: target.call("CLIENT", "KILL", "TYPE", "normal")) for number in (300, 1_500)]
    with Proxy(target, Chain(*losses)) as proxy:
        ran = copy(source, proxy, "--on-conflict", mode)
    assert "connected again" in ran.err
    target.call("DEL", "others")
    assert_all_copied(ran, source, target, 3_000)


def test_a_copy_that_begins_again_at_a_restarted_source_goes_on_with_its_own_keys(server: ServerFactory) -> None:
    source, target = server("7.0", fresh=True), server("7.0")
    fill(source, 3_000)
    with Proxy(source, At(20, lambda: source.restart(keep_data=True), lambda args: args[0] == b"MGET")) as proxy:
        ran = copy(proxy, target, "--on-conflict", "fail", "--require-empty", "--batch", "20")
        assert "the copy begins again" in ran.err
        # Within: a server dies with the thread that started it, which is the proxy's.
        assert_all_copied(ran, source, target, 3_000)


#: All of it on one version, and on each the case in which nothing may go wrong.
DEATHS = [
    *((kind, True, "fail") for kind in KINDS),
    ("7.0", False, "fail"),
    ("7.0", True, "skip"),
    ("8.2", False, "skip"),
]


@pytest.mark.parametrize(("kind", "empty", "mode"), DEATHS)
def test_what_a_dead_worker_has_written_is_no_conflict(
    kind: str, empty: bool, mode: str, server: ServerFactory
) -> None:
    source, target = server(kind), server(kind)
    fill_large(source, RING_KEYS)
    if not empty:
        target.call("SET", "others", "value")
    words = ("--on-conflict", mode, "--batch", "8", "--scan-count", "8", "--workers", "2", "--rate", "5000", "--json")
    with start_keyferry(*at(source), "replicate", *at(target), *words) as run:
        for reached in (500, 5_000):
            deadline = time.monotonic() + 60
            while target.call("DBSIZE") < reached:
                assert run.running and time.monotonic() < deadline, run.err
                time.sleep(0.005)
            os.kill(worker_pids(run.pid)[0], signal.SIGKILL)
        ran = run.wait()
    assert "a worker died" in ran.err
    target.call("DEL", "others")
    assert_all_copied(ran, source, target, RING_KEYS)
    assert result_of(ran)["exact"]


# -- a target that must be empty --------------------------------------------------------------------------------------


@pytest.mark.covers("require-empty")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("words", [(), ("--dry-run",)], ids=["run", "dry run"])
def test_a_target_that_holds_keys_is_refused(kind: str, words: tuple[str, ...], server: ServerFactory) -> None:
    source, target = server("6.2"), server(kind)
    write_strings(source, 100)
    write_strings(source, 100, db=3)
    write_strings(target, 1_234, prefix="others:", db=3)
    databases = ("--dbs", "0,3", "--require-empty")
    with Monitor(target) as writes:
        ran = copy(source, target, *databases, *words)
    assert ran.code == 6
    assert ran.out == ""
    assert f"error: target {target.address}: not empty: db 3 holds 1,234 keys" in ran.err
    assert not [one for one in writes.commands if is_write(list(one.args))]


@pytest.mark.covers("require-empty")
def test_only_the_databases_that_are_written_to_must_be_empty(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 100)
    write_strings(target, 10, db=1)
    assert copy(source, target, "--require-empty").code == 0
    ran = copy(source, target, "--require-empty")
    assert ran.code == 6
    assert "db 0 holds 100 keys" in ran.err


def test_with_a_limit_the_keys_that_were_copied_are_verified_besides_those_that_were_skipped(
    server: ServerFactory,
) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 30)
    words = (*at(source), "replicate", *at(target), "--limit", "10", "--on-conflict", "skip")
    assert run_keyferry(*words).code == 0
    ran = run_keyferry(*words, "--json", env=VERIFIED)
    told = result_of(ran)
    assert (told["keys"], told["skipped"], target.call("DBSIZE")) == (10, 10, 20)
    assert (ran.code, told["verify"]["verdict"]) == (0, "OK:20 V:0 >:0 <:0 T:0")

"""`keyferry generate --churn` as a command: its rate, its operations, its end, and what it says."""

from __future__ import annotations

import json
import os
import re
import signal
import time

import pytest

from keyferry.churning import Churned
from keyferry.generating import tasks_of
from keyferry.partitioners.generate_rights import CREATING
from keyferry.producing import Produced
from keyferry.workers.news import Counts
from keyferry.workers.synth import Spec, block_count
from tests.conftest import ServerFactory
from tests.support.binaries import KINDS
from tests.support.commands import at, generated
from tests.support.monitor import Monitor, connection_names
from tests.support.processes import Run, run_keyferry, start_keyferry, worker_pids
from tests.support.prompts import at_a_terminal
from tests.support.servers import Server
from tests.support.summary import result_of

#: What the default operations send to a data set of all types; 6.2 has the same names.
SENT = (
    *("set", "psetex", "incrby", "del", "pexpire", "persist", "rename", "multi", "exec", "eval"),
    *("xreadgroup", "xautoclaim"),
    *("hset", "rpush", "ltrim", "sadd", "srem", "zadd", "geoadd", "pfadd", "setrange", "xadd"),
)
DATA = ("--keys", "3000", "--elements", "1-10")


def calls(server: Server) -> dict[str, int]:
    """How often each command was called, by its name."""
    found = {name.removeprefix("cmdstat_"): text for name, text in server.info("commandstats").items()}
    return {name: int(text.split(",")[0].removeprefix("calls=")) for name, text in found.items()}


def changes_in(server: Server) -> int:
    return int(server.info("persistence")["rdb_changes_since_last_save"])


@pytest.mark.covers("churn", "for")
@pytest.mark.parametrize("kind", KINDS)
def test_a_data_set_is_written_and_then_changed_by_all_operations_at_the_rate_asked_for(
    kind: str, server: ServerFactory
) -> None:
    target = server(kind)
    target.call("CONFIG", "RESETSTAT")
    ran = generated(target, *DATA, "--churn", "3000", "--for", "3s", "--json", "--workers", "2")
    told = result_of(ran)
    assert (told["keys"], told["exit_code"]) == (3000, 0)
    churn = told["churn"]
    assert 3.0 <= churn["seconds"] < 30
    assert churn["workers"] == 2
    # An upper bound that holds by construction, and a lower one that a busy machine keeps.
    assert 1_000 < churn["changes"] <= 9_100
    assert churn["changes_per_second"] == pytest.approx(churn["changes"] / churn["seconds"], rel=0.01)
    assert set(SENT) <= calls(target).keys()
    assert 1_500 < target.call("DBSIZE") <= 3000


def test_the_closing_table_has_a_line_for_the_churn(server: ServerFactory) -> None:
    ran = generated(server("7.0"), *DATA, "--churn", "500", "--for", "1s")
    written, changed = ran.out.splitlines()
    assert written.startswith("generate      3,000 keys ")
    assert re.fullmatch(r"churn +[\d,]+ changes  [\d.]+ s  [\d,]+ changes/s  1 worker", changed)


@pytest.mark.covers("ops")
def test_only_the_operations_asked_for_are_sent(server: ServerFactory) -> None:
    target = server("7.0")
    generated(target, *DATA)
    target.call("CONFIG", "RESETSTAT")
    ran = generated(
        target, *DATA, "--churn-only", "--churn", "2000", "--for", "2s", "--ops", "expire=3,rename", "--json"
    )
    done = calls(target)
    assert not done.keys() & (set(SENT) - {"pexpire", "rename"})
    assert 2 < done["pexpire"] / done["rename"] < 4.5
    churn = result_of(ran)["churn"]
    probes = 2  # one of each, which ask for the permission
    assert churn["changes"] + churn["idle"] == done["pexpire"] + done["rename"] - probes


@pytest.mark.covers("ops")
def test_what_is_deleted_comes_back(server: ServerFactory) -> None:
    target = server("9.1")
    generated(target, "--keys", "50", "--types", "string=1,hash=1")
    target.call("FLUSHALL")
    words = ("--keys", "50", "--types", "string=1,hash=1", "--churn-only", "--churn", "5000", "--for", "2s")
    generated(target, *words, "--ops", "set,grow")
    assert target.call("DBSIZE") == 50


@pytest.mark.covers("churn-only")
def test_keys_that_are_there_need_not_be_written_first(server: ServerFactory) -> None:
    target = server("7.0")
    generated(target, *DATA)
    target.call("CONFIG", "RESETSTAT")
    ran = generated(target, *DATA, "--churn", "500", "--for", "1s", "--churn-only")
    done = calls(target)
    assert "mset" not in done
    assert done["unlink"] == 1 + len(CREATING)  # the probe of its own, and after each that makes a key
    assert ran.out.startswith("churn ") and len(ran.out.splitlines()) == 1
    generated(target, *DATA, "--churn", "500", "--for", "1s")
    assert {"mset", "unlink"} <= calls(target).keys()


def test_keys_of_other_types_than_the_options_say_end_it_with_the_reason(server: ServerFactory) -> None:
    target = server("8.2")
    generated(target, "--keys", "100", "--types", "hash=1")
    words = ("--keys", "100", "--types", "list=1", "--churn", "100", "--churn-only", "--ops", "grow")
    ran = run_keyferry("generate", *at(target), *words)
    assert ran.code == 5
    assert "a key is not of the type that generate gives it: WRONGTYPE" in ran.err
    assert "hint: use --keys, --prefix, --types" in ran.err
    assert ran.out.startswith("churn ")


@pytest.mark.covers("ttl", "churn")
def test_expiries_of_a_churn_are_within_the_span(server: ServerFactory) -> None:
    target = server("7.0")
    words = ("--keys", "500", "--churn", "2000", "--for", "2s", "--ops", "expire", "--ttl", "1000s-1010s")
    generated(target, *words)
    left = [target.call("PTTL", key) for key in target.client.scan_iter(count=1000)]
    expiring = [ms for ms in left if ms > 0]
    assert len(expiring) > 100
    assert min(expiring) > 900_000 and max(expiring) <= 1_010_000


@pytest.mark.covers("seed", "workers")
def test_one_seed_and_as_many_workers_give_the_same_changes_in_the_same_order(server: ServerFactory) -> None:
    streams = []
    for seed in ("1", "1", "2"):
        target = server("7.0")
        generated(target, *DATA, "--seed", seed)
        with Monitor(target) as seen:
            words = ("--churn", "2000", "--for", "1s", "--churn-only", "--workers", "1")
            generated(target, *DATA, "--seed", seed, *words)
        sent = [one.args for one in seen.commands if one.name.lower() in SENT]
        streams.append([words for words in sent if not any(b":probe:" in word for word in words)])
    first, again, other = (stream[:100] for stream in streams)
    assert len(first) == 100
    assert first == again != other


@pytest.mark.covers("workers", "churn")
def test_several_workers_share_a_churn(server: ServerFactory) -> None:
    target = server("7.0")
    with Monitor(target) as seen:
        generated(target, *DATA, "--churn", "3000", "--for", "2s", "--churn-only", "--workers", "3")
    workers = {name.rpartition(b":")[2] for name in connection_names(seen.commands)} - {b"control"}
    assert workers == {b"1", b"2", b"3"}


def test_a_rate_that_is_not_met_is_told(server: ServerFactory) -> None:
    target = server("7.0")
    ran = generated(target, "--keys", "20", "--churn", "1000", "--for", "1s", "--ops", "del")
    assert re.search(r"^churn +20 changes ", ran.out, re.MULTILINE)
    assert re.search(r"^asked for 1,000 changes/s: [\d,]+ operations found nothing to change$", ran.out, re.MULTILINE)
    assert target.call("DBSIZE") == 0


@pytest.mark.parametrize(
    ("changes", "idle", "says"),
    [(9_500, 0, ""), (5_000, 5_000, ": 5,000 operations found nothing"), (5_000, 500, ": the server or the workers")],
)
def test_the_reason_why_a_rate_is_not_met_is_told(changes: int, idle: int, says: str) -> None:
    done = Produced(Counts(copied=changes, idle=idle), 10.4, 10_000, 2, 1.0, None, 0)
    told = Churned(done, 1000).lines()
    assert told[0].startswith(f"churn  {changes:>12,} changes  10.0 s  {changes // 10:,} changes/s  2 workers")
    assert len(told) == (2 if says else 1)
    assert says in told[-1]


def test_a_slow_pace_that_was_kept_is_not_called_missed(server: ServerFactory) -> None:
    """In a second at three a second, the third change comes due as the time is over."""
    ran = generated(server("7.0"), "--keys", "20", "--churn", "3", "--for", "1s", "--ops", "set")
    assert [line.split()[0] for line in ran.out.splitlines()] == ["generate", "churn"]


# ---- how it ends --------------------------------------------------------------------------------------------------


def wait_for_changes(server: Server, run: Run, count: int = 300) -> None:
    begun, deadline = changes_in(server), time.monotonic() + 60
    while changes_in(server) < begun + count:
        assert run.running and time.monotonic() < deadline, run.err
        time.sleep(0.01)


@pytest.mark.covers("for", "churn")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=lambda n: str(n))
def test_without_an_end_it_goes_on_until_a_signal_and_ends_in_order(
    number: int, code: int, server: ServerFactory
) -> None:
    target = server("7.0")
    generated(target, *DATA)
    with start_keyferry("generate", *at(target), *DATA, "--churn", "2000", "--churn-only", "--json") as run:
        wait_for_changes(target, run)
        run.signal(signal.SIGUSR1)
        run.wait_for_text(" changes/s ")
        run.signal_all(number)
        ran = run.wait()
    assert ran.code == code, ran.err
    assert not ran.left
    assert re.search(r"^churn +[\d,]+ changes  [\d,]+ changes/s  [\d.]+ \w+/s$", ran.err, re.MULTILINE)
    told = result_of(ran)
    assert told["exit_code"] == code
    assert told["churn"]["changes"] > 100
    assert 0 < told["churn"]["seconds"] < ran.seconds


def test_a_signal_while_the_data_set_is_written_ends_it_without_a_churn(server: ServerFactory) -> None:
    target = server("7.0")
    with start_keyferry("generate", *at(target), "--keys", "400000", "--churn", "10") as run:
        run.wait_for_text("generate begins")
        run.signal_all(signal.SIGINT)
        ran = run.wait()
    assert ran.code == 130, ran.err
    assert "churn begins" not in ran.err
    assert ran.out.startswith("generate ") and len(ran.out.splitlines()) == 1


def test_a_worker_that_is_killed_is_replaced_and_the_end_stays_where_it_was(server: ServerFactory) -> None:
    target = server("7.0")
    words = ("--churn", "2000", "--for", "4s", "--workers", "2", "--json")
    with start_keyferry("generate", *at(target), *DATA, *words) as run:
        run.wait_for_text("churn begins")
        wait_for_changes(target, run)
        os.kill(worker_pids(run.pid)[0], signal.SIGKILL)
        ran = run.wait()
    assert ran.code == 0, ran.err
    assert "a worker died" in ran.err
    assert 3.9 < result_of(ran)["churn"]["seconds"] < 40


def test_a_state_of_the_server_that_passes_is_waited_for(server: ServerFactory) -> None:
    target = server("7.0", fresh=True)
    generated(target, *DATA)
    words = ("--churn", "2000", "--churn-only", "--progress", "json", "--ops", "set")
    with start_keyferry("generate", *at(target), *DATA, *words) as run:
        wait_for_changes(target, run)
        target.call("CONFIG", "SET", "maxmemory", "1")
        run.wait_for_text("out of memory")
        target.call("CONFIG", "SET", "maxmemory", "0")
        wait_for_changes(target, run)
        run.signal_all(signal.SIGINT)
        ran = run.wait()
    assert ran.code == 130, ran.err


def test_a_lost_connection_is_replaced_and_the_churn_goes_on(server: ServerFactory) -> None:
    target = server("7.0")
    generated(target, *DATA)
    with start_keyferry("generate", *at(target), *DATA, "--churn", "2000", "--churn-only") as run:
        wait_for_changes(target, run)
        target.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        run.wait_for_text("connection lost")
        wait_for_changes(target, run, 2000)
        run.signal_all(signal.SIGINT)
        ran = run.wait()
    assert ran.code == 130, ran.err
    assert re.search(r"^churn +[\d,]+ changes ", ran.out)


@pytest.mark.covers("progress")
def test_progress_is_told_in_changes(server: ServerFactory) -> None:
    target = server("7.0")
    generated(target, *DATA)
    words = ("--churn", "1000", "--for", "3s", "--churn-only", "--progress", "json")
    ran = generated(target, *DATA, *words)
    told = [json.loads(line) for line in ran.err.splitlines() if '"share"' in line]
    assert {(one["phase"], one["unit"]) for one in told} == {("churn", "changes")}
    assert max(one["keys"] for one in told) > 100


@pytest.mark.covers("progress")
def test_a_bar_counts_changes(server: ServerFactory) -> None:
    target = server("7.0")
    generated(target, *DATA)
    words = ("--churn", "1000", "--for", "2s", "--churn-only", "--progress", "bar")
    ran, screen = at_a_terminal("generate", *at(target), *DATA, *words)
    assert ran.code == 0, screen
    assert re.search(r"churn +[\d.]+ %.* changes/s", screen)


# ---- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--for 5s", "--for needs --churn"),
        ("--ops set", "--ops needs --churn"),
        ("--churn-only", "--churn-only needs --churn"),
        ("--churn 0", "--churn '0': must be a whole number of at least 1"),
        ("--churn 10 --for 0s", "--for '0s': must be a duration above 0"),
        ("--churn 10 --for 5", "--for '5': the unit is missing"),
        ("--churn 10 --ops sett", "'sett' is no operation"),
        ("--churn 10 --ops grow --types string=1", "--ops: grow does nothing to the types of --types"),
        ("--churn 10 --churn-only --flush --yes", "--flush and --churn-only exclude each other"),
    ],
)
def test_what_makes_no_sense_is_refused(words: str, says: str, server: ServerFactory) -> None:
    target = server("7.0")
    ran = run_keyferry("generate", *at(target), *words.split())
    assert ran.code == 2
    assert says in ran.err.splitlines()[0]
    assert target.call("DBSIZE") == 0


# ---- small data sets ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("keys", "workers"), [(20_000, 2), (20_000, 5), (33_000, 4), (3_000_000, 8)])
def test_every_worker_gets_some_of_the_blocks_also_of_a_small_data_set(keys: int, workers: int) -> None:
    tasks = tasks_of(Spec(keys), 0, workers)
    assert len(tasks) >= 4 * workers
    assert [task.start for task in tasks[1:]] == [task.end for task in tasks[:-1]]
    assert max(task.end - task.start for task in tasks) <= 16


def test_the_tasks_of_the_largest_data_set_fit_into_memory() -> None:
    tasks = tasks_of(Spec(10**12), 0, 8)
    assert len(tasks) <= 1 << 14
    assert [task.start for task in tasks[1:]] == [task.end for task in tasks[:-1]]
    assert (tasks[0].start, tasks[-1].end) == (0, block_count(Spec(10**12)))


def test_fewer_blocks_than_workers_are_a_task_each() -> None:
    assert [(task.start, task.end) for task in tasks_of(Spec(2100), 0, 8)] == [(0, 1), (1, 2), (2, 3)]

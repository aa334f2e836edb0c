"""What a run shows: no control characters, 80 columns, results only on stdout, and no output that can end a job."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest

from keyferry.options import COMMANDS
from tests.conftest import ServerFactory
from tests.support.commands import at, copied
from tests.support.compare import assert_equal
from tests.support.dataset import fill
from tests.support.filling import write_strings
from tests.support.hooks import At, Slow
from tests.support.output import CONTROL, EVIL
from tests.support.processes import VERIFIED, Result, run_keyferry, shell, start_keyferry
from tests.support.respproxy import Args, Proxy
from tests.support.servers import Server
from tests.support.summary import result_of


@pytest.fixture
def pair(server: ServerFactory) -> tuple[Server, Server]:
    source, target = server("7.0"), server("9.1")
    fill(source, 300)
    return source, target


# -- control characters and columns -----------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [(), ("-d", "--progress", "json"), ("--log-format", "json", "--json")])
def test_a_key_that_is_put_aside_brings_no_control_character(
    words: tuple[str, ...], server: ServerFactory, tmp_path: Path
) -> None:
    source, target = server("8.2"), server("7.0")
    write_strings(source, 20)
    source.call("SADD", EVIL, EVIL)
    aside = tmp_path / "aside"
    line = (*at(source), "replicate", *at(target), "--put-aside", str(aside), *words)
    ran = shell("KEYFERRY 2>&1 | cat; exit ${PIPESTATUS[0]}", *line)
    assert ran.code == 1, ran.out
    assert not CONTROL.search(ran.out)
    assert not CONTROL.search(aside.read_text())
    assert json.loads(aside.read_text())["key"].encode() == EVIL


def test_every_line_of_an_ordinary_run_has_80_columns_at_most(pair: tuple[Server, Server]) -> None:
    source, target = pair
    ran = copied(source, target)
    assert "copy begins" in ran.err.splitlines()
    assert [line for line in (ran.out + ran.err).splitlines() if len(line) > 80] == []


def test_every_table_and_plan_has_80_columns_at_most(pair: tuple[Server, Server]) -> None:
    source, target = pair
    plan = copied(source, target, "--dry-run").out
    table = run_keyferry("generate", *at(target), "--keys", "5000").out
    round_trips = run_keyferry("ping", source.uri, target.uri).out
    lines = (plan + table + round_trips).splitlines()
    assert len(lines) == 12
    assert [line for line in lines if len(line) > 80] == []


@pytest.mark.parametrize("command", ["", *(command.name for command in COMMANDS)])
def test_help_goes_to_stdout_within_80_columns(command: str) -> None:
    ran = run_keyferry(*filter(None, [command]), "--help")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out and all(len(line) <= 80 for line in ran.out.splitlines())


# -- stdout -----------------------------------------------------------------------------------------------------------


def test_stdout_has_the_closing_table_and_nothing_else(pair: tuple[Server, Server]) -> None:
    source, target = pair
    phase, verify, rest = copied(source, target).out.splitlines()
    assert re.fullmatch(
        r"copy            300 keys +[\d.]+ [kM]B +[\d.]+ s +[\d,]+ keys/s +[\d.]+ [kM]B/s  1 worker", phase
    )
    assert verify == "verify    not done (--no-verify)"
    assert rest == "expired 0 · skipped 0 · changing 0 · put aside 0 · retried 0"


def test_an_error_leaves_stdout_empty(server: ServerFactory) -> None:
    ran = run_keyferry(*at(server("7.0")), "replicate", "-h", "no.such.host.invalid")
    assert ran.code == 4
    assert ran.out == ""


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_the_closing_figures_add_up(words: tuple[str, ...], server: ServerFactory, tmp_path: Path) -> None:
    source, target = server("8.2"), server("7.0")
    write_strings(source, 300)
    for number in range(7):
        source.call("SADD", f"set:{number}", "refused by the older target")

    def vanish() -> None:
        for number in range(5):
            source.call("DEL", f"key:{number}")

    with Proxy(source, At(1, vanish, is_window)) as proxy:
        aside = ("--put-aside", str(tmp_path / "aside"))
        ran = run_keyferry(*at(proxy), "replicate", *at(target), *aside, *words)
    assert ran.code == 1, ran.err
    copies, expired, put_aside, read = figures(ran, bool(words))
    assert (expired, put_aside) == (5, 7)
    assert copies == target.call("DBSIZE") == 295
    assert copies + expired + put_aside == read


def is_window(args: Args) -> bool:
    """Whether a command reads values, and does not only ask for permission."""
    return args[0].upper() == b"MGET" and not args[1].startswith(b"keyferry:")


def figures(ran: Result, as_json: bool) -> tuple[int, ...]:
    """Keys copied, expired, put aside, and read (as far as the table tells: all that there were)."""
    if as_json:
        told = result_of(ran)
        return told["keys"], told["expired"], told["put_aside"], told["read"]
    found = re.search(r"copy +~?([\d,]+) keys(?s:.*)expired (\d+) · .*put aside (\d+) ·", ran.out)
    assert found, ran.out
    return (*(int(text.replace(",", "")) for text in found.groups()), 307)


@pytest.mark.parametrize(
    "line",
    [
        "KEYFERRY | head -c 0; exit ${PIPESTATUS[0]}",
        "KEYFERRY 2>&1 | head -c 0; exit ${PIPESTATUS[0]}",
        "KEYFERRY >&-",
        "KEYFERRY 2>&-",
        "KEYFERRY <&- >&- 2>&-",
    ],
)
def test_lost_standard_streams_do_not_end_the_job(line: str, pair: tuple[Server, Server]) -> None:
    source, target = pair
    ran = shell(line, *at(source), "replicate", *at(target))
    assert ran.code == 0, ran.out + ran.err
    assert "copy begins" not in ran.out
    assert_equal(source, target)


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_what_the_users_command_prints_goes_to_no_server(closed: str, pair: tuple[Server, Server]) -> None:
    """Where a standard stream is closed, the next connection would have its number."""
    source, target = pair
    words = ("replicate", *at(target), "--live", "--idle-timeout", "200", "--on-converged", "echo SET printed 1")
    ran = shell(f"KEYFERRY {closed}", *at(source), *words, env=VERIFIED)
    assert ran.code == 0
    assert [one.call("EXISTS", "printed") for one in pair] == [0, 0]


def test_names_from_a_closed_standard_input_are_wrong_usage(pair: tuple[Server, Server]) -> None:
    source, target = pair
    ran = shell("KEYFERRY <&-", *at(source), "replicate", *at(target), "--keys-from", "-")
    assert ran.code == 2, ran.out + ran.err
    assert "error: --keys-from -: Bad file descriptor" in ran.err


# -- asked for by a signal --------------------------------------------------------------------------------------------

STATUS = re.compile(r"copy +\d+\.\d %  [\d,]+ of ~[\d.]+ k keys  [\d,]+ keys/s  [\d.]+ k?B/s(  \d[\d.hms ]* left)?")


def test_sigusr1_shows_the_status_line_and_the_copy_goes_on(server: ServerFactory) -> None:
    source, target = server("7.0"), server("9.1")
    write_strings(source, 2_000)
    slow = Slow(0.05)
    with Proxy(target, slow) as proxy:
        with start_keyferry(*at(source), "replicate", *at(proxy), "--batch", "20") as run:
            run.wait_for_text("copy begins")
            while target.call("DBSIZE") < 800:
                assert run.running
            run.signal(signal.SIGUSR1)
            run.wait_for_text(" % ")
            slow.seconds = 0.0
            ran = run.wait()
    assert ran.code == 0, ran.err
    lines = [line for line in ran.err.splitlines() if " % " in line]  # one, and more where it takes over ten seconds
    assert lines and all(STATUS.fullmatch(line) and len(line) <= 80 for line in lines)
    assert_equal(source, target)


def test_sigusr1_does_not_end_generate(server: ServerFactory) -> None:
    target = server("7.0")
    with start_keyferry("generate", *at(target), "--keys", "20000") as run:
        run.wait_for_text("generate begins")
        run.signal(signal.SIGUSR1)
        ran = run.wait()
    assert ran.code == 0
    assert target.call("DBSIZE") == 20_000

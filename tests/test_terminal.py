"""What a user sees of a real run on a terminal: the bar, why it is slow, and messages that it never hides.

The screen is that of `tests/support/terminal.py`, made of the bytes that the run writes to its terminal.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ServerFactory
from tests.support.commands import at
from tests.support.filling import write_strings
from tests.support.hooks import Slow
from tests.support.processes import start_keyferry
from tests.support.respproxy import Proxy
from tests.support.servers import Server
from tests.support.terminal import Terminal

#: The bar at 80 columns: share, keys, rates, and the time left once it can be told.
BAR = re.compile(
    r"copy +\d+\.\d %\|[^|]*\| [\d.]+( k)? of ~2\.0 k  [\d.]+( k)? keys/s  [\d.,]+ (k?B|MB)/s(  \d[\d.hms ]* left)?"
)
WAITING = "waiting: target out of memory"
#: The same as a plain line.
LINE = re.compile(r"copy +\d+\.\d %  [\d,]+ of ~2\.0 k keys  [\d,]+ keys/s  [\d.,]+ (k?B|MB)/s(  \d[\d.hms ]* left)?")
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")

Three = tuple[Server, Proxy, Server]


@pytest.fixture
def pair(server: ServerFactory) -> Iterator[Three]:
    """A source of one set, in a database of its own, and 1,999 strings; a slow way; a target that takes no such set.

    It takes five seconds, or as long as `make_quick` is not called.
    """
    source, target = server("8.2"), server("7.0", fresh=True)
    write_strings(source, 1_999, db=1)
    source.call("SADD", "a set", "of a version that the target does not know")
    with Proxy(target, Slow(0.05)) as proxy:
        yield source, proxy, target


def words(source: Server, proxy: Proxy, *more: str) -> list[str]:
    return [*at(source), "replicate", *at(proxy), "--dbs", "all", "--batch", "20", "--scan-count", "20", *more]


def make_quick(proxy: Proxy) -> None:
    """Everything that is to be seen was seen: let the copy come to its end."""
    assert isinstance(proxy.hooks, Slow)
    proxy.hooks.seconds = 0.0


def fill_up(target: Server) -> None:
    """Let the target refuse whatever needs memory."""
    target.call("CONFIG", "SET", "maxmemory", "1")


def make_room(target: Server) -> None:
    """Let the target take writes again."""
    target.call("CONFIG", "SET", "maxmemory", "0")


def keys_of(target: Server) -> int:
    """How many keys have arrived."""
    with target.connect(1) as connection:
        return connection.call("DBSIZE")


def bars(lines: list[str]) -> list[str]:
    """The lines of the screen that are a bar; one at most is ever seen."""
    return [line for line in lines if BAR.fullmatch(line)]


def is_slow(lines: list[str], reason: str) -> bool:
    """Whether the screen ends with a bar, and the reason below it."""
    return len(lines) > 1 and lines[-1] == reason and BAR.fullmatch(lines[-2]) is not None


def is_aside(line: str) -> bool:
    """Whether a line tells of the set; it is longer than 80 columns, and goes on in the next line."""
    return line.startswith('warning: put aside "a set" (db 0, set): target: ERR ')


def test_the_bar_tells_why_it_waits_and_what_scrolls_above_it_stays(pair: Three, tmp_path: Path) -> None:
    source, proxy, target = pair
    with Terminal(*words(source, proxy, "--put-aside", str(tmp_path / "aside"))) as terminal:
        terminal.wait_for(lambda lines: [bar for bar in bars(lines) if bar.endswith(" left")])
        fill_up(target)
        *_, bar, _ = terminal.wait_for(lambda lines: is_slow(lines, WAITING))
        assert len(bar) <= 80
        make_room(target)
        terminal.wait_for(lambda lines: bars(lines) and WAITING not in lines)
        lines = terminal.wait_for(lambda lines: bars(lines) and any(map(is_aside, lines)))
        assert len(bars(lines)) == 1 and lines[-1] == bars(lines)[0]
        make_quick(proxy)
        ran, lines = terminal.ended()
    assert ran.code == 1
    assert keys_of(target) == 1_999
    assert len(list(filter(is_aside, lines))) == 1
    assert not bars(lines) and WAITING not in lines
    assert lines[0].startswith(source.address)
    assert not CONTROL.search(ran.out)


def test_the_bar_tells_that_a_server_is_gone_until_it_is_back(pair: Three, tmp_path: Path) -> None:
    source, proxy, target = pair
    gone = f"reconnecting: target {proxy.address}"
    with Terminal(*words(source, proxy, "--put-aside", str(tmp_path / "aside"))) as terminal:
        terminal.wait_for(bars)
        target.call("CONFIG", "SET", "maxclients", "1")  # that is us
        proxy.cut()
        *above, _, _ = terminal.wait_for(lambda lines: is_slow(lines, gone))
        assert any(line.startswith(f"warning: target {proxy.address}: connection lost") for line in above)
        target.call("CONFIG", "SET", "maxclients", "10000")
        terminal.wait_for(lambda lines: bars(lines) and gone not in lines)
        make_quick(proxy)
        ran, _ = terminal.ended()
    assert ran.code == 1
    assert keys_of(target) == 1_999


def test_the_same_run_in_a_pipe_is_plain_lines(pair: Three, tmp_path: Path) -> None:
    source, proxy, target = pair
    with start_keyferry(*words(source, proxy, "--put-aside", str(tmp_path / "aside"))) as run:
        run.wait_for_text("copy begins")
        fill_up(target)
        run.wait_for_text(WAITING)
        make_room(target)
        make_quick(proxy)
        ran = run.wait()
    assert ran.code == 1
    assert not CONTROL.search(ran.err + ran.out)
    lines = ran.err.splitlines()
    at_reason = lines.index(f"  {WAITING}")
    assert LINE.fullmatch(lines[at_reason - 1])
    assert lines.count(f"  {WAITING}") == 1
    assert len(list(filter(is_aside, lines))) == 1


def test_the_bar_follows_the_width_of_its_window(pair: Three) -> None:
    source, proxy, _ = pair
    proxy.hooks = Slow(0.2)  # three widths are seen one after the other
    with Terminal(*words(source, proxy)) as terminal:
        for columns in (80, 100, 60):
            terminal.resize(columns)
            terminal.wait_for(lambda lines, n=columns: lines and "|" in lines[-1] and n - 3 < len(lines[-1]) <= n)
        terminal.run.signal(signal.SIGINT)
        terminal.wait_for(lambda lines: any(line.startswith("stopping") for line in lines))
        make_quick(proxy)
        assert terminal.ended()[0].code == 128 + signal.SIGINT


@pytest.mark.parametrize(("nohup", "code"), [(True, 1), (False, 128 + signal.SIGHUP)])
def test_a_terminal_that_goes_away_does_not_end_a_job_that_is_to_outlive_it(
    nohup: bool, code: int, pair: Three, tmp_path: Path
) -> None:
    source, proxy, target = pair
    line = words(source, proxy, "--put-aside", str(tmp_path / "aside"))
    with Terminal(*line, nohup=nohup) as terminal:
        terminal.wait_for(bars)
        terminal.hang_up()
        if nohup:
            make_quick(proxy)
        ran = terminal.run.wait()
    assert ran.code == code
    assert ran.out.startswith("copy ") and "put aside" in ran.out
    assert (keys_of(target) == 1_999) == nohup

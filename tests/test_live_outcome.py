"""What a live copy says at its end: a verdict only if it still stands, and each key that could not be copied once."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from tests.conftest import ServerFactory
from tests.support.hooks import Verifying
from tests.support.live import (
    UNTIL_A_SIGNAL,
    cut_over,
    followed,
    lose_feeds,
    start_live,
    wait_until,
    wait_until_followed,
)
from tests.support.processes import VERIFIED, Run, start_keyferry
from tests.support.proxy import FaultProxy
from tests.support.respproxy import Answer, Args, Hooks, Proxy
from tests.support.servers import Server
from tests.support.summary import result_of

#: What was found is known to stand no more, and a signal comes long before it would be looked at again.
AGAIN_LATE = ("--idle-timeout", "3s")


@pytest.mark.parametrize("words", [(), ("--json",)], ids=["table", "json"])
def test_a_verdict_of_before_the_last_writes_is_not_shown(words: tuple[str, ...], server: ServerFactory) -> None:
    """The verification is clean, but something was written meanwhile: it is followed on, and then ended."""
    source, target = server("7.0"), server("7.0")
    source.call("SET", "key", "value")
    with Proxy(target, Verifying(lambda: source.call("SET", "meanwhile", "1"))) as proxy:
        line = ("-p", str(source.port), "replicate", "--live", *AGAIN_LATE, "-p", str(proxy.port))
        with start_keyferry(*line, "--progress", "none", *words, env=VERIFIED) as run:
            wait_until_followed(target, "meanwhile")
            run.signal_all(signal.SIGTERM)
            ran = run.wait()
    assert ran.code == 128 + signal.SIGTERM, ran.err
    if words:
        told = result_of(ran)
        assert (told["verified"], told["verify"]) == (False, None)
    else:
        assert "not verified" in ran.out and "OK:" not in ran.out, ran.out
        assert "what was found before does not stand any more" in ran.out


def test_events_that_are_lost_after_the_signal_are_no_writes_after_it(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    source.call("SET", "key", "value")
    with Proxy(target, Verifying(lambda: lose_feeds(source))) as proxy:
        with start_live(source, proxy, *UNTIL_A_SIGNAL) as run:
            wait_until_followed(target, "key")
            done = cut_over(run)
    assert done.ran.code == 0, done.ran.err
    assert done.live["converged"] and done.live["gaps"] == 1


class LosesEvents(Hooks):
    """The source is written to all the time, but not to what is copied. When the last look after the verification has
    begun, something is written to that of which no event tells."""

    def __init__(self, source: Server) -> None:
        self.source, self.lost = source, False
        self.run: Run | None = None

    def on_command(self, args: Args) -> Answer:
        if args[0] == b"INFO":
            self.source.call("INCR", "other")
        if args[0] == b"PING" and not self.lost and self.run and "live begins" in self.run.err:
            self.lost = True
            lose_feeds(self.source)
            self.source.call("MSET", "key:late", "1", "key:last", "1")
        return args


@pytest.mark.parametrize("asked", [False, True], ids=["idle", "asked"])
def test_events_that_are_lost_in_the_last_look_are_made_good_and_verified(asked: bool, server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    source.call("MSET", "key", "value", "other", "0")
    hooks, words = LosesEvents(source), ("--match", "key*", *(UNTIL_A_SIGNAL if asked else ()))
    with Proxy(source, hooks) as proxy, start_live(proxy, target, *words) as run:
        hooks.run = run
        wait_until_followed(target, "key")
        done = cut_over(run) if asked else followed(run)
    assert done.ran.code == 0, done.ran.err
    assert done.live["converged"] and done.live["gaps"] == 1
    assert (target.call("DBSIZE"), done.told["verify"]["ok"]) == (3, 3)


def test_differences_of_before_the_last_writes_are_in_no_file(server: ServerFactory, tmp_path: Path) -> None:
    """What was found does not stand any more, and is not told: so it is not in the file, either."""
    source, target, file = server("7.0"), server("7.0"), tmp_path / "differences.jsonl"
    source.call("MSET", "key", "value", "other", "value")

    def act() -> None:
        target.call("SET", "other", "of somebody else")
        source.call("SET", "meanwhile", "1")

    words = ("--diff-file", str(file), *AGAIN_LATE)
    with Proxy(target, Verifying(act)) as proxy, start_live(source, proxy, *words) as run:
        wait_until_followed(target, "meanwhile")
        source.call("SET", "other", "mended")
        run.signal_all(signal.SIGTERM)
        ran = run.wait()
    assert ran.code == 128 + signal.SIGTERM, ran.err
    assert result_of(ran)["verify"] is None
    assert file.read_text() == ""


def outcome(folder: Path, run: Run) -> tuple[int, int, list[bytes]]:
    """The exit code of a live copy, how many keys could not be copied, and those that its file names."""
    ran = run.wait()
    listed = folder / "aside.jsonl"
    names = [json.loads(line)["key"].encode() for line in listed.read_text().splitlines()] if listed.exists() else []
    return ran.code, result_of(ran)["put_aside"], names


def test_a_key_that_is_tried_again_and_again_is_put_aside_once(server: ServerFactory, tmp_path: Path) -> None:
    """The older server takes no list of the newer one; --repair tries once more."""
    source, target = server("8.2"), server("6.2")
    source.call("RPUSH", "list", "1")
    source.call("SET", "key", "value")
    with start_live(source, target, "--repair", "--put-aside", str(tmp_path / "aside.jsonl")) as run:
        assert outcome(tmp_path, run) == (1, 1, [b"list"])
        assert result_of(run.wait())["verify"]["repaired"] == 0


def test_a_key_that_is_copied_after_all_is_not_put_aside(server: ServerFactory, tmp_path: Path) -> None:
    """It is a list that the older server does not take, and while that is verified it becomes a string."""
    source, target = server("8.2"), server("6.2")
    source.call("RPUSH", "list", "1")
    source.call("SET", "key", "value")
    with Proxy(target, Verifying(lambda: source.call("SET", "list", "a string by now"))) as proxy:
        with start_live(source, proxy, "--put-aside", str(tmp_path / "aside.jsonl")) as run:
            assert outcome(tmp_path, run) == (0, 0, [])
    assert target.call("GET", "list") == b"a string by now"


def test_a_key_that_changes_before_its_range_is_done_is_not_put_aside(server: ServerFactory, tmp_path: Path) -> None:
    """Its range tells at its end only that the older server took no list; by then it is a string, and copied."""
    source, target = server("8.2"), server("6.2")
    lists = [f"list:{number}" for number in range(50)]
    source.client.mset({f"key:{number}": "value" for number in range(3000)})
    for name in lists:
        source.call("RPUSH", name, "1")
    words = ("--idle-timeout", "1h", "--rate", "1000", "--put-aside", str(tmp_path / "aside.jsonl"))
    with start_live(source, target, *words) as run:
        wait_until(lambda: target.client.dbsize() > 1500, what="half of the copy")
        source.client.mset(dict.fromkeys(lists, "a string by now"))
        wait_until(lambda: target.client.dbsize() == 3050, what="the whole copy")
        run.signal_all(signal.SIGINT)
        assert outcome(tmp_path, run) == (0, 0, [])


def test_a_key_that_could_not_be_copied_after_the_proof_is_proved_again(server: ServerFactory, tmp_path: Path) -> None:
    """It was not there when the ranges were read, and the older server does not take it: nothing is equal then."""
    source, target = server("8.2"), server("6.2")
    source.call("SET", "key", "value")
    with Proxy(target, Verifying(lambda: source.call("RPUSH", "late", "1"))) as proxy:
        with start_live(source, proxy, "--put-aside", str(tmp_path / "aside.jsonl")) as run:
            assert outcome(tmp_path, run) == (1, 1, [b"late"])
            assert result_of(run.wait())["verify"]["only_at_source"] == 1


def test_a_key_that_a_later_pass_copies_is_not_put_aside(server: ServerFactory, tmp_path: Path) -> None:
    """The older server takes no list; then another source answers, where it is a string, and the copy begins again."""
    source, other, target = server("8.2"), server("8.2"), server("6.2")
    source.call("RPUSH", "list", "1")
    for one in (source, other):
        one.call("SET", "key", "value")
    other.call("SET", "list", "a string by now")
    words = (*UNTIL_A_SIGNAL, "--put-aside", str(tmp_path / "aside.jsonl"))
    with FaultProxy(source.port) as proxy, start_live(proxy, target, *words) as run:
        wait_until_followed(target, "key")
        proxy.lead_to(other.port)
        lose_feeds(source)
        wait_until_followed(target, "list")
        run.signal_all(signal.SIGINT)
        assert outcome(tmp_path, run) == (0, 0, [])
        assert 'put aside "list"' not in run.err


def test_keys_that_could_not_be_copied_are_listed_also_where_the_run_is_ended_at_once(
    server: ServerFactory, tmp_path: Path
) -> None:
    source, target = server("8.2"), server("6.2")
    source.call("RPUSH", "list", "1")
    source.call("SET", "key", "value")
    words = (*UNTIL_A_SIGNAL, "--put-aside", str(tmp_path / "aside.jsonl"))
    with start_live(source, target, *words) as run:
        wait_until_followed(target, "key")
        time.sleep(1)  # until its range is done
        target.pause()
        try:
            source.call("SET", "key", "other")
            time.sleep(1)  # until it is on its way
            for _ in range(2):
                run.signal_all(signal.SIGTERM)
                time.sleep(0.5)
            assert outcome(tmp_path, run) == (128 + signal.SIGTERM, 1, [b"list"])
        finally:
            target.resume()


class WithoutInfo(Hooks):
    """The user may not ask for INFO."""

    def on_command(self, args: Args) -> Answer:
        return b"-NOPERM this user has no permissions to run the 'info' command\r\n" if args[0] == b"INFO" else args


def test_a_source_that_hides_what_was_done_to_groups_is_not_called_equal(server: ServerFactory) -> None:
    """No event tells of XACK, and without INFO no counter: what comes after the comparison would be missed."""
    source, target = server("7.0"), server("7.0")
    source.call("XADD", "stream", "1-1", "field", "value")
    with Proxy(source, WithoutInfo()) as proxy, start_live(proxy, target) as run:
        done = followed(run)
    assert (done.ran.code, done.live["converged"]) == (8, False), done.ran.err
    assert "INFO" in done.live["reason"] and "INFO" in done.ran.err


@pytest.mark.parametrize("words", [(), ("--exclude", "stream")], ids=["no stream", "none in scope"])
def test_where_no_stream_is_copied_nothing_is_hidden(words: tuple[str, ...], server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    source.call("HSET", "hash", "field", "value")
    if words:
        source.call("XADD", "stream", "1-1", "field", "value")
    with Proxy(source, WithoutInfo()) as proxy, start_live(proxy, target, *words) as run:
        done = followed(run)
    assert (done.ran.code, done.live["converged"]) == (0, True), done.ran.err

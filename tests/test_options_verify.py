"""Options of the verification: each has an effect."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from keyferry.comparing import Compare
from keyferry.grammar import from_python
from keyferry.logs import ERROR, Log
from keyferry.sampling import most_likely
from keyferry.signals import Signals
from tests.conftest import ServerFactory
from tests.support.commands import at, compared, verdict_of
from tests.support.disguises import Written
from tests.support.filling import write_strings
from tests.support.live import wait_until
from tests.support.monitor import Monitor
from tests.support.processes import VERIFIED, run_keyferry, start_keyferry
from tests.support.respproxy import Proxy


@pytest.mark.covers("verify")
def test_quick_looks_at_sizes_only(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    for one in (source, target):
        one.client.mset({"same size": "one", "other size": "one", "type": "one", "expiry": "one"})
        one.client.rpush("list", "a", "b")
    target.client.mset({"same size": "two", "other size": "three"})
    target.client.delete("type")
    target.client.hset("type", "field", "value")
    target.client.expire("expiry", 1000)
    target.client.rpush("list", "c")
    assert verdict_of(compared(source, target)) == "OK:0 V:4 >:0 <:0 T:1"
    ran = compared(source, target, "--verify", "quick")
    assert (ran.code, verdict_of(ran)) == (1, "OK:1 V:3 >:0 <:0 T:1")
    assert "quick" in ran.out


def test_quick_excuses_fields_that_have_expired_at_one_side_as_a_full_comparison_does(server: ServerFactory) -> None:
    source, target = server("8.2"), server("8.2")
    for one, lives_ms in ((source, 1), (target, 60_000)):
        one.client.hset("hash", mapping={"field": "value", "other": "value"})
        one.call("HPEXPIRE", "hash", lives_ms, "FIELDS", 1, "field")
    wait_until(lambda: source.client.hlen("hash") == 1)
    for how in ("full", "quick"):
        assert verdict_of(compared(source, target, "--ttl-tolerance", "1h", "--verify", how)) == "OK:1 V:0 >:0 <:0 T:0"
        assert verdict_of(compared(source, target, "--verify", how)) == "OK:0 V:1 >:0 <:0 T:0"


def test_no_verify_and_verify_exclude_each_other(server: ServerFactory) -> None:
    ran = run_keyferry("replicate", "a", "b", "--no-verify", "--verify", "quick", env=VERIFIED)
    assert ran.code == 2
    assert "--no-verify and --verify exclude each other" in ran.err


@pytest.mark.covers("ttl-tolerance")
@pytest.mark.parametrize("kind", ["6.2", "7.0"])
def test_expiries_may_be_as_far_apart_as_the_tolerance_says(kind: str, server: ServerFactory) -> None:
    source, target = server(kind), server(kind)
    now_s, _ = source.client.time()
    for one, later_ms in ((source, 0), (target, 1_000)):
        one.client.set("key", "value", pxat=(now_s + 1000) * 1000 + later_ms)
    assert verdict_of(compared(source, target)) == "OK:0 V:0 >:0 <:0 T:1"
    assert verdict_of(compared(source, target, "--ttl-tolerance", "900ms")) == "OK:0 V:0 >:0 <:0 T:1"
    assert verdict_of(compared(source, target, "--ttl-tolerance", "1100ms")) == "OK:1 V:0 >:0 <:0 T:0"


@pytest.mark.covers("rounds")
@pytest.mark.parametrize("rounds", [1, 3])
def test_what_differs_is_looked_at_again_while_something_is_written(rounds: int, server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    for one in (source, target):
        one.client.set("key", one.port)
    with Monitor(source) as seen, Proxy(source, Written(source, "SET", "written", "value")) as proxy:
        ran = compared(proxy, target, "--rounds", str(rounds))
    assert (ran.code, verdict_of(ran)) in ((1, "OK:~0 V:1 >:1 <:0 T:0"), (1, "OK:0 V:1 >:1 <:0 T:0"))
    looks = [one for one in seen.commands if one.name == "TYPE" and one.args[1:] == (b"key",)]
    assert len(looks) == 2 * rounds  # each look ends with another one at the type


def test_however_many_rounds_are_asked_for_no_pause_between_two_is_long(server: ServerFactory) -> None:
    """The source is written to, so that all rounds are made; nobody waits for hours, or years."""
    source, target = server("7.0"), server("7.0")
    for one in (source, target):
        one.client.set("key", one.port)
    pauses: list[float] = []

    class Noting(Signals):
        def pause(self, pause_s: float) -> None:
            pauses.append(pause_s)

    with Proxy(source, Written(source, "SET", "written", "value")) as proxy:
        ends = [f"redis://127.0.0.1:{proxy.port}", target.uri]
        call = from_python("compare", ends, rounds=12, progress="none")
        assert Compare(call, Log(ERROR), Noting()).run().exit_code == 1
    assert len(pauses) == 11 and max(pauses) < 60


@pytest.mark.covers("sample")
def test_a_sample_looks_at_some_keys_and_says_what_that_proves(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    for one in (source, target):
        write_strings(one, 2_000)
    ran = compared(source, target, "--sample", "25%", "--json")
    verify = json.loads(ran.out)["verify"]
    assert (ran.code, verify["ok"]) == (0, verify["read"]) and 400 < verify["read"] < 600
    assert verify["confidence"].startswith(f"a sample of {verify['read']} of 2,000 keys: none differs; with 95%")
    again = json.loads(compared(source, target, "--sample", "500", "--json").out)["verify"]
    assert again["read"] == verify["read"]
    assert " skipped 0 " in compared(source, target, "--sample", "25%").out, "they are not among those read"
    target.client.flushall()
    assert f">:{verify['read']} <:0" in verdict_of(compared(source, target, "--sample", "25%"))
    lines = compared(source, target, "--sample", "25%").out.splitlines()
    assert max(map(len, lines)) <= 80


def test_what_a_sample_says_of_all_keys_is_the_exact_bound() -> None:
    assert most_likely(1_000, 0) == pytest.approx(1 - 0.05 ** (1 / 1_000), rel=1e-6)
    assert most_likely(100, 5) == pytest.approx(0.10225, abs=1e-4)  # as tables of Clopper and Pearson have it
    assert most_likely(10, 10) == 1.0


def test_what_a_large_sample_says_is_known_at_once() -> None:
    """As many numbers were added as keys differ, 60 times: for a minute at a million, and an hour here."""
    for different, keys in ((10**8 // 2, 10**8), (10**6, 10**8)):
        share = different / keys
        normal = share + 1.6449 * (share * (1 - share) / keys) ** 0.5
        assert most_likely(keys, different) == pytest.approx(normal, rel=1e-5)


def test_a_sample_tells_the_keys_that_only_the_target_has_apart(server: ServerFactory) -> None:
    """They are no part of the source's keys, of which there would be more that differ than were looked at."""
    source, target = server("7.0"), server("7.0")
    write_strings(source, 20)
    write_strings(target, 2_000)
    ran = compared(source, target, "--sample", "50%", "--json")
    verify = json.loads(ran.out)["verify"]
    read, more = verify["read"], verify["only_at_target"]
    assert (ran.code, verify["ok"]) == (1, read) and 0 < read < 20 and more > 800
    most = 100 * most_likely(read + more, more)
    assert verify["confidence"] == (
        f"a sample of {read} of 20 keys, {more:,} more at the target: {more:,} keys differ;"
        f" with 95% confidence no more than {round(most)} % of all keys do"
    )


def test_a_sample_of_no_key_proves_nothing(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    assert compared(source, target, "--sample", "0.000001%").code == 0
    write_strings(source, 100)
    ran = compared(source, target, "--sample", "0.000001%")
    assert (ran.code, verdict_of(ran)) == (1, "OK:0 V:0 >:0 <:0 T:0")
    assert "the sample has none of the 100 keys" in ran.out
    ran = compared(source, target, "--include", "nobody's", "--sample", "0.000001%")
    assert ran.code == 0, "nobody knows whether there is any"


def test_a_sample_that_was_repaired_says_nothing_better_of_the_other_keys(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    for one in (source, target):
        write_strings(one, 2_000)
    target.client.delete(*(f"key:{number}" for number in range(1_000)))
    found = json.loads(compared(source, target, "--sample", "25%", "--json").out)["verify"]
    ran = compared(source, target, "--sample", "25%", "--repair", "--json")
    mended = json.loads(ran.out)["verify"]
    assert (ran.code, mended["repaired"], mended["read"]) == (0, found["only_at_source"], found["read"])
    bound = found["confidence"].partition(" no more than ")[2]
    assert mended["confidence"] == (
        f"a sample of {found['read']} of 2,000 keys: {found['only_at_source']} keys differed; before the repair,"
        f" with 95% confidence no more than {bound.removesuffix('do')}did"
    )
    lines = compared(source, target, "--include", "key:*", "--sample", "50%", "--repair").out.splitlines()
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("word", ["--require-empty", "--no-ttl", "--atomic", "--on-conflict=skip"])
def test_options_of_the_copy_are_none_of_compare(word: str) -> None:
    ran = run_keyferry("compare", "a", "b", word)
    assert ran.code == 2
    assert "is no option of compare" in ran.err


@pytest.mark.parametrize(
    "words",
    [("--match", "key:1*"), ("--include", "key:1*"), ("--type", "list"), ("--max-size", "5"), ("--limit", "15")],
    ids=" ".join,
)
def test_filters_choose_what_is_compared(words: tuple[str, ...], server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 30)
    source.client.rpush("key:1list", *"abc")
    source.client.set("key:1small", "1")
    ran = run_keyferry(*at(source), "replicate", *at(target), *words, env=VERIFIED)
    assert ran.code == 0, ran.out
    copied = target.client.dbsize()
    assert 0 < copied < 32
    assert verdict_of(ran) == f"OK:{copied} V:0 >:0 <:0 T:0"
    assert verdict_of(compared(source, target, *words)) == f"OK:{copied} V:0 >:0 <:0 T:0"
    assert verdict_of(compared(source, target)) == f"OK:{copied} V:0 >:{32 - copied} <:0 T:0"


def test_limits_hold_for_a_comparison_too(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    for one in (source, target):
        write_strings(one, 3_000)
    began = time.monotonic()
    ran = compared(source, target, "--rate", "2000")
    assert ran.code == 0
    assert time.monotonic() - began > 1.2


@pytest.mark.parametrize(
    ("words", "total"),
    [(("--keys-from", "-"), 0), (("--match", "key:7*"), 0), (("--limit", "5"), 5), (("--include", "key:7*"), 1_000)],
    ids=["names", "filter by SCAN", "limit", "filter of ours"],
)
def test_progress_knows_how_many_keys_are_compared_or_tells_no_number(
    words: tuple[str, ...], total: int, server: ServerFactory
) -> None:
    source, target = server("7.0"), server("7.0")
    for one in (source, target):
        write_strings(one, 1_000)
    line = (*at(source), "compare", *at(target), *words, "--progress", "json")
    ran = run_keyferry(*line, input=b"key:1\nkey:2\nkey:3\n")
    told = [json.loads(line) for line in ran.err.splitlines() if line.startswith("{")]
    assert (ran.code, told[0]["keys_total"]) == (0, total)


def test_a_comparison_that_is_interrupted_has_no_verdict(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    for one in (source, target):
        write_strings(one, 5_000)
    with start_keyferry(*at(source), "compare", *at(target), "--rate", "500") as run:
        run.wait_for_text("verify begins")
        time.sleep(0.5)
        run.signal(signal.SIGINT)
        ran = run.wait()
    assert (ran.code, ran.left) == (130, ())
    assert "OK:" not in ran.out
    assert "verify    not done" in ran.out


@pytest.mark.parametrize("how", ["filter by SCAN", "filter of ours", "names"])
def test_a_sample_speaks_of_those_keys_only_that_could_be_drawn(
    how: str, server: ServerFactory, tmp_path: Path
) -> None:
    source, target = server("7.0"), server("7.0")
    for one in (source, target):
        write_strings(one, 1_000, prefix="user:")
    write_strings(source, 9_000, prefix="other:")
    (tmp_path / "names").write_text("".join(f"user:{number}\n" for number in range(1_000)))
    chosen = {
        "filter by SCAN": ("--match", "user:*"),
        "filter of ours": ("--include", "user:*"),
        "names": ("--keys-from", str(tmp_path / "names")),
    }[how]
    verify = json.loads(compared(source, target, *chosen, "--sample", "10%", "--json").out)["verify"]
    read = verify["read"]
    assert 50 < read < 150 and verify["clean"]
    part = f"a sample of {read} of the keys that were asked for"
    assert verify["confidence"].startswith(f"{part}: none differs; with 95% confidence no more than ")
    assert verify["confidence"].endswith(" % of those do")
    ran = compared(source, target, *chosen, "--sample", "100%", "--json")
    assert (
        json.loads(ran.out)["verify"]["confidence"]
        == "a sample of 1,000 of the keys that were asked for: these are all"
    )
    lines = compared(source, target, *chosen, "--sample", "10%").out.splitlines()
    assert max(map(len, lines)) <= 80

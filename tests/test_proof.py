"""The verification at the end of a copy: only a verdict during which no slot has moved is one."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from keyferry import live_copy, proof
from keyferry.grammar import from_python
from keyferry.latency import Latencies
from keyferry.live_copy import LiveCopy
from keyferry.logs import ERROR, Log
from keyferry.proof import Proof
from keyferry.signals import Ended, Signals
from keyferry.summary import Summary
from keyferry.verdict import Verdict
from keyferry.workers.errors import NotConverged
from keyferry.workers.finding import ONLY_SOURCE

CLEAN, DIFFERS = Verdict(), Verdict(kinds=Counter({ONLY_SOURCE: 1}))


def verified(
    monkeypatch: pytest.MonkeyPatch,
    verdicts: Sequence[Verdict],
    moves: Iterable[bool],
    prepare: Callable[[], None] = lambda: None,
    summary: Summary | None = None,
    pause_s: float = 0.0,
) -> Summary:
    """The summary after verifications that come out like this, and during which slots move like that."""
    summary = summary or Summary(verify_note="")
    outcomes, meanwhile = iter(verdicts), iter(moves)
    plan: Any = SimpleNamespace(by_name=False)
    controls: Any = SimpleNamespace(sources=[], close=lambda: None)
    monkeypatch.setattr(proof, "MOVES_PAUSE_S", pause_s)
    monkeypatch.setattr(
        proof,
        "Verification",
        lambda *_, **__: SimpleNamespace(run=lambda: next(outcomes), cpu_s=1, signal=0, moved=next(meanwhile)),
    )
    with Signals() as signals:

        def prepared(**_: bool) -> tuple[Any, Any]:
            with signals.at_once():
                prepare()
            return controls, plan

        copy: Any = SimpleNamespace(
            prepare=prepared,
            signals=signals,
            options=from_python("replicate", ["redis://h", "redis://h"]).options,
            log=Log(ERROR),
            latencies=Latencies([]),
            names=None,
            diff_file=None,
            extra_before=0,
            outlook=None,
            look_out=lambda *_: None,
        )
        outlook = SimpleNamespace(any_moved=False)
        done: Any = SimpleNamespace(
            plan=plan,
            controls=controls,
            outlook=outlook,
            coordinator=SimpleNamespace(scanners=SimpleNamespace(restarted={})),
        )
        Proof(copy, done, summary).run()
    return summary


def test_what_was_found_while_slots_moved_has_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    summary = verified(monkeypatch, [DIFFERS, CLEAN], [True, False])
    assert (summary.exit_code, summary.verdict, summary.cpu_s) == (0, CLEAN, 2)
    assert verified(monkeypatch, [CLEAN, DIFFERS], [True, False]).exit_code == 1


def test_a_signal_while_it_is_made_again_leaves_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    summary = Summary()
    with pytest.raises(Ended):
        verified(monkeypatch, [CLEAN], [True], lambda: os.kill(os.getpid(), signal.SIGTERM), summary)
    assert summary.verdict is None
    assert "verify    not done (interrupted)" in summary.text()


def test_a_signal_in_the_pause_before_it_is_made_again_ends_that(monkeypatch: pytest.MonkeyPatch) -> None:
    killer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM))

    def moves() -> Iterator[bool]:
        killer.start()
        yield True

    began = time.monotonic()
    summary = verified(monkeypatch, [CLEAN], moves(), pause_s=30)
    assert time.monotonic() - began < 20
    assert (summary.exit_code, summary.verdict) == (128 + signal.SIGTERM, None)
    assert "verify    not done (interrupted)" in summary.text()


def test_slots_that_never_rest_leave_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    summary = verified(monkeypatch, [CLEAN] * proof.VERIFICATIONS_MAX, [True] * proof.VERIFICATIONS_MAX)
    assert (summary.exit_code, summary.verdict) == (1, None)
    assert "verify    not done (slots moved meanwhile)" in summary.text()


def test_slots_of_the_target_that_never_rest_leave_a_live_copy_unproved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_copy, "MOVES_PAUSE_S", 0.0)
    compared = []
    with Signals() as signals:
        one: Any = SimpleNamespace(
            options=from_python("replicate", ["redis://h", "redis://h"], live=True).options,
            copy=SimpleNamespace(log=Log(ERROR)),
            signals=signals,
            shown=None,
            verdict=CLEAN,
            _compare=lambda _: compared.append(1) or SimpleNamespace(moved=True, signal=0),
        )
        with pytest.raises(NotConverged, match="slots of the target moved during each verification"):
            LiveCopy._verify(one, one)
    assert len(compared) == proof.VERIFICATIONS_MAX


def test_a_copy_that_was_incomplete_before_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    summary = Summary()
    summary.counts.aside = 1
    summary.judge()
    assert verified(monkeypatch, [CLEAN], [False], summary=summary).exit_code == 1

"""Signals that end a live copy, and what kills a part of it."""

from __future__ import annotations

import os
import re
import signal

from tests.conftest import ServerFactory
from tests.support.compare import assert_equal
from tests.support.live import (
    asked_for_its_status,
    assert_converged,
    follow_writes,
    generated,
    start_writer,
    wait_for_writes,
    wait_until,
    wait_until_followed,
)
from tests.support.processes import VERIFIED, Run, start_keyferry, worker_pids


def test_ctrl_c_cuts_over_and_ends_with_the_code_of_the_proof(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    generated(source, 2000)
    line = ("-p", str(source.port), "replicate", "-p", str(target.port), "--live", "--progress", "log")
    with start_keyferry(*line, env=VERIFIED) as run:
        wait_until(lambda: target.call("DBSIZE") == 2000)
        source.call("SET", "marker", "1")
        wait_until_followed(target)
        wait_until(lambda: asked_for_its_status(run, "dirty 0 · no gaps"))  # what has come counts until it is settled
        run.signal_all(signal.SIGINT)
        ran = run.wait()
    assert ran.code == 0, ran.err
    assert "cutting over" in ran.err
    assert_equal(source, target)


def test_ctrl_c_under_writes_does_not_claim_that_both_sides_are_equal(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    generated(source, 2000)
    with start_writer(source, 2000, 2000) as writer:
        wait_for_writes(source)
        with start_keyferry("-p", str(source.port), "replicate", "-p", str(target.port), "--live", env=VERIFIED) as run:
            wait_until(lambda: target.call("DBSIZE") > 1500)
            run.signal_all(signal.SIGINT)
            ran = run.wait()
        writer.end()
    assert ran.code == 8, ran.err
    assert "the source was written to until the end" in ran.out + ran.err


def test_sigterm_drains_and_ends(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    generated(source, 2000)
    with start_keyferry("-p", str(source.port), "replicate", "-p", str(target.port), "--live", env=VERIFIED) as run:
        wait_until(lambda: target.call("DBSIZE") == 2000)
        run.signal_all(signal.SIGTERM)
        ran = run.wait()
    assert ran.code == 143, ran.err
    assert not ran.left
    assert re.search(r"^live +0 keys ", ran.out, re.MULTILINE)


def test_a_worker_that_is_killed_loses_nothing(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    generated(source, 5_000)

    def kill(run: Run) -> None:
        os.kill(worker_pids(run.pid)[0], signal.SIGKILL)

    done = follow_writes(source, target, 5_000, 3000, 2, "--workers", "2", meanwhile=kill)
    assert_converged(source, target, done, gaps=None)

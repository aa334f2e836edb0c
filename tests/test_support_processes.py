"""Runs of the command are complete and bounded, and every process of theirs is found."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from tests.conftest import ServerFactory
from tests.support.processes import (
    Run,
    children_of,
    left_over,
    pid_of_local_port,
    run_keyferry,
    start_command,
    worker_pids,
)

# Two workers by a fork server, as the product has them.
POOL = """
import multiprocessing, time
if __name__ == '__main__':
    context = multiprocessing.get_context('forkserver')
    workers = [context.Process(target=time.sleep, args=(60,), daemon=True) for _ in range(2)]
    for worker in workers:
        worker.start()
    print('pids', *(worker.pid for worker in workers), flush=True)
    time.sleep(60)
"""


def start(code: str, *words: str, **options: object) -> Run:
    return start_command(sys.executable, "-c", code, *words, **options)  # type: ignore[arg-type]


def test_code_output_and_input_are_returned() -> None:
    code = "import sys; print(sys.stdin.read()); print('\\x1b\\xff', file=sys.stderr); sys.exit(3)"
    with start(code, input=b"given") as run:
        result = run.wait()
    assert (result.code, result.out, result.err) == (3, "given\n", "\x1bÿ\n")
    assert 0 < result.seconds < 30 and result.left == ()


def test_our_settings_do_not_reach_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYFERRY_WORKERS", "99")
    show = "import os; print(sorted(name for name in os.environ if name.startswith('KEYFERRY')))"
    with start(show, env={"KEYFERRY_GIVEN": "1"}) as run:
        assert run.wait().out == "['KEYFERRY_GIVEN', 'KEYFERRY_NO_VERIFY']\n"


def test_a_run_that_takes_too_long_fails_with_its_output_and_is_ended() -> None:
    with start("import time; print('so far', flush=True); time.sleep(60)") as run:
        run.wait_for_text("so far")
        with pytest.raises(AssertionError, match=r"no end within 0\.2 s\nso far"):
            run.wait(0.2)
        assert not run.running


def test_text_that_does_not_come_fails_at_once_when_the_command_ends() -> None:
    with start("print('other')") as run, pytest.raises(AssertionError, match="other"):
        run.wait_for_text("never")


def test_signals_arrive_and_the_code_tells_which() -> None:
    with start("import time; print('up', flush=True); time.sleep(60)") as run:
        run.wait_for_text("up")
        run.signal(signal.SIGTERM)
        assert run.wait().code == -signal.SIGTERM


def test_workers_of_a_fork_server_are_told_from_helpers_and_found_when_orphaned() -> None:
    with start(POOL) as run:
        run.wait_for_text("pids")
        workers = sorted(int(word) for word in run.out.split()[1:])
        assert sorted(worker_pids(run.pid)) == workers
        assert set(workers) < set(children_of(run.pid)) and len(children_of(run.pid)) == 4
        run.signal(signal.SIGKILL)
        result = run.wait(gone_within=0.3)
    assert result.code == -signal.SIGKILL
    assert set(workers) <= set(result.left)
    assert left_over(run.mark) == []


def test_a_process_that_left_its_session_is_left_over() -> None:
    code = "import os, time\nif os.fork() == 0:\n    os.setsid(); time.sleep(60)"
    with start(code) as run:
        assert len(run.wait(gone_within=0.3).left) == 1
    assert left_over(run.mark) == []


def test_the_owner_of_a_port_is_found(server: ServerFactory) -> None:
    one = server("7.0")
    with one.connect() as connection:
        assert pid_of_local_port(one.port) == one.pid
        assert pid_of_local_port(int(connection.name.rpartition(":")[2])) == os.getpid()
        assert pid_of_local_port(one.port, [os.getpid()]) is None
    assert pid_of_local_port(1) is None


def test_the_real_command_is_run() -> None:
    result = run_keyferry("--version", timeout=30)
    assert "keyferry" in result.out + result.err

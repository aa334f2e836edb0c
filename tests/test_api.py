"""The Python API, from scripts as users write them: without a guard around the main part."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

import keyferry
from keyferry.workers import errors
from tests.conftest import ServerFactory
from tests.support.compare import all_keys, assert_equal
from tests.support.dataset import fill
from tests.support.filling import keyspace, write_strings
from tests.support.hooks import Slow
from tests.support.monitor import Monitor
from tests.support.processes import Result, Run, start_command, worker_pids
from tests.support.readme import section
from tests.support.respproxy import Proxy
from tests.support.servers import Server, free_port


def start_script(folder: Path, code: str, **values: object) -> Run:
    """A script in a file, with `values` as its variables."""
    path = folder / "script.py"
    path.write_text("import keyferry\n" + "".join(f"{name} = {value!r}\n" for name, value in values.items()) + code)
    return start_command(sys.executable, str(path), cwd=str(folder))


def run_script(folder: Path, code: str, **values: object) -> Result:
    with start_script(folder, code, **values) as run:
        ran = run.wait()
    assert ran.code == 0, ran.err
    assert not ran.left
    return ran


@pytest.fixture
def pair(server: ServerFactory) -> tuple[Server, Server]:
    source, target = server("7.0"), server("9.1")
    fill(source, 300)
    return source, target


def test_a_script_without_a_guard_copies_once(pair: tuple[Server, Server], tmp_path: Path) -> None:
    source, target = pair
    code = 'print("begin")\nsummary = keyferry.replicate(source, target, workers=4)\nprint(summary.text())'
    ran = run_script(tmp_path, code, source=source.uri, target=target.uri)
    lines = ran.out.splitlines()
    assert lines[0] == "begin" and lines.count("begin") == 1
    assert lines[1].startswith("copy            300 keys ")
    assert_equal(source, target)


def test_the_summary_has_the_figures_and_the_exit_code(pair: tuple[Server, Server], tmp_path: Path) -> None:
    source, target = pair
    code = """
summary = keyferry.replicate(source, target, no_verify=True)
assert summary.exit_code == 0 and summary.exact and summary.seconds > 0
assert (summary.counts.copied, summary.counts.read, summary.fields()["keys"]) == (300, 300, 300)
"""
    ran = run_script(tmp_path, code, source=source.uri, target=target.uri)
    assert (ran.out, ran.err) == ("", "")


def test_a_plan_touches_nothing(pair: tuple[Server, Server], tmp_path: Path) -> None:
    source, target = pair
    code = "plan = keyferry.plan(source, target, workers=2)\nprint(plan.keys, plan.setup.method, plan.warnings)"
    with Monitor(target) as seen:
        ran = run_script(tmp_path, code, source=source.uri, target=target.uri)
    assert ran.out == "300 auto []\n"
    assert not seen.names() & {"SET", "MSET", "RESTORE", "DEL"}
    assert keyspace(target) == {}


def test_a_plan_is_made_as_often_as_it_is_asked_for(pair: tuple[Server, Server], tmp_path: Path) -> None:
    source, target = pair
    code = "for _ in range(2):\n    print(keyferry.plan(source, target).keys)\nkeyferry.replicate(source, target)\n"
    ran = run_script(tmp_path, code + "print(keyferry.plan(source, target).keys)", source=source.uri, target=target.uri)
    assert ran.out == "300\n" * 3


def test_endpoints_options_and_threads_serve_as_well(server: ServerFactory, tmp_path: Path) -> None:
    source, target = server("7.0", password="secret"), server("9.1")
    for db in (0, 3):
        write_strings(source, 20, db=db, prefix=f"of{db}:")
    code = """
import threading
from keyferry.workers.endpoint import Endpoint
sides = Endpoint(port=source, password="secret"), Endpoint(socket=target)
thread = threading.Thread(target=keyferry.replicate, args=sides, kwargs={"db_map": {0: 2, 3: 1}, "no_verify": True})
thread.start()
thread.join()
"""
    assert run_script(tmp_path, code, source=source.port, target=target.socket).err == ""
    assert keyspace(target) == {2: all_keys(source, 0), 1: all_keys(source, 3)}


ERRORS = """
from keyferry.workers import errors
try:
    keyferry.replicate(source, target, **options)
except errors.KeyferryError as error:
    print(type(error).__name__, error.exit_code, error.side, bool(error.hint))
"""


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"nonsense": 1}, "UsageError 2  True"),
        ({"wait_for": "5"}, "UsageError 2  True"),
        ({"slots": [(9, 1)]}, "UsageError 2  True"),
        ({}, "UnreachedError 4 target True"),
    ],
    ids=["an unknown option", "a number without its unit", "slots that are none", "nobody there"],
)
def test_errors_are_raised_with_code_side_and_hint(
    options: dict[str, object], says: str, server: ServerFactory, tmp_path: Path
) -> None:
    source, target = server("7.0").uri, f"redis://127.0.0.1:{free_port()}"
    ran = run_script(tmp_path, ERRORS, source=source, target=target, options=options)
    assert (ran.out, ran.err) == (f"{says}\n", "")


ENDPOINT = """
try:
    keyferry.replicate(SERVER, target, **options)
except keyferry.UsageError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("server", "options", "says"),
    [
        ("None", {}, "a server is named by a URI or an Endpoint, not by NoneType"),
        ("keyferry.Endpoint(pool=0)", {}, "pool=0: must be a whole number from 1 to 10000"),
        ("keyferry.Endpoint(timeout_s=0)", {}, "timeout_s=0: must be above 0 seconds"),
        ("keyferry.Endpoint(port=99999)", {}, "port=99999: must be a whole number from 1 to 65535"),
        ("keyferry.Endpoint(password='\\udc80')", {}, "host, user or password is not UTF-8 text"),
        ("target", {"match": "a\udc80"}, "match='a\\udc80': is not UTF-8 text"),
        ("target", {"log_file": "a\0b"}, "log_file='a\\x00b': has a zero byte"),
        ("target", {"keys_from": "a\0b"}, "keys_from='a\\x00b': has a zero byte"),
        ("target", {"put_aside": "a\0b"}, "put_aside='a\\x00b': has a zero byte"),
    ],
)
def test_what_no_server_or_file_can_be_told_is_wrong_usage(
    server: str, options: dict[str, object], says: str, tmp_path: Path
) -> None:
    target = f"redis://127.0.0.1:{free_port()}"
    ran = run_script(tmp_path, ENDPOINT.replace("SERVER", server), target=target, options=options)
    assert (ran.out, ran.err) == (f"{says}\n", "")


def test_the_same_database_is_refused(server: ServerFactory, tmp_path: Path) -> None:
    one = server("7.0").uri
    ran = run_script(tmp_path, ERRORS, source=one, target=one, options={})
    assert ran.out == "RefusedError 6  True\n"


@pytest.mark.covers("retry-for")
def test_a_state_is_borne_no_longer_than_was_said(server: ServerFactory, tmp_path: Path) -> None:
    source, target = server("7.0"), server("7.0", maxmemory="2mb")
    write_strings(source, 4_000, 1_000)
    options = {"retry_for": 1}
    ran = run_script(tmp_path, ERRORS, source=source.uri, target=target.uri, options=options)
    assert ran.out == "StateError 7 target True\n"
    assert 1 < ran.seconds < 50  # the default is a minute


@pytest.mark.covers("silence-s")
def test_a_worker_that_stands_still_is_replaced_after_the_silence(server: ServerFactory, tmp_path: Path) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 1_000)
    code = 'summary = keyferry.replicate(source, target, silence_s=1, batch=10, workers=1, progress="log")\n'
    with Proxy(target, Slow(0.02)) as proxy:
        with start_script(tmp_path, code, source=source.uri, target=f"redis://{proxy.address}") as run:
            run.wait_for_text("copy begins")
            while target.call("DBSIZE") < 100:
                assert run.running
            os.kill(worker_pids(run.pid)[0], signal.SIGSTOP)
            ran = run.wait()
    assert ran.code == 0, ran.err
    assert "a worker has been silent for 1 s" in ran.err
    assert_equal(source, target)


@pytest.mark.covers("ranges")
def test_a_database_is_cut_into_as_many_ranges_as_were_asked_for(server: ServerFactory, tmp_path: Path) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 5_000)
    code = "summary = keyferry.replicate(source, target, ranges=64)\nassert summary.exact"
    with Monitor(source) as seen:
        run_script(tmp_path, code, source=source.uri, target=target.uri)
    # 64 equal ranges of the reversed binary iteration begin at the cursors whose upper 58 bits are 0.
    assert {int(one.args[1]) for one in seen.commands if one.name == "SCAN"} >= set(range(64))
    assert_equal(source, target)


def test_what_is_raised_has_a_name_and_the_exit_code_of_the_command(tmp_path: Path) -> None:
    code = (
        "try:\n    keyferry.replicate(source, source)\n"
        "except keyferry.AccessError as error:\n"
        "    print(error.exit_code, error.side, error.hint != '', isinstance(error, keyferry.KeyferryError))\n"
    )
    ran = run_script(tmp_path, code, source=f"127.0.0.1:{free_port()}")
    assert ran.out == "3 source True True\n"


def test_every_class_of_errors_has_a_name_in_the_package_and_in_the_readme() -> None:
    classes = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and errors.KeyferryError in kind.__bases__
    ]
    assert errors.NotConverged in classes
    for kind in classes:
        assert getattr(keyferry, kind.__name__, None) is kind and kind.__name__ in keyferry.__all__
        assert f"`{kind.__name__}`" in section("Use it")


def test_a_dry_run_copies_nothing(pair: tuple[Server, Server], tmp_path: Path) -> None:
    """A summary has no place for a plan: `keyferry.plan` makes one."""
    source, target = pair
    ran = run_script(tmp_path, ERRORS, source=source.uri, target=target.uri, options={"dry_run": True})
    assert keyspace(target) == {}
    assert ran.out == "UsageError 2  True\n"
    code = "print(keyferry.plan(source, target, dry_run=True).keys)"
    assert run_script(tmp_path, code, source=source.uri, target=target.uri).out == "300\n"


def test_a_plan_of_a_repair_is_in_the_verdict_and_not_on_stdout(pair: tuple[Server, Server], tmp_path: Path) -> None:
    source, target = pair
    code = """
verdict = keyferry.compare(source, target, repair=True, dry_run=True, show_diffs=2).verdict
print(dict(verdict.planned), len(verdict.differences))
"""
    ran = run_script(tmp_path, code, source=source.uri, target=target.uri)
    assert ran.out == "{'copy': 300} 2\n"
    assert target.call("DBSIZE") == 0


@pytest.mark.parametrize("call", ["replicate", "compare"])
def test_the_options_of_the_log_have_their_effect(call: str, pair: tuple[Server, Server], tmp_path: Path) -> None:
    source, target = pair
    code = f"keyferry.{call}(source, target, log_file='log', log_format='json', info=True)"
    ran = run_script(tmp_path, code, source=source.uri, target=target.uri)
    told = [json.loads(line) for line in ran.err.splitlines()]
    assert {one["level"] for one in told} >= {"notice", "info"}
    assert (tmp_path / "log").read_text() == ran.err


def test_quiet_hides_warnings(pair: tuple[Server, Server], tmp_path: Path) -> None:
    source, target = pair
    write_strings(target, 1, prefix="other:")
    values = {"source": source.uri, "target": target.uri}
    assert "warning: " in run_script(tmp_path, "keyferry.replicate(source, target)", **values).err
    assert run_script(tmp_path, "keyferry.replicate(source, target, quiet=True)", **values).err == ""


def test_copies_in_several_threads_leave_the_callers_main_module_alone(server: ServerFactory, tmp_path: Path) -> None:
    source, target = server("7.0"), server("9.1")
    for db in range(4):
        write_strings(source, 500, db=db)
    code = """
import sys, threading
main = sys.modules["__main__"]
def copy(db):
    keyferry.replicate(source, target, db_map={db: db}, workers=2, no_verify=True, quiet=True)
for _ in range(3):
    threads = [threading.Thread(target=copy, args=(db,)) for db in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
print(sys.modules["__main__"] is main)
"""
    ran = run_script(tmp_path, code, source=source.uri, target=target.uri)
    assert (ran.out, ran.err) == ("True\n", "")
    assert keyspace(target) == {db: all_keys(source, db) for db in range(4)}


def test_a_process_forked_from_one_that_has_copied_copies_as_well(pair: tuple[Server, Server], tmp_path: Path) -> None:
    """As the workers of a pool are, and those of servers of applications. The fork server is its parent's."""
    code = """
import os
assert keyferry.replicate(source, target).exit_code == 0
if not (child := os.fork()):
    os._exit(keyferry.compare(source, target).exit_code)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), keyferry.compare(source, target).exit_code)
"""
    source, target = pair
    ran = run_script(tmp_path, code, source=source.uri, target=target.uri)
    assert ran.out == "0 0\n", ran.err


@pytest.mark.parametrize("call", ["replicate", "compare"])
def test_a_system_that_does_not_name_our_helpers_costs_a_figure_only(
    call: str, pair: tuple[Server, Server], tmp_path: Path
) -> None:
    """A container may have no /proc, and a kernel none of its lists of children."""
    code = f"""
from pathlib import Path
from keyferry import forkserver
forkserver.PROC = Path(nowhere)
summary = keyferry.{call}(source, target)
print(summary.phase, summary.cpu_s > 0)
"""
    source, target = pair
    ran = run_script(tmp_path, code, source=source.uri, target=target.uri, nowhere=str(tmp_path / "proc"))
    assert ran.out.endswith(" True\n"), ran.err

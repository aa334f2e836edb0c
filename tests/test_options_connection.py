"""What the options of a side do: where a server is reached, as whom, and by how many connections."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ServerFactory
from tests.support.commands import at, copied
from tests.support.compare import assert_equal
from tests.support.filling import keyspace, write_strings
from tests.support.hooks import At
from tests.support.monitor import Executed, Monitor
from tests.support.processes import run_keyferry
from tests.support.prompts import at_a_terminal
from tests.support.respproxy import Proxy

#: Users that may do what the default user may not: read by DUMP at the source, write by RESTORE at the target.
ANN = ("user default on nopass ~* &* +@all -dump", "user ann on >one ~* &* +@all")
BOB = ("user default on nopass ~* &* +@all -restore", "user bob on >two ~* &* +@all")


@pytest.mark.covers("hostname", "port")
def test_each_side_is_reached_at_its_host_and_port(server: ServerFactory) -> None:
    source, target = server("7.0", fresh=True), server("7.0", fresh=True)
    write_strings(source, 50)
    for one, host in ((source, "127.0.0.2"), (target, "127.0.0.3")):
        one.call("CONFIG", "SET", "bind", host)
        one.host = host
    ran = run_keyferry("-h", "127.0.0.2", *at(source), "replicate", "-h", "127.0.0.3", *at(target))
    assert ran.code == 0, ran.err
    assert_equal(source, target)


@pytest.mark.covers("socket")
def test_a_socket_is_used_on_both_sides_and_overrides_host_and_port(server: ServerFactory) -> None:
    source, target = server("7.0"), server("9.1")
    write_strings(source, 50)
    with Monitor(source) as reads, Monitor(target) as writes:
        ran = run_keyferry("-s", source.socket, "replicate", "-s", target.socket, "-h", "nowhere", "-p", "1")
    assert ran.code == 0, ran.err
    assert "warning: -s overrides -h and -p" in ran.err
    assert {one.client[:5] for one in reads.commands + writes.commands} == {"unix:"}
    assert_equal(source, target)


@pytest.mark.covers("uri")
def test_uris_name_host_port_login_and_database_of_each_side(server: ServerFactory) -> None:
    source, target = server("7.0", acl=ANN), server("7.0", acl=BOB)
    write_strings(source, 50, db=2)
    ran = run_keyferry(
        *("-u", f"redis://ann:one@{source.address}/2", "replicate"),
        *("-u", f"redis://bob:two@{target.address}/3"),
    )
    assert ran.code == 0, ran.err
    assert keyspace(target) == {3: keyspace(source)[2]}


@pytest.mark.covers("user", "pass")
def test_each_side_logs_in_as_its_own_user(server: ServerFactory) -> None:
    source, target = server("7.0", acl=ANN), server("7.0", acl=BOB)
    write_strings(source, 50)
    login, other = ("--user", "ann", "-a", "one"), ("--user", "bob", "--pass=two")
    ran = run_keyferry(*at(source), *login, "replicate", *at(target), *other)
    assert ran.code == 0, ran.err
    assert ran.err.count("Using a password") == 1
    assert_equal(source, target)


@pytest.mark.covers("pass-file")
def test_a_password_may_stand_in_a_file(server: ServerFactory, tmp_path: Path) -> None:
    source, target = server("7.0", password="first"), server("9.1", password="second one")
    write_strings(source, 50)
    files = [tmp_path / name for name in ("one", "two")]
    for path, password in zip(files, ("first\nnot this\n", "second one\r\n"), strict=True):
        path.write_text(password)
    files[1].chmod(0o600)
    words = [[*at(one), "--pass-file", str(path)] for one, path in zip((source, target), files, strict=True)]
    ran = run_keyferry(*words[0], "replicate", *words[1])
    assert ran.code == 0, ran.err
    assert ran.err.count("can be read by others") == 1
    assert_equal(source, target)


@pytest.mark.covers("askpass")
def test_a_password_may_be_typed_at_the_terminal(server: ServerFactory) -> None:
    source, target = server("7.0", password="first"), server("9.1", password="second")
    write_strings(source, 50)
    words = (*at(source), "--askpass", "replicate", *at(target), "-a")
    ran, screen = at_a_terminal(*words, typed=("first", "second"))
    assert ran.code == 0, screen
    assert "first" not in screen + ran.out and "second" not in screen + ran.out
    assert_equal(source, target)


@pytest.mark.covers("timeout")
def test_a_target_that_stops_answering_in_mid_copy_is_given_up_after_the_time_out(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 3_000)
    with Proxy(target, At(100, target.pause)) as proxy:
        ran = run_keyferry(
            *at(source), "replicate", *at(proxy), "-o", "1", "--retry-for", "1s", "--batch", "10", timeout=55
        )
    target.resume()
    assert ran.code == 5, ran.err
    assert "no answer within 1 s" in ran.err
    assert ran.seconds < 50  # the default is 60 s


@pytest.mark.covers("db")
def test_each_side_has_its_own_database(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    for db in (0, 3, 5):
        write_strings(source, 20, db=db, prefix=f"of{db}:")
    ran = run_keyferry(*at(source), "-n", "3", "replicate", *at(target), "-n", "5")
    assert ran.code == 0, ran.err
    assert keyspace(target) == {5: keyspace(source)[3]}


@pytest.mark.covers("pool")
@pytest.mark.parametrize(("before", "after", "most"), [((), (), 6), (("-m", "1"), (), 1), ((), ("-m", "2"), 2)])
def test_a_pool_bounds_the_connections_of_a_side(
    before: tuple[str, ...], after: tuple[str, ...], most: int, server: ServerFactory
) -> None:
    source, target = server("7.0"), server("7.0")
    for db in range(6):
        write_strings(source, 200, db=db)
    with Monitor(source) as reads, Monitor(target) as writes:
        ran = run_keyferry(*at(source), *before, "replicate", *at(target), *after, "--dbs", "all", "--workers", "1")
    assert ran.code == 0, ran.err
    assert (at_once(reads.commands), at_once(writes.commands)) == (most, most)
    assert keyspace(target) == keyspace(source)


@pytest.mark.covers("pool")
def test_workers_above_the_pool_are_refused_and_left_out_they_fit_it(server: ServerFactory) -> None:
    source, target = server("7.0"), server("7.0")
    write_strings(source, 20_000)
    assert run_keyferry(*at(source), "replicate", *at(target), "-m", "1", "--workers", "2").code == 2
    assert copied(source, target, "-m", "1").out.splitlines()[0].endswith(" 1 worker")


def at_once(commands: list[Executed]) -> int:
    """The most data connections that were in use at a time."""
    spans: dict[str, list[int]] = {}
    for number, one in enumerate(commands):
        spans.setdefault(one.client, []).append(number)
    names = [one for one in commands if one.name == "CLIENT" and one.args[1].upper() == b"SETNAME"]
    data = [spans[one.client] for one in names if not one.args[2].endswith(b":control")]
    return max(sum(span[0] <= begin <= span[-1] for span in data) for begin, *_ in data)


@pytest.mark.parametrize("kind", ["7.0", "9.1"])
def test_the_environment_gives_what_the_words_leave_open(kind: str, server: ServerFactory) -> None:
    source, target = server(kind, password="secret"), server(kind)
    write_strings(source, 50, db=4)
    around = {"KEYFERRY_SOURCE_URI": f"{source.uri}/4", "KEYFERRY_SOURCE_PASS": "secret", "KEYFERRY_BATCH": "7"}
    with Monitor(source) as reads:
        ran = run_keyferry("replicate", target.uri, env=around)
    assert ran.code == 0, ran.err
    assert keyspace(target) == {0: keyspace(source)[4]}
    assert max(len(one.args) - 1 for one in reads.commands if one.name == "MGET") == 7

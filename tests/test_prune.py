"""What `--repair --prune` removes: only what the source says, at that look, that it has not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ServerFactory
from tests.support.commands import at
from tests.support.compare import all_keys
from tests.support.filling import write_strings
from tests.support.forbidden import FORBIDDEN, USERS, write_with_forbidden
from tests.support.live import followed
from tests.support.processes import VERIFIED, Result, run_keyferry, start_keyferry
from tests.support.proxy import FaultProxy
from tests.support.respproxy import Answer, Args, Hooks, Proxy
from tests.support.servers import Server

LOGIN = ("--user", "bob", "-a", "pw")
#: The second user may read all keys, and write only those with `open:`.
READERS = (USERS[0], "user bob on >pw %R~* %W~open:* &* +@all")
#: Only the target has it, and the source would not say so.
EXTRA_SECRET = b"secret:extra"
SECRETS = {*FORBIDDEN, EXTRA_SECRET}


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """Where keys are listed that cannot be mended."""
    return tmp_path / "aside.jsonl"


def with_secrets(server: ServerFactory, kind: str) -> tuple[Server, Server]:
    """Both sides have the same keys, of which the source shows only some; the target has one more of either kind."""
    source, target = server(kind, acl=USERS), server(kind)
    for one in (source, target):
        write_with_forbidden(one)
    target.call("MSET", EXTRA_SECRET, "1", "open:extra", "1")
    return source, target


def pruned(source: Server, target: Any, *words: str, login: tuple[str, ...] = ()) -> Result:
    """A comparison that repairs and prunes; `login` is that at the source."""
    return run_keyferry(*at(source), *login, "compare", *at(target), "--repair", "--prune", *words)


def secrets_of(target: Server) -> set[bytes]:
    return {key for key in all_keys(target) if key.startswith(b"secret:")}


@pytest.mark.parametrize("filters", [(), ("--type", "string,hash")], ids=["all", "types"])
@pytest.mark.parametrize("kind", ["6.2", "9.1"])
def test_keys_that_the_source_does_not_show_stay(
    kind: str, filters: tuple[str, ...], server: ServerFactory, listed: Path
) -> None:
    """An error is no answer: whether the source has them, it does not say."""
    source, target = with_secrets(server, kind)
    ran = pruned(source, target, "--json", "--put-aside", str(listed), *filters, login=LOGIN)
    verify = json.loads(ran.out)["verify"]
    assert secrets_of(target) == SECRETS
    assert b"open:extra" not in all_keys(target)
    assert (ran.code, verify["removed"], verify["only_at_target"]) == (1, 1, 0)
    assert verify["unreadable"] == len(SECRETS)


def test_a_key_that_the_source_does_not_show_has_one_outcome(server: ServerFactory, tmp_path: Path) -> None:
    """It is met in both directions, as one of the source and as one of the target."""
    source, target = with_secrets(server, "7.0")
    file = tmp_path / "differences.jsonl"
    ran = run_keyferry(*at(source), *LOGIN, "compare", *at(target), "--json", "--diff-file", str(file))
    verify = json.loads(ran.out)["verify"]
    names = [json.loads(line)["key"].encode() for line in file.read_text().splitlines()]
    assert sorted(names) == sorted({*SECRETS, b"open:extra"})
    assert (verify["unreadable"], verify["ok"], verify["read"]) == (len(SECRETS), 350, 350 + len(SECRETS))


FILTERS = {"type": ("--type", "string,hash"), "ttl": ("--min-ttl", "1s"), "size": ("--max-size", "1mb")}


@pytest.mark.parametrize("filters", [(), *FILTERS.values()], ids=["all", *FILTERS])
@pytest.mark.parametrize("kind", ["6.2", "9.1"])
def test_a_key_that_only_the_target_shows_is_not_called_equal(
    kind: str, filters: tuple[str, ...], server: ServerFactory
) -> None:
    """Whether the source has it, and whether it passes there, it does not say."""
    source, target = server(kind, acl=USERS), server(kind)
    for one in (source, target):
        write_strings(one, 10, prefix="open:")
    target.call("SET", EXTRA_SECRET, "1")
    ran = run_keyferry(*at(source), *LOGIN, "compare", *at(target), "--json", *filters)
    verify = json.loads(ran.out)["verify"]
    assert (ran.code, verify["ok"], verify["unreadable"]) == (1, 10, 1)


def test_a_dry_run_says_that_keys_that_the_source_does_not_show_are_kept(server: ServerFactory) -> None:
    source, target = with_secrets(server, "7.0")
    ran = pruned(source, target, "--dry-run", login=LOGIN)
    planned = {tuple(line.split()[:3]) for line in ran.out.splitlines() if line[7:8] in ("!", "<")}
    assert planned == {
        *(("copy", "!", f'"{key.decode()}"') for key in FORBIDDEN),
        ("keep", "!", f'"{EXTRA_SECRET.decode()}"'),
        ("remove", "<", '"open:extra"'),
    }


def test_a_copy_that_prunes_keeps_what_the_source_does_not_show(server: ServerFactory, listed: Path) -> None:
    source, target = with_secrets(server, "7.0")
    words = ("--repair", "--prune", "--json", "--put-aside", str(listed))
    ran = run_keyferry(*at(source), *LOGIN, "replicate", *at(target), *words, env=VERIFIED)
    assert (ran.code, json.loads(ran.out)["verify"]["removed"]) == (1, 1), ran.err
    assert secrets_of(target) == SECRETS


def test_a_live_copy_that_prunes_keeps_what_the_source_does_not_show(server: ServerFactory, listed: Path) -> None:
    source, target = with_secrets(server, "7.0")
    words = ("--live", "--repair", "--prune", "--json", "--idle-timeout", "500", "--put-aside", str(listed))
    with start_keyferry(*at(source), *LOGIN, "replicate", *at(target), *words, env=VERIFIED) as run:
        done = followed(run)
    assert done.ran.code == 1, done.ran.err
    assert secrets_of(target) == SECRETS


@pytest.mark.parametrize("command", ["compare", "replicate"])
def test_keys_that_the_target_refuses_to_remove_are_told(command: str, server: ServerFactory, listed: Path) -> None:
    """Others are removed, and the run ends as one that has left something undone."""
    source, target = server("7.0"), server("7.0", acl=READERS)
    source.call("SET", "open:1", "1")
    target.call("MSET", "open:1", "1", "open:extra", "1", "a", "1", "b", "1", "c", "1")
    words = ("--repair", "--prune", "--json", "--put-aside", str(listed))
    ran = run_keyferry(*at(source), command, *at(target), *LOGIN, *words, env=VERIFIED)
    verify = json.loads(ran.out)["verify"]
    assert all_keys(target) == {b"open:1", b"a", b"b", b"c"}
    assert (ran.code, verify["removed"], verify["only_at_target"]) == (1, 1, 3), ran.err
    records = [json.loads(line) for line in listed.read_text().splitlines()]
    assert sorted(record["key"] for record in records) == ["a", "b", "c"]
    assert all("target: NOPERM" in record["reason"] for record in records)
    assert ran.err.count('not repaired "a"') == 1


def with_extra_keys(server: ServerFactory) -> tuple[Server, Server]:
    """Two servers with the same 100 keys; the target has 20 more."""
    source, target = server("7.0"), server("7.0")
    for one in (source, target):
        write_strings(one, 100)
    write_strings(target, 20, prefix="extra:")
    return source, target


def test_what_was_removed_counts_though_the_reply_was_lost(server: ServerFactory) -> None:
    source, target = with_extra_keys(server)
    with FaultProxy(target.port, "cut at reply UNLINK connection 2+") as proxy:
        ran = pruned(source, proxy, "--json")
        proxy.wait_until_fired(0)
    verify = json.loads(ran.out)["verify"]
    assert (ran.code, verify["removed"], verify["verdict"]) == (0, 20, "OK:100 V:0 >:0 <:0 T:0"), ran.err
    assert all_keys(target) == all_keys(source)


class ComesAtTheSource(Hooks):
    """While the target refuses to remove anything, one of the keys is written at the source."""

    def __init__(self, source: Server) -> None:
        self.source, self.refused = source, False

    def on_command(self, args: Args) -> Answer:
        if args[0] != b"UNLINK" or self.refused:
            return args
        if args[1] == b"extra:7":
            self.refused = True
            self.source.call("SET", "extra:7", "new")
        return b"-LOADING Redis is loading the dataset in memory\r\n"


def test_a_key_is_looked_at_again_before_its_removal_is_sent_again(server: ServerFactory) -> None:
    """Time has passed: the source may have it by now."""
    source, target = with_extra_keys(server)
    hooks = ComesAtTheSource(source)
    with Proxy(target, hooks) as proxy:
        pruned(source, proxy)
    assert hooks.refused
    assert all_keys(target) - all_keys(source) == set()
    assert b"extra:7" in all_keys(target)

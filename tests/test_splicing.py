"""Windows whose replies become writes as they are, over real connections; and copies with and without the part in C."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from keyferry.workers import both, splicing
from keyferry.workers.compare import Comparison
from keyferry.workers.compiled import BUILT, PURE_PYTHON
from keyferry.workers.expiry import LATEST, Clock
from keyferry.workers.link import TELLING_KEYS
from keyferry.workers.read import Method
from keyferry.workers.replies import listed
from keyferry.workers.slots import SLOTS, slot_of
from keyferry.workers.splicing import Splicing
from keyferry.workers.window import Window
from tests.conftest import ClustersFactory, ServerFactory
from tests.support.clusters import Cluster
from tests.support.compare import all_keys, assert_equal, differences
from tests.support.compiled import compiled
from tests.support.dataset import fill
from tests.support.monitor import Executed, Monitor
from tests.support.mutations import apply_all, mutations
from tests.support.processes import VERIFIED, run_keyferry
from tests.support.respproxy import Answer, Args, Hooks, Proxy
from tests.support.servers import Server
from tests.support.summary import result_of
from tests.support.window_loop import BY_TURNS, CLOCK, Loop

#: So many keys go before the others: until then, nobody knows where in the bytes a request's replies begin.
FIRST = 50


class Copier:
    """Copies keys by one window after the other."""

    def __init__(self, source: Server | Proxy, targets: list[Server], clock: Clock, owners: list[int] | None) -> None:
        self.loop = Loop(source, targets, clock, owners)
        self.loop.run_until(lambda: self.loop.link.ready)

    def copy(self, keys: list[bytes], method: Method = Method.MGET) -> Window:
        settled: list[Window] = []
        Splicing(self.loop.link, keys, method, settled.append).start()
        self.loop.run_until(lambda: bool(settled))
        return settled[0]


@contextmanager
def copier(
    source: Server | Proxy, target: Server | list[Server], clock: Clock = CLOCK, owners: list[int] | None = None
) -> Iterator[Copier]:
    """To a server, or to those that own the slots of a cluster."""
    copies = Copier(source, target if isinstance(target, list) else [target], clock, owners)
    yield copies
    copies.loop.close()


def forbid_parsing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splicing, "listed", lambda _: pytest.fail("parsed"))


@compiled
@pytest.mark.parametrize("kind", ["6.2", "7.0"])
@pytest.mark.parametrize("method", [Method.MGET, Method.DUMP])
def test_no_reply_is_parsed(method: Method, kind: str, server: ServerFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """All types, some with an expiry; 6.2 tells what remains of it, 7.0 when it is."""
    source, target = server(kind), server("7.0")
    fill(source, 500)
    keys = sorted(all_keys(source))
    monkeypatch.setattr("keyferry.workers.unparsed.MOMENT_MS", 10_000)  # a machine that is busy tells no moments
    with copier(source, target, Clock(absolute=kind != "6.2")) as copies:
        copies.copy(keys[:FIRST], method)
        forbid_parsing(monkeypatch)
        assert copies.copy(keys[FIRST:], method).counts.copied == len(keys) - FIRST
    assert_equal(source, target, ttl_tolerance_ms=100 if kind == "6.2" else 0)


@compiled
@pytest.mark.parametrize("method", [Method.MGET, Method.DUMP])
@pytest.mark.parametrize("tagged", [0.0, 1.0], ids=["hardly two in a slot", "many in a slot"])
@pytest.mark.parametrize("from_cluster", [False, True], ids=["from a server", "from a node"])
def test_no_reply_is_parsed_where_several_nodes_take_the_keys(
    from_cluster: bool, tagged: float, method: Method, server: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read by MGET, by one for each slot, or by GET; two plain servers, which take any key, stand for the nodes."""
    source, targets = server("7.0"), [server("7.0"), server("7.0")]
    fill(source, 500, tagged=tagged)
    keys = sorted(all_keys(source), key=lambda key: (slot_of(key) % 2, key))
    with copier(source, targets, owners=BY_TURNS) as copies:
        copies.loop.link.from_cluster = from_cluster
        copies.copy(keys[:FIRST], method)
        forbid_parsing(monkeypatch)
        assert copies.copy(keys[FIRST:], method).counts.copied == len(keys) - FIRST
    for number, target in enumerate(targets):
        assert all_keys(target) == {key for key in keys if slot_of(key) % 2 == number}
        assert all("missing" in line for line in differences(source, target, limit=1000))


@compiled
@pytest.mark.parametrize("moved", [False, True], ids=["nothing moves", "a slot moves"])
def test_where_one_node_takes_all_a_slot_that_has_moved_is_left_to_python(moved: bool, server: ServerFactory) -> None:
    """Nobody knows the slots of keys that lie in any; once a slot has moved on the way, they have to be found out."""
    source, targets = server("7.0"), [server("7.0"), server("7.0")]
    fill(source, 500)
    keys = sorted(all_keys(source))
    with copier(source, targets, owners=[0] * SLOTS) as copies:
        link = copies.loop.link
        link.from_cluster, link.reader.node.slots = True, [(0, SLOTS - 1)]
        link.note_shared(TELLING_KEYS, shared=False)
        copies.copy(keys[:FIRST])
        settled: list[Window] = []
        Splicing(link, keys, Method.MGET, settled.append).start()
        gone = {slot_of(keys[-1])} if moved else set()
        for slot in gone:
            link.router.move(slot, 1)
        copies.loop.run_until(lambda: bool(settled))
    assert settled[0].counts.copied == len(keys)
    assert all_keys(targets[0]) - all_keys(targets[1]) == {key for key in keys if slot_of(key) not in gone}
    assert all_keys(targets[1]) == {key for key in keys if slot_of(key) in gone}


@compiled
def test_info_after_the_values_says_whether_expiries_had_to_be_asked_for(server: ServerFactory) -> None:
    """Once a key has one, the window begins again and asks for all."""
    source, target = server("7.0"), server("7.0")
    source.call("MSET", *[word for number in range(200) for word in (f"key:{number:03}", "value")])
    keys = sorted(all_keys(source))
    with copier(source, target) as copies, Monitor(source) as seen:
        link = copies.loop.link
        link.no_expiries = True
        copies.copy(keys[:FIRST])
        assert copies.copy(keys[FIRST:150]).counts.copied == 150 - FIRST
        assert link.no_expiries
        source.call("EXPIRE", keys[180], 1_000)
        assert copies.copy(keys[150:]).counts.copied == 50
        assert not link.no_expiries
    assert {one.args[1] for one in seen.commands if one.name == "PEXPIRETIME"} == set(keys[150:])
    assert_equal(source, target)


class RefusesOnce(Hooks):
    """Answers one DUMP by an error."""

    def __init__(self) -> None:
        self.refused: list[bytes] = []

    def on_command(self, args: Args) -> Answer:
        if args[0] != b"DUMP" or self.refused:
            return args
        self.refused.append(args[1])
        return b"-ERR not now\r\n"


@compiled
def test_where_a_payload_is_refused_the_window_begins_again_and_is_parsed(server: ServerFactory) -> None:
    """What was a string is in a request already: nothing of it may be left out, and nothing counts twice."""
    source, target = server("7.0"), server("7.0")
    fill(source, 500)
    keys, hooks = sorted(all_keys(source)), RefusesOnce()
    with Proxy(source, hooks) as proxy, copier(proxy, target) as copies:
        copies.copy([key for key in keys if source.call("TYPE", key) == b"string"][:1])
        window = copies.copy(keys)
    assert hooks.refused
    assert (window.counts.copied, window.counts.retried, window.asides) == (len(keys), 0, [])
    assert_equal(source, target)


@compiled
def test_large_values_are_not_copied_once_more(server: ServerFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python sends them from where they are; a window with one such value among small ones is spliced all the same."""
    source, target = server("7.0"), server("7.0")
    keys = [b"key:%03d" % number for number in range(100)]
    source.call("MSET", *[word for key in keys for word in (key, "x" * 20_000)])
    with copier(source, target) as copies:
        copies.copy(keys[:10])
        parsed: list[object] = []
        before = splicing.listed
        monkeypatch.setattr(splicing, "listed", lambda replies: parsed.append(replies) or before(replies))
        assert copies.copy(keys[10:]).counts.bytes == 90 * 20_000
        assert parsed
        source.call("MSET", *[word for key in keys[1:] for word in (key, "small")])
        forbid_parsing(monkeypatch)
        window = copies.copy(keys)
    assert (window.counts.copied, window.largest) == (100, 20_000)
    assert_equal(source, target)


@compiled
@pytest.mark.parametrize("tags", [0, 3, 1_000], ids=["servers", "nodes, many in a slot", "nodes, hardly two in a slot"])
@pytest.mark.parametrize("method", [Method.MGET, Method.GET, Method.DUMP])
def test_replies_of_both_sides_that_are_the_same_are_not_parsed(
    method: Method, tags: int, server: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for what is no string, which is asked for by its kind; and what differs is found all the same.

    Between clusters, too, where both nodes are asked alike.
    """
    source, target = server("7.0"), server("7.0")
    names = [f"{{{number % (tags or 1)}}}key:{number:03}" for number in range(200)]
    for one in (source, target):
        one.call("MSET", *[word for name in names for word in (name, "value of " + name)])
        one.call("EXPIREAT", names[120], 4_000_000_000)
    keys = [name.encode() for name in names]
    with copier(source, target, owners=[0] * SLOTS if tags else None) as copies:
        copies.loop.link.from_cluster = bool(tags)
        compare = partial(compared, copies.loop, method)
        compare(keys[:FIRST])
        parsed: list[object] = []
        monkeypatch.setattr(both, "listed", lambda replies: parsed.append(replies) or listed(replies))
        same = compare(keys[FIRST:])
        assert (same.counts.copied, same.counts.bytes, parsed) == (
            150,
            sum(len("value of " + name) for name in names[FIRST:]),
            [],
        )
        target.call("SET", names[199], "another")
        differs = compare(keys[FIRST:])
    assert (differs.counts.copied, [one.key for one in differs.findings]) == (149, [keys[199]])
    assert parsed


def compared(loop: Loop, method: Method, keys: list[bytes]) -> Comparison:
    settled: list[Comparison] = []
    Comparison(loop.link, keys, method, settled.append).start()
    loop.run_until(lambda: bool(settled))
    return settled[0]


@pytest.mark.parametrize("pure", ["", "1"], ids=["C", "Python"])
@pytest.mark.parametrize("kind", ["6.2", "7.0", "8.2", "9.1"])
def test_a_key_may_end_at_the_last_instant_that_there_is(kind: str, pure: str, server: ServerFactory) -> None:
    """As legal an expiry as any other; a copy keeps it, and takes it for no fault of the connection."""
    source, target = server(kind), server(kind)
    with source.connect() as connection:
        connection.pipeline([("SET", f"key:{number}", "value") for number in range(2_000)])
        connection.must("SET", "last", "value", "PXAT", LATEST)
        connection.must("HSET", "last:hash", "field", "value")
        connection.must("PEXPIREAT", "last:hash", LATEST)
    words = ("-p", str(source.port), "replicate", "-p", str(target.port), "--json")
    ran = run_keyferry(*words, env={PURE_PYTHON: pure, **VERIFIED})
    assert (ran.code, "connection lost" in ran.err, result_of(ran)["retried"]) == (0, False, 0), ran.err
    ask = "PTTL" if kind == "6.2" else "PEXPIRETIME"
    for key in ("last", "last:hash"):
        assert target.call(ask, key) == pytest.approx(LATEST, abs=10**13 if kind == "6.2" else 0)


# ---- with and without ------------------------------------------------------------------------------------------------


def written(commands: list[Executed]) -> dict[bytes, tuple[bytes, ...]]:
    """What was said of each key at last, however keys were put together."""
    found: dict[bytes, tuple[bytes, ...]] = {}
    for one in commands:
        if one.name == "MSET":
            found |= {key: (value,) for key, value in zip(one.args[1::2], one.args[2::2])}
        elif one.name in ("SET", "RESTORE"):
            found[one.args[1]] = one.args[2:]
    return found


@compiled
@pytest.mark.parametrize("method", ["native", "dump"])
def test_with_and_without_the_part_in_c_the_same_is_written(method: str, server: ServerFactory) -> None:
    """By the two methods that do not depend on which window is settled first, as `auto` does."""
    source, targets = server("7.0"), (server("7.0"), server("7.0"))
    fill(source, 3_000)
    found, results = [], []
    for target, pure in zip(targets, ("", "1")):
        with Monitor(target) as seen:
            words = ("-p", str(source.port), "replicate", "-p", str(target.port), "--method", method, "--json")
            ran = run_keyferry(*words, env={PURE_PYTHON: pure})
        assert (ran.code, "unknown" in ran.err) == (0, False), ran.err
        of_keys = written(seen.commands)
        found.append({key: of_keys.get(key) for key in all_keys(source)})  # our tests of what we may do have other keys
        results.append({name: result_of(ran)[name] for name in ("keys", "bytes", "expired", "put_aside", "retried")})
        assert_equal(source, target)
    assert found[0] == found[1]
    assert results[0] == results[1]


@compiled
@pytest.mark.parametrize("nodes", [3, 2, 0], ids=["divided alike", "divided otherwise", "into one server"])
@pytest.mark.parametrize("kind", ["7.0", "8.2"])
def test_with_and_without_the_part_in_c_the_same_is_written_by_a_cluster(
    kind: str, nodes: int, server: ServerFactory, clusters: ClustersFactory
) -> None:
    """Cursors of 8.2 go by slot, so that keys of a slot are read and written together; those of 7.0 do not."""
    source, *others = clusters((kind, 3, 0), *[(kind, nodes, 0)] * bool(nodes))
    target = others[0] if others else server(kind)
    targets = target.masters if isinstance(target, Cluster) else [target]
    fill(source, 3_000, tagged=0.3)
    found, results = [], []
    for pure in ("", "1"):
        for one in targets:
            one.call("FLUSHALL")
        with ExitStack() as stack:
            monitors = [stack.enter_context(Monitor(one)) for one in targets]
            words = ("replicate", source.uri, target.uri, "--method", "native", "--json")
            ran = run_keyferry(*words, env={PURE_PYTHON: pure})
        assert (ran.code, "unknown" in ran.err) == (0, False), ran.err
        of_keys = [written(seen.commands) for seen in monitors]
        found.append([{key: one.get(key) for key in all_keys(source)} for one in of_keys])
        results.append({name: result_of(ran)[name] for name in ("keys", "bytes", "expired", "put_aside", "retried")})
        assert_equal(source, target)
    assert found[0] == found[1]
    assert results[0] == results[1]


@compiled
@pytest.mark.parametrize("kind", ["6.2", "7.0"])
def test_with_and_without_the_part_in_c_a_comparison_says_the_same(
    kind: str, server: ServerFactory, tmp_path: Path
) -> None:
    """Of equal databases, and of single differences of each kind among 3000 keys of all types."""
    source, target = server(kind), server(kind)
    fill(source, 3_000)
    words = ("-p", str(source.port), "replicate", "-p", str(target.port), "--no-verify")
    assert run_keyferry(*words).code == 0
    chosen = [one for one in mutations() if one.since <= kind]
    for one in (source, target):
        apply_all(one, [command for mutation in chosen for command in mutation.build])
    for change in ([], [command for mutation in chosen for command in mutation.change]):
        apply_all(target, change)
        said = []
        for pure in ("", "1"):
            told = tmp_path / f"{pure}-{len(change)}"
            ran = run_keyferry(
                *("-p", str(source.port), "compare", "-p", str(target.port), "--json", "--diff-file", str(told)),
                env={PURE_PYTHON: pure},
            )
            records = map(json.loads, told.read_text().splitlines())
            found = sorted((one["key"], one["kind"], str(one["where"])) for one in records)
            said.append((ran.code, result_of(ran)["verify"]["verdict"], found))
        assert said[0] == said[1]
        assert said[0][0] == bool(change)


@pytest.mark.parametrize(("pure", "built"), [("", BUILT), ("1", False)])
def test_the_part_in_c_can_be_left_out(pure: str, built: bool) -> None:
    code = "from keyferry.workers.compiled import BUILT; print(BUILT)"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, env={PURE_PYTHON: pure}
    )
    assert ran.stdout.strip() == str(built)

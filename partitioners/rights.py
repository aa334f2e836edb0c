"""What a user must be allowed at each side: one table, for the check before a copy, `ping --for`, and README's lines.

Each row is a command that a run sends, when it sends it, and a probe: words that change nothing. Reads ask for a key
that nobody has; writes have arguments that the server refuses once it has let the command through, such as a payload
that is none. What a server answers to them: `acl.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .server import Server

SOURCE, TARGET = "source", "target"
#: Stands for a key's name in a probe.
KEY = b"<key>"
#: The CLIENT ID of nobody: the largest there is. Of 0, older servers think that it stands for everybody.
NOBODY = (1 << 63) - 1
Words = tuple[str | bytes | int, ...]


@dataclass(frozen=True)
class Uses:
    """What a run does, as far as rights depend on it."""

    options: Mapping[str, Any]  # of `replicate`, all with a value
    absolute: frozenset[str] = frozenset(("source", "target"))  # sides that know PEXPIRETIME; others have PTTL
    selects: bool = False  # it uses databases other than 0
    writes: bool = True  # it copies; else it only compares
    replicas: bool = False  # the source's nodes are replicas
    switches: bool = False  # notifications are switched on for the run

    def replaces_none(self) -> bool:
        """Keys that exist at the target are looked at."""
        return bool(self.options["on_conflict"] != "replace")

    def verifies(self) -> bool:
        """Both sides are read after the copy."""
        return not self.options["no_verify"]

    def follows(self) -> bool:
        """It follows the changes of the source, and removes what goes there."""
        return bool(self.options["live"])

    def compares(self) -> bool:
        """Keys of both sides are compared, by their elements where their bytes differ."""
        return self.verifies() or self.replaces_none()


@dataclass(frozen=True)
class Right:
    """A command of one side. `without`: what a run does not know where it is refused; "" = it cannot do without."""

    command: str  # with its subcommand, as it is typed
    side: str
    probe: Words = ()  # the words after the command
    when: Callable[[Uses], bool] = lambda uses: True
    without: str = ""
    silent: bool = False  # what is missing then deserves no line in a plan
    since: tuple[int, int] = (0, 0)  # the version of Redis that has it first
    clustered: bool = False  # of nodes of clusters only
    writes: bool = False  # any error but a refusal is what the probe is for

    @property
    def words(self) -> Words:
        """The whole probe."""
        return (*self.command.split(), *self.probe)

    @property
    def rule(self) -> str:
        """How an ACL allows it."""
        return "+" + self.command.lower().replace(" ", "|")


def _source(command: str, *probe: str | bytes | int, **more: Any) -> Right:
    return Right(command, SOURCE, probe, **more)


def _target(command: str, *probe: str | bytes | int, **more: Any) -> Right:
    return Right(command, TARGET, probe, **more)


def _both(command: str, *probe: str | bytes | int, **more: Any) -> list[Right]:
    return [_source(command, *probe, **more), _target(command, *probe, **more)]


def _strings(uses: Uses) -> bool:
    return bool(uses.options["method"] != "dump")


def _removes(uses: Uses) -> bool:
    return uses.writes and (bool(uses.options["prune"]) or uses.follows())


def _values(uses: Uses) -> bool:
    """The target's strings are read as values."""
    return uses.compares() and _strings(uses)


def _lives(uses: Uses) -> bool:
    return (uses.options["min_ttl"], uses.options["max_ttl"]) != (None, None)


def _expiries(uses: Uses) -> bool:
    return uses.compares() or not uses.options["no_ttl"] or _lives(uses)


def _expiries_there(uses: Uses) -> bool:
    return uses.compares() or (uses.follows() and _lives(uses))


def _told(side: str, absolute: bool) -> Callable[[Uses], bool]:
    """Whether a side tells expiries in that way, and is asked."""
    asked = _expiries if side == SOURCE else _expiries_there
    return lambda uses: asked(uses) and (side in uses.absolute) == absolute


def _sizes(uses: Uses) -> bool:
    return uses.options["max_size"] is not None


def _sizes_there(uses: Uses) -> bool:
    """Which keys filters choose at the target is asked there, also where nothing is compared."""
    return _sizes(uses) and (uses.verifies() or uses.follows())


def _elements() -> list[Right]:
    """What compares two keys element by element, where their bytes differ."""
    reads: list[tuple[str, Words]] = [
        ("STRLEN", ()), ("LLEN", ()), ("SCARD", ()), ("HLEN", ()), ("ZCARD", ()), ("XLEN", ()), ("GETRANGE", (0, 0)),
        ("LRANGE", (0, 0)), ("SMEMBERS", ()), ("SSCAN", (0,)), ("SMISMEMBER", ("m",)), ("HGETALL", ()), ("HSCAN", (0,)),
        ("HMGET", ("f",)), ("ZRANGE", (0, 0)), ("XRANGE", ("-", "+")),
    ]  # fmt: skip
    rows = [right for name, more in reads for right in _both(name, KEY, *more, when=Uses.compares)]
    # These answer with an error where there is no such key.
    rows += _both("XINFO", "STREAM", KEY, when=Uses.compares, writes=True)
    rows += _both("XPENDING", KEY, "group", when=Uses.compares, writes=True)
    return rows + _both("HPEXPIRETIME", KEY, "FIELDS", 1, "f", when=Uses.compares, since=(7, 4))


RESYNC = "which resyncs of the replica are full ones: each counts as one"
LATE = "that nothing of a lost connection is executed late"

RIGHTS: tuple[Right, ...] = (
    *_both("PING"),
    *_both("SELECT", 0, when=lambda uses: uses.selects),
    *_both("DBSIZE"),
    *_both("TIME"),
    _source("SCAN", 0, "COUNT", 1, when=lambda uses: not uses.options["keys_from"]),
    _source("DUMP", KEY),
    _source("MGET", KEY, when=_strings),
    _source("GET", KEY, when=_strings),
    _source("PEXPIRETIME", KEY, when=_told(SOURCE, True)),
    _source("PTTL", KEY, when=_told(SOURCE, False)),
    _source("TYPE", KEY, when=lambda uses: bool(uses.options["type"]) or uses.compares()),
    _source("EXISTS", KEY, when=lambda uses: uses.verifies() or uses.follows()),
    _source("STRLEN", KEY, when=lambda uses: _sizes(uses) and not uses.compares()),
    _source("MULTI", when=lambda uses: bool(uses.options["atomic"])),
    _source("EXEC", when=lambda uses: bool(uses.options["atomic"])),  # right after MULTI
    _target("RESTORE", KEY, 0, "none", when=lambda uses: uses.writes, writes=True),
    _target("MSET", KEY, "value", KEY, when=lambda uses: uses.writes and _strings(uses), writes=True),
    _target("SET", KEY, "value", "PXAT", "never", when=lambda uses: uses.writes and _strings(uses), writes=True),
    # Of a key that is not there, so that nothing is removed.
    _target("UNLINK", KEY, when=_removes, writes=True),
    _target("EXISTS", KEY, when=lambda uses: uses.compares() or uses.follows()),
    _target("SCAN", 0, "COUNT", 1, when=lambda uses: uses.verifies() or uses.follows()),
    _target("DUMP", KEY, when=Uses.compares),
    _target("MGET", KEY, when=_values),
    _target("GET", KEY, when=_values),
    _target("PEXPIRETIME", KEY, when=_told(TARGET, True)),
    _target("PTTL", KEY, when=lambda uses: uses.replaces_none() or _told(TARGET, False)(uses)),
    _target("TYPE", KEY, when=lambda uses: uses.compares() or (uses.follows() and bool(uses.options["type"]))),
    _target("STRLEN", KEY, when=lambda uses: _sizes_there(uses) and not uses.compares()),
    *_elements(),
    _source("CLIENT TRACKING", "OFF", when=Uses.follows, since=(6, 0)),
    _source("CONFIG SET", "keyferry", "none", when=lambda uses: uses.switches, writes=True, since=(2, 0)),
    *_both("CLUSTER SLOTS", clustered=True),
    # Slots may move at any time: without these nobody would see it, or be able to follow them.
    *_both("CLUSTER NODES", clustered=True),
    *_both("CLUSTER MYID", clustered=True),
    _source("CLUSTER COUNTKEYSINSLOT", 0, clustered=True),
    _source("CLUSTER GETKEYSINSLOT", 0, 1, clustered=True),
    *_both("ASKING", clustered=True),
    *_both("CLUSTER INFO", clustered=True, without="whether the cluster calls itself healthy"),
    _source("READONLY", clustered=True, when=lambda uses: uses.replicas),
    _source("CLIENT LIST", "TYPE", "MASTER", when=lambda uses: uses.replicas, without=RESYNC),
    *_both("INFO", "server", without="whether the same process answers all the time, and whether it evicts keys"),
    *_both("CONFIG GET", "databases", without="how many databases it has, and how long a value may be"),
    _source("MEMORY USAGE", KEY, when=_sizes),
    _target("MEMORY USAGE", KEY, when=_sizes_there),
    _source("MEMORY USAGE", KEY, when=lambda uses: not _sizes(uses), without="how large values are", silent=True),
    _source("CLIENT INFO", without="whether something stands between us and it", silent=True, since=(6, 2)),
    _source("CLIENT NO-TOUCH", "OFF", without="that reading leaves its LRU and LFU as they are", since=(7, 2)),
    *_both("CLIENT NO-EVICT", "ON", without="that it keeps our connections", silent=True, since=(7, 0)),
    *_both("CLIENT SETNAME", "keyferry:control", without="the names of our connections", silent=True),
    _target("COMMAND", when=Uses.follows, without="which commands of its modules only read", silent=True),
    _target("CLIENT ID", when=lambda uses: uses.writes, without=LATE),
    _target("CLIENT KILL", "ID", NOBODY, when=lambda uses: uses.writes, without=LATE, writes=True),
)  # fmt: skip


def rights_of(uses: Uses, side: str, server: Server | None = None) -> list[Right]:
    """The rows that concern one side of a run, in the order of the table: of a single server that knows them all, or
    of `server`."""
    rows = [right for right in RIGHTS if right.side == side and right.when(uses)]
    if server is None:
        return [right for right in rows if not right.clustered]
    rows = [right for right in rows if server.clustered or not right.clustered]
    return [right for right in rows if not any(right.since) or server.knows(right.since)]


def acl_rules(rights: Iterable[Right]) -> str:
    """What an ACL line says to allow these."""
    return " ".join(dict.fromkeys(right.rule for right in rights))

"""The options, as one table: it drives the parser, the help, the environment and the Python API.

An option stands here only once it works; to every other word the parser says "unknown option".
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from . import values
from .values import Kind
from .workers.endpoint import READ_FROM

#: Where an option may stand.
SIDE = "side"  # before the command for the source, after it for the target
GLOBAL = "global"  # on both sides of the command
COMMAND = "command"  # after the command
KEYWORD = "keyword"  # nowhere: a keyword of the Python API only

#: How many servers a command works on.
NONE, ONE, MANY, TWO = "none", "one", "many", "two"


@dataclass(frozen=True)
class Command:
    """One command; `name` is the canonical one."""

    name: str
    servers: str
    help: str
    alias: str = ""


COMMANDS = (
    Command("replicate", TWO, "copy one server to another", alias="sync"),
    Command("compare", TWO, "verify one server against another"),
    Command("generate", ONE, "write a data set of all types", alias="gen"),
    Command("ping", MANY, "reach servers: version, role, round-trip times"),
    Command("demo", NONE, "copy between two throw-away servers, to see how it goes"),
)
#: The commands by name and by alias.
COMMAND_NAMES = {name: command for command in COMMANDS for name in (command.name, command.alias) if name}


@dataclass(frozen=True)
class Option:
    """A row of the table. `kind` None is a flag; `default` may be a function that finds it out at run time."""

    name: str  # the long name without its dashes
    place: str
    kind: Kind | None
    help: str
    letter: str = ""
    default: object = None
    default_text: str = ""  # as the help shows it; "" shows none
    metavar: str = ""
    group: str = ""  # heading in the help
    commands: tuple[str, ...] = ()  # COMMAND and KEYWORD: the canonical names of those that have it
    environment: bool = True
    repeats: bool = False  # may be given several times; the value is the list of all
    mistaken: tuple[str, ...] = ()  # names in other tools; they are not accepted, but lead here
    elsewhere: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)  # command → its group, metavar, help
    source_only: bool = False  # SIDE: of the source of commands on two servers only

    def of(self, command: str) -> Option:
        """The row as a command has it."""
        if command not in self.elsewhere:
            return self
        group, metavar, text = self.elsewhere[command]
        return replace(self, group=group, metavar=metavar, help=text)

    @property
    def key(self) -> str:
        """The name in Python: with underscores."""
        return self.name.replace("-", "_")

    @property
    def is_flag(self) -> bool:
        """Takes no value."""
        return self.kind is None


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _all_types() -> Any:
    from .workers.synth import DEFAULT_SHARES  # reads tables that the other commands do without

    return DEFAULT_SHARES


def _all_operations() -> Any:
    from .workers.churn import DEFAULT_OPERATIONS

    return DEFAULT_OPERATIONS


def _side(name: str, letter: str, kind: Kind | None, metavar: str, help: str, **more: Any) -> Option:
    return Option(name, SIDE, kind, help, letter=letter, metavar=metavar, **more)


def _global(name: str, letter: str, kind: Kind | None, metavar: str, help: str, **more: Any) -> Option:
    default = False if kind is None else None
    return Option(
        name, GLOBAL, kind, help, letter=letter, metavar=metavar, group="global", **{"default": default} | more
    )


_HOW_MANY = {"metavar": "N"}
_REPLICATE = ("replicate",)
_BOTH = ("replicate", "compare")
_WORKING = ("replicate", "compare", "generate")
_GENERATE = ("generate",)


def _replicate(group: str, name: str, kind: Kind | None, help: str, **more: Any) -> Option:
    default = False if kind is None else None
    return Option(name, COMMAND, kind, help, group=group, **{"default": default, "commands": _REPLICATE} | more)


def _both(group: str, name: str, kind: Kind | None, help: str, **more: Any) -> Option:
    return _replicate(group, name, kind, help, **{"commands": _BOTH} | more)


def _generate(name: str, kind: Kind | None, help: str, **more: Any) -> Option:
    return _replicate("data", name, kind, help, **{"commands": _GENERATE} | more)


def _churn(name: str, kind: Kind | None, help: str, **more: Any) -> Option:
    return _replicate("churn", name, kind, help, **{"commands": _GENERATE} | more)


def _keyword(name: str, kind: Kind, help: str, **more: Any) -> Option:
    return Option(name, KEYWORD, kind, help, commands=_BOTH, environment=False, **more)


OPTIONS = (
    _side("hostname", "h", values.HOST, "HOST", "server's host", default_text="127.0.0.1", mistaken=("host",)),
    _side("port", "p", values.PORT, "PORT", "server's port", default_text="6379"),
    _side("socket", "s", values.TEXT, "PATH", "Unix socket; overrides host and port", mistaken=("unixsocket",)),
    _side("user", "", values.TEXT, "NAME", "ACL user; needs a password", mistaken=("username",)),
    _side("pass", "a", values.PASSWORD, "PW", "password; asked for where left out", mistaken=("password", "auth")),
    _side("askpass", "", None, "", "ask for the password on the terminal", default=False),
    _side("pass-file", "", values.TEXT, "FILE", "password: first line of a file"),
    _side("uri", "u", values.TEXT, "URI", "redis://[[user]:pw@]host[:port][/db]", mistaken=("url",)),
    _side("timeout", "o", values.TIMEOUT, "SEC", "longest wait for a reply", default_text="60"),
    _side("db", "n", values.DATABASE, "N", "database number", default_text="0", mistaken=("database",)),
    _side("cluster", "c", None, "", "fail unless it is a cluster", default=False),
    _side("tls", "t", None, "", "encrypt, as rediss:// does", default=False, mistaken=("ssl",)),
    _side("cacert", "", values.TEXT, "FILE", "authorities to trust", default_text="the system's",
          mistaken=("ca-cert", "cafile")),
    _side("cacertdir", "", values.TEXT, "DIR", "the same, by hashed names"),
    _side("cert", "", values.TEXT, "FILE", "our certificate"),
    _side("key", "", values.TEXT, "FILE", "its private key"),
    _side("sni", "", values.TEXT, "NAME", "name to ask for and check", default_text="the host",
          mistaken=("servername",)),
    _side("insecure", "", None, "", "check no certificate", default=False),
    _side("tls-ciphers", "", values.TEXT, "LIST", "ciphers of TLS 1.2"),
    _side("tls-ciphersuites", "", values.TEXT, "LIST", "ciphers of TLS 1.3"),
    _side("remap", "", values.REMAP, "A=B", "node A of the cluster is reached at B", repeats=True),
    _side("read-from", "", values.choice(*READ_FROM), "WHO", "source only: master or replica",
          default_text="master", source_only=True),
    _side("pool", "m", values.POOL, "N", "most connections to a node", default_text="max(8, workers)"),
    _side("latency", "l", None, "", "show how long requests take", default=False),
    _global("help", "", None, "", "show this help", environment=False),
    _global("version", "V", None, "", "show the version", environment=False),
    _global("quiet", "q", None, "", "log errors only", mistaken=("silent",)),
    _global("info", "i", None, "", "log more", mistaken=("verbose",)),
    _global("debug", "d", None, "", "log most, with tracebacks"),
    _global("log-format", "", values.choice("text", "json"), "FORMAT", "text or json", default="text"),
    _global("log-file", "", values.TEXT, "FILE", "log to a file as well"),
    _global("no-color", "", None, "", "no colours", mistaken=("no-colour",)),
    _both("what", "dbs", values.DATABASES, "databases, keeping their numbers", metavar="all|N,N"),
    _both("what", "db-map", values.RENAMES, "databases with new numbers", metavar="N:N,N:N"),
    _both("what", "merge-dbs", None, "let --db-map put two into one"),
    _both("what", "match", values.GLOB, "keys that fit, by the source's SCAN", metavar="GLOB"),
    _both("what", "type", values.TYPES, "keys of these types", metavar="T,T"),
    _both("what", "include", values.GLOB, "keys that fit one of these", metavar="GLOB", repeats=True),
    _both("what", "exclude", values.GLOB, "no key that fits one of these", metavar="GLOB", repeats=True),
    _both("what", "slots", values.SLOTS, "keys of these hash slots", metavar="A-B,N"),
    _both("what", "keys-from", values.TEXT, "the keys that a file names; - is stdin", metavar="FILE"),
    _both(
        "what", "keys-format", values.choice("lines", "nul", "jsonl"), "of --keys-from: lines, nul or jsonl",
        metavar="FORMAT", default="lines"),
    _both("what", "limit", values.COUNT, "at most so many keys", **_HOW_MANY),
    _both("what", "min-ttl", values.DURATION, "keys that live at least so long", metavar="TIME"),
    _both("what", "max-ttl", values.DURATION, "keys that live at most so long", metavar="TIME"),
    _both("what", "max-size", values.SIZE, "keys whose value has at most so much", metavar="SIZE"),
    _replicate(
        "how", "workers", values.whole(1, 512), "worker processes", metavar="N", default=cores,
        default_text="cores", commands=_WORKING, mistaken=("threads", "jobs")),
    _both("how", "scan-count", values.whole(1, 10**6), "COUNT of each SCAN", default=500, **_HOW_MANY),
    _both("how", "batch", values.whole(1, 10**6), "most keys read in one step", default=1000, **_HOW_MANY),
    _both(
        "how", "method", values.choice("auto", "dump", "native"), "auto, dump (RESTORE) or native (MSET)",
        metavar="METHOD", default="auto"),
    _replicate(
        "how", "source-rdbcompression", values.choice("on", "off"), "LZF at the source, only for the run",
        metavar="on|off", default_text="as it is"),
    _replicate("how", "atomic", None, "value and expiry of one moment (MULTI)"),
    _replicate(
        "how", "on-conflict", values.choice("replace", "skip", "fail"), "a key exists: replace, skip or fail",
        metavar="HOW", default="replace"),
    _replicate("how", "require-empty", None, "refuse a target that holds keys"),
    _replicate("how", "no-ttl", None, "copy all keys without expiry"),
    _both("how hard", "rate", values.RATE, "most keys a second", metavar="KEYS/S"),
    _both("how hard", "bandwidth", values.BANDWIDTH, "most bytes of values a second", metavar="BYTES/S"),
    _both("how hard", "max-source-latency", values.ABOVE_0, "slow down where the source gets slower",
               metavar="TIME"),
    _replicate("how", "accept-eviction", None, "exit 0 though the source evicts keys"),
    _replicate("live", "live", None, "follow the changes of the source to the end"),
    _replicate("live", "live-only", None, "follow only: what is there is copied already"),
    _replicate("live", "idle-timeout", values.IDLE, "end when unchanged for so long", metavar="TIME",
               default_text="at Ctrl-C"),
    _replicate("live", "feed", values.choice("auto", "tracking", "notifications"), "auto, tracking or notifications",
               metavar="HOW", default="auto"),
    _replicate("live", "enable-notifications", None, "switch the source's on, only for the run"),
    _replicate("live", "on-converged", values.TEXT, "run a command when both sides are equal", metavar="CMD"),
    _replicate("trust", "no-verify", None, "do not verify after the copy"),
    _both("trust", "verify", values.choice("full", "quick"), "full, or quick: no values, only sizes",
               metavar="HOW", default="full"),
    _both("trust", "ttl-tolerance", values.DURATION, "expiries may be so far apart", metavar="TIME",
               default=0.1, default_text="100ms"),
    _both("trust", "show-diffs", values.whole(0), "list so many differences", default=0, **_HOW_MANY),
    _both("trust", "diff-file", values.TEXT, "all differences, a JSON line each", metavar="FILE"),
    _both("trust", "repair", None, "copy what differs, and compare it again"),
    _both("trust", "prune", None, "with --repair, --live: remove what is extra"),
    _both("trust", "sample", values.SAMPLE, "compare so many keys only, or a share", metavar="N|P%",
          commands=("compare",)),
    _both("trust", "rounds", values.whole(1, 100), "looks at keys that differ while written to", metavar="N",
               default=3),
    _both("job", "dry-run", None, "show what would be done, and touch nothing"),
    _both(
        "job", "wait-for", values.DURATION, "wait for servers that are starting", metavar="TIME",
        default=60.0, default_text="60s"),
    _replicate(
        "job", "retry-for", values.DURATION, "how long connections or states may fail", metavar="TIME",
        default=300.0, default_text="5m", commands=_WORKING),
    _replicate(
        "job", "put-aside", values.TEXT, "list of keys not copied", metavar="FILE",
        default_text="this folder", commands=_BOTH),
    _replicate(
        "seen", "progress", values.choice("auto", "bar", "log", "json", "none"), "auto, bar, log, json or none",
        metavar="HOW", default="auto", commands=_WORKING),
    _replicate("seen", "json", None, "the result as one JSON object", commands=(*_WORKING, "ping")),
    _generate("keys", values.COUNT, "distinct keys", default=20_000, commands=("generate", "demo"), **_HOW_MANY),
    _generate("prefix", values.ANY_TEXT, "how the keys' names begin", metavar="P", default="key:"),
    _generate("types", values.WEIGHTS, "weights: string=60,hash=40", metavar="T=W,T=W", default=_all_types,
              default_text="all"),
    _generate("size", values.SIZES, "size of an element", metavar="N-N", default=(10, 100),
              default_text="10-100 bytes"),
    _generate("elements", values.COUNTS, "elements of a collection", metavar="N-N", default=(1, 50),
              default_text="1-50"),
    _generate("ttl-share", values.SHARE, "keys that get an expiry", metavar="P%", default=0.0, default_text="0%"),
    _generate(
        "ttl", values.DURATIONS, "the expiries of these", metavar="TIME-TIME", default=(60.0, 3600.0),
        default_text="60s-1h"),
    _generate("seed", values.whole(0, 2**63 - 1), "same seed and epoch: same data", metavar="S", default=0),
    _generate("epoch", values.whole(0), "Unix time that expiries count from", metavar="SEC", default_text="now"),
    _generate("binary", None, "names and values of all bytes"),
    _generate("flush", None, "empty the database first; needs --yes", environment=False),
    _generate("yes", None, "confirms --flush"),
    _churn("churn", values.COUNT, "then change keys, so often a second", metavar="RATE"),
    _churn("for", values.TIME_OR_COMMAND, "ends the churn; else Ctrl-C does", metavar="TIME",
           commands=("generate", "ping"), elsewhere={"ping": ("how", "replicate", "try what a copy must be allowed")}),
    _churn("ops", values.OPERATIONS, "weights: set=60,del=10", metavar="O=W,O",
           default=_all_operations, default_text="all but flushdb"),
    _churn("churn-only", None, "change keys that are there: do not write"),
    Option(
        "count", COMMAND, values.whole(1, 10**6), "round trips to each server", metavar="N", default=20,
        default_text="20", group="how", commands=("ping",)),
    _keyword("ranges", values.whole(1, 1 << 16), "partitions of a database (a power of two); None: as many as fit"),
    _keyword("silence-s", values.DURATION, "a silent worker counts as dead", default=60.0),
)  # fmt: skip

BY_NAME = {option.name: option for option in OPTIONS if option.place != KEYWORD}
BY_LETTER = {option.letter: option for option in OPTIONS if option.letter}
#: Options that are answered at once, whatever else is said.
ANSWERS = ("help", "version")


def options_of(command: str, *places: str) -> list[Option]:
    """The rows of a command at some places, in the table's order; global rows belong to all commands."""
    rows = [row for row in OPTIONS if row.place in places and _belongs(row, command)]
    return [row.of(command) for row in rows]


def _belongs(row: Option, command: str) -> bool:
    if row.source_only:
        return COMMAND_NAMES[command].servers == TWO
    return row.place in (SIDE, GLOBAL) or command in row.commands

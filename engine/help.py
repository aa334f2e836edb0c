"""The help of each level, made of the options table: grouped, short, within 80 columns, examples last."""

from __future__ import annotations

from collections.abc import Iterable

from .options import COMMAND, COMMAND_NAMES, COMMANDS, GLOBAL, MANY, NONE, ONE, SIDE, TWO, Command, Option, options_of

_INDENT = 30  # columns of the options' names
#: The groups of a command's own options, in the order of the help.
_HEADINGS = {"seen": "Output"}
_GROUPS = ("what", "data", "churn", "how", "how hard", "live", "trust", "job", "seen")

_USAGE = {
    TWO: (
        "keyferry [SOURCE OPTIONS] {name} [TARGET OPTIONS] [OPTIONS]",
        "keyferry {name} SOURCE TARGET [OPTIONS]",
    ),
    ONE: ("keyferry {name} [SERVER] [OPTIONS]",),
    MANY: ("keyferry {name} [SERVER ...] [OPTIONS]",),
    NONE: ("keyferry {name} [OPTIONS]",),
}
_CONNECTION = {
    TWO: "source before the command, target after it",
    ONE: "server",
    MANY: "servers",
}
_ENVIRONMENT = {
    TWO: (
        "Environment: KEYFERRY_SOURCE_* and KEYFERRY_TARGET_* for connections,",
        "KEYFERRY_* for the rest, with the names above.",
    ),
    ONE: ("Environment: KEYFERRY_* with the names above; REDISCLI_AUTH.",),
    MANY: ("Environment: KEYFERRY_* with the names above; REDISCLI_AUTH.",),
    NONE: ("Environment: KEYFERRY_* with the names above.",),
}

#: By command; "" is keyferry itself. All of them can be pasted.
EXAMPLES = {
    "": (
        "keyferry demo",
        "keyferry replicate redis://old:6379 redis://new:6379",
        "keyferry compare redis://old:6379 redis://new:6379",
        "keyferry replicate --help",
    ),
    "replicate": (
        "keyferry -h old -p 6379 replicate -h new -p 6380",
        "keyferry replicate redis://old:6379/0 redis://new:6379/2 --dry-run",
        "keyferry -h old --askpass replicate -h new --pass-file new.password",
        "keyferry replicate old new --db-map 0:2,3:1 --workers 4",
        "keyferry -h old -p 6379 replicate --idle-timeout 500 -h new -p 6380 --live",
        "keyferry replicate old new --rate 20000 --max-source-latency 5ms",
        "keyferry replicate old new --match 'user:*' --exclude '*:tmp' --limit 1000",
    ),
    "compare": (
        "keyferry -h old -p 6379 compare -h new -p 6380",
        "keyferry compare redis://old:6379 redis://new:6379 --dbs all --workers 4",
        "keyferry compare old new --verify quick --match 'user:*' --json",
        "keyferry compare old new --show-diffs 10 --diff-file differences.jsonl",
        "keyferry compare old new --repair --prune --dry-run",
        "keyferry compare old new --sample 1%",
    ),
    "generate": (
        "keyferry generate -h 127.0.0.1 --keys 100000 --churn 5000 --for 2s",
        "keyferry generate localhost/3 --types string=60,hash=40 --size 10-1kb",
        "keyferry generate localhost --ttl-share 25% --ttl 60s-1h --flush --yes",
    ),
    "ping": (
        "keyferry ping",
        "keyferry ping old:6379 new:6379 --count 100",
        "keyferry ping old:6379 new:6379 --for replicate",
        "keyferry ping -h old --askpass --json",
    ),
    "demo": ("keyferry demo", "keyferry demo --keys 5000"),
}


def text(command: str = "") -> str:
    """The help of a command by its canonical name; "" is the overview."""
    return "\n".join(_of_command(COMMAND_NAMES[command]) if command else _overview()) + "\n"


def _overview() -> list[str]:
    lines = ["keyferry copies Redis and Valkey databases, and proves that the copy is right.", ""]
    lines += _titled("Usage:", ["keyferry [SOURCE OPTIONS] COMMAND [TARGET OPTIONS] [OPTIONS]"])
    names = [", ".join(name for name in (one.name, one.alias) if name) for one in COMMANDS]
    lines += _titled("Commands:", [f"{name:<20}{one.help}" for name, one in zip(names, COMMANDS, strict=True)])
    lines += _titled("Options:", _rows(options_of("", GLOBAL)))
    lines += ["keyferry COMMAND --help shows the options of a command.", ""]
    return lines + _titled("Examples:", EXAMPLES[""])[:-1]


def _of_command(command: Command) -> list[str]:
    alias = f" (also: {command.alias})" if command.alias else ""
    lines = [f"keyferry {command.name}{alias}: {command.help}", ""]
    lines += _titled("Usage:", [usage.format(name=command.name) for usage in _USAGE[command.servers]])
    if command.servers != NONE:
        lines += _titled(f"Connection ({_CONNECTION[command.servers]}):", _rows(options_of(command.name, SIDE)))
    own = options_of(command.name, COMMAND)
    for group in _GROUPS:
        rows = _rows(row for row in own if row.group == group)
        lines += _titled(f"{_HEADINGS.get(group, group.capitalize())}:", rows) if rows else []
    lines += _titled("Global:", _rows(options_of(command.name, GLOBAL)))
    return [*lines, *_ENVIRONMENT[command.servers], "", *_titled("Examples:", EXAMPLES[command.name])[:-1]]


def _titled(title: str, lines: Iterable[str]) -> list[str]:
    return [title, *(f"  {line}" for line in lines), ""]


def _rows(rows: Iterable[Option]) -> list[str]:
    return [line for row in rows for line in _row(row)]


def _row(row: Option) -> list[str]:
    """An option's line; two where its name leaves no room for the text."""
    value = f"[={row.metavar}]" if row.name == "pass" else f" {row.metavar}" if row.metavar else ""
    name = (f"-{row.letter}, " if row.letter else "    ") + f"--{row.name}{value}"
    default = row.default_text or (str(row.default) if row.default and not callable(row.default) else "")
    about = row.help + (f" ({default})" if default else "")
    if len(name) + 2 <= _INDENT:
        return [f"{name:<{_INDENT}}{about}"]
    return [name, " " * _INDENT + about]

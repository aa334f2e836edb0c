"""What a command line means: words and environment in, an Invocation out. Connects to nothing.

    [SOURCE and global options] COMMAND [TARGET, command and global options] [SERVER …]

The words before the command and those after it are read apart (`words`), become layers of values (`sides`), and are
put together by the rules of the command's servers: two, one, several, none. Every error is a UsageError.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from . import environment, layers, sides
from .contradictions import EXCLUSIVE, check_together
from .given import filled, from_keywords, refused
from .layers import Layer, Said
from .options import COMMAND, COMMAND_NAMES, GLOBAL, MANY, NONE, ONE, OPTIONS, SIDE, TWO, Command, options_of
from .pools import bounded_workers, with_pool
from .sides import Side
from .values import DATABASE, POOL, PORT, TIMEOUT
from .words import Given, Part, asked, command_at, read_part, unknown_command
from .workers.endpoint import Endpoint, from_uri
from .workers.errors import UsageError

#: Numbers of an Endpoint, and the kinds of the options that give them on the command line.
_NUMBERS = {"port": PORT, "db": DATABASE, "timeout_s": TIMEOUT, "pool": POOL}
_TWO_HINT = "keyferry replicate SOURCE TARGET"
_SOURCE_HINT = "it stands before the command: keyferry --read-from replica replicate SOURCE TARGET"


@dataclass(frozen=True)
class Invocation:
    """What is to be done. `command` is the canonical name; "" where only help or the version is asked for."""

    command: str = ""
    help: bool = False
    version: bool = False
    source: Endpoint | None = None  # of commands on two servers
    target: Endpoint | None = None
    servers: list[Endpoint] = field(default_factory=list)  # of the other commands
    options: dict[str, Any] = field(default_factory=dict)  # by key, all with a value
    explicit: frozenset[str] = frozenset()  # keys of the options that the user gave, by flag or environment
    defaulted: frozenset[str] = frozenset()  # names of the sides whose address nobody gave; '' where there is one side
    warnings: list[str] = field(default_factory=list)  # lines for stderr


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> Invocation:
    """What the words after the program's name, and the environment, ask for.

    May read a password file and ask for a password on the terminal; that comes last, when all else is in order.
    Raises UsageError.
    """
    at = command_at(argv)
    before, after = (argv, []) if at is None else (argv[:at], argv[at + 1 :])
    command = None if at is None else COMMAND_NAMES.get(argv[at])
    answer = asked(before) or asked(after)
    if answer or not argv:
        return Invocation(command.name if command else "", help=answer != "version", version=answer == "version")
    _check_text(argv, environ)
    first = read_part(before[:-1] if before and before[-1] == "--" else before)
    if at is None:
        raise _no_command(first)
    if command is None:
        raise unknown_command(argv[at])
    return _invocation(command, first, read_part(after), environ)


def from_python(command: str, servers: Sequence[str | Endpoint], **keywords: object) -> Invocation:
    """The same Invocation from Python: the servers as URIs or Endpoints, options as `given.from_keywords` has them.

    A command on two servers takes [source, target]. The environment is not read. Raises UsageError.
    """
    values = from_keywords(command, **keywords)
    explicit = frozenset(name for name, value in keywords.items() if value is not None)
    endpoints = [_endpoint(server) for server in servers]
    for server in endpoints:
        if server.db is not None:
            _check_databases(values, {}, f"the database of {server.address}")
    if any(server.read_from != "master" for server in endpoints[1:]):
        raise UsageError("read_from is about the source", side="target", hint="a target is written to: its master")
    _bound_workers(values, [server.pool for server in endpoints], "workers" in explicit)
    return _made(COMMAND_NAMES[command], endpoints, values, explicit=explicit)


def _endpoint(server: str | Endpoint) -> Endpoint:
    """A server as Python names it, its numbers checked as those of the command line are."""
    if isinstance(server, str):
        server = from_uri(server)
    if not isinstance(server, Endpoint):
        text = f"a server is named by a URI or an Endpoint, not by {type(server).__name__}"
        raise UsageError(text, hint="redis://host:6379")
    if not _is_utf8(server.host + server.user + server.password):
        raise UsageError("host, user or password is not UTF-8 text", hint="no server could be told it")
    checked: dict[str, Any] = {}
    for name, kind in _NUMBERS.items():
        value = getattr(server, name)
        try:
            checked[name] = value if value is None else kind.accept(value)
        except ValueError as error:
            raise refused(f"{name}={value!r}", error) from None
    return replace(server, **checked)


def _made(command: Command, endpoints: list[Endpoint], values: dict[str, Any], **more: Any) -> Invocation:
    endpoints = [with_pool(one, values.get("workers", 0)) for one in endpoints]
    if command.servers == TWO:
        source, target = endpoints
        return Invocation(command.name, source=source, target=target, options=values, **more)
    return Invocation(command.name, servers=endpoints, options=values, **more)


def _no_command(part: Part) -> UsageError:
    for one in part.given:
        if one.text in COMMAND_NAMES and one.option.name != "pass":
            return UsageError("a command is missing", hint=f"{one.label} took {one.text!r} as its value")
    return UsageError("a command is missing", hint="keyferry --help lists the commands")


def _invocation(command: Command, before: Part, after: Part, environ: Mapping[str, str]) -> Invocation:
    _check_places(command, before, after)
    given = _options(command, before, after, environ)
    chosen = {key: said.value for key, said in given.items()}
    labels = {key: said.label for key, said in given.items()}
    check_together(command.name, chosen, labels)
    values = filled(command.name, chosen)
    resolved = _SIDES[command.servers](before, after, environ)
    for side in resolved:
        if "db" in side.fields:
            _check_databases(values, labels, side.fields["db"].label)
    pools = [side.fields["pool"].value if "pool" in side.fields else None for side in resolved]
    _bound_workers(values, pools, "workers" in given)
    warnings = [line for side in resolved for line in side.warnings] + environment.warnings(environ)
    return _made(
        command,
        [side.endpoint() for side in resolved],  # the last step, as it may ask for passwords
        values,
        explicit=frozenset(given),
        defaulted=frozenset(side.name for side in resolved if side.defaulted),
        warnings=list(dict.fromkeys(warnings)),
    )


def _bound_workers(values: dict[str, Any], pools: Sequence[int | None], exact: bool) -> None:
    if "workers" in values:
        values["workers"] = bounded_workers(values["workers"], pools, exact)


def _check_databases(values: Mapping[str, Any], labels: Mapping[str, str], label: str) -> None:
    """One database a side, or several: not both. `label` says where the one was named, `labels` where the others."""
    for key, flag in (("dbs", "--dbs"), ("db_map", "--db-map")):
        if values.get(key):
            text = f"{labels.get(key, flag)} names the databases, and so does {label}"
            raise UsageError(text, hint="say it in one place")


def _check_text(argv: Sequence[str], environ: Mapping[str, str]) -> None:
    """Bytes that are no text reach Python as lone surrogates, which no server, log or report could be told."""
    read = (environment.PREFIX, environment.REDISCLI_AUTH)
    texts = [*argv, *(value for name, value in environ.items() if name.startswith(read))]
    if not all(map(_is_utf8, texts)):
        raise UsageError("a word, or a variable of the environment, is not UTF-8 text", hint="check the locale")


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _check_places(command: Command, before: Part, after: Part) -> None:
    """Each option where it may stand, and no word too many."""
    for side, part in (("source", before), ("target", after)):
        for one in part.given:
            row = one.option
            if row.place == COMMAND and command.name not in row.commands:
                of = " and ".join(row.commands)
                raise UsageError(f"{one.label} is no option of {command.name}", hint=f"it belongs to {of}")
            if row.place == COMMAND and side == "source":
                raise UsageError(f"{one.label} belongs after the command", hint=f"keyferry {command.name} {one.label}")
            if row.source_only and (command.servers != TWO or side == "target"):
                raise UsageError(f"{one.label} is about the source of a copy or a comparison", hint=_SOURCE_HINT)
            if row.place == SIDE and command.servers == NONE:
                text = f"{one.label} is no option of {command.name}: it starts its own servers"
                raise UsageError(text, hint=f"keyferry {command.name} --help")
    most = {NONE: 0, ONE: 1, TWO: 2}.get(command.servers, len(after.positionals))
    if len(after.positionals) > most:
        text = f"{command.name} takes {most or 'no'} address{'es' * (most > 1)}, not {len(after.positionals)}"
        raise UsageError(text, hint=f"keyferry {command.name} --help shows its form")


def _options(command: Command, before: Part, after: Part, environ: Mapping[str, str]) -> Layer:
    """Global and command options by key: those of both sides, and of the environment what they leave open."""
    flags = layers.layer(one for one in before.given + after.given if one.option.place != SIDE)
    rows = options_of(command.name, GLOBAL, COMMAND)
    taken = {key for keys in EXCLUSIVE if flags.keys() & set(keys) for key in keys} | flags.keys()
    others = [one for key, one in environment.given(environ, rows).items() if key not in taken]
    return layers.layer(others) | flags


def _side_options(part: Part, side: str = "") -> Layer:
    return layers.layer((one for one in part.given if one.option.place == SIDE), side)


def _side_environment(environ: Mapping[str, str], side: str = "") -> dict[str, Given]:
    rows = [row for row in OPTIONS if row.place == SIDE and (side == "source" or not row.source_only)]
    return environment.given(environ, rows, side)


def _two(before: Part, after: Part, environ: Mapping[str, str]) -> list[Side]:
    """Source and target of a command on two servers."""
    source, target = _side_options(before, "source"), _side_options(after, "target")
    around = {side: _side_environment(environ, side) for side in ("source", "target")}
    if len(after.positionals) == 2:
        _place_address(source, after.positionals[0], "SOURCE")
        _place_address(target, after.positionals[1], "TARGET")
    elif after.positionals:
        _place_address(target, after.positionals[0], "TARGET")
        if not layers.names_address([*source, *around["source"]]):
            raise UsageError("one address is the TARGET, and the source is named nowhere", hint=_TWO_HINT)
    elif not layers.names_address([*source, *target, *around["source"], *around["target"]]):
        raise UsageError("neither the source nor the target is named", hint=_TWO_HINT)
    return [sides.resolve("source", source, around["source"]), sides.resolve("target", target, around["target"])]


def _one_or_more(before: Part, after: Part, environ: Mapping[str, str]) -> list[Side]:
    """The servers of a single-server command, or of several at once."""
    flags = layers.merged(_side_options(before), _side_options(after))
    around = _side_environment(environ)
    auth = environ.get(environment.REDISCLI_AUTH, "")
    if not after.positionals:
        return [sides.resolve("", flags, around, auth)]
    warnings = []
    if len(after.positionals) > 1:
        # A password of the environment was meant for one server; which one, nobody can tell.
        held = [one.label for key, one in around.items() if key in layers.PASSWORDS]
        held += [environment.REDISCLI_AUTH] if auth else []
        around = {key: one for key, one in around.items() if key not in layers.PASSWORDS}
        warnings = [f"{' and '.join(held)} not sent: there is more than one server"] if held else []
        auth = ""
    resolved = []
    for address in after.positionals:
        named = dict(flags)
        _place_address(named, address, "SERVER")
        resolved.append(sides.resolve("", named, around, auth))
    resolved[0].warnings += warnings
    return resolved


def _place_address(flags: Layer, address: str, label: str) -> None:
    """Put a positional into its side's layer, where no option may name an address as well."""
    for key in layers.ADDRESS:
        if key in flags:
            raise UsageError(f"{label} and {flags[key].label} both name an address", hint="name each server once")
    flags["uri"] = Said(address, label)


def _none(before: Part, after: Part, environ: Mapping[str, str]) -> list[Side]:
    return []


_SIDES = {TWO: _two, ONE: _one_or_more, MANY: _one_or_more, NONE: _none}

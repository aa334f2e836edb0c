"""The words of a command line, split by the options table: which are options, values, positionals, the command.

The words before the command and those after it are read by two calls that know nothing of each other. Values stay
texts here. A text may be a secret, so no message repeats a word that an option could have taken as its value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from .given import nearest
from .options import BY_LETTER, BY_NAME, COMMAND_NAMES, COMMANDS, Option
from .workers.errors import UsageError

_MISTAKEN = {name: option for option in BY_NAME.values() for name in option.mistaken}
_SHORT_FLAGS = "".join(letter for letter, option in BY_LETTER.items() if option.is_flag)
_NOT_HERE = "redis-cli does that; keyferry copies, generates and pings"
_BY_PING = "keyferry ping shows round-trip times, of --count N round trips"
#: redis-cli's own options, and what does it here.
_REDIS_CLI = (
    {"-r": "keyferry ping --count N repeats a round trip"}
    | dict.fromkeys(("--latency-history", "--latency-dist", "--intrinsic-latency"), _BY_PING)
    | dict.fromkeys(("--scan", "--pattern"), "keyferry replicate scans by itself; --match GLOB chooses keys")
    | dict.fromkeys(("-x", "-X", "--pipe", "--pipe-timeout"), "keyferry generate writes data, replicate copies it")
    | dict.fromkeys(("--rdb", "--functions-rdb", "--replica"), "keyferry replicate copies without a file")
    | dict.fromkeys(("-D", "--raw", "--no-raw", "--csv", "--quoted-json"), "--json gives the result as one object")
    | {"-e": "keyferry always tells by its exit code"}
    | dict.fromkeys(("-2", "-3"), "keyferry chooses the protocol by itself")
    | {"--no-auth-warning": "--pass-file FILE, --askpass or the environment keep a password off the command line"}
    | dict.fromkeys(("--bigkeys", "--memkeys", "--memkeys-samples", "--hotkeys", "--stat", "--lru-test"), _NOT_HERE)
    | dict.fromkeys(("--eval", "--ldb", "--ldb-sync-mode", "--quoted-input", "--quoted-pattern"), _NOT_HERE)
)


@dataclass(frozen=True)
class Given:
    """An option as it was given. `label` is how the user wrote its name; `text` None: no value was given."""

    option: Option
    label: str
    text: str | None = field(default=None, repr=False)
    listed: bool = False  # the text has several values, with commas between them


@dataclass
class Part:
    """The words of one side of the command."""

    given: list[Given] = field(default_factory=list)
    positionals: list[str] = field(default_factory=list)


def command_at(words: Sequence[str]) -> int | None:
    """The index of the command: of the first word that is neither an option nor an option's value."""
    at = 0
    while at < len(words):
        if words[at] == "--":
            return at + 1 if at + 1 < len(words) else None
        if not is_option(words[at]):
            return at
        try:
            _, at = _option(words, at)
        except UsageError:  # told by read_part; here it is enough to go on
            at += 1
    return None


def read_part(words: Sequence[str]) -> Part:
    """The options and positionals of one side of the command. Raises UsageError."""
    part = Part()
    at = 0
    while at < len(words):
        if words[at] == "--":
            part.positionals += words[at + 1 :]
            break
        if is_option(words[at]):
            given, at = _option(words, at)
            part.given += given
        else:
            part.positionals.append(words[at])
            at += 1
    return part


def asked(words: Sequence[str]) -> str:
    """`help` or `version` where the words ask for it anywhere before a `--`, else ""."""
    words = words[: words.index("--")] if "--" in words else words
    if "--help" in words:
        return "help"
    version = any(word == "--version" or re.fullmatch(f"-[{_SHORT_FLAGS}]*V[{_SHORT_FLAGS}]*", word) for word in words)
    return "version" if version else ""


def is_option(word: str) -> bool:
    """Begins with a dash, and is more than it: a lone `-` stands for a standard stream."""
    return word.startswith("-") and len(word) > 1


def _option(words: Sequence[str], at: int) -> tuple[list[Given], int]:
    """What the option at `at` gives, and the index after it and its value."""
    return _long(words, at) if words[at].startswith("--") else _short(words, at)


def _long(words: Sequence[str], at: int) -> tuple[list[Given], int]:
    name, sign, text = words[at][2:].partition("=")
    label = f"--{name}"
    option = BY_NAME.get(name)
    if option is None:
        raise _unknown(label)
    if not sign:
        return _with_next(option, label, words, at)
    if option.is_flag:
        raise UsageError(f"{label} takes no value", hint=f"write {label} alone")
    return [Given(option, label, text)], at + 1


def _short(words: Sequence[str], at: int) -> tuple[list[Given], int]:
    body = words[at][1:]
    _refuse_long_name(body.partition("=")[0])
    if body[0] == "a" and len(body) > 1:
        return [Given(BY_LETTER["a"], "-a", body[1:].removeprefix("="))], at + 1
    given: list[Given] = []
    for letter in body[:-1]:
        option = _by_letter(letter)
        if not option.is_flag:
            raise _bundled(option)
        given.append(Given(option, f"-{letter}"))
    option = _by_letter(body[-1])
    if option.letter == "a" and given:
        raise _bundled(option)
    last, at = _with_next(option, f"-{option.letter}", words, at)
    return given + last, at


def _by_letter(letter: str) -> Option:
    if letter not in BY_LETTER:
        raise _unknown(f"-{letter}")
    return BY_LETTER[letter]


def _with_next(option: Option, label: str, words: Sequence[str], at: int) -> tuple[list[Given], int]:
    """The option with the next word as its value where it takes one."""
    if option.is_flag:
        return [Given(option, label)], at + 1
    follower = words[at + 1] if at + 1 < len(words) else None
    if option.name == "pass":
        if follower is None or follower.startswith("-") or "://" in follower or follower in COMMAND_NAMES:
            return [Given(option, label)], at + 1
    elif follower is None or (is_option(follower) and not re.fullmatch(r"-[0-9]+", follower)):
        raise _no_value(option, label)
    return [Given(option, label, follower)], at + 2


def _refuse_long_name(body: str) -> None:
    option = BY_NAME.get(body) or _MISTAKEN.get(body)
    if option and len(body) > 1:
        raise UsageError(f"-{body} has one dash too few", hint=f"write --{option.name}")


def _no_value(option: Option, label: str) -> UsageError:
    if label == "-h":
        return UsageError("-h is the host, as in redis-cli, and needs a value", hint="help is --help")
    long = f"--{option.name}={option.metavar}"
    return UsageError(
        f"{label} needs a value", hint=f"write {label} {option.metavar}; if it begins with a dash, {long}"
    )


def _bundled(option: Option) -> UsageError:
    if option.letter == "a":
        return UsageError("-a cannot be bundled with other letters", hint="write -a as a word of its own")
    return UsageError(
        f"only the last of bundled letters takes a value, and -{option.letter} is not the last",
        hint=f"write -{option.letter} {option.metavar}",
    )


def _unknown(label: str) -> UsageError:
    if label in _REDIS_CLI:
        return UsageError(f"{label} is an option of redis-cli, not of keyferry", hint=_REDIS_CLI[label])
    name = label.lstrip("-")
    option = _MISTAKEN.get(name) or BY_NAME.get(nearest(name, BY_NAME))
    if len(name) < 2 or not option:
        return UsageError(f"unknown option {_printable(label)}", hint="keyferry --help lists the options")
    return UsageError(f"unknown option {_printable(label)}", hint=f"did you mean --{option.name}?")


def unknown_command(word: str) -> UsageError:
    """The error for a first word that is no command."""
    if word == "help":
        return UsageError("unknown command 'help'", hint="help is --help")
    near = nearest(word, COMMAND_NAMES)
    hint = f"did you mean {near}?" if near else "the commands are " + ", ".join(command.name for command in COMMANDS)
    if re.fullmatch(r"[a-z-]{1,20}", word):
        return UsageError(f"unknown command {word!r}", hint=hint)
    # Anything else may be an address with its password, or the end of a password that has a blank: not shown.
    return UsageError("a command must come before addresses and other words", hint=hint)


def _printable(label: str) -> str:
    return label if label.isprintable() else repr(label)

"""Layers of options: what one source of them says, the words of a side or the environment, by the options' keys.

Each layer must make sense by itself. A value carries the label by which messages name it; none repeats a password.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .given import refused
from .words import Given
from .workers.errors import UsageError

#: Keys that name a server, and those that give a password.
ADDRESS = ("uri", "hostname", "port", "socket")
PASSWORDS = ("pass", "askpass", "pass_file")
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True)
class Said:
    """A value, and how the user named it; never printed, as it may be a password."""

    value: Any = field(repr=False)
    label: str


Layer = dict[str, Said]


def layer(given: Iterable[Given], side: str = "") -> Layer:
    """The values of options as words give them. Raises UsageError: a bad value, or two values for one option."""
    said: Layer = {}
    for one in given:
        key, value = typed(one, side)
        if key == "uri" and key in said:
            others = said.pop("other_uris", Said([], value.label))
            key, value = "other_uris", Said([*others.value, value], value.label)
        if one.option.repeats and key in said:
            value = Said(said.pop(key).value + value.value, value.label)
        put(said, key, value, side)
    return said


def typed(one: Given, side: str = "") -> tuple[str, Said]:
    """The key and value of an option as it was given. Raises UsageError."""
    option = one.option
    if option.name == "pass" and one.text is None:
        return "askpass", Said(True, one.label)
    if option.kind is None:
        return option.key, Said(_switch(one), one.label)
    text = one.text or ""
    # What stands where a password should must not be shown, and a URI may hold one, wherever it was given.
    shown = one.label if option.name in ("pass", "uri") or "@" in text else f"{one.label} {text!r}"
    try:
        if option.repeats:
            texts = text.split(",") if one.listed else [text]
            return option.key, Said([option.kind.parse(each) for each in texts], one.label)
        return option.key, Said(option.kind.parse(text), one.label)
    except ValueError as error:
        problem = refused(shown, error)
        raise UsageError(problem.message, side=side, hint=problem.hint) from None


def _switch(one: Given) -> bool:
    """A flag's value: a flag among the words has no text, a variable's says on or off."""
    text = (one.text or "1").lower()
    if text not in _TRUE + _FALSE:
        shown = one.label if one.option.name == "askpass" else f"{one.label}={one.text!r}"  # is it the password?
        raise UsageError(f"{shown}: must be one of {', '.join(_TRUE + _FALSE)}", hint="empty leaves the option alone")
    return text in _TRUE


def put(said: Layer, key: str, new: Said, side: str = "") -> None:
    """Add a value; the same value twice is fine, another one raises UsageError naming both."""
    old = said.setdefault(key, new)
    if old.value == new.value:
        return
    if key in ("pass", "password"):
        raise UsageError(f"{old.label} and {new.label} both give a password", side=side, hint="keep one")
    if key == "tls":
        text = f"{old.label} says {_scheme(old)}, {new.label} says {_scheme(new)}"
        raise UsageError(text, side=side, hint="TLS is -t or rediss://; keep what is meant")
    if key == "uri":
        raise UsageError(f"{old.label} and {new.label} name different servers", side=side, hint="keep one")
    if key == "user":  # a word alone before the @ of a URI may be meant as the password
        raise UsageError(f"{old.label} and {new.label} name different users", side=side, hint="keep one")
    raise UsageError(f"{old.label} says {old.value!r}, {new.label} says {new.value!r}", side=side, hint="keep one")


def _scheme(said: Said) -> str:
    return "TLS" if said.value else "no TLS"


def merged(first: Layer, second: Layer) -> Layer:
    """Both layers as one, where the command has one server and so its options may stand on either side."""
    both = dict(first)
    for key, said in second.items():
        put(both, key, said)
    return both


def names_address(given: Iterable[str]) -> bool:
    """Says whether some of these keys name a server."""
    return any(key in ADDRESS for key in given)

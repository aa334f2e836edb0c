"""One side of a run, put together from options, a URI and the environment: flag beats environment beats default."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from . import secrets
from .environment import REDISCLI_AUTH
from .layers import ADDRESS, PASSWORDS, Layer, Said, names_address, put, typed
from .words import Given
from .workers import endpoint, tls
from .workers.endpoint import Endpoint
from .workers.errors import UsageError
from .workers.tls import Tls

TLS = ("cacert", "cacertdir", "cert", "key", "sni", "insecure", "tls_ciphers", "tls_ciphersuites")
_FIELDS = {"hostname": "host", "port": "port", "socket": "socket", "user": "user", "db": "db", "timeout": "timeout_s",
           "pool": "pool", "latency": "latency", "cluster": "cluster", "remap": "remap", "tls": "tls",
           "read_from": "read_from", **{name: name for name in TLS}}  # fmt: skip
#: Options that are a file's or a folder's path. A socket's stays as it is: an absolute one may be too long.
_PATHS = ("cacert", "cacertdir", "cert", "key")
IN_ARGV = (
    "Using a password with -a or in a URI on the command line may not be safe: others can see it; "
    "--askpass, --pass-file and the environment hide it"
)

#: Stands for a password that is still to be typed.
ASK = object()


@dataclass
class Side:
    """One side as resolved, but for the password that the user still has to type."""

    name: str  # 'source', 'target', or '' where there is one server only
    fields: Layer  # by the names of Endpoint's fields
    defaulted: bool  # nobody named an address
    warnings: list[str]

    def endpoint(self) -> Endpoint:
        """The side's endpoint; asks for the password on the terminal where the user wanted that."""
        values = {name: said.value for name, said in self.fields.items()}
        values |= {name: os.path.abspath(values[name]) for name in _PATHS if name in values}
        values |= {"remap": tuple(values["remap"])} if "remap" in values else {}
        bare = endpoint.made_of(values | {"password": ""})
        if bare.tls:
            self._check(bare.tls)
        if values.get("password") is ASK:
            values["password"] = secrets.from_terminal(self.name, bare.address)
        return endpoint.made_of(values)

    def _check(self, settings: Tls) -> None:
        """Raise UsageError for files and names that TLS cannot be made of."""
        try:
            tls.context_of(settings)
        except UsageError as error:
            raise UsageError(error.message, side=self.name, hint=error.hint) from None


def resolve(side: str, flags: Layer, environ: Mapping[str, Given], rediscli_auth: str = "") -> Side:
    """One side from its flags and its environment. Raises UsageError. Reads a password file, asks for nothing."""
    warnings: list[str] = []
    named = _flat(flags, side, warnings)
    if isinstance(said := named.get("password"), Said) and said.value is not ASK and said.label != "--pass-file":
        warnings.append(IN_ARGV)
    kept = _not_replaced(flags, environ, "password" in named, warnings)
    fields = _flat(dict(typed(one, side) for one in kept.values()), side, warnings) | named
    _check_tls(fields, named, side)
    if rediscli_auth:
        fields.setdefault("password", Said(rediscli_auth, REDISCLI_AUTH))
    if "user" in fields and "password" not in fields:
        raise _without_password(fields["user"], side)
    return Side(side, fields, not names_address([*flags, *kept]), warnings)


def _check_tls(fields: Layer, named: Layer, side: str) -> None:
    """Raise UsageError for options about TLS that cannot have an effect, as far as flags say so."""
    without = not (said := fields.get("tls")) or not said.value
    idle = next((named[name] for name in TLS if name in named and named[name].value), None)
    if without and idle:
        raise UsageError(f"{idle.label} is about TLS, which is not used", side=side, hint="add -t, or write rediss://")
    if "key" in named and "cert" not in fields:
        raise UsageError(
            f"{named['key'].label} needs --cert", side=side, hint="--cert FILE is the certificate of the key"
        )
    if not without and "socket" in fields:
        both = f"{fields['tls'].label} and {fields['socket'].label}"
        raise UsageError(f"{both}: there is no TLS on a Unix socket", side=side, hint="keep one")


def _not_replaced(
    flags: Layer, environ: Mapping[str, Given], has_password: bool, warnings: list[str]
) -> dict[str, Given]:
    """What still counts of the environment beside the flags.

    An address in flags replaces the whole address of the environment. Its login was meant for that server, and is
    not sent to another; a password that stood alone was meant for no server in particular.
    """
    kept = {key: one for key, one in environ.items() if key not in flags}
    if has_password:
        kept = {key: one for key, one in kept.items() if key not in PASSWORDS}
    if not names_address(flags):
        return kept
    alone = not names_address(environ) and "user" not in environ
    dropped = ADDRESS if alone else (*ADDRESS, "user", *PASSWORDS)
    logins = [one.label for key, one in kept.items() if key in dropped and key not in ADDRESS]
    if logins:
        warnings.append(f"{' and '.join(logins)} not sent: another address was given on the command line")
    return {key: one for key, one in kept.items() if key not in dropped}


def _flat(said: Layer, side: str, warnings: list[str]) -> Layer:
    """A layer as fields of Endpoint: the URI taken apart, the password found."""
    fields: Layer = {}
    if "uri" in said:
        for key in ("hostname", "port", "socket"):
            if key in said:
                text = f"{said['uri'].label} and {said[key].label} both name the address"
                raise UsageError(text, side=side, hint="keep one")
        fields = _uri_fields(said["uri"], side)
        seeds = [_seed(other, fields, side) for other in said["other_uris"].value] if "other_uris" in said else []
        if seeds:
            fields["seeds"] = Said(tuple(seeds), "-u")
    if "socket" in said and (others := [said[key].label for key in ("hostname", "port") if key in said]):
        warnings.append(f"{said['socket'].label} overrides {' and '.join(others)}")
    for key, name in _FIELDS.items():
        if key in said and (said[key].value is not False or key != "tls"):
            put(fields, name, said[key], side)
    password = _password(said, side, warnings)
    if password:
        put(fields, "password", password, side)
    return fields


def _uri_fields(uri: Said, side: str) -> Layer:
    try:
        return {name: Said(value, _uri_label(uri)) for name, value in endpoint.parse_uri(uri.value).items()}
    except UsageError as error:
        message = error.message if uri.label in ("SOURCE", "TARGET", "SERVER") else f"{uri.label}: {error.message}"
        raise UsageError(message, side=side, hint=error.hint) from None


def _seed(uri: Said, fields: Layer, side: str) -> tuple[str, int]:
    """The address that a further -u names. What else it says must be what the first one says, or nothing."""
    other = _uri_fields(uri, side)
    host, port = other.pop("host", None), other.pop("port", None)
    if host is None or "sentinels" in other or "sentinels" in fields:
        text = "several -u are nodes of one cluster; Sentinels are named in one URI, with commas"
        raise UsageError(text, side=side, hint="keyferry replicate SOURCE TARGET")
    for name, said in other.items():
        put(fields, name, said, side)
    return host.value, port.value if port else Endpoint.port


def _uri_label(uri: Said) -> str:
    return f"the URI of {uri.label}"


def _password(said: Layer, side: str, warnings: list[str]) -> Said | None:
    forms = [said[key] for key in PASSWORDS if key in said and said[key].value]
    if len(forms) > 1:
        text = f"{forms[0].label} and {forms[1].label} are two ways to give one password"
        raise UsageError(text, side=side, hint="keep one")
    if not forms:
        return None
    if "pass" in said:
        return said["pass"]
    if "pass_file" not in said:
        return Said(ASK, forms[0].label)
    password, warning = secrets.from_file(said["pass_file"].value, side)
    warnings += [warning] if warning else []
    return Said(password, said["pass_file"].label)


def _without_password(user: Said, side: str) -> UsageError:
    if user.label.startswith("the URI"):
        return UsageError(endpoint.LONE_WORD, side=side, hint=endpoint.LONE_WORD_HINT)
    return UsageError(f"{user.label} needs a password", side=side, hint="-a, --askpass or --pass-file FILE")

"""The address of one server, and how to log in there. Reads URIs; prints itself without secrets.

    redis://[[user]:password@]host[:port][/db][?timeout=SEC&client_name=NAME]
    redis+cluster://… is the same, and says that it is a cluster's node; rediss:// and rediss+cluster:// are by TLS
    redis+sentinel://[[user]:password@]host[:port],host[:port],…/service[/db][?sentinel_user=NAME&sentinel_pass=PW&…]
    redis-sentinel://[[user]:password@]host[:port],…[/db]#service       the login is the servers', not the Sentinels'
    redis+unix://[[user]:password@]/path/of/socket[?db=N&timeout=SEC&client_name=NAME]      also unix://, redis-socket://
    host[:port][/db]

User, password, host, path and the values of parameters are percent-decoded; an IPv6 address stands in brackets.
No message about a URI repeats a part of it but the scheme: a slip of the pen can put a password anywhere.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any
from urllib.parse import unquote

from .errors import UsageError
from .tls import Tls

TCP_SCHEMES = ("redis", "rediss", "redis+cluster", "rediss+cluster")
#: Those of them that say TLS, and those that say that it is a cluster.
TLS_SCHEMES = ("rediss", "rediss+cluster")
CLUSTER_SCHEMES = ("redis+cluster", "rediss+cluster")
SENTINEL_SCHEMES = ("redis+sentinel", "redis-sentinel")
SOCKET_SCHEMES = ("redis+unix", "unix", "redis-socket")

#: redis-cli and redis-py read the same URI in two ways, so the user has to say which is meant.
LONE_WORD = "redis-cli reads the one word before the @ as the password, redis-py as the user"
LONE_WORD_HINT = "write redis://:PASSWORD@HOST or redis://USER:PASSWORD@HOST, or give a password by --pass-file"

_TCP_HINT = "a URI is redis://[[user]:password@]host[:port][/db], special characters percent-encoded"
_SOCKET_HINT = "a socket's URI is redis+unix://[[user]:password@]/path[?db=N], special characters percent-encoded"
_SENTINEL_HINT = "Sentinels' URI is redis+sentinel://host[:port],host[:port]/service[/db]"
_SCHEMES_HINT = "the schemes are redis://, rediss://, redis+cluster://, redis+sentinel:// and redis+unix://"
_SENTINEL_PORT = 26379
#: Whom of a source is read.
READ_FROM = ("master", "replica")
_PLACE = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<host>[^\[\]:]+))(?::(?P<port>.*))?")
_PORT_MAX = 65535
_DIGITS_MAX = 9  # of any number in a URI: what is longer is a mistake


@dataclass(frozen=True)
class Endpoint:
    """One server as the user named it. `db` None means: not said, the server's default 0."""

    host: str = "127.0.0.1"
    port: int = 6379
    socket: str = ""  # a path; overrides host and port
    user: str = ""
    password: str = field(default="", repr=False)
    db: int | None = None
    timeout_s: float = 60.0  # of one command
    client_name: str = ""  # "" = ours
    pool: int | None = None  # at most so many data connections; None: not said, max(8, workers)
    latency: bool = False  # whether requests to it are timed
    tls: Tls | None = None  # None: not encrypted
    cluster: bool = False  # the user says that it is a cluster's node
    seeds: tuple[tuple[str, int], ...] = ()  # other addresses of the same cluster that the user has named
    remap: tuple[tuple[str, str], ...] = ()  # what a cluster announces, and where we reach it: host:port both
    read_from: str = "master"  # or "replica": of each master one of its replicas is read; sources only
    sentinels: tuple[tuple[str, int], ...] = ()  # who say where the master of `service` is
    service: str = ""
    sentinel_user: str = ""
    sentinel_password: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        """Raises UsageError: a slip in `read_from` would quietly read the masters that were to be spared."""
        if self.read_from not in READ_FROM:
            raise UsageError(f"read_from {self.read_from!r}: it is unknown", hint=f"it is {' or '.join(READ_FROM)}")

    @property
    def address(self) -> str:
        """`host:port`, `[v6]:port` or the socket's path; never a secret."""
        if self.socket:
            return self.socket
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def connect_timeout_s(self) -> float:
        """A server that does not take a connection within 10 s is not reached, whatever commands may take."""
        return min(self.timeout_s, 10.0)

    def name_of(self, job: str, kind: object) -> str:
        """What a connection of a run is called; other runs know it by the end, whatever name the user has chosen."""
        return ":".join(filter(None, (self.client_name, f"keyferry:{job}:{kind}")))

    def at(self, host: str, port: int) -> Endpoint:
        """Another server that is logged in to alike: a node, at the address that its cluster announces."""
        places = {place_of(there): place_of(here) for there, here in self.remap}
        host, port = places.get((host, port), (host, port))
        return replace(self, host=host, port=port, socket="", seeds=())

    def within(self, timeout_s: float) -> Endpoint:
        """The same, for those who cannot wait longer."""
        return replace(self, timeout_s=min(self.timeout_s, timeout_s))

    def pack(self) -> dict[str, object]:
        """The endpoint as a map, with its password, for a worker; the pipe is private to us."""
        return asdict(self)


def unpack(packed: dict[str, object]) -> Endpoint:
    """The endpoint that `Endpoint.pack` described."""
    tls: Any = packed["tls"]
    pairs = {name: tuple(map(tuple, packed[name])) for name in ("seeds", "remap", "sentinels")}  # type: ignore[call-overload]
    return Endpoint(**packed | pairs | {"tls": tls and Tls(**tls)})  # type: ignore[arg-type]


def made_of(said: dict[str, Any]) -> Endpoint:
    """The endpoint of fields by their names; those of Tls beside them count where `tls` is true."""
    names = {field.name for field in fields(Tls)}
    tls = Tls(**{name: value for name, value in said.items() if name in names}) if said.get("tls") else None
    return Endpoint(**{name: value for name, value in said.items() if name not in names} | {"tls": tls})


def from_uri(text: str) -> Endpoint:
    """The endpoint that a URI names. Raises UsageError, also for a user without a password."""
    said = parse_uri(text)
    if "user" in said and "password" not in said:
        raise UsageError(LONE_WORD, hint=LONE_WORD_HINT)
    return made_of(said)


def parse_uri(text: str) -> dict[str, Any]:
    """The fields of Endpoint that a URI says, by name, `tls` as a bool; what it does not say is left out.

    One word before the @ is returned as `user` without a `password`: only the caller knows whether a password comes
    from elsewhere. Raises UsageError.
    """
    scheme, sign, rest = text.partition("://")
    if not sign:
        return _bare(text)
    scheme = scheme.lower()
    name = f"{scheme}://…" if re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme) else "the URI"
    if scheme in TCP_SCHEMES:
        reader, hint = _tcp, _TCP_HINT.replace("redis:", f"{scheme}:")
    elif scheme in SOCKET_SCHEMES:
        reader, hint = _socket, _SOCKET_HINT
    elif scheme in SENTINEL_SCHEMES:
        reader, hint = _sentinel, _SENTINEL_HINT
    else:
        raise UsageError(f"{name}: the scheme is unknown", hint=_SCHEMES_HINT)
    try:
        said = {"cluster": True} if scheme in CLUSTER_SCHEMES else {}
        if scheme not in SENTINEL_SCHEMES:  # those leave it to -t
            said["tls"] = scheme in TLS_SCHEMES
        return reader(rest) | said
    except ValueError as error:
        raise UsageError(f"{name}: {error}", hint=hint) from None


def _bare(text: str) -> dict[str, Any]:
    if "@" in text:
        raise UsageError("an address with a login needs its scheme", hint=_TCP_HINT)
    try:
        place, _, db = text.partition("/")
        return _host_and_port(place) | _database(db)
    except ValueError as error:
        raise UsageError(f"address {text!r}: {error}", hint="an address is HOST[:PORT][/DB] or a URI") from None


def _tcp(rest: str) -> dict[str, Any]:
    rest, query = _without_query(rest)
    authority, _, db = rest.partition("/")
    login, _, place = authority.rpartition("@")
    return _login(login) | _host_and_port(place) | _database(db) | _parameters(query, ("timeout", "client_name"))


def _socket(rest: str) -> dict[str, Any]:
    rest, query = _without_query(rest)
    authority, slash, path = rest.partition("/")
    login, _, place = authority.rpartition("@")
    if place or not path:
        raise ValueError("it names no absolute path")
    said = _login(login) | {"socket": slash + _decoded(path)}
    return said | _parameters(query, ("timeout", "client_name", "db"))


def _sentinel(rest: str) -> dict[str, Any]:
    """The service is the first part of the path, or, as other tools have it, behind a #."""
    rest, sign, service = rest.partition("#")
    if sign:
        service, _, query = service.partition("?")
        rest += f"?{query}" if query else ""
    rest, query = _without_query(rest)
    authority, _, path = rest.partition("/")
    login, _, places = authority.rpartition("@")
    if not sign:
        service, _, path = path.partition("/")
    if not service:
        raise ValueError("it names no service")
    sentinels = [{"port": _SENTINEL_PORT} | _host_and_port(place) for place in places.split(",")]
    said = {
        "host": sentinels[0]["host"],
        "port": sentinels[0]["port"],
        "sentinels": tuple((one["host"], one["port"]) for one in sentinels),
        "service": _decoded(service),
    }
    known = ("timeout", "client_name", "sentinel_user", "sentinel_pass")
    return said | _login(login) | _database(path) | _parameters(query, known)


def _without_query(rest: str) -> tuple[str, str]:
    if "#" in rest or re.search(r"[\x00-\x20\x7f]", rest):
        raise ValueError("blanks, control characters and # must be percent-encoded")
    rest, _, query = rest.partition("?")
    return rest, query


def _login(login: str) -> dict[str, Any]:
    user, colon, password = (_decoded(part) for part in login.partition(":"))
    if colon and not password:
        raise ValueError("the password is empty")
    said = {"user": user, "password": password}
    return {name: value for name, value in said.items() if value}


def _host_and_port(place: str) -> dict[str, Any]:
    found = _PLACE.fullmatch(place)
    if ("[" in place and not found) or ("[" not in place and place.count(":") > 1):
        raise ValueError("an IPv6 host needs [ ] around it")
    if not found:
        raise ValueError("it names no host")
    said: dict[str, Any] = {"host": checked_host(_decoded(found["v6"] or found["host"]))}
    if found["port"] is not None:
        said["port"] = _number(found["port"], "the port", 1, _PORT_MAX)
    return said


def place_of(text: str) -> tuple[str, int]:
    """Host and port of `host:port`; of IPv6, servers tell the host without the brackets that we print.

    Raises ValueError where it is none.
    """
    host, _, port = text.rpartition(":")
    if not re.fullmatch("[0-9]{1,5}", port):
        raise ValueError("it is no port")
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host, int(port)


def checked_host(host: str) -> str:
    """The host itself. Raises ValueError for what can be no host's name or address."""
    if not re.fullmatch(r"[^\s\x00-\x20\x7f/@?#\[\]]+", host):
        raise ValueError("it is no host's name or address")
    return host


def _database(text: str) -> dict[str, Any]:
    return {"db": _number(text, "the database", 0, 10**_DIGITS_MAX)} if text else {}


def _parameters(query: str, known: tuple[str, ...]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for part in query.split("&") if query else ():
        name, _, value = part.partition("=")
        if name not in known:
            raise ValueError(f"a parameter is unknown; the known ones are {', '.join(known)}")
        key, parsed = _parameter(name, _decoded(value))
        if key in said:
            raise ValueError(f"{name} is given twice")
        said[key] = parsed
    return said


def _parameter(name: str, value: str) -> tuple[str, Any]:
    if name == "db":
        return "db", _number(value, "the database", 0, 10**_DIGITS_MAX)
    if name == "timeout":
        if not re.fullmatch(rf"[0-9]{{1,{_DIGITS_MAX}}}(\.[0-9]+)?", value) or not float(value):
            raise ValueError("timeout must be a number of seconds above 0")
        return "timeout_s", float(value)
    if name in ("sentinel_user", "sentinel_pass"):
        if not value:
            raise ValueError(f"{name} is empty")
        return "sentinel_password" if name == "sentinel_pass" else name, value
    if not re.fullmatch(r"[!-~]+", value):  # the only characters that CLIENT SETNAME takes
        raise ValueError("client_name must be of printable ASCII without blanks")
    return "client_name", value


def _number(text: str, what: str, least: int, most: int) -> int:
    if not re.fullmatch(rf"[0-9]{{1,{_DIGITS_MAX}}}", text) or not least <= int(text) <= most:
        raise ValueError(f"{what} must be a number" + (f" from {least} to {most}" if least else ""))
    return int(text)


def _decoded(text: str) -> str:
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise ValueError("a % must be written as %25")
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("a percent-encoded part is not UTF-8") from None

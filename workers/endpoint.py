"""The address of one server, and how to log in there. Prints itself without secrets."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field


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

    def pack(self) -> dict[str, object]:
        """The endpoint as a map, with its password, for a worker; the pipe is private to us."""
        return asdict(self)


def unpack(packed: dict[str, object]) -> Endpoint:
    """The endpoint that `Endpoint.pack` described."""
    return Endpoint(**packed)  # type: ignore[arg-type]

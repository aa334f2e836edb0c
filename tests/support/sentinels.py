"""A master, its replicas and the Sentinels that watch them, for tests; up in about three seconds.

    with Sentinels("7.0") as group:
        group.master.call("SET", "key", "value")
        new = group.failover()

The Sentinels agree before `with` returns: each knows the others and the replicas. Servers die with the thread that
started them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Self

from .servers import Server
from .wire import Connection, ServerError

#: The name under which the Sentinels know the master.
SERVICE = "main"

#: So long the group may take to agree, seconds: Sentinels tell of themselves every two seconds.
READY_S = 40.0


class Sentinel(Server):
    """A Sentinel of a kind of server. `lines` are of its configuration, which it goes on to write itself."""

    _first = "PING"

    def __init__(self, kind: str, lines: list[str], password: str = "", tls: Sequence[str] = ()) -> None:
        self._lines = lines
        super().__init__(kind, password=password, tls=tls)

    def _words(self, extra: list[str]) -> list[str]:
        path = self.folder / "sentinel.conf"
        if not path.exists():
            own = [f"port {self.port}", "bind 127.0.0.1", f"dir {self.folder}", f"logfile {self.folder / 'log'}"]
            own += [f"requirepass {self.password}"] if self.password else []
            own += [f"tls-port {self.tls_port}", "tls-replication yes"] if self._tls else []
            own += [f"{name[2:]} {value}" for name, value in zip(self._tls[::2], self._tls[1::2], strict=True)]
            path.write_text("\n".join([*own, *self._lines]) + "\n")
        return [str(path), "--sentinel", *extra]

    def sees(self) -> dict[str, str]:
        """SENTINEL MASTER of the service as field → value."""
        flat = [word.decode() for word in self._ask("SENTINEL", "MASTER", SERVICE)]
        return dict(zip(flat[::2], flat[1::2], strict=True))

    def master_address(self) -> str:
        """host:port of the master, as clients are told."""
        host, port = self._ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return f"{host.decode()}:{port.decode()}"

    def _ask(self, *words: str) -> Any:
        with self.connect(timeout_s=10) as connection:
            return connection.must(*words)


class Sentinels:
    """A running group. `password` is of the servers, `sentinel_password` of the Sentinels themselves.

    With `tls`, as for Server, all speak TLS with each other.
    `down_after_ms`: who says nothing for so long is down: long, so that none falls that only waits for the machine; to
    kill a master, give less. A failover then takes that and one to three seconds.
    """

    def __init__(
        self,
        kind: str,
        replicas: int = 1,
        sentinels: int = 3,
        *,
        password: str = "",
        sentinel_password: str = "",
        tls: Sequence[str] = (),
        down_after_ms: int = 10_000,
    ) -> None:
        self.kind = kind
        self.servers: list[Server] = []
        self.sentinels: list[Sentinel] = []
        words = ["--repl-diskless-sync-delay", "0", *(["--masterauth", password] if password else [])]
        words += ["--tls-replication", "yes"] if tls else []
        try:
            for _ in range(1 + replicas):
                self.servers.append(Server(kind, *words, password=password, tls=tls))
            master = self.servers[0]
            for replica in self.servers[1:]:
                assert replica.call("REPLICAOF", *told(master).split(":")) == b"OK"
            self._until(self._in_step, "replicas are not in step")
            lines = _lines(master, password, sentinel_password, down_after_ms, quorum=sentinels // 2 + 1)
            self.sentinels += [Sentinel(kind, lines, sentinel_password, tls) for _ in range(sentinels)]
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise

    @property
    def uri(self) -> str:
        """redis+sentinel://host:port,…/service, without passwords."""
        return f"redis+sentinel://{','.join(map(told, self.sentinels))}/{SERVICE}"

    @property
    def master(self) -> Server:
        """The server that the first running Sentinel calls the master."""
        address = next(one for one in self.sentinels if one.running).master_address()
        return next(server for server in self.servers if told(server) == address)

    @property
    def replicas(self) -> list[Server]:
        """The running servers that are no master."""
        master = self.master
        return [server for server in self.servers if server.running and server is not master]

    def kill_master(self) -> Server:
        """Kill the master as a crash would, and return it."""
        master = self.master
        master.kill()
        return master

    def wait_for_failover(self, old: Server, timeout_s: float = READY_S) -> Server:
        """Wait until all Sentinels name another master than `old`, which is one; returns it."""
        self._until(lambda: self._agree(other_than=old), f"{old.address} is still the master", timeout_s)
        for server in self.servers:
            server.disconnect()  # Sentinels kill all connections to a server that they give another role
        return self.master

    def failover(self, *, kill: bool = False, timeout_s: float = READY_S) -> Server:
        """Let a replica take the master's place: told by the Sentinels, or because it was killed. Returns it."""
        old = self.kill_master() if kill else self.master
        if not kill:
            first = self.sentinels[0]
            deadline = time.monotonic() + timeout_s
            while str(reply := first.call("SENTINEL", "FAILOVER", SERVICE)) != "b'OK'":
                assert time.monotonic() < deadline and isinstance(reply, ServerError), reply
                time.sleep(0.1)  # INPROG, or no replica is known to be good yet
        return self.wait_for_failover(old, timeout_s)

    def restart(self, server: Server, timeout_s: float = READY_S) -> None:
        """Start a killed server again, without its data: the Sentinels make it a replica."""
        server.start()
        self._until(lambda: self._agree() and self._in_step(), f"{server.address} did not become a replica", timeout_s)

    def wait_until_ready(self, timeout_s: float = READY_S) -> None:
        """Wait until every Sentinel knows the others and the replicas, and all name the same master."""
        self._until(self._all_known, "the Sentinels do not know each other", timeout_s)

    def _all_known(self) -> bool:
        others, replicas = str(len(self.sentinels) - 1), str(len(self.servers) - 1)
        seen = [one.sees() for one in self.sentinels]
        known = all(
            (one["num-other-sentinels"], one["num-slaves"], one["flags"]) == (others, replicas, "master")
            for one in seen
        )
        return known and self._agree()

    def _agree(self, other_than: Server | None = None) -> bool:
        addresses = {one.master_address() for one in self.sentinels if one.running}
        if len(addresses) != 1 or (other_than and addresses == {told(other_than)}):
            return False
        with self.master.connect(timeout_s=10) as connection:
            return bool(connection.must("ROLE")[0] == b"master")

    def _in_step(self) -> bool:
        """Every running server but one is a replica that has it all."""
        states = [_link_state(server) for server in self.servers if server.running]
        return states.count("up") == len(states) - 1

    def _until(self, done: Callable[[], bool], what: str, timeout_s: float = READY_S) -> None:
        deadline = time.monotonic() + timeout_s
        while not done():
            assert time.monotonic() < deadline, f"{self.kind}: {what}\n{self.log_tail()}"
            time.sleep(0.05)

    def log_tail(self, lines: int = 10) -> str:
        """The ends of the logs of all."""
        return "\n".join(one.log_tail(lines) for one in [*self.servers, *self.sentinels])

    def stop(self) -> None:
        """End all. Again is allowed."""
        for one in [*self.sentinels, *self.servers]:
            one.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _lines(master: Server, password: str, sentinel_password: str, down_after_ms: int, quorum: int) -> list[str]:
    lines = [
        f"sentinel monitor {SERVICE} {told(master).replace(':', ' ')} {quorum}",
        f"sentinel down-after-milliseconds {SERVICE} {down_after_ms}",
        f"sentinel failover-timeout {SERVICE} 5000",
    ]
    lines += [f"sentinel auth-pass {SERVICE} {password}"] if password else []
    return lines + ([f"sentinel sentinel-pass {sentinel_password}"] if sentinel_password else [])


def told(server: Server) -> str:
    """host:port, as Sentinels tell it: the port for TLS where there is one."""
    return f"{server.host}:{server.tls_port or server.port}"


def _link_state(server: Server) -> str:
    """up or down of a replica; empty for a master, or while the server loads."""
    with server.connect(timeout_s=10) as connection:
        role: Any = _role(connection)
        return "" if role[0] != b"slave" else "up" if role[3] == b"connected" else "down"


def _role(connection: Connection) -> Any:
    reply = connection.call("ROLE")
    return [b""] if isinstance(reply, ServerError) else reply

"""Real servers for tests: each on a free loopback port and a unix socket, in a folder of its own, ended by its pid.

A server dies with the thread that started it (see binaries.launcher): start one from a thread that outlives its use.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from . import binaries
from .wire import Arg, Connection, ServerError

#: How long a server may take to listen, seconds. It takes 20 ms; this is for a machine under load.
START_S = 20.0

#: How long a server may take to end after SIGTERM before it is killed, seconds.
STOP_S = 5.0

#: Another program can take the port between our look and the server's bind: so many ports are tried.
PORT_TRIES = 5


class ServerFailed(AssertionError):
    """A server did not start as asked; the text ends with its log."""


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A running server of one kind ('6.2', '7.0', '8.2', '9.1'); `with Server('7.0') as server:` ends it afterwards.

    `extra` are further words of its command line, e.g. "--maxmemory-policy", "allkeys-lru". `acl` holds lines of an ACL
    file ("user bob on >pw ~* +@all"); `modules` paths of .so files; `maxmemory` is as in redis.conf ("100mb"). `tls` is
    what `Certificates.words` gives: the server then has a `tls_port` besides its plain one (7.0 only).
    `wait` False returns as soon as the server takes connections, even if it only answers LOADING.
    Raises MissingServer without the binary, ServerFailed when it does not come up as the version asked for.
    """

    #: The command that is answered once the server is ready.
    _first = "DBSIZE"

    def __init__(
        self,
        kind: str,
        *extra: str,
        password: str = "",
        acl: Sequence[str] = (),
        maxmemory: str = "",
        databases: int = 16,
        modules: Sequence[str] = (),
        tls: Sequence[str] = (),
        wait: bool = True,
    ) -> None:
        self.kind = kind
        self._tls = list(tls)
        self.host = "127.0.0.1"
        self.password = password
        self.folder = Path(tempfile.mkdtemp(prefix=f"keyferry-{kind}-"))
        self.socket = str(self.folder / "s")
        self._program = binaries.PROGRAMS[kind]
        self._base = self._options(acl, maxmemory, databases, modules) + list(extra)
        self._process: subprocess.Popen[bytes] | None = None
        self._client: redis.Redis | None = None
        self._kept: Connection | None = None
        self._calls = threading.Lock()
        try:
            self._start_on_a_free_port(wait)
        except BaseException:
            self.stop()
            raise

    def _options(self, acl: Sequence[str], maxmemory: str, databases: int, modules: Sequence[str]) -> list[str]:
        options = ["--bind", "127.0.0.1", "--unixsocket", self.socket, "--save", "", "--appendonly", "no"]
        options += ["--dir", str(self.folder), "--logfile", str(self.folder / "log"), "--daemonize", "no"]
        options += ["--databases", str(databases)]
        if self.kind != "6.2":  # there, DEBUG cannot be forbidden
            options += ["--enable-debug-command", "yes"]
        if self.password:
            options += ["--requirepass", self.password]
        if maxmemory:
            options += ["--maxmemory", maxmemory]
        if acl:
            users = self.folder / "users.acl"
            users.write_text("\n".join(acl) + "\n")
            options += ["--aclfile", str(users)]
        for module in modules:
            options += ["--loadmodule", module]
        return options

    # -- addresses and state ------------------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        """host:port."""
        return f"{self.host}:{self.port}"

    @property
    def uri(self) -> str:
        """redis://host:port, without a password."""
        return f"redis://{self.address}"

    @property
    def pid(self) -> int:
        """The process id of the server as it runs now."""
        assert self._process is not None, "the server is stopped"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there (a paused one is)."""
        return self._process is not None and self._process.poll() is None

    @property
    def run_id(self) -> str:
        """What the server calls this run; another one after every restart."""
        return self.info("server")["run_id"]

    @property
    def log(self) -> str:
        """The server's log so far, of all its starts."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    # -- commands -----------------------------------------------------------------------------------------------------

    def connect(self, db: int = 0, *, unix: bool = False, timeout_s: float = 60, protocol: int = 2) -> Connection:
        """A connection of its own, logged in, on database `db`."""
        at = self.socket if unix else (self.host, self.port)
        return Connection(at, db=db, password=self.password, timeout_s=timeout_s, protocol=protocol)

    def call(self, *args: Arg) -> Any:
        """The reply to a command on a connection kept for this; error replies are values. Stays on database 0.

        Threads take turns: what stands before a server calls it while the test does.
        """
        with self._calls:
            if self._kept is None:
                self._kept = self.connect()
            return self._kept.call(*args)

    @property
    def client(self) -> redis.Redis:
        """A redis-py client: RESP2, bytes, 10 s, no retries."""
        if self._client is None:
            self._client = redis.Redis(
                host=self.host, port=self.port, password=self.password or None, protocol=2, decode_responses=False,
                socket_timeout=10, socket_connect_timeout=10, retry=Retry(NoBackoff(), 0), health_check_interval=0,
                driver_info=None,
            )  # fmt: skip
        return self._client

    def info(self, section: str) -> dict[str, str]:
        """A section of INFO as field → value."""
        with self.connect() as connection:
            text = connection.must("INFO", section).decode()
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    # -- life ---------------------------------------------------------------------------------------------------------

    def calls(self, command: str) -> int:
        """How often a command was executed since the server began."""
        told = self.info("commandstats").get(f"cmdstat_{command}", "calls=0")
        return int(told.removeprefix("calls=").partition(",")[0])

    def stop(self) -> None:
        """End the server and remove its folder. Again is allowed."""
        self._end(signal.SIGTERM)
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self) -> None:
        """End the server at once, as a crash would; `start` brings it up again, with what was saved last."""
        self._end(signal.SIGKILL)

    def start(self, *extra: str, wait: bool = True) -> None:
        """Start the stopped server again on its port, with its first options and `extra`."""
        assert not self.running, "the server is running"
        self._launch(list(extra))
        self._check(wait)

    def restart(self, *extra: str, keep_data: bool = False, wait: bool = True) -> None:
        """End the server and start it on the same port and socket: another run id, no data unless `keep_data`."""
        if keep_data:
            with self.connect() as connection:
                connection.must("SAVE")
        self._end(signal.SIGTERM)
        if not keep_data:
            (self.folder / "dump.rdb").unlink(missing_ok=True)
        self.start(*extra, wait=wait)

    def pause(self) -> None:
        """Let the process stand still (SIGSTOP): connections stay open, nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            print(self.log_tail(), file=sys.stderr)
        self.stop()

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of the log, under a heading that names the server."""
        port = getattr(self, "port", 0)
        return "\n".join([f"--- log of server {self.kind} on port {port}", *self.log.splitlines()[-lines:]])

    def _choose_port(self) -> int:
        return free_port()

    def _start_on_a_free_port(self, wait: bool) -> None:
        for attempt in range(PORT_TRIES):
            self.port = self._choose_port()
            self.tls_port = self._choose_port() if self._tls else 0
            self._launch([])
            try:
                return self._check(wait)
            except ServerFailed as failed:
                if "Address already in use" not in str(failed) or attempt + 1 == PORT_TRIES:
                    raise

    def _launch(self, extra: list[str]) -> None:
        words = [*binaries.launcher(), binaries.find(self.kind), *self._words(extra)]
        with open(self.folder / "out", "ab") as out:
            self._process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.folder, start_new_session=True
            )

    def _words(self, extra: list[str]) -> list[str]:
        words = ["--port", str(self.port), *self._base, *extra]
        return words + (["--tls-port", str(self.tls_port), *self._tls] if self._tls else [])

    def _check(self, wait: bool) -> None:
        """Wait until the server answers, and make sure that it is the process and the version that we started."""
        deadline = time.monotonic() + START_S
        while not self._answers(wait):
            if not self.running or time.monotonic() > deadline:
                said = (self.folder / "out").read_text(errors="replace")
                raise ServerFailed(f"server {self.kind} did not start\n{said}{self.log_tail()}")
            time.sleep(0.005)
        if wait:
            self._check_identity()

    def _answers(self, wait: bool) -> bool:
        try:
            with self.connect(timeout_s=START_S if wait else 1) as connection:
                return not wait or not isinstance(connection.call(self._first), ServerError)
        except OSError:
            return False

    def _check_identity(self) -> None:
        info = self.info("server")
        version = info.get(self._program.field, "")
        if not version.startswith(self._program.version):
            raise ServerFailed(f"asked for {self.kind}, got {self._program.field} {version!r}")
        if int(info["process_id"]) != self.pid:
            raise ServerFailed(f"port {self.port} is answered by process {info['process_id']}, not by ours")

    def _end(self, how: signal.Signals) -> None:
        self.disconnect()
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(how)
            process.send_signal(signal.SIGCONT)  # a paused process takes no SIGTERM
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def disconnect(self) -> None:
        """Close the connections of `call` and `client`; they open others when they are used again."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None
        if self._client is not None:
            self._client.close()
            self._client = None


def start_loading(kind: str, seconds: float) -> Server:
    """A server that answers LOADING for about `seconds` and then serves the keys b'loaded:0', b'loaded:1', ….

    It loads a dump with a pause after each key. Commands are answered only between pieces of the dump: by a setting
    each kilobyte, but on 6.2 each 2 MB, so there each value is that big.
    """
    size, pause_s = (2_200_000, 0.1) if kind == "6.2" else (2_000, 0.02)
    server = Server(kind, "--rdbcompression", "no")
    try:
        with server.connect() as connection:
            connection.pipeline(("SET", f"loaded:{n}", b"v" * size) for n in range(round(seconds / pause_s)))
        slow = ["--key-load-delay", str(int(pause_s * 1e6))]
        slow += [] if kind == "6.2" else ["--loading-process-events-interval-bytes", "1024"]
        server.restart(*slow, keep_data=True, wait=False)
    except BaseException:
        server.stop()
        raise
    return server

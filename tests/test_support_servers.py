"""The servers of the tests are the ones asked for, end when told, and are clean when they are handed out again."""

from __future__ import annotations

import os
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import ServerFactory
from tests.support import binaries
from tests.support.binaries import KINDS, MissingServer, bloom
from tests.support.certificates import Certificates
from tests.support.dataset import fill
from tests.support.pool import Pool
from tests.support.servers import Server, ServerFailed, start_loading
from tests.support.wire import ServerError


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_is_the_version_asked_for_and_answers_on_both_addresses(server: ServerFactory, kind: str) -> None:
    one = server(kind)
    program = binaries.PROGRAMS[kind]
    assert one.info("server")[program.field].startswith(program.version)
    assert one.client.ping() is True
    with one.connect(unix=True, db=3) as connection:
        assert connection.call("SET", "k", b"\x00\xff") == b"OK"
    assert one.client.info("keyspace")["db3"]["keys"] == 1
    assert str(one.call("NOSUCH")).startswith("ERR unknown command")
    assert len(one.call("DEBUG", "DIGEST")) == 40
    assert len(one.run_id) == 40


def test_threads_that_call_at_once_get_a_reply_each_to_their_own_command(server: ServerFactory) -> None:
    one = server("7.0")

    def echoed(name: str) -> bool:
        return all(one.call("ECHO", f"{name}:{number}") == f"{name}:{number}".encode() for number in range(2_000))

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(echoed, "abcd"))


def test_a_server_with_certificates_has_a_port_for_tls_besides_its_plain_one(
    server: ServerFactory, certificates: Certificates
) -> None:
    one = server("7.0", tls=certificates.words(mutual=True))
    trust = ssl.create_default_context(cafile=certificates.cacert)
    trust.load_cert_chain(certificates.client.cert, certificates.client.key)
    with (
        socket.create_connection((one.host, one.tls_port), 5) as plain,
        trust.wrap_socket(plain, server_hostname="localhost") as sock,
    ):
        sock.sendall(b"PING\r\n")
        assert sock.recv(100) == b"+PONG\r\n"
    assert one.call("PING") == b"PONG"


def test_a_wrong_version_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = binaries.Program("7.0", "redis_version", "7.0.", binaries.find("6.2"))
    monkeypatch.setitem(binaries.PROGRAMS, "7.0", wrong)
    with pytest.raises(ServerFailed, match=r"asked for 7\.0, got|did not start"):
        Server("7.0")


def test_a_missing_binary_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(binaries, "FOLDER", tmp_path)
    with pytest.raises(MissingServer, match="scripts/servers"):
        Server("9.1")


def test_a_server_that_does_not_start_shows_what_it_said() -> None:
    with pytest.raises(ServerFailed, match="no-such-option"):
        Server("7.0", "--no-such-option", "1")


@pytest.mark.parametrize("kind", KINDS)
def test_a_restart_keeps_the_port_and_forgets_or_keeps_the_data(server: ServerFactory, kind: str) -> None:
    one = server(kind, fresh=True)
    port, first, pid = one.port, one.run_id, one.pid
    one.call("SET", "k", "v")
    one.restart(keep_data=True)
    assert (one.port, one.call("GET", "k")) == (port, b"v")
    assert one.run_id != first and one.pid != pid
    one.kill()
    one.start()
    assert one.call("DBSIZE") == 1
    one.restart()
    assert one.call("DBSIZE") == 0


def test_a_stopped_server_leaves_nothing(server: ServerFactory) -> None:
    one = server("7.0", fresh=True)
    folder, pid = one.folder, one.pid
    assert folder.stat().st_mode & 0o777 == 0o700
    one.pause()
    one.stop()
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_paused_server_answers_only_after_it_is_resumed(server: ServerFactory) -> None:
    one = server("9.1", fresh=True)
    with one.connect(timeout_s=0.2) as connection:
        one.pause()
        with pytest.raises(TimeoutError):
            connection.call("PING")
        one.resume()
        assert connection.receive() == b"PONG"


def test_passwords_users_memory_databases_and_modules_are_set(server: ServerFactory) -> None:
    one = server("8.2", password="secret", maxmemory="64mb", databases=3, modules=[bloom()])
    assert one.client.config_get("maxmemory") == {"maxmemory": "67108864"}
    assert one.call("BF.ADD", "bloom", "x") == 1
    assert isinstance(one.call("SELECT", 3), ServerError)
    with pytest.raises(ConnectionError, match="WRONGPASS"):
        Server.connect(_with_password(one, "wrong"))
    limited = server("6.2", acl=["user default on nopass ~* &* +@all", "user bob on >pw ~* +@read"])
    assert limited.call("ACL", "WHOAMI") == b"default"
    assert limited.call("AUTH", "bob", "pw") == b"OK"
    assert str(limited.call("SET", "k", "v")).startswith("NOPERM")


def _with_password(server: Server, password: str) -> Server:
    other = object.__new__(Server)
    other.__dict__.update(server.__dict__, password=password)
    return other


@pytest.mark.parametrize("kind", KINDS)
def test_a_loading_server_says_so_until_it_is_done(kind: str) -> None:
    begun = time.monotonic()
    with start_loading(kind, 2.0) as one, one.connect() as connection:
        replies = set()
        while isinstance(reply := connection.call("EXISTS", "loaded:0"), ServerError):
            replies.add(str(reply).split()[0])
            time.sleep(0.02)
        assert replies == {"LOADING"}
        assert reply == 1
    assert time.monotonic() - begun > 1.9


def test_a_shared_server_comes_back_empty_and_the_same() -> None:
    pool = Pool()
    one = pool.take("7.0")
    other = pool.take("7.0")
    assert one is not other
    fill(one, 50, db=2)
    pool.give_back_all()
    assert pool.take("7.0") is one and one.call("INFO", "keyspace") == b"# Keyspace\r\n"
    pool.close()
    assert not one.running and not other.running


@pytest.mark.parametrize("change", ["CONFIG SET maxmemory 1gb", "ACL SETUSER bob on", "a restart", "a stop"])
def test_a_shared_server_that_was_changed_for_good_is_not_handed_out_again(change: str) -> None:
    pool = Pool()
    one = pool.take("9.1")
    if change == "a restart":
        one.restart()
    elif change == "a stop":
        one.stop()
    else:
        one.call(*change.split())
    pool.give_back_all()
    assert not one.running
    assert pool.take("9.1") is not one
    pool.close()

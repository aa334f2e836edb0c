"""Passwords are in no output, log, file, error, nor in what other users can see of our processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ServerFactory
from tests.support.commands import at
from tests.support.filling import write_strings
from tests.support.processes import Run, children_of, command_line, environment, run_keyferry, start_keyferry
from tests.support.prompts import at_a_terminal
from tests.support.respproxy import Answer, Args, Hooks, Proxy

#: Nothing else looks like these.
SECRETS = ("S3cr3t-of-the-source", "S3cr3t-of-the-target")
WAYS = ("file", "prompt", "environment", "uri in the environment", "words", "uri")


def words_of(way: str, side: int, port: int, folder: Path) -> tuple[list[str], dict[str, str]]:
    """What stands on the command line for a side, and what in the environment."""
    secret, name = SECRETS[side], ("SOURCE", "TARGET")[side]
    if way == "file":
        path = folder / f"password{side}"
        path.write_text(secret + "\n")
        path.chmod(0o600)
        return ["-p", str(port), "--pass-file", str(path)], {}
    if way == "prompt":
        return ["-p", str(port), "--askpass"], {}
    if way == "environment":
        return [], {f"KEYFERRY_{name}_PORT": str(port), f"KEYFERRY_{name}_PASS": secret}
    if way == "uri in the environment":
        return [], {f"KEYFERRY_{name}_URI": f"redis://:{secret}@127.0.0.1:{port}"}
    if way == "words":
        return ["-p", str(port), f"-a{secret}"], {}
    return ["-u", f"redis://:{secret}@127.0.0.1:{port}"], {}


@pytest.mark.parametrize("way", WAYS)
def test_a_password_is_nowhere_while_a_copy_runs_nor_after_it(way: str, server: ServerFactory, tmp_path: Path) -> None:
    source, target = (server("7.0", password=secret) for secret in SECRETS)
    write_strings(source, 3_000)
    source.call("SET", "refused", b"v" * 5_000)
    target.call("CONFIG", "SET", "proto-max-bulk-len", "1mb")
    source.call("SET", "large", b"v" * 2_000_000)  # put aside: the target does not take it
    kept, secret_files = tmp_path / "kept", tmp_path / "secret"
    kept.mkdir()
    secret_files.mkdir()
    (first, around), (second, more) = (
        words_of(way, side, one.port, secret_files) for side, one in enumerate((source, target))
    )
    line = [*first, "replicate", *second, "-d", "--log-file", str(kept / "log"), "--put-aside", str(kept / "aside")]
    line += ["--rate", "1500", "--source-rdbcompression", "off", "--no-verify", "--progress", "log"]
    env = {**around, **more, "XDG_STATE_HOME": str(kept)}
    undo: list[str] = []

    def look(run: Run) -> None:
        wait_until(run, lambda: (kept / "log").exists() and "copy begins" in (kept / "log").read_text())
        undo.extend(path.read_text() for path in kept.rglob("undo/*.json"))
        helpers = children_of(run.pid)
        assert len(helpers) >= 3  # fork server, guard, workers
        for pid in helpers:
            assert not found_in(command_line(pid) + environment(pid)), command_line(pid)
        # What the user has typed there is seen by others as long as the command runs, of which it warns.
        assert bool(found_in(command_line(run.pid))) == (way in ("words", "uri"))

    if way == "prompt":
        ran, screen = at_a_terminal(*line, typed=SECRETS, env=env, meanwhile=look)
    else:
        with start_keyferry(*line, env=env) as run:
            look(run)
            ran, screen = run.wait(), ""
    assert ran.code in (0, 1), ran.err + screen
    assert (ran.err + screen).count("Using a password with -a or in a URI") == (way in ("words", "uri"))
    texts = [ran.out, ran.err, screen, *undo]
    texts += [path.read_text(errors="replace") for path in kept.rglob("*") if path.is_file()]
    assert (kept / "log").stat().st_size and not found_in("".join(texts).encode())


def wait_until(run: Run, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert run.running and time.monotonic() < deadline, run.err
        time.sleep(0.01)


def found_in(text: bytes) -> list[str]:
    """The secrets in a text."""
    return [secret for secret in SECRETS if secret.encode() in text]


class WithoutAuth(Hooks):
    """AUTH is unknown, and the error repeats what was sent, as that of Redis does."""

    def on_command(self, args: Args) -> Answer:
        if args[0].upper() == b"AUTH":
            said = b" ".join(b"'%b'" % word for word in args[1:])
            return b"-ERR unknown command 'AUTH', with args beginning with: %b\r\n" % said
        return args


@pytest.mark.parametrize("side", [0, 1])
def test_a_server_that_repeats_the_password_in_its_error_is_not_quoted(side: int, server: ServerFactory) -> None:
    one, other = server("7.0"), server("7.0")
    with Proxy(one, WithoutAuth()) as proxy:
        words = [*at(proxy), "--user", "bob", f"-a{SECRETS[0]}"]
        line = [*at(other), "replicate", *words] if side else [*words, "replicate", *at(other)]
        ran = run_keyferry(*line, "-d")
    assert ran.code == 3 + side
    assert "login refused: ERR unknown command 'AUTH'" in ran.err
    assert not found_in(ran.err.encode() + ran.out.encode())


@pytest.mark.parametrize("side", [0, 1])
def test_a_login_that_is_refused_is_not_tried_again(side: int, server: ServerFactory) -> None:
    one, other = server("7.0", password="right"), server("7.0")
    words = [*at(one), f"-a{SECRETS[0]}"]
    line = [*at(other), "replicate", *words] if side else [*words, "replicate", *at(other)]
    ran = run_keyferry(*line, "--wait-for", "30s")
    assert ran.code == 3 + side
    assert ran.seconds < 25
    assert "login refused: WRONGPASS" in ran.err
    assert one.info("stats")["acl_access_denied_auth"] == "1" if "acl_access_denied_auth" in one.info("stats") else True

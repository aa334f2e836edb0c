"""The guard of a run, and the run's end of its pipe: what comes late, and servers that do not answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyferry import settings as settings_module
from keyferry.logs import Log
from keyferry.settings import Settings
from keyferry.undo import Wanted
from keyferry.workers.endpoint import Endpoint
from tests.conftest import ServerFactory
from tests.support.live import wait_until
from tests.support.servers import Server
from tests.support.undo import State, compression

#: A guard tries a silent server for twice as long.
SILENT_S = 30.0


class Said(Log):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def warning(self, text: str, hint: str = "", **fields: object) -> None:
        self.lines.append(f"warning: {text}")

    def notice(self, text: str, **fields: object) -> None:
        self.lines.append(text)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    """Where the undo files of this process and its guards lie."""
    found = State(tmp_path)
    for name, value in found.env.items():
        monkeypatch.setenv(name, value)
    return found


def change(settings: Settings, server: Server) -> None:
    """Let it do without compression."""
    settings.change(Endpoint(port=server.port), "source", Wanted(server.run_id, "rdbcompression", "no"))


def test_a_server_that_does_not_answer_keeps_no_other_from_being_put_back(server: ServerFactory, state: State) -> None:
    silent, other, log = server("7.0"), server("9.1"), Said()
    with Settings(log) as settings:
        for one in (silent, other):
            change(settings, one)
            assert compression(one) == "no"
        silent.pause()
    try:
        wait_until(lambda: compression(other) == "yes", SILENT_S, "the one that answers is left as it was")
        assert f"source {other.address} rdbcompression is yes again" in log.lines
        assert any(f"source {silent.address} rdbcompression is not put back yet" in line for line in log.lines)
    finally:
        silent.resume()
    state.is_as_before(silent)
    assert settings._guard is not None and settings._guard.wait(SILENT_S) == 0


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_one(
    server: ServerFactory, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    late, other, log = server("7.0"), server("9.1"), Said()
    run_id, wait_s = late.run_id, settings_module.CHANGE_S
    with Settings(log) as settings:
        late.pause()
        try:
            monkeypatch.setattr(settings_module, "CHANGE_S", 0.5)
            settings.change(Endpoint(port=late.port), "source", Wanted(run_id, "rdbcompression", "no"))
        finally:
            late.resume()
        wait_until(lambda: compression(late) == "no")
        monkeypatch.setattr(settings_module, "CHANGE_S", wait_s)
        other.call("CONFIG", "SET", "rdbcompression", "no")
        change(settings, other)
    assert compression(late) == "yes"
    assert log.lines == [
        f"warning: source {late.address} rdbcompression may be changed to no, and is put back at the end of this run:"
        " its guard process failed: it gave no answer",
        f"source {late.address} rdbcompression is yes again",
    ]
    assert state.files == []

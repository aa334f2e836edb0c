"""Plain servers that tests share one after the other, so that a matrix of versions spends no time on starts."""

from __future__ import annotations

from dataclasses import dataclass, field

from .servers import Server
from .wire import ServerError


@dataclass
class _Shared:
    server: Server
    first: tuple[object, ...]  # what `_settings` said after the start
    taken: bool = False


@dataclass
class Pool:
    """Hands out empty servers of a kind; a server that a test has changed for good is ended, not handed out again."""

    _shared: list[_Shared] = field(default_factory=list)

    def take(self, kind: str) -> Server:
        """An empty server in its first state that nobody else has. Raises as Server does."""
        for shared in self._shared:
            if not shared.taken and shared.server.kind == kind:
                shared.taken = True
                return shared.server
        server = Server(kind)
        self._shared.append(_Shared(server, _settings(server), taken=True))
        return server

    def give_back_all(self) -> None:
        """Empty every server that is taken, and end those that cannot be made as they were."""
        for shared in list(self._shared):
            if shared.taken and not _cleaned(shared):
                shared.server.stop()
                self._shared.remove(shared)
            shared.taken = False

    def close(self) -> None:
        """End all servers."""
        for shared in self._shared:
            shared.server.stop()
        self._shared.clear()


def _settings(server: Server) -> tuple[object, ...]:
    """Whatever a test may change that FLUSHALL does not undo: the process, its settings, its users."""
    return (server.run_id, *(repr(server.call(*words)) for words in (("CONFIG", "GET", "*"), ("ACL", "LIST"))))


def _cleaned(shared: _Shared) -> bool:
    server = shared.server
    if not server.running:
        return False
    server.resume()
    try:
        for words in (("FLUSHALL",), ("SCRIPT", "FLUSH"), ("FUNCTION", "FLUSH"), ("CONFIG", "RESETSTAT")):
            reply = server.call(*words)
            if isinstance(reply, ServerError) and words[0] != "FUNCTION":  # 6.2 has no functions
                return False
        return _settings(server) == shared.first
    except (OSError, AssertionError):
        return False

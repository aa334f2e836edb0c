"""What a live copy refuses before it begins, as it could only end in circles.

Of two that begin at once, one the other way round, neither may see the other when it looks first. So each gives its
connections to the target the name of its job (`announce`), and looks again once it listens to the source, before it
copies anything: whichever is the second to listen finds both signs of the other one.
"""

from __future__ import annotations

import re

from .pairs import refuse_same_data
from .partitioners.control import Control
from .partitioners.server import Server
from .plans import Survey
from .workers.errors import RefusedError

_OURS = re.compile(rb"\bname=(?:\S*:)?keyferry:([0-9a-f]+):(\w+)")


def refuse_circles(found: Survey, sources: list[Control], targets: list[Control]) -> None:
    """Raise RefusedError for two names of one server, a server and its replica, and a live copy the other way round."""
    for one in found.sources:
        for other in found.targets:
            _refuse_one(one, other)
    refuse_copy_back(found, sources, targets)


def announce(job: str, targets: list[Control]) -> None:
    """Let a live copy the other way round see this one. Raises AccessError."""
    for control in targets:
        control.call("CLIENT", "SETNAME", control.endpoint.name_of(job, "control"))


def refuse_copy_back(found: Survey, sources: list[Control], targets: list[Control]) -> None:
    """Raise RefusedError where a live copy the other way round listens to a target, and is at a source. AccessError."""
    back = {job for job, kind in _jobs(targets) if kind == b"feed"} & {job for job, _ in _jobs(sources)}
    if back:
        there, here = (one.endpoint.address for one in (found.targets[0], found.sources[0]))
        raise RefusedError(
            f"a live copy from {there} to {here} is running: in both directions at once every change would come back",
            hint="end the other one first",
        )


def _refuse_one(one: Server, other: Server) -> None:
    if one.run_id and one.run_id == other.run_id:
        where = f"{one.endpoint.address} and {other.endpoint.address}"
        raise RefusedError(
            f"{where} are one server: every write to it would be a change to follow",
            hint="name two servers; without --live one server's databases may be copied",
        )
    refuse_same_data(one, other)


def _jobs(controls: list[Control]) -> set[tuple[bytes, bytes]]:
    """The copies whose connections servers have: (job, what the connection is for)."""
    replies = [control.call("CLIENT", "LIST") for control in controls]
    return {found for reply in replies if isinstance(reply, bytes) for found in _OURS.findall(reply)}

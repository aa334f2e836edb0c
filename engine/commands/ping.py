"""`keyferry ping`: reach servers, and tell what they are and how far away."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from math import ceil

from .. import undo
from ..given import filled
from ..grammar import Invocation
from ..latency import PERCENTILES, percentile_name
from ..logs import Log
from ..output import say_result
from ..partitioners import cluster
from ..partitioners.control import Control
from ..partitioners.rights import SOURCE, TARGET
from ..partitioners.sentinel import master_of
from ..partitioners.server import Server
from ..partitioners.topology import describe, refuse_no_cluster
from ..permissions import Role, role_of
from ..text import plural
from ..workers.endpoint import Endpoint
from ..workers.errors import EXIT_OK, AccessError, KeyferryError, RefusedError, UsageError

#: Shares of the round trips that take no longer than the figure shown, unless -l asks for more of them.
FEW_PERCENTILES = (50, 95, 99, 100)


@dataclass(frozen=True)
class Answer:
    """One server that was reached, and its round trips in ms, sorted."""

    server: Server
    round_trips_ms: list[float]
    left: list[undo.Outcome]  # settings that killed runs have changed there, and what became of them now
    others: list[Endpoint]  # of its cluster's nodes all but itself
    roles: list[Role] = field(default_factory=list)  # with --for: whether it may be a source, a target

    @property
    def commands(self) -> list[str]:
        """What to type there, as it could not be put back."""
        return [outcome.command for outcome in self.left if outcome.failed]

    @property
    def times_ms(self) -> dict[str, float]:
        """Percentiles by their names."""
        shares = PERCENTILES if self.server.endpoint.latency else FEW_PERCENTILES
        return {percentile_name(share): self._percentile(share) for share in shares}

    def _percentile(self, share: float) -> float:
        """So many percent of the round trips took no longer."""
        return self.round_trips_ms[ceil((len(self.round_trips_ms) - 1) * share / 100)]


def run(call: Invocation, log: Log) -> int:
    """Ping every server named, of a cluster every node. The first failure decides the exit code, after the others."""
    answers: list[Answer] = []
    failures: list[KeyferryError] = []

    def reach(endpoint: Endpoint, sides: tuple[str, ...]) -> Answer | None:
        try:
            answers.append(ping(endpoint, call.options["count"], sides))
        except (AccessError, RefusedError) as error:
            failures.append(error)
            log.error(error)
            return None
        undo.tell(answers[-1].left, log)
        return answers[-1]

    for endpoint, sides in zip(call.servers, roles_of(call), strict=True):
        left = [endpoint, *(endpoint.at(host, port) for host, port in endpoint.seeds)]
        known = {place.address for place in left}
        while left:
            answer = reach(left.pop(0), sides)
            others = [other for other in answer.others if other.address not in known] if answer else []
            known |= {other.address for other in others}
            left += others
    if call.options["json"]:
        say_result(json.dumps([fields(answer) for answer in answers]))
    elif answers:
        say_result("\n".join(line(answer) for answer in answers))
    failures += refusals(answers)
    return failures[0].exit_code if failures else EXIT_OK


def roles_of(call: Invocation) -> list[tuple[str, ...]]:
    """What each server is looked at for: of two the source and the target, one alone for both. Raises UsageError."""
    if call.options["for"] is None:
        return [() for _ in call.servers]
    if len(call.servers) > 2:
        raise UsageError("--for replicate is about one server or two", hint="keyferry ping SOURCE TARGET")
    return [(SOURCE, TARGET)] if len(call.servers) == 1 else [(SOURCE,), (TARGET,)]


def refusals(answers: list[Answer]) -> list[KeyferryError]:
    """What ends a copy; a server that was looked at for both sides may still be good for one of them."""
    found = []
    for answer in answers:
        errors = [role.error for role in answer.roles if role.error]
        found += errors if len(errors) == len(answer.roles) else []
    return found


def ping(endpoint: Endpoint, count: int, sides: tuple[str, ...] = ()) -> Answer:
    """Reach a server, measure `count` round trips, and try what a copy needs of it as `sides`.

    Raises AccessError, and RefusedError where -c is wrong.
    """
    control = Control(endpoint, "")
    try:
        if endpoint.sentinels:
            control.endpoint = master_of(endpoint, "")
        control.open()
        server = describe(control)
        refuse_no_cluster(server)
        left = undo.left_behind(control, server.run_id, may_change=True)
        times_ms = sorted(control.round_trip_s() * 1000 for _ in range(count))
        roles = [role_of(control, server, side, filled("replicate", {})) for side in sides]
        return Answer(server, times_ms, left, cluster.others_of(control) if server.clustered else [], roles)
    finally:
        control.close()


def line(answer: Answer) -> str:
    """One server on two lines of at most 80 columns; more where a killed run has left something."""
    server = answer.server
    times = " ".join(f"{name} {time_ms:.2f}" for name, time_ms in answer.times_ms.items())
    state = ", loading" if server.loading else ""
    name = f"{server.name}  {server.mode} {server.role}{state}  {plural(server.keys, 'key')}"
    lines = [f"{server.endpoint.address}  {name}", f"  round trip ms: {times}"]
    lines += [f"  left by a run that was killed; to put it back: {command}" for command in answer.commands]
    lines += [line for role in answer.roles for line in role_lines(role)]
    return "\n".join(lines)


def role_lines(role: Role) -> list[str]:
    """What a server's user may do as one side of a copy."""
    lines = [f"  as {role.side}: it may do all that replicate needs"]
    if role.error:
        lines = [f"  as {role.side}: {role.error.message}", f"    {role.error.hint}"]
    return lines + [f"  as {role.side}, not checked: {line}" for line in role.unchecked]


def fields(answer: Answer) -> dict[str, object]:
    """One server for programs."""
    server = answer.server
    return {
        "address": server.endpoint.address,
        "product": server.product,
        "version": server.own_version or server.version,
        "mode": server.mode,
        "role": server.role,
        "loading": server.loading,
        "run_id": server.run_id,
        "keys": server.keys,
        "round_trip_ms": {name: round(time_ms, 3) for name, time_ms in answer.times_ms.items()},
        "put_back_by": answer.commands,
        **({"roles": [role.fields for role in answer.roles]} if answer.roles else {}),
    }

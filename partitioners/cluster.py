"""What a cluster is, as one of its nodes tells it: masters with their slots, and their replicas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..workers.endpoint import Endpoint
from ..workers.errors import AccessError, StateError, UnreachedError
from ..workers.policy import is_denied
from ..workers.redirects import UNKNOWN_HOSTS
from ..workers.resp import info_fields
from ..workers.slots import SLOTS, Range, owners_of, ranges_of
from .control import Control, ReplyError


@dataclass(frozen=True)
class Place:
    """Where a node announces itself."""

    node_id: str
    host: str
    port: int

    @property
    def address(self) -> str:
        """host:port."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Master:
    """A master that owns slots."""

    place: Place
    slots: list[Range]
    replicas: list[Place] = field(default_factory=list)

    @property
    def node_id(self) -> str:
        """What the cluster calls it, for as long as it lives."""
        return self.place.node_id


@dataclass(frozen=True)
class Seen:
    """A node as another one sees it. What it says of itself counts most."""

    place: Place
    flags: frozenset[str]
    epoch: int  # grows whenever it takes slots over
    slots: list[Range]
    open_slots: frozenset[int]  # that it is giving away or taking in; only told of itself
    takers: dict[int, str] = field(default_factory=dict)  # of those that it is giving away: who takes each in


def is_cluster(control: Control) -> bool:
    """Whether the server is a node of a cluster; asked where INFO does not tell."""
    return isinstance(control.call("CLUSTER", "INFO"), bytes)


def masters_of(control: Control) -> list[Master]:
    """The masters that own slots, in the order of their first slots. Raises AccessError where they are not told."""
    reply = control.call("CLUSTER", "SLOTS")
    if isinstance(reply, ReplyError):
        raise control.refused("CLUSTER SLOTS refused", reply)
    found: dict[str, Master] = {}
    for first, last, *nodes in sorted(reply, key=lambda entry: entry[0]):
        master, *replicas = [_place(control, node) for node in nodes]
        known = found.setdefault(master.node_id, Master(master, [], replicas))
        known.slots.append((first, last))
    return list(found.values())


def _place(control: Control, node: list[Any]) -> Place:
    host = (node[0] or b"").decode()
    node_id = node[2].decode() if len(node) > 2 else f"{host}:{node[1]}"
    return Place(node_id, control.endpoint.host if host in UNKNOWN_HOSTS else host, node[1])


def nodes_seen(control: Control) -> list[Seen]:
    """Every node as the one that we are connected to sees it. Raises AccessError where that is not told."""
    reply = control.call("CLUSTER", "NODES")
    if isinstance(reply, ReplyError):
        raise control.refused("CLUSTER NODES refused", reply)
    return [_seen(control, line.split()) for line in reply.decode().splitlines() if line.strip()]


def _seen(control: Control, words: list[str]) -> Seen:
    """A line of CLUSTER NODES: id, host:port@bus[,name], flags, master, two times, epoch, link, slots …"""
    node_id, address, flags, _, _, _, epoch, _, *slots = words
    host, _, port = address.partition("@")[0].rpartition(":")
    place = Place(node_id, control.endpoint.host if host in UNKNOWN_HOSTS else host, int(port or 0))
    owned = [text.partition("-") for text in slots if not text.startswith("[")]
    ranges = [(int(first), int(last or first)) for first, _, last in owned]
    moving = [text.strip("[]") for text in slots if text.startswith("[")]
    still_open = frozenset(int(text.partition("-")[0]) for text in moving)
    takers = {int(slot): taker for slot, leaves, taker in (text.partition("->-") for text in moving) if leaves}
    return Seen(place, frozenset(flags.split(",")), int(epoch), ranges, still_open, takers)


def refuse_gaps(control: Control, masters: Sequence[Master]) -> None:
    """Raise StateError for a cluster that does not serve all of its slots."""
    owners = owners_of([master.slots for master in masters])
    missing = ranges_of([slot for slot in range(SLOTS) if owners[slot] < 0])
    where = {"side": control.side, "address": control.endpoint.address}
    if missing:
        named = ", ".join(range_text(one) for one in missing[:3]) + (", …" if len(missing) > 3 else "")
        raise StateError(f"slots without an owner: {named}", **where, hint="redis-cli --cluster check HOST:PORT")
    reply = control.call("CLUSTER", "INFO")
    state = info_fields(reply).get("cluster_state", "ok") if isinstance(reply, bytes) else "ok"
    if state != "ok":
        raise StateError(f"its cluster is down (cluster_state:{state})", **where, hint="redis-cli --cluster check")


def refuse_unknown_takers(control: Control, masters: Sequence[Master]) -> None:
    """Raise StateError where the master that we are connected to gives a slot to a node that owns none yet: keys that
    have gone there are at nobody's that we know.

    One that may not be asked is left to the check of permissions, which says what to grant.
    """
    known = {master.node_id for master in masters}
    try:
        told = nodes_seen(control)
    except UnreachedError:
        raise
    except AccessError:
        return
    for seen in told:
        for slot, taker in seen.takers.items():
            if taker not in known:
                text = f"slot {slot} is half moved to a node that owns no slots yet"
                hint = "end the move: redis-cli --cluster fix HOST:PORT; --wait-for waits for its end"
                raise StateError(text, side=control.side, address=control.endpoint.address, hint=hint)


def range_text(slots: Range) -> str:
    """`7` or `7-9`."""
    first, last = slots
    return str(first) if first == last else f"{first}-{last}"


def slots_in(slots: Sequence[Range]) -> list[int]:
    """Each slot of some ranges."""
    return [slot for first, last in slots for slot in range(first, last + 1)]


def count_slots(slots: Sequence[Range]) -> int:
    """How many slots ranges hold."""
    return sum(last - first + 1 for first, last in slots)


def endpoint_of(seed: Endpoint, place: Place) -> Endpoint:
    """A node's endpoint: as the seed's, which names login and time-outs, at another address."""
    return seed.at(place.host, place.port)


def my_id(control: Control) -> str:
    """The node id of the node that we are connected to; '' where it is none. AccessError: we may not ask."""
    reply = control.call("CLUSTER", "MYID")
    if is_denied(reply):
        raise control.refused("CLUSTER MYID refused", reply)
    return reply.decode() if isinstance(reply, bytes) else ""


def others_of(control: Control) -> list[Endpoint]:
    """All nodes that the cluster tells of, but for the one that we are connected to. Raises AccessError."""
    others = [seen for seen in nodes_seen(control) if not seen.flags & {"myself", "noaddr", "handshake"}]
    return [endpoint_of(control.endpoint, seen.place) for seen in others]


def keys_in_slots(control: Control, numbers: Sequence[int]) -> dict[int, int]:
    """How many keys each of these slots holds at the node. Raises AccessError."""
    counts: dict[int, int] = {}
    for begin in range(0, len(numbers), 512):
        some = numbers[begin : begin + 512]
        for slot, reply in zip(some, control.call_all([("CLUSTER", "COUNTKEYSINSLOT", slot) for slot in some])):
            if isinstance(reply, ReplyError):
                raise control.refused("CLUSTER COUNTKEYSINSLOT refused", reply)
            counts[slot] = int(reply)
    return counts


def unreachable(error: AccessError, count: int) -> UnreachedError:
    """The error for a node that the cluster names, and that we do not reach."""
    text = f"{error.message} (one of {count} masters of the cluster)"
    return UnreachedError(text, side=error.side, address=error.address, hint="is the node up, and its address right?")

"""What a comparison finds of one key that is not equal on both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: Kinds of findings, as reports name them.
UNREADABLE = "unreadable"
CHANGING = "changing"
ONLY_SOURCE = "only at source"
ONLY_TARGET = "only at target"
TYPE = "type"
VALUE = "value"
EXPIRY = "expiry"

#: `where` and reasons are cut off after so many characters.
WHERE_CHARS = 200


@dataclass(frozen=True)
class Sight:
    """One side of a key, as it was seen last."""

    type: str = "none"  # as TYPE has it; `none`: the key is not there
    size: int | None = None  # bytes of a string, elements of a collection; None: not told
    expires_ms: int | None = None  # Unix time by this server's clock; None: never, or not told


@dataclass(frozen=True)
class Finding:
    """One key: what is the matter with it, on both sides, and where they differ first (a field, an index, an id).

    `counted` False: the key came from the overlap of two ranges, and the other one counts it.
    """

    key: bytes
    node: int  # that the key came from: of the source, or where only the target has it perhaps of that
    db: int
    target_db: int
    kind: str
    source: Sight = Sight()
    target: Sight = Sight()
    where: str = ""
    counted: bool = True

    def pack(self) -> list[Any]:
        """A flat list for msgpack."""
        sights = [value for sight in (self.source, self.target) for value in (sight.type, sight.size, sight.expires_ms)]
        return [
            self.key,
            self.node,
            self.db,
            self.target_db,
            self.kind,
            self.where[:WHERE_CHARS],
            self.counted,
            *sights,
        ]

    @classmethod
    def unpack(cls, packed: list[Any]) -> Finding:
        """The finding that `pack` described."""
        key, node, db, target_db, kind, where, counted, *sights = packed
        return cls(key, node, db, target_db, kind, Sight(*sights[:3]), Sight(*sights[3:]), where, counted)

"""What later passes of a live copy have to know of the first: a server that changed makes a pass begin again."""

from __future__ import annotations

from dataclasses import dataclass, field

from .lag import Lag
from .trespass import Trespass

#: Side, run_id and master_replid; "" where the server does not tell.
Identity = tuple[str, str, str]


@dataclass
class Memory:
    """One per run, empty before its first pass."""

    targets: dict[int, int] = field(default_factory=dict)  # where databases go
    allowed: set[int] = field(default_factory=set)  # target databases where keys may be removed …
    ours: set[int] = field(default_factory=set)  # … and those that hold nothing but what the run has written
    sizes: dict[int, int] = field(default_factory=dict)  # of the source's databases, as they were last
    servers: set[Identity] = field(default_factory=set)
    gaps: int = 0
    keys: int = 0
    events: int = 0
    lag: Lag = field(default_factory=Lag)
    warned: set[str] = field(default_factory=set)  # of replicas: why nobody knows what they lack
    trespass: Trespass | None = None  # of the pass before, at rest; None: it could not count any more

    def learn_servers(self, servers: set[Identity]) -> bool:
        """Take in who serves the next pass; whether any of them may be another one than in the pass before."""
        before, self.servers = self.servers, servers
        return bool(before) and (before != servers or not all(run_id and replid for _, run_id, replid in servers))

    def learn_targets(self, targets: dict[int, int], sizes: dict[int, int], prune: bool) -> None:
        """Keys may go in databases that were empty when the first pass began to fill them, or with --prune in all.

        Where that has been taken back (`Removals`), it is for databases that appear later as well.
        """
        new = {target_db for db, target_db in targets.items() if db not in self.targets} - set(self.targets.values())
        empty = {target_db for target_db in new if not sizes.get(target_db)}
        if self.allowed or not self.targets:
            self.allowed |= new if prune else empty
        if self.ours or not self.targets:
            self.ours |= empty
        self.targets |= targets

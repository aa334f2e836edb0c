"""What a verification has found: figures, the line that sums them up, and what they mean for the exit code."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from .differences import line, record
from .text import key_text, plural, shortened
from .workers.errors import EXIT_INCOMPLETE, EXIT_OK
from .workers.finding import CHANGING, EXPIRY, ONLY_SOURCE, ONLY_TARGET, TYPE, UNREADABLE, VALUE, Finding
from .workers.news import Counts

#: What a repair may do about a key that differs.
ACTIONS = COPY, REMOVE, KEEP = "copy", "remove", "keep"


@dataclass
class Verdict:
    """Each distinct source key that was read has one outcome; `kinds` counts those that are not equal.

    read = ok + expired + skipped + all kinds but ONLY_TARGET, which is counted apart.
    """

    counts: Counts = field(default_factory=Counts)  # of all passes, without findings
    kinds: Counter[str] = field(default_factory=Counter)
    target_keys: int = 0  # keys of the target that were looked up at the source; 0: counting has settled them
    before: int = 0  # of those only at the target, so many at most were there before the copy began
    unseen: list[str] = field(default_factory=list)  # where counts do not add up: sentences
    doubts: list[str] = field(default_factory=list)  # … where they may concern keys of others
    evicted: tuple[int, int] = (0, 0)  # keys that source and target threw away meanwhile
    exact: bool = True
    mode: str = "full"
    seconds: float = 0.0
    workers: int = 0
    differences: list[Finding] = field(default_factory=list)  # the first ones, as many as are to be shown
    diff_file: str = ""
    unreadable: Finding | None = None  # the first of them
    found: int = 0  # keys that differed before anything was repaired …
    found_apart: int = 0  # … and of these, such as are only at the target and not among those read
    repaired: int = 0  # keys that were copied again
    removed: int = 0
    planned: Counter[str] | None = None  # what a repair would do, in a dry run: keys by action
    sampled: bool = False  # keys that were passed over do not count as read
    confidence: str = ""  # of a sample: what it says of all keys
    written: bool = False  # to the source, since the run began
    strays: int = 0  # keys that nodes of the source hold of slots that are others'
    named: bool = False  # the user named the keys: one that only the target has was read as well

    @property
    def ok(self) -> int:
        """Keys that are equal on both sides."""
        return self.counts.copied

    @property
    def read(self) -> int:
        """Distinct source keys with an outcome."""
        counts = self.counts
        return counts.copied + counts.expired + self.skipped + self.kinds.total() - self.apart

    @property
    def apart(self) -> int:
        """Keys that only the target has, where they are counted apart."""
        return 0 if self.named else self.kinds[ONLY_TARGET]

    @property
    def skipped(self) -> int:
        """Of these, those that a filter has left out."""
        return 0 if self.sampled else self.counts.skipped

    @property
    def clean(self) -> bool:
        """Nothing differs, and nothing is left open; keys that were at the target before the copy are no fault."""
        extra = self.kinds[ONLY_TARGET]
        others = self.kinds.total() - extra
        return not (others or self.unseen) and extra <= self.before

    @property
    def exit_code(self) -> int:
        """0 or 1."""
        return EXIT_OK if self.clean else EXIT_INCOMPLETE

    @property
    def line(self) -> str:
        """The verdict: `OK:1000 V:0 >:0 <:0 T:0`."""
        kinds, about = self.kinds, "" if self.exact else "~"
        different = kinds[VALUE] + kinds[TYPE]
        return f"OK:{about}{self.ok} V:{different} >:{kinds[ONLY_SOURCE]} <:{kinds[ONLY_TARGET]} T:{kinds[EXPIRY]}"

    @property
    def keys_a_second(self) -> float:
        """Keys compared, a second."""
        return self.read / self.seconds if self.seconds else 0.0

    def lines(self) -> list[str]:
        """The line of the phase in the closing table."""
        about = "" if self.exact else "~"
        mode = "" if self.mode == "full" else f"  {self.mode}"
        return [
            f"{'verify':<8}{about + format(self.read, ','):>11} keys  {'':>6}  {max(self.seconds, 0.001):>5,.1f} s"
            f"  {self.keys_a_second:>8,.0f} keys/s{mode}",
            *self.unseen,
            *(self.confidence.replace("; ", ";\n  ").splitlines()),
            *([f"repair   {self.repaired:>11,} keys copied again, {self.removed:,} removed"] if self.mended else []),
        ]

    @property
    def mended(self) -> bool:
        """Whether a repair has done anything."""
        return bool(self.repaired or self.removed)

    def differing_lines(self) -> list[str]:
        """The differences that are to be shown, and where the others are."""
        total, shown = self.kinds.total(), len(self.differences)
        lines = [line(found) for found in self.differences]
        if shown < total and (shown or self.diff_file):
            more = f", all of them in {self.diff_file}" if self.diff_file else " (--diff-file keeps all)"
            lines.append(f"{plural(total - shown, 'more difference') if shown else plural(total, 'difference')}{more}")
        return lines

    def fields(self) -> dict[str, Any]:
        """The verdict for programs."""
        kinds = self.kinds
        return {
            "verdict": self.line,
            "mode": self.mode,
            "exact": self.exact,
            "clean": self.clean,
            "read": self.read,
            "ok": self.ok,
            "value": kinds[VALUE],
            "type": kinds[TYPE],
            "only_at_source": kinds[ONLY_SOURCE],
            "only_at_target": kinds[ONLY_TARGET],
            "only_at_target_before": min(self.before, kinds[ONLY_TARGET]),
            "expiry": kinds[EXPIRY],
            "changing": kinds[CHANGING],
            "expired": self.counts.expired,
            "unreadable": kinds[UNREADABLE],
            "skipped": self.skipped,
            "target_keys_looked_up": self.target_keys,
            "not_explained": self.unseen,
            "seconds": round(self.seconds, 3),
            "keys_per_second": round(self.keys_a_second, 1),
            "workers": self.workers,
            "differences": [record(found) for found in self.differences],
            "diff_file": self.diff_file or None,
            "repaired": self.repaired,
            "removed": self.removed,
            "planned": None if self.planned is None else {action: self.planned[action] for action in ACTIONS},
            "confidence": self.confidence or None,
        }

    def warnings(self, copied: bool = False) -> list[tuple[str, str]]:
        """What deserves a word besides the verdict, with advice; `copied`: it follows a copy."""
        advice = "the verification cannot vouch for these keys: run it again"
        found = [(text, advice) for text in [*self.unseen, *self.doubts]]
        if copied and self.written and any(self.kinds[kind] for kind in (VALUE, TYPE, ONLY_SOURCE, EXPIRY)):
            text = "the source was written to meanwhile, so the copy is behind"
            found.append((text, "use --live, or compare --repair"))
        if self.strays:
            text = (
                f"the source has {plural(self.strays, 'key')} at nodes that do not own the slot, where no client looks"
            )
            found.append((text, "remove what a move of slots has left there: the figures count it, too"))
        if self.kinds[CHANGING]:
            found.append((f"{plural(self.kinds[CHANGING], 'key')} kept changing while compared", "stop the writers"))
        if self.unreadable:
            key = f"{shortened(key_text(self.unreadable.key))} (db {self.unreadable.db})"
            text = f"{plural(self.kinds[UNREADABLE], 'key')} could not be read; the first is {key}"
            found.append((f"{text}: {self.unreadable.where}", "mend that, then keyferry compare"))
        return found

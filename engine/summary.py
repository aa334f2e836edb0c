"""What a run has done: the closing table, and the same for programs. It claims what was acknowledged, no more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .latency import Row, table
from .text import printable, size_text
from .workers.errors import EXIT_INCOMPLETE, EXIT_OK
from .workers.finding import CHANGING, UNREADABLE
from .workers.news import Counts

if TYPE_CHECKING:
    from .churning import Churned
    from .live_result import LiveResult
    from .replica_watch import Lag
    from .verdict import Verdict

#: So many reasons are listed for keys that were put aside.
TOP_REASONS = 5


@dataclass
class Summary:
    """The result of `replicate`. `exact`: figures are of distinct keys to the key; else the text carries `~`."""

    counts: Counts = field(default_factory=Counts)
    seconds: float = 0.0
    workers: int = 0
    exact: bool = True
    named: bool = False  # keys were named by the user: some may never have been there
    cpu_s: float = 0.0  # processor time of all our processes
    put_aside_file: str = ""
    reasons: dict[str, int] = field(default_factory=dict)
    phase: str = "copy"
    verify_note: str = ""
    latency: list[Row] = field(default_factory=list)  # where -l asked for it
    evicted: tuple[int, int] = (0, 0)  # keys that source and target threw away meanwhile
    accept_eviction: bool = False  # … and at the source that is expected
    exit_code: int = EXIT_OK
    live: LiveResult | None = None  # changes were followed
    replicas: list[Lag] = field(default_factory=list)  # of the source, that were read
    churn: Churned | None = None  # what was changed after the phase; phase "churn" is that alone
    verdict: Verdict | None = None  # of the verification; phase "compare" is that alone

    def __post_init__(self) -> None:
        self.judge()

    def judge(self) -> None:
        """Set the exit code by what has come out, unless an error or a signal has set it."""
        at_source, at_target = self.evicted
        incomplete = self.counts.aside or at_target or (at_source and not self.accept_eviction)
        if self.exit_code == EXIT_OK and self.live:
            self.exit_code = self.live.exit_code
        if self.exit_code == EXIT_OK and incomplete:
            self.exit_code = EXIT_INCOMPLETE
        if self.exit_code == EXIT_OK and self.verdict:
            self.exit_code = self.verdict.exit_code

    def add_evicted(self, keys: tuple[int, int]) -> None:
        """Count keys that source and target have thrown away since the copy."""
        self.evicted = self.evicted[0] + keys[0], self.evicted[1] + keys[1]

    @property
    def keys_a_second(self) -> float:
        """Distinct keys acknowledged, a second of the whole phase."""
        return self.counts.copied / self.seconds if self.seconds else 0.0

    def text(self) -> str:
        """The closing table: lines of at most 80 columns for any but enormous figures."""
        return "\n".join(printable(line) for line in self._lines())

    def short_text(self) -> str:
        """For -q: the verdict alone, and what was to be shown of differences; without a verdict the table."""
        if self.verdict is None:
            return self.text()
        lines = (
            [*self.verdict.differing_lines(), self.verdict.line] if self.verdict.differences else [self.verdict.line]
        )
        return "\n".join(map(printable, lines))

    def _lines(self) -> list[str]:
        if self.phase == "compare":
            return self._compare_lines()
        lines = [] if self.phase == "churn" else self._phase_lines()
        lines += self.churn.lines() if self.churn else []
        return lines + ([*self.verdict.differing_lines(), self.verdict.line] if self.verdict else [])

    def _compare_lines(self) -> list[str]:
        verdict = self.verdict
        if verdict is None:
            return [f"verify    not done{self.verify_note}"]
        gone = "absent" if self.named else "expired"
        outcomes = (
            f"{gone} {verdict.counts.expired:,} · skipped {verdict.skipped:,}"
            f" · changing {verdict.kinds[CHANGING]:,} · unreadable {verdict.kinds[UNREADABLE]:,}"
            f" · retried {verdict.counts.retried:,}"
        )
        replicas = [f"replica   {lag.text}" for lag in self.replicas]
        return [*verdict.lines(), outcomes, *replicas, *table(self.latency), *verdict.differing_lines(), verdict.line]

    def _phase_lines(self) -> list[str]:
        counts, seconds = self.counts, max(self.seconds, 0.001)
        about = "" if self.exact else "~"
        processes = f"{self.workers} worker{'' if self.workers == 1 else 's'}"
        lines = [
            f"{self.phase:<8}{about + format(counts.copied, ','):>11} keys  {size_text(counts.bytes):>6}"
            f"  {seconds:>5,.1f} s  {self.keys_a_second:>8,.0f} keys/s  {size_text(counts.bytes / seconds) + '/s':>8}"
            f"  {processes}"
        ]
        if self.phase == "copy":
            lines += self.live.lines() if self.live else []
            lines += self.verdict.lines() if self.verdict else [f"verify    not done{self.verify_note}"]
            changing, unreadable = self._of_verdict(CHANGING), self._of_verdict(UNREADABLE)
            gone = "absent" if self.named else "expired"
            lines.append(
                f"{gone} {counts.expired:,} · skipped {counts.skipped:,} · changing {changing:,}"
                f" · put aside {counts.aside:,} · retried {counts.retried:,}"
                + (f" · unreadable {unreadable:,}" if unreadable else "")
            )
        if any(self.evicted):
            lines.append("evicted meanwhile: {:,} at the source · {:,} at the target".format(*self.evicted))
        lines += [f"replica   {lag.text}" for lag in self.replicas]
        return lines + self._aside_lines() + table(self.latency)

    def _of_verdict(self, kind: str) -> int:
        return self.verdict.kinds[kind] if self.verdict else 0

    def _aside_lines(self) -> list[str]:
        if not self.reasons:
            return []
        top = sorted(self.reasons.items(), key=lambda item: -item[1])
        listed = f"listed in {self.put_aside_file}" if self.put_aside_file else "not listed"
        lines = [f"put aside, {listed}:"]
        lines += [f"{count:>11,}  {reason}" for reason, count in top[:TOP_REASONS]]
        if len(top) > TOP_REASONS:
            lines.append(f"{sum(count for _, count in top[TOP_REASONS:]):>11,}  other reasons")
        return lines

    def fields(self) -> dict[str, Any]:
        """The result for programs."""
        if self.phase == "compare":
            return self._compare_fields()
        counts = self.counts
        churn = {"churn": self.churn.fields()} if self.churn else {}
        live = {"live": self.live.fields()} if self.live else {}
        return (
            churn
            | live
            | {
                "phase": self.phase,
                "exit_code": self.exit_code,
                "keys": counts.copied,
                "exact": self.exact,
                "bytes": counts.bytes,
                "seconds": round(self.seconds, 3),
                "keys_per_second": round(self.keys_a_second, 1),
                "bytes_per_second": round(counts.bytes / max(self.seconds, 0.001), 1),
                "workers": self.workers,
                "read": counts.read,
                "expired": 0 if self.named else counts.expired,
                "absent": counts.expired if self.named else 0,
                "skipped": counts.skipped,
                "changing": self._of_verdict(CHANGING),
                "unreadable": self._of_verdict(UNREADABLE),
                "put_aside": counts.aside,
                "put_aside_file": self.put_aside_file,
                "put_aside_reasons": self.reasons,
                "retried": counts.retried,
                "evicted_at_source": self.evicted[0],
                "evicted_at_target": self.evicted[1],
                "cpu_seconds": round(self.cpu_s, 3),
                "verified": self.verdict is not None,
                "verify": self.verdict.fields() if self.verdict else None,
                "latency_ms": [row.fields() for row in self.latency],
                "replicas": [lag.fields() for lag in self.replicas],
            }
        )

    def _compare_fields(self) -> dict[str, Any]:
        return {
            "phase": self.phase,
            "exit_code": self.exit_code,
            "seconds": round(self.seconds, 3),
            "workers": self.workers,
            "cpu_seconds": round(self.cpu_s, 3),
            "verified": self.verdict is not None,
            "verify": self.verdict.fields() if self.verdict else None,
            "latency_ms": [row.fields() for row in self.latency],
            "replicas": [lag.fields() for lag in self.replicas],
        }

"""The result of one load: counts, rates and latencies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from load_study.traffic.latency import Estimate, Latencies

LATE_S = 1e-3
"""Later than this, a send counts as late."""
MOST_LATE = 0.01
"""Share of the sends that may be late. Above it the load was another one than was asked for."""
LEVELS = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p999": 0.999}


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadResult:
    """Counts are of the queries that were due in the window (after the warm-up), if nothing else is said.

    `queries == answered + errors + timeouts`.
    """

    loop: Literal["open", "closed"]
    is_simulated: bool
    """The times come from a virtual clock or a simulated engine."""
    duration: float
    """Of the window, in seconds."""
    queries: int
    items: int
    latencies: Latencies
    """Of the answered: seconds from due (open loop) or sent (closed loop) to finished, in the order they were due."""
    of_all: Latencies
    """Of all queries; errors and timeouts count as a whole day, so that no engine gets faster by dropping queries."""
    errors: int
    """Answered in time, but with an error."""
    error_texts: Mapping[str, int]
    """Error text -> number of queries that it answered."""
    timeouts: int
    """Not answered within the timeout after they were due."""
    late_sends: int
    """Sent more than a millisecond after they were due: the generator's own fault, or of a `submit` that blocks."""
    worst_lateness: float
    """Seconds from due to sent, the largest."""
    completed: int
    """Answers that came in the window, whenever they were due; no errors, no timeouts."""
    completed_items: int
    outstanding: int
    """Sent (in the warm-up too) and not finished when the window ended."""
    unanswered: int
    """Of `outstanding`, those that were never answered."""

    @property
    def answered(self) -> int:
        return len(self.latencies.seconds)

    @property
    def late_share(self) -> float:
        """Share of the queries that were sent late."""
        return self.late_sends / self.queries if self.queries else 0.0

    @property
    def invalid_reason(self) -> str | None:
        """Why nothing follows from an open loop; None where the generator kept its times."""
        return None if self.loop == "closed" else late_reason(self.late_share, "the generator")

    @property
    def offered_rate(self) -> float:
        """Queries due per second."""
        return self.queries / self.duration

    @property
    def completed_rate(self) -> float:
        """Queries answered per second."""
        return self.completed / self.duration

    @property
    def completed_items_rate(self) -> float:
        """Items scored per second."""
        return self.completed_items / self.duration

    def share_within(self, seconds: float) -> float:
        """Share of all queries that were answered without error in so many seconds."""
        return float((self.latencies.seconds <= seconds).sum()) / self.queries if self.queries else 0.0

    def figures(self, confidence: float = 0.95) -> dict[str, Any]:
        """For a results file: floats; an estimate is [value, low, high], or None where there is too little."""
        counts = ("queries", "answered", "errors", "timeouts", "late_sends", "outstanding", "unanswered")
        return {
            "loop": self.loop,
            "is_simulated": self.is_simulated,
            **{name: float(getattr(self, name)) for name in counts},
            "duration_s": self.duration,
            "worst_lateness_s": self.worst_lateness,
            "offered_rate": self.offered_rate,
            "completed_rate": self.completed_rate,
            "completed_items_rate": self.completed_items_rate,
            "mean_s": _as_list(self.latencies.mean(confidence)),
            **{f"{name}_s": _as_list(self.latencies.quantile(q, confidence)) for name, q in LEVELS.items()},
            **{f"{name}_of_all_s": _as_list(self.of_all.quantile(q, confidence)) for name, q in LEVELS.items()},
        }


def late_reason(share: float, name: str) -> str | None:
    """Why nothing follows from a load whose generator sent that share of the queries late; None where it may be."""
    if share <= MOST_LATE:
        return None
    return f"{name} sent {share:.0%} of the queries more than {1e3 * LATE_S:g} ms late (at most {MOST_LATE:.0%})"


def _as_list(found: Estimate | None) -> list[float | None] | None:
    return None if found is None else [found.value, found.low, found.high]

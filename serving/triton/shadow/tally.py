"""Counts of a shadow: how far its answers agree with the served ones, the latency of both, and errors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

FINEST, GROWTH = 1e-5, 1.1
"""Seconds of the lowest bound of a duration's class, and the ratio of two bounds: quantiles are exact to 5 %."""
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(kw_only=True)
class Durations:
    """Durations, counted in classes of equal ratio."""

    count: int = 0
    total: float = 0.0
    """Seconds."""
    longest: float = 0.0
    classes: dict[int, int] = field(default_factory=dict)
    """Number of a class -> count."""

    def add(self, seconds: float) -> None:
        self.count += 1
        self.total += seconds
        self.longest = max(self.longest, seconds)
        self._count(max(0, math.floor(math.log(max(seconds, FINEST) / FINEST, GROWTH))), 1)

    def _count(self, place: int, count: int) -> None:
        self.classes[place] = self.classes.get(place, 0) + count

    def quantile(self, share: float) -> float:
        """Seconds; NaN if there are none."""
        wanted, found = share * self.count, 0
        for place in sorted(self.classes):
            found += self.classes[place]
            if found >= wanted:
                return min(FINEST * GROWTH ** (place + 0.5), self.longest)
        return math.nan

    def milliseconds(self) -> dict[str, float | None]:
        """Mean, quantiles and maximum; None if there are none."""
        if not self.count:
            return dict.fromkeys(("mean", *QUANTILES, "max"))
        values = {"mean": self.total / self.count, **{n: self.quantile(q) for n, q in QUANTILES.items()}}
        return {name: round(1e3 * v, 3) for name, v in {**values, "max": self.longest}.items()}

    def merge(self, other: Durations) -> None:
        self.count += other.count
        self.total += other.total
        self.longest = max(self.longest, other.longest)
        for place, count in other.classes.items():
            self._count(place, count)


@dataclass(kw_only=True)
class Tally:
    """Counts of requests; durations are of calls, which hold the requests of one dynamic batch."""

    offered: int = 0
    """Requests that the served version answered while the candidate was ready."""
    answered: int = 0
    """Requests that the candidate answered too."""
    dropped: int = 0
    """Requests that were chosen and not passed on, because too many waited."""
    failed: int = 0
    """Requests of calls in which the candidate failed."""
    same_first: int = 0
    """Answered requests whose first item is the same in both answers."""
    overlap: float = 0.0
    """Sum over the answered requests of the share of items that both answers hold."""
    popular_served: int = 0
    """Answered requests to which the served version gave the most popular items, for want of a known user or item."""
    popular_candidate: int = 0
    last_error: str = ""
    served: Durations = field(default_factory=Durations)
    candidate: Durations = field(default_factory=Durations)

    def add(self, served: Sequence[Any], candidate: Sequence[Any], popular: tuple[bool, bool]) -> None:
        """Count a request that both answered.

        Args:
            served: item ids of the served answer, best first.
            candidate: item ids of the candidate's answer, best first.
            popular: whether each is of the most popular items.
        """
        self.answered += 1
        longer = max(len(served), len(candidate))
        self.overlap += len(set(served) & set(candidate)) / longer if longer else 1.0
        self.same_first += list(served[:1]) == list(candidate[:1])
        self.popular_served += popular[0]
        self.popular_candidate += popular[1]

    def merge(self, other: Tally) -> None:
        """Add the counts of another instance of the model."""
        for each in fields(self):
            value = getattr(other, each.name)
            if isinstance(value, Durations):
                getattr(self, each.name).merge(value)
            elif isinstance(value, str):
                self.last_error = value or self.last_error
            else:
                setattr(self, each.name, getattr(self, each.name) + value)

    def as_json(self) -> dict[str, Any]:
        """Plain values that `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Tally:
        """
        Raises:
            KeyError, TypeError, ValueError: the content is another one.
        """
        found = cls(**{name: value for name, value in content.items() if name not in ("served", "candidate")})
        for name in ("served", "candidate"):
            values = dict(content[name])
            classes = {int(place): int(count) for place, count in values.pop("classes").items()}
            setattr(found, name, Durations(**values, classes=classes))
        return found

    def summary(self) -> dict[str, Any]:
        """The report: shares and latencies; None where nothing was counted."""

        def share(count: float) -> float | None:
            return round(count / self.answered, 4) if self.answered else None

        return {
            "requests": {n: getattr(self, n) for n in ("offered", "answered", "dropped", "failed")},
            "overlap_at_k": share(self.overlap),
            "same_first_item": share(self.same_first),
            "popular_answers": {"served": share(self.popular_served), "candidate": share(self.popular_candidate)},
            "milliseconds": {"served": self.served.milliseconds(), "candidate": self.candidate.milliseconds()},
            "last_error": self.last_error or None,
        }

"""The highest rate whose tail latency meets a target, with decisions that know their noise.

Rates lie on a grid of equal ratios. At each rate tried, windows of load are repeated until the share of queries beyond
the target is significantly below or above what the percentile allows, or until `most` of them were run: then the point
estimate decides, and the verdict says that it did. That is one look. The answer is read from all looks together: the
share beyond the target cannot fall as the rate rises, and the rising curve nearest to the shares seen (isotonic median
regression) outvotes a lucky look as well as one in which the machine stopped for a moment. The two rates between which
the answer lies are looked at until two looks agree, with `MOST_LOOKS` in all. Every candidate is searched in full,
whatever the others gave, so their order cannot matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from load_study.traffic.latency import LEAST, block_error
from load_study.traffic.result import LoadResult

Candidate = TypeVar("Candidate", bound=Hashable)
Trial = Callable[[float, int], LoadResult]
"""A window of load: (rate, number of the window at this rate). What it draws should follow from these two alone, so
that the order of candidates changes nothing."""

LOWEST = 0.1
"""Of the capacity: where a candidate is given up; no rate up to here is tried."""
EVERY_FROM = 0.25
"""Of the capacity: where trying every rate begins. A search whose first look fails goes little below."""
AGREE = 2
"""Looks at a rate that must agree before it bounds the answer."""
USUAL = 0.7
"""Of the capacity: where the answer usually is near, and the first look."""
MOST_LOOKS = 32
"""In a search."""
OVERSHOOT = 1.1
"""Of the capacity: where the rates that are tried end; a search leads above only where all below are met."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A share `level` of the queries must be answered in `seconds`."""

    level: float
    seconds: float
    most: int = 4
    """Windows at one rate."""
    confidence: float = 0.9
    """Of each decision (two-sided)."""

    @property
    def allowed(self) -> float:
        """Share of queries that may be beyond the target."""
        return 1 - self.level


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one look at a rate found."""

    rate: float
    meets: bool
    is_significant: bool
    beyond: float
    """Share of queries that were not answered within the target: late, refused or lost."""
    tail: float
    """Seconds: the latency that the level asks about, the unanswered counted as a whole day."""
    queries: int
    windows: int


def judge(trial: Trial, rate: float, goal: Goal, first: int = 0) -> Verdict:
    """Repeat windows until it is clear whether the goal is met.

    Args:
        first: number of the first window.
    """
    seconds, allowed, windows, is_clear = np.empty(0), goal.allowed, 0, False
    while windows < goal.most and not is_clear:
        seconds = np.concatenate([seconds, trial(rate, first + windows).of_all.seconds])
        windows += 1
        late = (seconds > goal.seconds).astype(np.float64)
        if len(late) >= LEAST:
            floor = math.sqrt(allowed * goal.level / len(late))
            is_clear = bool(abs(late.mean() - allowed) > block_error(late, floor, goal.confidence))
    if not len(seconds):
        raise ValueError(f"no query was due in {goal.most} windows at {rate:g} queries/s, expected longer windows")
    beyond = float(late.mean())
    return Verdict(
        rate=rate,
        meets=beyond <= allowed,
        is_significant=is_clear,
        beyond=beyond,
        tail=float(np.quantile(seconds, goal.level)),
        queries=len(seconds),
        windows=windows,
    )


def rising(groups: Sequence[Sequence[float]]) -> list[float]:
    """The curve that never falls with the least sum of distances to the values (isotonic median regression).

    Neighbouring groups that fall are pooled, until no median is below that of the pool before it (pool adjacent
    violators; Robertson, Wright and Dykstra 1988, chapter 1).

    Args:
        groups: values at each place, at least one.

    Returns:
        The height of the curve at each place.
    """
    pools: list[tuple[list[float], int]] = []
    for values in groups:
        pools.append((list(values), 1))
        while len(pools) > 1 and np.median(pools[-2][0]) > np.median(pools[-1][0]):
            (last, n), (before, m) = pools.pop(), pools.pop()
            pools.append((before + last, m + n))
    return [float(np.median(values)) for values, places in pools for _ in range(places)]


@dataclass(kw_only=True)
class Found(Generic[Candidate]):
    """The search of one candidate."""

    candidate: Candidate
    capacity: float
    """Queries/s when it is never without work."""
    goal: Goal
    looks: dict[int, list[Verdict]] = field(default_factory=dict)
    """By step of the grid: every rate that was tried, each time."""

    @property
    def verdicts(self) -> list[Verdict]:
        """Every look, by rate."""
        return [verdict for _, looks in sorted(self.looks.items()) for verdict in looks]

    @property
    def step(self) -> int | None:
        """The highest rate tried at which the rising curve is within what the goal allows, as a step of the grid; None
        where the lowest is not."""
        steps = sorted(self.looks)
        curve = rising([[look.beyond for look in self.looks[step]] for step in steps])
        met = [step for step, beyond in zip(steps, curve, strict=True) if beyond <= self.goal.allowed]
        return met[-1] if met else None

    @property
    def rate(self) -> float:
        """Queries/s, 0 where no rate meets the goal."""
        return self.looks[self.step][0].rate if self.step is not None else 0.0

    @property
    def tail(self) -> float | None:
        """Seconds: the median over the looks at that rate."""
        return float(np.median([look.tail for look in self.looks[self.step]])) if self.step is not None else None


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Rates (1 + ratio) ** step."""

    ratio: float = 0.04

    def rate(self, step: int) -> float:
        return (1 + self.ratio) ** step

    def step_below(self, rate: float) -> int:
        return math.floor(math.log(rate) / math.log1p(self.ratio) + 1e-9)


class _Looks(Generic[Candidate]):
    """Looks at rates, kept in what is found. Every look has windows of its own."""

    def __init__(self, found: Found[Candidate], trial: Trial, goal: Goal, grid: Grid) -> None:
        self._found, self._trial, self._goal, self._grid = found, trial, goal, grid

    def meets(self, step: int) -> bool:
        """Look once more: what this look says."""
        looks = self._found.looks.setdefault(step, [])
        looks.append(judge(self._trial, self._grid.rate(step), self._goal, first=len(looks) * self._goal.most))
        return looks[-1].meets

    def is_settled(self, step: int) -> bool:
        """Whether `AGREE` looks agree."""
        return max(self._votes(step)) >= AGREE

    def is_at_odds(self, step: int) -> bool:
        """Whether some looks met the goal and others did not, and it is not settled."""
        return min(self._votes(step)) > 0 and not self.is_settled(step)

    def _votes(self, step: int) -> tuple[int, int]:
        """Looks that met the goal, and looks that did not."""
        votes = [look.meets for look in self._found.looks.get(step, [])]
        return votes.count(True), votes.count(False)

    def settle(self, step: int) -> None:
        """Look until `AGREE` looks agree."""
        while not self.is_settled(step):
            self.meets(step)


def highest_rate(candidate: Candidate, trial: Trial, capacity: float, goal: Goal, grid: Grid) -> Found[Candidate]:
    """Halve the rates between little and somewhat above the capacity, until those around the answer are settled.

    A queue that grows meets no target for long, so what is met above the capacity is the noise of its measurement.
    """
    found = Found(candidate=candidate, capacity=capacity, goal=goal)
    looks = _Looks(found, trial, goal, grid)
    lowest, top = grid.step_below(LOWEST * capacity), grid.step_below(OVERSHOOT * capacity) + 1
    if top - lowest < 2:
        return found
    step: int | None = min(max(lowest + 1, grid.step_below(USUAL * capacity)), top - 1)
    for _ in range(MOST_LOOKS):
        if step is None:
            break
        looks.meets(step)
        step = _in_doubt(found, looks, lowest, top)
    return found


def _in_doubt(found: Found[Candidate], looks: _Looks[Candidate], lowest: int, top: int) -> int | None:
    """Where to look next; None where nothing is left to look at.

    The answer lies between the highest rate that is met, or `lowest` where none is, and the next that was tried, or
    `top`. What is between them is halved, once the looks at the upper one are not at odds; at the end both are settled.
    """
    met = lowest if found.step is None else found.step
    missed = min((step for step in found.looks if step > met), default=max(top, met + 1))
    if missed - met > 1 and not looks.is_at_odds(missed):
        return (met + missed) // 2
    return next((step for step in (missed, found.step) if step is not None and not looks.is_settled(step)), None)


def exhaustive(
    candidate: Candidate, trial: Trial, capacity: float, goal: Goal, grid: Grid, lowest: float = EVERY_FROM
) -> Found[Candidate]:
    """Be sure of every rate from `lowest` of the capacity up, and of lower ones while none meets the goal."""
    found = Found(candidate=candidate, capacity=capacity, goal=goal)
    looks = _Looks(found, trial, goal, grid)
    first, last = grid.step_below(lowest * capacity), grid.step_below(OVERSHOOT * capacity) + 1
    for step in range(first, last + 1):
        looks.settle(step)
    for step in range(first - 1, grid.step_below(LOWEST * capacity), -1):
        if found.step is not None:
            break
        looks.settle(step)
    return found


def best_of(searches: Sequence[Found[Candidate]]) -> Found[Candidate]:
    """The candidate with the highest rate; of equal ones that with the larger capacity, which has more to spare."""
    return max(searches, key=lambda f: (f.rate, f.capacity))

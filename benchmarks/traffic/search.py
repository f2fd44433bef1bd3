"""The highest rate whose tail latency meets a target, with decisions that know their noise.

Rates lie on a grid of equal ratios. At each rate tried, windows of load are repeated until the share of queries beyond
the target is significantly below or above what the percentile allows, or until `most` of them were run: then the point
estimate decides, and the verdict says that it did. Every candidate is searched in full, whatever the others gave, so
their order cannot matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from benchmarks.traffic.latency import LEAST, block_error
from benchmarks.traffic.load import Load

Candidate = TypeVar("Candidate", bound=Hashable)
Trial = Callable[[float, int], Load]
"""A window of load: (rate, number of the window at this rate). What it draws should follow from these two alone, so
that the order of candidates changes nothing."""

LOWEST = 0.1
"""Of the capacity: where a candidate is given up; no rate up to here is tried."""
LOOKS = 12
"""Times that the answer of a bisection is moved by a second look at most."""
OVERSHOOT = 1.1
"""Of the capacity: the highest rate that is tried."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A share `level` of the queries must be answered in `seconds`."""

    level: float
    seconds: float
    most: int = 4
    """Windows at one rate."""
    confidence: float = 0.9
    """Of each decision (two-sided)."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was found at one rate."""

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
    seconds, allowed, windows, is_clear = np.empty(0), 1 - goal.level, 0, False
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


@dataclass(kw_only=True)
class Found(Generic[Candidate]):
    """The search of one candidate."""

    candidate: Candidate
    capacity: float
    """Queries/s when it is never without work."""
    verdicts: dict[int, Verdict] = field(default_factory=dict)
    """By step of the grid: every rate that was tried."""

    @property
    def best(self) -> Verdict | None:
        """The highest rate that meets the goal with all lower ones that were tried; None if the lowest does not."""
        best = None
        for step in sorted(self.verdicts):
            if not self.verdicts[step].meets:
                break
            best = self.verdicts[step]
        return best

    @property
    def rate(self) -> float:
        """Queries/s, 0 where no rate meets the goal."""
        return self.best.rate if self.best else 0.0


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Rates (1 + ratio) ** step."""

    ratio: float = 0.04

    def rate(self, step: int) -> float:
        return (1 + self.ratio) ** step

    def step_below(self, rate: float) -> int:
        return math.floor(math.log(rate) / math.log1p(self.ratio) + 1e-9)


def highest_rate(candidate: Candidate, trial: Trial, capacity: float, goal: Goal, grid: Grid) -> Found[Candidate]:
    """Bisect the grid between little and somewhat above the capacity.

    A queue that grows meets no target for long, so what is met above the capacity is the noise of its measurement.
    """
    found = Found(candidate=candidate, capacity=capacity)

    def meets(step: int, first: int = 0) -> bool:
        found.verdicts[step] = judge(trial, grid.rate(step), goal, first)
        return found.verdicts[step].meets

    low, high = grid.step_below(LOWEST * capacity), grid.step_below(OVERSHOOT * capacity) + 1
    middle = grid.step_below(0.7 * capacity)  # where the answer usually is near
    while high - low > 1:
        if not low < middle < high:
            middle = (low + high) // 2
        low, high = (middle, high) if meets(middle) else (low, middle)
        middle = (low + high) // 2
    if found.best is not None:
        _look_again(low, meets, goal)
    return found


def _look_again(step: int, meets: Callable[[int, int], bool], goal: Goal) -> None:
    """Decide anew, with fresh windows, on the highest rate that was met and the one above, and go where that leads.

    A machine that stops for a moment in the wrong window sends the bisection astray, far below the answer.
    """
    for look in range(1, LOOKS + 1):
        if meets(step + 1, look * goal.most):
            step += 1
        elif meets(step, look * goal.most):
            return
        else:
            step -= 1


def exhaustive(
    candidate: Candidate, trial: Trial, capacity: float, goal: Goal, grid: Grid, lowest: float = 0.5
) -> Found[Candidate]:
    """Try every rate of the grid from `lowest` of the capacity, until two in a row above it fail."""
    found, failures = Found(candidate=candidate, capacity=capacity), 0
    for step in range(grid.step_below(lowest * capacity), grid.step_below(OVERSHOOT * capacity) + 2):
        found.verdicts[step] = judge(trial, grid.rate(step), goal)
        failures = 0 if found.verdicts[step].meets else failures + 1
        if failures == 2:
            break
    return found


def best_of(searches: Sequence[Found[Candidate]]) -> Found[Candidate]:
    """The candidate with the highest rate; of equal ones that with the larger capacity, which has more to spare."""
    return max(searches, key=lambda f: (f.rate, f.capacity))

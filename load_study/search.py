"""Search for the highest rate whose tail latency meets a target, from noisy measurements.

Rates lie on a grid of equal ratios. A trial of a rate repeats windows of load until the share of queries beyond the
target is significantly below or above the share that the percentile allows, or until `most` windows were run; then the
point estimate decides, and the verdict is marked as not significant. The answer is computed from all trials together:
the share beyond the target cannot fall as the rate rises, so the rising curve nearest to the measured shares (isotonic
median regression) corrects a single wrong trial. The two rates around the answer are tried until `AGREEING_TRIALS`
trials agree, with `MAX_TRIALS` in all. The search of a candidate does not depend on the others, nor on their order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np

from load_study.traffic.latency import LEAST, Latencies, block_error

Candidate = TypeVar("Candidate", bound=Hashable)


class Window(Protocol):
    """What a trial needs of a window of load."""

    @property
    def of_all(self) -> Latencies:
        """Of all queries in the order they were due; an unanswered one counts as a whole day."""
        ...


RunWindow = Callable[[float, int], Window]
"""(rate, number of the window at this rate) -> result of one window of load. Its random draws depend on these two only,
so that the order of candidates changes nothing."""

LOWEST = 0.1
"""Share of the capacity up to which no rate is tried."""
EXHAUSTIVE_FROM = 0.25
"""Share of the capacity at which `exhaustive` begins. A search whose first trial fails goes little below."""
AGREEING_TRIALS = 2
"""Number of trials of a rate that must agree before it bounds the answer."""
USUAL = 0.7
"""Share of the capacity of the first trial; most answers are near it."""
MAX_TRIALS = 32
"""Largest number of trials in a search."""
OVERSHOOT = 1.1
"""Share of the capacity of the highest rate tried; a search goes higher only if all rates below are met."""


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
    """The result of one trial of a rate."""

    rate: float
    meets: bool
    is_significant: bool
    beyond: float
    """Share of queries that were not answered within the target: late, refused or lost."""
    tail: float
    """Seconds: the latency at the level of the goal; an unanswered query counts as a whole day."""
    queries: int
    windows: int


def judge(run_window: RunWindow, rate: float, goal: Goal, first: int = 0) -> Verdict:
    """One trial: repeat windows until it is clear whether the goal is met.

    Args:
        first: number of the first window.
    """
    seconds, allowed, windows, is_clear = np.empty(0), goal.allowed, 0, False
    while windows < goal.most and not is_clear:
        seconds = np.concatenate([seconds, run_window(rate, first + windows).of_all.seconds])
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
class SearchResult(Generic[Candidate]):
    """The trials of one candidate, and the answer that follows from them."""

    candidate: Candidate
    capacity: float
    """Queries/s while the engines always have work."""
    goal: Goal
    trials: dict[int, list[Verdict]] = field(default_factory=dict)
    """Step of the grid -> the verdicts of all trials of its rate."""

    @property
    def verdicts(self) -> list[Verdict]:
        """All verdicts in the order of the rates."""
        return [verdict for _, trials in sorted(self.trials.items()) for verdict in trials]

    @property
    def step(self) -> int | None:
        """The highest rate tried at which the rising curve is within what the goal allows, as a step of the grid; None
        where the lowest is not."""
        steps = sorted(self.trials)
        curve = rising([[trial.beyond for trial in self.trials[step]] for step in steps])
        met = [step for step, beyond in zip(steps, curve, strict=True) if beyond <= self.goal.allowed]
        return met[-1] if met else None

    @property
    def rate(self) -> float:
        """Queries/s, 0 where no rate meets the goal."""
        return self.trials[self.step][0].rate if self.step is not None else 0.0

    @property
    def next_rate(self) -> float | None:
        """The lowest rate tried above it, at which the goal is not met; None where none was tried."""
        above = [step for step in self.trials if self.step is None or step > self.step]
        return self.trials[min(above)][0].rate if above else None

    @property
    def tail(self) -> float | None:
        """Seconds: the median over the trials at that rate."""
        return float(np.median([trial.tail for trial in self.trials[self.step]])) if self.step is not None else None


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Rates (1 + ratio) ** step."""

    ratio: float = 0.04

    def rate(self, step: int) -> float:
        return (1 + self.ratio) ** step

    def step_below(self, rate: float) -> int:
        return math.floor(math.log(rate) / math.log1p(self.ratio) + 1e-9)


class _Trials(Generic[Candidate]):
    """Runs trials and adds them to a result. No two trials share a window."""

    def __init__(self, found: SearchResult[Candidate], run_window: RunWindow, goal: Goal, grid: Grid) -> None:
        self._found, self._run_window, self._goal, self._grid = found, run_window, goal, grid

    def run(self, step: int) -> bool:
        """Run one more trial and return whether it met the goal."""
        trials = self._found.trials.setdefault(step, [])
        trials.append(judge(self._run_window, self._grid.rate(step), self._goal, first=len(trials) * self._goal.most))
        return trials[-1].meets

    def is_settled(self, step: int) -> bool:
        """Whether `AGREEING_TRIALS` trials agree."""
        return max(self._votes(step)) >= AGREEING_TRIALS

    def is_contradictory(self, step: int) -> bool:
        """Whether some trials met the goal and others did not, and the step is not settled."""
        return min(self._votes(step)) > 0 and not self.is_settled(step)

    def _votes(self, step: int) -> tuple[int, int]:
        """Trials that met the goal, and trials that did not."""
        votes = [trial.meets for trial in self._found.trials.get(step, [])]
        return votes.count(True), votes.count(False)

    def settle(self, step: int) -> None:
        """Run trials until `AGREEING_TRIALS` of them agree."""
        while not self.is_settled(step):
            self.run(step)


def highest_rate(
    candidate: Candidate, run_window: RunWindow, capacity: float, goal: Goal, grid: Grid
) -> SearchResult[Candidate]:
    """Bisect the rates from `LOWEST` to `OVERSHOOT` of the capacity until those around the answer are settled.

    Above the capacity the queue grows and misses any target after some time; the range reaches above it because the
    measured capacity is noisy.
    """
    found = SearchResult(candidate=candidate, capacity=capacity, goal=goal)
    trials = _Trials(found, run_window, goal, grid)
    lowest, top = grid.step_below(LOWEST * capacity), grid.step_below(OVERSHOOT * capacity) + 1
    if top - lowest < 2:
        return found
    step: int | None = min(max(lowest + 1, grid.step_below(USUAL * capacity)), top - 1)
    for _ in range(MAX_TRIALS):
        if step is None:
            break
        trials.run(step)
        step = _next_step(found, trials, lowest, top)
    return found


def _next_step(found: SearchResult[Candidate], trials: _Trials[Candidate], lowest: int, top: int) -> int | None:
    """The step of the next trial; None if none is needed.

    The answer lies between the highest rate that is met, or `lowest` where none is, and the next that was tried, or
    `top`. The interval between them is halved unless the trials of the upper one contradict; then both are settled.
    """
    met = lowest if found.step is None else found.step
    missed = min((step for step in found.trials if step > met), default=max(top, met + 1))
    if missed - met > 1 and not trials.is_contradictory(missed):
        return (met + missed) // 2
    return next((step for step in (missed, found.step) if step is not None and not trials.is_settled(step)), None)


def exhaustive(
    candidate: Candidate,
    run_window: RunWindow,
    capacity: float,
    goal: Goal,
    grid: Grid,
    lowest: float = EXHAUSTIVE_FROM,
) -> SearchResult[Candidate]:
    """Settle every rate from `lowest` of the capacity up, and lower ones until one meets the goal."""
    found = SearchResult(candidate=candidate, capacity=capacity, goal=goal)
    trials = _Trials(found, run_window, goal, grid)
    first, last = grid.step_below(lowest * capacity), grid.step_below(OVERSHOOT * capacity) + 1
    for step in range(first, last + 1):
        trials.settle(step)
    for step in range(first - 1, grid.step_below(LOWEST * capacity), -1):
        if found.step is not None:
            break
        trials.settle(step)
    return found


def best_of(searches: Sequence[SearchResult[Candidate]]) -> SearchResult[Candidate]:
    """The candidate with the highest rate; of equal ones that with the larger capacity, which has more to spare."""
    return max(searches, key=lambda f: (f.rate, f.capacity))

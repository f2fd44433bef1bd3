"""The rule by which `check` calls a part slower: a test on logarithms of ratios, with the noise of both sides.

A window's figure is the speed of a part over the limit of this machine, measured just before and after it. A run (a
process) counts with the median of its windows, because runs differ more than the windows of one run. A part is slower
if the mean of the new runs is below that of the recorded ones by more than `MARGIN` and the noise of both: Student's
test with one variance, as three runs give none of their own, which is never taken to be below `LEAST_NOISE`. A part
that seems slower is measured again (`check`) by as many fresh runs and is slower only if those say so too.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CHANCE = 0.01
"""Of a false alarm in a set of parts, of which each may be slower by `MARGIN`; of unchanged parts it is far less."""
MARGIN = 0.05
"""Slowdown that is no finding: days and builds of one machine differ by so much."""
LEAST_NOISE = 0.01
"""Least standard deviation of the logarithm of a run: a few runs may agree by chance."""
MOST_BOUND = 0.18
"""Largest `Judged.bound` at which a slowdown of 25 % is still found 19 times of 20; above it, nothing is said."""
LEAST_RUNS = 3
"""Recorded runs, and new ones, below which nothing is said."""
SAME, SLOWER, FASTER = "same", "SLOWER", "faster"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The new runs of a part beside the recorded ones."""

    change: float
    """Speed of the new runs over that of the recorded ones, 1 for the same."""
    noise: float
    """Standard deviation of the logarithm of a run, of both sides together."""
    bound: float
    """Largest slowdown, as a share of the time, that such noise brings about by chance or that `MARGIN` allows."""
    verdict: str

    @property
    def is_too_noisy(self) -> bool:
        """Whether a slowdown of 25 % may well be missed."""
        return self.verdict == SAME and self.bound > MOST_BOUND


def judge(recorded: Sequence[float], new: Sequence[float], parts: int = 1, chance: float = CHANCE) -> Judged:
    """Compare runs of one part.

    Args:
        recorded: logarithms of the runs' ratios.
        new: those of the new runs.
        parts: that are judged in the set; each has an equal part in the chance of a false alarm.

    Raises:
        ValueError: too few runs.
    """
    if min(len(recorded), len(new)) < LEAST_RUNS:
        raise ValueError(f"{len(recorded)} recorded and {len(new)} new runs, expected at least {LEAST_RUNS} of each")
    freedom = len(recorded) + len(new) - 2
    squares = sum((v - statistics.mean(side)) ** 2 for side in (recorded, new) for v in side)
    noise = max(math.sqrt(squares / freedom), LEAST_NOISE)
    error = noise * math.sqrt(1 / len(recorded) + 1 / len(new))
    faster = statistics.mean(new) - statistics.mean(recorded)
    bound = math.log1p(MARGIN) + _quantile(1 - chance / parts, freedom) * error
    verdict = SLOWER if -faster > bound else FASTER if faster > bound else SAME
    return Judged(change=math.exp(faster), noise=noise, bound=math.expm1(bound), verdict=verdict)


@functools.cache
def _quantile(level: float, freedom: int) -> float:
    """Of Student's distribution."""
    from scipy.stats import t

    return float(t.ppf(level, freedom))

"""Arrival processes: each function returns a function that draws the due times within a time span.

Times are seconds from the start, ascending, below the span. They are drawn before the first query is sent, so that
drawing delays no query.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np

from load_study.traffic.columns import column

Arrivals = Callable[[float], np.ndarray]
"""Span in seconds -> due times, float [queries]."""
NAMES = ("poisson", "constant", "bursts[:PERIOD,SHARE]", "trace:PATH")


def _checked_rate(rate: float) -> float:
    if not (math.isfinite(rate) and rate > 0):
        raise ValueError(f"the rate is {rate}, expected more than 0 queries per second")
    return rate


def poisson(rate: float, rng: np.random.Generator) -> Arrivals:
    """A Poisson process: independent, exponentially distributed gaps of mean 1 / rate."""
    _checked_rate(rate)

    def times(seconds: float) -> np.ndarray:
        chunk = math.ceil(seconds * rate + 5 * math.sqrt(seconds * rate) + 10)
        found = np.cumsum(rng.exponential(1 / rate, chunk))
        while found[-1] < seconds:
            found = np.concatenate([found, found[-1] + np.cumsum(rng.exponential(1 / rate, chunk))])
        return found[found < seconds]

    return times


def constant(rate: float) -> Arrivals:
    """Equal gaps of 1 / rate, the first at 0."""
    _checked_rate(rate)

    def times(seconds: float) -> np.ndarray:
        found = np.arange(math.ceil(seconds * rate)) / rate
        return found[found < seconds]

    return times


def bursts(rate: float, rng: np.random.Generator, *, period: float = 1.0, share: float = 0.25) -> Arrivals:
    """On and off: a Poisson process of rate / share in the first `share` of every period, silence in the rest.

    Over whole periods the mean rate is `rate`.

    Raises:
        ValueError: a period that is not positive, or a share outside (0, 1].
    """
    if not (math.isfinite(period) and period > 0 and 0 < share <= 1):
        raise ValueError(f"bursts are {period},{share}, expected PERIOD above 0 seconds and SHARE in (0, 1]")
    busy, busy_times = period * share, poisson(_checked_rate(rate) / share, rng)

    def times(seconds: float) -> np.ndarray:
        whole, rest = divmod(seconds, period)
        turn, offset = np.divmod(busy_times(whole * busy + min(rest, busy)), busy)
        return turn * period + offset

    return times


def trace(path: Path, rate: float | None = None) -> Arrivals:
    """Recorded times in seconds (one a line, or the CSV column "seconds"), from the first on.

    The trace repeats when it ends, one mean gap after its last time.

    Args:
        rate: stretch or squeeze the trace to this mean rate; as recorded if None.

    Raises:
        ValueError: a line is not a time, or is before the line above it, or there are not two times that differ.
    """
    lines = column(path, "seconds")
    for (_, before), (number, value) in pairwise(lines):
        if value < before:
            raise ValueError(f"line {number} of {path} is {value}, expected a time of at least {before}, the one above")
    recorded = np.array([value for _, value in lines])
    recorded -= recorded[0]
    if not recorded[-1] > 0:
        raise ValueError(f"{path} holds no two times that differ, expected seconds that ascend")
    lasts = recorded[-1] * len(recorded) / (len(recorded) - 1)
    scale = 1.0 if rate is None else len(recorded) / lasts / _checked_rate(rate)

    def times(seconds: float) -> np.ndarray:
        turns = math.ceil(seconds / (lasts * scale))
        found = ((np.arange(turns) * lasts)[:, None] + recorded).ravel() * scale
        return found[found < seconds]

    return times


def parse(text: str, rate: float | None, rng: np.random.Generator) -> Arrivals:
    """Arrivals by the text of a command line, such as "poisson", "bursts:2,0.1" or "trace:PATH" (NAMES).

    Raises:
        ValueError: no such name, a bad value behind it, or no rate (only a trace has its own).
    """
    name, _, rest = text.partition(":")
    if name == "trace" and rest:
        return trace(Path(rest), rate)
    if name not in {"poisson", "constant", "bursts"} or (rest and name != "bursts"):
        raise ValueError(f"arrivals are {text!r}, expected one of {', '.join(NAMES)}")
    if rate is None:
        raise ValueError(f"arrivals {text!r} have no rate, expected queries per second")
    if name != "bursts":
        return poisson(rate, rng) if name == "poisson" else constant(rate)
    try:
        period, share = (float(value) for value in (rest or "1,0.25").split(","))
    except ValueError:
        raise ValueError(f"arrivals are {text!r}, expected bursts:PERIOD,SHARE, such as bursts:1,0.25") from None
    return bursts(rate, rng, period=period, share=share)

"""Percentiles of independent times, with intervals; a percentile that too few times carry is not stated.

The interval runs between two order statistics, whose places follow the binomial distribution (Hahn and Meeker,
Statistical Intervals, 1991, ch. 5): no form of the distribution is assumed. `load_study.traffic.latency` has the one
for queries that wait behind one another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

LEAST = 100
"""Times below which no percentile is stated."""
BEYOND = 10
"""Times expected beyond a percentile (on its rarer side), below which it is not stated."""

Estimate = list[float]
"""[value, low, high]: a figure and its interval, as records hold it."""


def is_stated(count: int, level: float) -> bool:
    """Whether so many times carry a percentile: the median needs 100, p95 200, p99 1,000, p99.9 10,000.

    Args:
        level: above 0 and below 1.
    """
    return count >= LEAST and count * min(level, 1 - level) >= BEYOND - 1e-6


def percentile(times: Sequence[float], level: float, confidence: float = 0.95) -> Estimate | None:
    """The time that a share `level` does not exceed, with its interval; None where too few times carry it."""
    from scipy.stats import binom

    count = len(times)
    if not is_stated(count, level):
        return None
    ordered = np.sort(np.asarray(times, np.float64))
    low = int(binom.ppf((1 - confidence) / 2, count, level))
    high = int(binom.ppf((1 + confidence) / 2, count, level)) + 1
    places = (math.ceil(count * level), max(low, 1), min(high, count))
    return [float(ordered[place - 1]) for place in places]


def latency_fields(milliseconds: Sequence[float], levels: Sequence[float] = (0.5, 0.95, 0.99)) -> dict[str, Any]:
    """The fields p50_ms, p95_ms and p99_ms of a record, each an `Estimate`, or None where it is not stated."""
    return {f"p{100 * level:g}_ms": percentile(milliseconds, level) for level in levels}

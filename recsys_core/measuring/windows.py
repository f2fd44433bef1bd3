"""Summaries of repeated measurement windows."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """The ratio of two figures in each round. A slow round slows both, so the ratio varies less than the figures."""
    return [a / b for a, b in zip(above, below, strict=True)]


def spread(values: Sequence[float], form: str = ".1f") -> str:
    """The text "median (minimum to maximum)"."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"

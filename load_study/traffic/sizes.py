"""Sizes of queries: each function returns a function that draws the sizes of a number of queries."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from load_study.traffic.columns import column

Sizes = Callable[[int], np.ndarray]
"""Number of queries -> their sizes (items to score), int [queries], each in [1, maximum]."""
NAMES = ("fixed:SIZE", "normal:MEAN,STD", "lognormal:MU,SIGMA", "file:PATH")


def _clipped(values: np.ndarray, maximum: int) -> np.ndarray:
    return np.clip(np.rint(values), 1, maximum).astype(np.int64)


def fixed(size: int, maximum: int) -> Sizes:
    """Every query alike.

    Raises:
        ValueError: the size is outside [1, maximum]; clipping it would change the whole load.
    """
    if not 1 <= size <= maximum:
        raise ValueError(f"the fixed size is {size}, expected 1 to {maximum}")
    return lambda count: np.full(count, size, dtype=np.int64)


def normal(mean: float, std: float, maximum: int, rng: np.random.Generator) -> Sizes:
    """Normal, rounded, clipped to [1, maximum]. `std` is the standard deviation, not the variance.

    Raises:
        ValueError: std is negative.
    """
    if std < 0:
        raise ValueError(f"the standard deviation of the sizes is {std}, expected at least 0")
    return lambda count: _clipped(rng.normal(mean, std, count), maximum)


def lognormal(mu: float, sigma: float, maximum: int, rng: np.random.Generator) -> Sizes:
    """exp of a normal(mu, sigma), rounded, clipped to [1, maximum]; the median is exp(mu).

    Raises:
        ValueError: sigma is negative.
    """
    if sigma < 0:
        raise ValueError(f"sigma of the sizes is {sigma}, expected at least 0")
    return lambda count: _clipped(rng.lognormal(mu, sigma, count), maximum)


def from_file(path: Path, maximum: int, rng: np.random.Generator) -> Sizes:
    """One size a line (or the CSV column "size"), drawn uniformly with replacement, clipped to [1, maximum].

    Raises:
        ValueError: there is no such file, or a line is not a whole number of at least 1.
    """
    lines = column(path, "size")
    for number, value in lines:
        if value < 1 or value != int(value):
            raise ValueError(f"line {number} of {path} is {value:g}, expected a whole number of at least 1 (size)")
    known = _clipped(np.array([value for _, value in lines]), maximum)
    return lambda count: rng.choice(known, count)


def parse(text: str, maximum: int, rng: np.random.Generator) -> Sizes:
    """Sizes by the text of a command line (NAMES).

    Raises:
        ValueError: no such name, or a bad value behind it.
    """
    if maximum < 1:
        raise ValueError(f"the largest size is {maximum}, expected at least 1")
    name, _, rest = text.partition(":")
    if name == "file" and rest:
        return from_file(Path(rest), maximum, rng)
    try:
        values = [float(value) for value in rest.split(",")]
    except ValueError:
        values = []
    if not all(math.isfinite(value) for value in values):
        values = []
    if name == "fixed" and len(values) == 1 and values[0] == int(values[0]):
        return fixed(int(values[0]), maximum)
    if name in {"normal", "lognormal"} and len(values) == 2:
        return (normal if name == "normal" else lognormal)(values[0], values[1], maximum, rng)
    raise ValueError(f"sizes are {text!r}, expected one of {', '.join(NAMES)}")

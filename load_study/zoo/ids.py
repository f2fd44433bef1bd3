"""Ids of the sparse features: how often each row of a table is asked for. No framework.

Real traffic is skewed: few users and items take most of the requests. A Zipf law with exponent s gives the row of rank
r a share proportional to r ** -s; s = 0 is uniform. Ranks are scattered over the table, as ids of popular items are.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

DEFAULT_EXPONENT = 0.99
"""The constant of YCSB, the benchmark of key-value stores (Cooper et al. 2010; `ZipfianGenerator.java` of its
repository). HugeCTR's generator of data for recommendation models calls 0.9 "long", 1.1 "medium" and 1.3 "short" tails
(`docs/source/api/python_interface.md` of its repository)."""
LARGEST_EXPONENT = 10.0
NAMES = ("uniform", "zipf", "zipf:EXPONENT")
_GOLDEN = (math.sqrt(5) - 1) / 2


def exponent_of(text: str) -> float:
    """The exponent that the text of a command line (NAMES) means; 0 for uniform.

    Raises:
        ValueError: no such name, or an exponent outside (0, 10].
    """
    name, mark, rest = text.partition(":")
    if name == "uniform" and not mark:
        return 0.0
    if name == "zipf" and not mark:
        return DEFAULT_EXPONENT
    try:
        exponent = float(rest) if name == "zipf" else math.nan
    except ValueError:
        exponent = math.nan
    if not 0 < exponent <= LARGEST_EXPONENT:
        raise ValueError(
            f"--ids is {text!r}, expected one of {', '.join(NAMES)} with an exponent above 0 and up to "
            f"{LARGEST_EXPONENT:g}, such as zipf:1.1"
        )
    return exponent


def drawn_ids(
    rng: np.random.Generator, exponent: float, rows: int, shape: tuple[int, ...], table: int = 0
) -> npt.NDArray[np.int32]:
    """Random ids of a table of `rows` rows.

    Args:
        table: number of the table; it decides which rows are the popular ones, the same in every process.
    """
    if not exponent:
        return rng.integers(0, rows, shape, np.int32)
    ranks = zipf_ranks(rng, exponent, rows, math.prod(shape))
    return scattered(ranks, rows, table).astype(np.int32).reshape(shape)


def zipf_ranks(rng: np.random.Generator, exponent: float, rows: int, count: int) -> npt.NDArray[np.int64]:
    """Ranks 0 to rows - 1 with chances proportional to (rank + 1) ** -exponent.

    Rejection-inversion (Hörmann and Derflinger, ACM TOMACS 6, 1996, 169-184): no table of the chances is needed.
    """
    found, left = [np.empty(0, np.int64)], count
    low, high = _integral(1.5, exponent) - 1.0, _integral(rows + 0.5, exponent)
    while left > 0:
        area = rng.uniform(low, high, left + left // 8 + 8)
        rank = np.clip(np.rint(_inverse_integral(area, exponent)), 1, rows)
        kept = area >= _integral(rank + 0.5, exponent) - rank**-exponent
        found.append(rank[kept].astype(np.int64) - 1)
        left -= int(kept.sum())
    return np.concatenate(found)[:count]


def _integral(x: npt.ArrayLike, exponent: float) -> npt.NDArray[np.float64]:
    """Antiderivative of x ** -exponent that is 0 at 1."""
    logarithm = np.log(x)
    return logarithm if exponent == 1 else np.expm1((1 - exponent) * logarithm) / (1 - exponent)


def _inverse_integral(area: npt.NDArray[np.float64], exponent: float) -> npt.NDArray[np.float64]:
    if exponent == 1:
        return np.exp(area)
    return np.exp(np.log1p((1 - exponent) * area) / (1 - exponent))


def scattered(ranks: npt.NDArray[np.int64], rows: int, table: int) -> npt.NDArray[np.int64]:
    """Row of each rank: a permutation of the rows in which neighbouring ranks are far from each other."""
    step = max(round(_GOLDEN * rows), 1)
    while math.gcd(step, rows) > 1:
        step += 1
    return (ranks * step + table * 7919) % rows

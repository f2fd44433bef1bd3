"""Candidates for sampled ranking metrics: a fixed list of negatives for each held-out item, drawn once.

``clean``: distinct items that the user never interacted with, held-out items included. ``mlperf``: as MLPerf's NCF data
were made: drawn with repetition and compared with training items only, so a list may hold its own positive and repeats
(3.7 % of the lists of MLPerf's ML-20M do, mlcommons/training issue 135); evaluation leaves such entries out.
Shape legend: S lists, N negatives of each, I items.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from data_prep.split.users import generator

KINDS = ("clean", "mlperf")
BLOCK_CELLS = 1 << 26
"""Users x items whose known pairs are looked up in one table of flags (64 MiB)."""
Ids = npt.NDArray[np.int32]


def _repeats(drawn: Ids) -> npt.NDArray[np.bool_]:
    """[S, N] True where an entry stands earlier in its row already."""
    order = np.argsort(drawn, axis=1, kind="stable")
    ascending = np.take_along_axis(drawn, order, axis=1)
    again = np.zeros(drawn.shape, bool)
    np.put_along_axis(again, order[:, 1:], ascending[:, 1:] == ascending[:, :-1], axis=1)
    return again


def _draw(known: npt.NDArray[np.bool_], count: int, distinct: bool, rng: np.random.Generator) -> Ids:
    """[S, N] items that are not known to their row.

    Args:
        known: [S, I] True for items that may not be drawn; every row has enough others.
    """
    rows, n_items = np.arange(len(known)), known.shape[1]
    drawn = rng.integers(0, n_items, (len(known), count), dtype=np.int32)
    free = n_items - known.sum(axis=1)
    if distinct:  # where little is left to draw from, chance would take long
        for row in np.flatnonzero(free < 2 * count):
            drawn[row] = rng.permutation(np.flatnonzero(~known[row]))[:count]
    pending = rows
    while len(pending):
        part = drawn[pending]
        wrong = known[pending[:, None], part]
        if distinct:
            wrong |= _repeats(part)
        part[wrong] = rng.integers(0, n_items, int(wrong.sum()), dtype=np.int32)
        drawn[pending] = part
        pending = pending[wrong.any(axis=1)]
    return drawn


def draw(known: sp.csr_matrix, count: int, *, kind: str, seed: int, purpose: str) -> Ids:
    """Negatives for each list.

    Args:
        known: [S, I] what may not be drawn for a list.
        count: N.
        kind: clean (distinct) or mlperf (with repetition).
        purpose: names the stream of random numbers.

    Returns:
        int32 [S, N].

    Raises:
        ValueError: somebody has too many items for so many negatives.
    """
    free = known.shape[1] - np.diff(known.indptr)
    least = count if kind == "clean" else 1
    if len(free) and free.min() < least:
        raise ValueError(
            f"--negatives is {count}, but a user has only {free.min()} of {known.shape[1]} items left to draw from; "
            "lower --negatives or raise --min-item-users"
        )
    result = np.empty((known.shape[0], count), np.int32)
    step = max(1, BLOCK_CELLS // max(1, known.shape[1]))
    for block, start in enumerate(range(0, known.shape[0], step)):
        rng = generator(seed, f"negatives/{purpose}/{block}")
        flags = known[start : start + step].toarray().astype(bool)
        result[start : start + step] = _draw(flags, count, kind == "clean", rng)
    return result

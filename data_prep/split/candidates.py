"""Candidates for sampled ranking metrics: a fixed list of negatives for each held-out item, drawn once.

``clean``: distinct items that the user never interacted with, held-out items included. ``mlperf``: as MLPerf's NCF data
were made: drawn with repetition and compared with training items only, so a list may hold its own positive and repeats
(3.7 % of the lists of MLPerf's ML-20M do, mlcommons/training issue 135); evaluation leaves such entries out.
Shape legend: S lists, N negatives of each, I items.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_prep.split.matrix import Matrix, release
from data_prep.split.result import generator

KINDS = ("clean", "mlperf")
BLOCK_CELLS = 1 << 26
"""Lists x items of a block, which has its own stream of random numbers."""
LEAST_LISTS = 1 << 10
"""Lists of a block at the least."""
Ids = npt.NDArray[np.int32]


class _Sorted:
    """Some lists with their entries in ascending order, for look-ups in the order of memory."""

    def __init__(self, drawn: Ids) -> None:
        """Sort each list.

        Args:
            drawn: [S, N]
        """
        bits = (drawn.shape[1] - 1).bit_length()
        keys = drawn.astype(np.int64) << bits
        keys |= np.arange(drawn.shape[1])
        keys.sort(axis=1)
        self.places = keys & ((1 << bits) - 1)
        """[S, N] where each entry stands in its list; equal ones in their order."""
        keys >>= bits
        self.items = keys
        """[S, N]"""

    def unsorted(self, flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """[S, N] flags of the sorted entries, at the places of these."""
        result = np.empty(flags.shape, bool)
        np.put_along_axis(result, self.places, flags, axis=1)
        return result

    def repeats(self) -> npt.NDArray[np.bool_]:
        """[S, N] whether a sorted entry stands earlier in its list already."""
        again = np.zeros(self.items.shape, bool)
        again[:, 1:] = self.items[:, 1:] == self.items[:, :-1]
        return again


class _Known:
    """What may not be drawn for some lists; looked up in the sorted pairs, so that memory does not grow with I."""

    def __init__(self, known: Matrix) -> None:
        self._matrix = known
        rows = np.repeat(np.arange(known.n_users, dtype=np.int64), np.diff(known.indptr))
        self._keys = rows * known.n_items + known.indices

    @property
    def free(self) -> npt.NDArray[np.int64]:
        """[S] items that may be drawn."""
        return self._matrix.n_items - np.diff(self._matrix.indptr)

    def holds(self, rows: npt.NDArray[np.int64], items: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
        """[...] whether each item is known to its row; fast where both ascend."""
        if not len(self._keys):
            return np.zeros(items.shape, bool)
        wanted = rows * self._matrix.n_items + items
        return self._keys[np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)] == wanted

    def others(self, row: int) -> npt.NDArray[np.int64]:
        """The items that may be drawn for a row, ascending."""
        start, end = self._matrix.indptr[row : row + 2]
        return np.delete(np.arange(self._matrix.n_items), self._matrix.indices[start:end])


def _draw(known: _Known, n_items: int, count: int, distinct: bool, rng: np.random.Generator) -> Ids:
    """[S, N] items that are not known to their row; every row has enough others."""
    rows = np.arange(len(known.free))
    drawn = rng.integers(0, n_items, (len(rows), count), dtype=np.int32)
    if distinct:  # where little is left to draw from, chance would take long
        for row in np.flatnonzero(known.free < 2 * count):
            drawn[row] = rng.permutation(known.others(row))[:count]
    in_order = _Sorted(drawn)
    wrong = known.holds(rows[:, None], in_order.items)
    if distinct:
        wrong |= in_order.repeats()
    wrong = in_order.unsorted(wrong)
    del in_order
    while len(pending := np.flatnonzero(wrong.any(axis=1))):
        rows, wrong, part = rows[pending], wrong[pending], drawn[rows[pending]]
        part[wrong] = rng.integers(0, n_items, int(wrong.sum()), dtype=np.int32)
        drawn[rows] = part
        again = np.zeros(wrong.shape, bool)
        again[wrong] = known.holds(rows[np.nonzero(wrong)[0]], part[wrong])  # the others were looked up before
        wrong = again
        if distinct:
            in_order = _Sorted(part)
            wrong |= in_order.unsorted(in_order.repeats())
    return drawn


def lists_at_once(n_items: int) -> int:
    """Lists of a block."""
    return max(LEAST_LISTS, BLOCK_CELLS // max(1, n_items))


def drawn(
    known: Matrix, count: int, *, kind: str, seed: int, purpose: str, users: npt.NDArray | None = None
) -> Iterator[Ids]:
    """Negatives for each list, a block of lists after another; arguments and errors as those of `draw`."""
    users = np.arange(known.n_users) if users is None else users
    free = known.n_items - np.diff(known.indptr)[users]
    least = count if kind == "clean" else 1
    if len(free) and free.min() < least:
        raise ValueError(
            f"--negatives is {count}, but a user has only {free.min()} of {known.n_items} items left to draw from; "
            "lower --negatives or raise --min-item-users"
        )
    step = lists_at_once(known.n_items)
    for block, start in enumerate(range(0, len(users), step)):
        rng = generator(seed, f"negatives/{purpose}/{block}")
        part = _Known(known.rows(users[start : start + step]))
        if block % 16 == 15:
            release(known.indices)
        yield _draw(part, known.n_items, count, kind == "clean", rng)


def draw(known: Matrix, count: int, *, kind: str, seed: int, purpose: str, users: npt.NDArray | None = None) -> Ids:
    """Negatives for each list.

    Args:
        known: [S, I] what may not be drawn for a list.
        count: N.
        kind: clean (distinct) or mlperf (with repetition).
        purpose: names the stream of random numbers.
        users: [S] the row of `known` of each list (default: one list a row).

    Returns:
        int32 [S, N].

    Raises:
        ValueError: somebody has too many items for so many negatives.
    """
    blocks = drawn(known, count, kind=kind, seed=seed, purpose=purpose, users=users)
    return np.concatenate([*blocks, np.empty((0, count), np.int32)])


def with_positives(positives: Ids, blocks: Iterator[Ids], count: int, path: Path | None) -> Ids:
    """[S, 1 + N] each positive, then its negatives.

    Args:
        positives: [S]
        blocks: [..., N] negatives of consecutive lists.
        path: of a file for lists that need not fit into memory; None: they do.
    """
    shape = (len(positives), 1 + count)
    if path is None:
        result, start = np.empty(shape, np.int32), 0
        for part in blocks:
            result[start : start + len(part), 0] = positives[start : start + len(part)]
            result[start : start + len(part), 1:] = part
            start += len(part)
        return result
    start = 0
    with path.open("wb") as file:
        for part in blocks:
            file.write(np.column_stack([positives[start : start + len(part)], part]).data)
            start += len(part)
    return np.memmap(path, np.int32, "r", shape=shape) if shape[0] else np.empty(shape, np.int32)

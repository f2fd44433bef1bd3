"""From rows to interactions: which (user, item) pairs are positive, and the order of each user's.

Ratings and labels: the latest row of a pair decides (the one with the largest time; of equal times, and without times,
the later one of the source). Counts and weights of events: their sum over the rows of a pair decides. Elsewhere every
row is an interaction. A pair stands where its earliest row is that counts: for ratings the earliest above the
threshold. Shape legend: R rows, E interactions (distinct positive pairs), D rows of pairs that repeat.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from data_prep.encode.events import FILE, ITEM, Block
from data_prep.read.rows import Times
from data_prep.split import segments
from data_prep.split.matrix import offsets

LATEST, SUM, ANY = "latest", "sum", "any"
RULES = {"rating": LATEST, "boolean": LATEST, "count": SUM, "event": SUM, "none": ANY}
"""Kind of the values -> which rows of a pair decide."""
Codes = npt.NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Rows of whole users: of all users, or of some."""

    users: Codes
    """[R] from 0."""
    items: Codes
    """[R] from 0."""
    values: npt.NDArray[np.float32] | npt.NDArray[np.bool_] | None = None
    """[R] values, or whether they are above the threshold; None: every row is positive."""
    times: Times | None = None


@dataclass(frozen=True, kw_only=True)
class Settled:
    """Interactions of users 0 to U - 1, and what was found about rows that repeat."""

    block: Block
    overridden: int = 0
    """Rows that another row of their pair replaces, of pairs that were positive once."""
    rated_down: int = 0
    """Pairs that were above the threshold once and whose latest rating is not."""
    rows_below: int = 0
    """Rows at or below the threshold; where the sum of a pair decides, rows of pairs whose sum is."""


class TimesNeeded(Exception):
    """Some pairs repeat, and the times that decide were left out."""


def settle(
    rows: Columns, n_users: int, n_items: int, *, threshold: float, rule: str, order: str, left_times_out: bool = False
) -> Settled:
    """Decide which pairs are positive, and order them.

    Args:
        rule: one of LATEST, SUM, ANY.
        order: one of `events.ORDERS`.
        left_times_out: whether the source has times that are not among the rows.

    Raises:
        TimesNeeded: they are needed after all.
    """
    positive = is_positive(rows.values, threshold)
    shape = (n_users, n_items)
    pairs = _by_pair(rows.users, rows.items, positive, shape)
    if pairs.nnz == len(rows.users):  # no pair repeats
        kept, below = positive, 0 if positive is None else int(np.count_nonzero(~positive))
        if order == ITEM:
            block = _block(pairs)
            return Settled(block=block if kept is None else block.kept(pairs.data > 0), rows_below=below)
        del pairs
        return Settled(block=_ordered(rows, kept, n_users, order), rows_below=below)
    del pairs
    if left_times_out and rule == LATEST:
        raise TimesNeeded
    decided = _decided(rows, shape, positive, threshold, rule)
    if order == ITEM:
        block = _block(_by_pair(rows.users[decided.kept], rows.items[decided.kept], None, shape))
    else:
        block = _ordered(rows, decided.kept, n_users, order)
    return Settled(
        block=block, overridden=decided.overridden, rated_down=decided.rated_down, rows_below=decided.rows_below
    )


def is_positive(
    values: npt.NDArray[np.float32] | npt.NDArray[np.bool_] | None, threshold: float
) -> npt.NDArray[np.bool_] | None:
    """[R] whether each row is above the threshold; None: all are."""
    if values is None or values.dtype == np.bool_:
        return values  # type: ignore[return-value]
    return values > threshold


def _by_pair(
    users: Codes, items: Codes, positive: npt.NDArray[np.bool_] | None, shape: tuple[int, int]
) -> sp.csr_matrix:
    """CSR [U, I] of the distinct pairs, items ascending; entries above 0 where a row of the pair is positive.

    scipy sorts by user without comparisons, five times faster than a sort of 20 million keys.
    """
    data = np.ones(len(users), np.int8) if positive is None else positive.view(np.int8)
    return sp.coo_matrix((data, (users, items)), shape=shape).tocsr()


def _block(pairs: sp.csr_matrix) -> Block:
    return Block(first=0, indptr=pairs.indptr.astype(np.int64), items=pairs.indices.astype(np.int32, copy=False))


@dataclass(frozen=True, kw_only=True)
class _Decided:
    kept: npt.NDArray[np.bool_]
    """[R] the row where each positive pair stands."""
    overridden: int
    rated_down: int
    rows_below: int


def _decided(
    rows: Columns, shape: tuple[int, int], positive: npt.NDArray[np.bool_] | None, threshold: float, rule: str
) -> _Decided:
    """The pairs that are positive, where some pairs have several rows."""
    grouped, indptr = _rows_of_pairs(rows, shape)
    lengths = np.diff(indptr)
    alone = lengths == 1
    kept = np.zeros(len(grouped), bool)
    single = grouped[indptr[:-1][alone]]
    kept[single] = True if positive is None else positive[single]
    below = 0 if positive is None else len(positive) - int(np.count_nonzero(positive))
    which = grouped[np.repeat(~alone, lengths)]
    del grouped, indptr, single
    indptr = offsets(lengths[~alone])
    starts, lengths = indptr[:-1], lengths[~alone]
    if rows.times is not None:
        _, which = segments.sorted_by(indptr, rows.times[which], which)
    if rule == SUM and rows.values is not None and positive is not None:
        sums = np.add.reduceat(rows.values[which].astype(np.float64), starts)
        stays = sums.astype(np.float32) > threshold
        kept[which[starts[stays]]] = True
        below += int(lengths[~stays].sum()) - int(np.count_nonzero(~positive[which]))
        return _Decided(kept=kept, overridden=int((lengths[stays] - 1).sum()), rated_down=0, rows_below=below)
    if positive is None:
        kept[which[starts]] = True
        return _Decided(kept=kept, overridden=int((lengths - 1).sum()), rated_down=0, rows_below=0)
    high = positive[which]
    ever = np.logical_or.reduceat(high, starts)
    stays = ever if rule == ANY else high[indptr[1:] - 1]
    highs = np.flatnonzero(high)
    first_high = highs[np.minimum(np.searchsorted(highs, starts[stays]), len(highs) - 1)]
    kept[which[first_high]] = True
    return _Decided(
        kept=kept,
        overridden=int((lengths[ever] - 1).sum()),
        rated_down=int(np.count_nonzero(ever & ~stays)),
        rows_below=below,
    )


def _rows_of_pairs(rows: Columns, shape: tuple[int, int]) -> tuple[npt.NDArray[np.signedinteger], segments.Offsets]:
    """The rows [R] by user and item, those of a pair as in the source; and where the rows of each pair begin."""
    _, order = segments.by_code(rows.items, shape[1])
    _, by_user = segments.by_code(rows.users[order], shape[0])
    order = order[by_user]
    del by_user
    is_first = np.ones(len(order) + 1, bool)
    for place, codes in enumerate((rows.users, rows.items)):
        ordered = codes[order]
        changes = ordered[1:] != ordered[:-1]
        is_first[1:-1] = changes if place == 0 else is_first[1:-1] | changes
    return order, np.flatnonzero(is_first)


def _ordered(rows: Columns, kept: npt.NDArray[np.bool_] | None, n_users: int, order: str) -> Block:
    """The interactions at some rows by user, and then by time or as in the source.

    Args:
        kept: [R]; None: all rows.
    """
    users, items, times = rows.users, rows.items, rows.times
    if kept is not None:
        users, items, times = users[kept], items[kept], None if times is None else times[kept]
    if np.any(users[1:] < users[:-1]):
        indptr, by_user = segments.by_code(users, n_users)
        items, times = items[by_user], None if times is None else times[by_user]
    else:
        indptr = offsets(np.bincount(users, minlength=n_users))
    if times is not None and order != FILE:
        times, items = segments.sorted_by(indptr, times, items)
    return Block(first=0, indptr=indptr, items=items, times=times)

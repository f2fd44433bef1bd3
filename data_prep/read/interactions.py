"""The one form in which every reader hands over what it read: two id columns of the rows above the threshold.

Of the rows at or below the threshold only the pairs are kept, until it is known which pairs repeat (`repeats`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.signedinteger]
Times = npt.NDArray[np.int64] | npt.NDArray[np.float64]
Hashes = npt.NDArray[np.uint64]
Place = Callable[[int], str]
"""Where a row of a block stands (file and line), looked up only for an error."""
_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))


@dataclass(frozen=True, kw_only=True)
class Keep:
    """Which rows a reader keeps."""

    threshold: float
    """A row is positive if its rating is greater (not equal), as in Liang et al. 2018."""
    repeated: Hashes | None = None
    """None: positive rows are kept, and the pairs of the others. Else ascending `pair_hashes`: the rows of these pairs
    are kept, whatever their rating."""


@dataclass(frozen=True, kw_only=True)
class Interactions:
    """(user, item) events with original ids, in file order: the positive ones, or all rows of some pairs."""

    users: Ids
    """[E] original user ids, not negative."""
    items: Ids
    """[E] original item ids, not negative."""
    rows_read: int
    """Rows of the source, including those the threshold removed."""
    times: Times | None = None
    """[E] when each event was, in the source's unit; None where it was not read or is not known."""
    low_users: Ids | None = None
    """[D] users of the rows at or below the threshold; None where there are none."""
    low_items: Ids | None = None
    """[D] items of these rows."""
    positive: npt.NDArray[np.bool_] | None = None
    """[E] whether the row is above the threshold; None: all are."""

    @staticmethod
    def concatenate(parts: list[Interactions]) -> Interactions:
        """All parts, in order. No parts give an empty table.

        The list is emptied, so that the columns of the parts are freed one after another.
        """
        if len(parts) == 1:
            return parts.pop()
        rows_read = sum(p.rows_read for p in parts)
        names = ("users", "items", "times", "low_users", "low_items", "positive")
        columns = {name: [getattr(p, name) for p in parts] for name in names}
        parts.clear()
        empty = np.empty(0, np.int32)
        ids = {name: _joined(columns.pop(name), empty) for name in ("users", "items")}
        return Interactions(rows_read=rows_read, **ids, **{name: _joined(columns.pop(name)) for name in list(columns)})


def _joined(arrays: list[npt.NDArray | None], without: npt.NDArray | None = None) -> npt.NDArray:
    """One array of those that are there; `without` where none is."""
    found = [a for a in arrays if a is not None]
    return np.concatenate(found) if found else without  # type: ignore[return-value]


def smallest_ids(ids: npt.NDArray[np.int64]) -> Ids:
    """`ids` as int32 where the largest one fits, to halve the memory of every later step."""
    return ids.astype(np.int32) if ids.size == 0 or int(ids.max()) < 2**31 else ids


def pair_hashes(users: Ids, items: Ids) -> Hashes:
    """[E] a number of 64 bits for each pair: equal for equal pairs, and hardly ever for different ones."""
    return (users.astype(np.uint64) * _MIX[0]) ^ (items.astype(np.uint64) * _MIX[1])


def is_among(hashes: Hashes, ascending: Hashes) -> npt.NDArray[np.bool_]:
    """[E] whether each hash is one of `ascending`."""
    if not len(ascending):
        return np.zeros(len(hashes), bool)
    return ascending[np.minimum(np.searchsorted(ascending, hashes), len(ascending) - 1)] == hashes


def check_ids(ids: npt.NDArray[np.int64], column: str, where: Place) -> None:
    """Raise ValueError if an id is negative, naming the first one."""
    if ids.size and int(ids.min()) < 0:
        row = int(np.argmax(ids < 0))
        raise ValueError(f"{where(row)}: negative id {ids[row]} in column {column!r}, ids must be 0 or more")


def select(
    users: npt.NDArray[np.int64],
    items: npt.NDArray[np.int64],
    ratings: npt.NDArray[np.float32] | None,
    keep: Keep,
    where: Place,
    times: Times | None = None,
) -> Interactions:
    """Validate one block of rows and keep those that are asked for.

    Args:
        users, items: [R] ids as read.
        ratings: [R] ratings, or None where every row counts as positive.
        where: place of a row, for the message.
        times: [R] when each event was, or None.

    Raises:
        ValueError: a negative id, or a rating that is not a number.
    """
    check_ids(users, "user", where)
    check_ids(items, "item", where)
    if ratings is None:
        return Interactions(users=smallest_ids(users), items=smallest_ids(items), rows_read=len(users), times=times)
    missing = np.isnan(ratings)
    if missing.any():
        row = int(np.argmax(missing))
        raise ValueError(
            f"{where(row)}: {int(missing.sum())} ratings are empty or NaN, the first for user {users[row]} "
            f"and item {items[row]}; every row needs a number"
        )
    return kept(smallest_ids(users), smallest_ids(items), ratings > keep.threshold, keep, times)


def kept(
    users: Ids, items: Ids, positive: npt.NDArray[np.bool_], keep: Keep, times: Times | None = None
) -> Interactions:
    """The rows that are asked for, of valid ones.

    Args:
        users, items: [R] ids; item -1 where it is not known yet (`netflix`).
        positive: [R] whether the rating is above the threshold.
        times: [R] when each event was, or None.
    """
    if keep.repeated is None:
        low = np.flatnonzero(~positive)
        rows = np.flatnonzero(positive) if len(low) else slice(None)
    else:
        low = None
        rows = np.flatnonzero(is_among(pair_hashes(users, items), keep.repeated) | (items == -1))
    return Interactions(
        users=users[rows],
        items=items[rows],
        rows_read=len(users),
        times=None if times is None else times[rows],
        low_users=None if low is None or not len(low) else users[low],
        low_items=None if low is None or not len(low) else items[low],
        positive=None if keep.repeated is None else positive[rows],
    )

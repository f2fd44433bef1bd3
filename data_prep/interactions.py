"""The one form in which every reader hands over what it read: two id columns, rows below the threshold gone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.signedinteger]
Times = npt.NDArray[np.int64] | npt.NDArray[np.float64]
Place = Callable[[int], str]
"""Where a row of a block stands (file and line), looked up only for an error."""


@dataclass(frozen=True, kw_only=True)
class Interactions:
    """Positive (user, item) events with original ids, in file order."""

    users: Ids
    """[E] original user ids, not negative."""
    items: Ids
    """[E] original item ids, not negative."""
    rows_read: int
    """Rows of the source, including those the threshold removed."""
    times: Times | None = None
    """[E] when each event was, in the source's unit; None where it was not read or is not known."""

    @staticmethod
    def concatenate(parts: Sequence[Interactions]) -> Interactions:
        """All parts, in order. No parts give an empty table."""
        empty = np.empty(0, np.int32)
        times = [p.times for p in parts if p.times is not None]
        return Interactions(
            users=np.concatenate([p.users for p in parts] or [empty]),
            items=np.concatenate([p.items for p in parts] or [empty]),
            rows_read=sum(p.rows_read for p in parts),
            times=np.concatenate(times) if times else None,  # type: ignore[arg-type]
        )


def smallest_ids(ids: npt.NDArray[np.int64]) -> Ids:
    """`ids` as int32 where the largest one fits, to halve the memory of every later step."""
    return ids.astype(np.int32) if ids.size == 0 or int(ids.max()) < 2**31 else ids


def check_ids(ids: npt.NDArray[np.int64], column: str, where: Place) -> None:
    """Raise ValueError if an id is negative, naming the first one."""
    if ids.size and int(ids.min()) < 0:
        row = int(np.argmax(ids < 0))
        raise ValueError(f"{where(row)}: negative id {ids[row]} in column {column!r}, ids must be 0 or more")


def select(
    users: npt.NDArray[np.int64],
    items: npt.NDArray[np.int64],
    ratings: npt.NDArray[np.float32] | None,
    threshold: float,
    where: Place,
    times: Times | None = None,
) -> Interactions:
    """Validate one block of rows and keep those rated above the threshold.

    Args:
        users, items: [R] ids as read.
        ratings: [R] ratings, or None where every row counts as positive.
        threshold: a row is kept if its rating is greater (not equal), as in Liang et al. 2018.
        where: place of a row, for the message.
        times: [R] when each event was, or None.

    Raises:
        ValueError: a negative id, or a rating that is not a number.
    """
    check_ids(users, "user", where)
    check_ids(items, "item", where)
    rows_read = len(users)
    if ratings is not None:
        missing = np.isnan(ratings)
        if missing.any():
            row = int(np.argmax(missing))
            raise ValueError(
                f"{where(row)}: {int(missing.sum())} ratings are empty or NaN, the first for user {users[row]} "
                f"and item {items[row]}; every row needs a number"
            )
        kept = ratings > threshold
        users, items = users[kept], items[kept]
        times = None if times is None else times[kept]
    return Interactions(users=smallest_ids(users), items=smallest_ids(items), rows_read=rows_read, times=times)

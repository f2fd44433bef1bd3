"""Events from rows typed by hand, and a split as sets of (user, item) pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from data_prep.encode.events import ITEM, TIME, Block, Events, EventsInMemory, Facts
from data_prep.encode.gather import Part, in_memory
from data_prep.split.matrix import Matrix
from data_prep.split.result import Split

Row = tuple[int, int, float]
"""User, item, time."""
Pairs = set[tuple[int, int]]


def events(rows: Sequence[tuple[Any, ...]], *, with_times: bool = True) -> EventsInMemory:
    """The interactions of rows (user, item, time), all of them positive."""
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    times = columns[2] if with_times else None
    part = Part(users=columns[0], items=columns[1], values=None, times=times)
    return in_memory([part], rule="any", threshold=0.0, order=TIME if with_times else ITEM)


@dataclass(frozen=True)
class Several:
    """The same events by blocks of so many users, as they come from the disk."""

    whole: EventsInMemory
    users: int

    @property
    def user_ids(self) -> pa.Array:
        return self.whole.user_ids

    @property
    def item_ids(self) -> pa.Array:
        return self.whole.item_ids

    @property
    def facts(self) -> Facts:
        return self.whole.facts

    @property
    def has_times(self) -> bool:
        return self.whole.has_times

    @property
    def count(self) -> int:
        return self.whole.count

    def blocks(self) -> Iterator[Block]:
        block = self.whole.block
        for first in range(0, len(block.lengths), self.users):
            indptr = block.indptr[first : first + self.users + 1]
            own = slice(indptr[0], indptr[-1])
            times = None if block.times is None else block.times[own]
            yield Block(first=first, indptr=indptr - indptr[0], items=block.items[own], times=times)


def in_blocks(found: EventsInMemory, users: int) -> Events:
    """By blocks of so many users; 0: in one."""
    return Several(found, users) if users else found


def pairs(matrix: Matrix, users: pa.Array, items: pa.Array) -> Pairs:
    """(user id, item id) of the entries; columns ascend within each row."""
    found: Pairs = set()
    for row, user in enumerate(users.to_pylist()):
        columns = matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]].tolist()
        assert columns == sorted(set(columns))
        found |= {(user, items[column].as_py()) for column in columns}
    return found


def parts(split: Split) -> dict[str, Pairs]:
    """train, and fold_in and fold_out of valid and test."""
    result = {"train": pairs(split.train, split.train_user_ids, split.item_ids)}
    for name in ("valid", "test"):
        held_out = getattr(split, name)
        for side in ("fold_in", "fold_out"):
            result[f"{name}.{side}"] = pairs(getattr(held_out, side), held_out.user_ids, split.item_ids)
        if held_out.train_rows is not None:
            assert split.train_user_ids.take(pa.array(held_out.train_rows)).equals(held_out.user_ids)
    return result

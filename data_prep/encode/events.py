"""The interactions of each user, by index: what every split starts from.

Users and items are numbered in ascending order of their ids. Every pair is there once; a pair that several rows name
stands where its earliest positive row is. Shape legend: U users, I items, E interactions, B users of a block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_prep.read.rows import Times

ITEM, TIME, FILE = "item", "time", "file"
ORDERS = (ITEM, TIME, FILE)
"""How the interactions of a user are ordered: by item; by time, of equal times as in the file; as in the file."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """The interactions of consecutive users."""

    first: int
    """The first user."""
    indptr: npt.NDArray[np.int64]
    """[B + 1] where the interactions of each begin, and the end."""
    items: npt.NDArray[np.int32]
    """[E]"""
    times: Times | None = None
    """[E]"""

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """[B] interactions of each user."""
        return np.diff(self.indptr)

    def rows(self) -> npt.NDArray[np.int64]:
        """[E] the user of each interaction, counted from `first`."""
        return np.repeat(np.arange(len(self.indptr) - 1), self.lengths)

    def kept(self, chosen: npt.NDArray[np.bool_]) -> Block:
        """The same users with some of the interactions."""
        if chosen.all():
            return self
        before = np.zeros(len(chosen) + 1, np.int32 if len(chosen) < 2**31 else np.int64)
        np.cumsum(chosen, out=before[1:])
        indptr = before[self.indptr].astype(np.int64)
        del before
        times = None if self.times is None else self.times[chosen]
        return Block(first=self.first, indptr=indptr, items=self.items[chosen], times=times)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What reading a source brought to light."""

    rows_read: int
    rows_overridden: int = 0
    """Rows that another row of the same pair replaces, of pairs that were positive once."""
    rated_down: int = 0
    """Pairs that are left out because their latest rating is not above the threshold."""
    rows_below: int = 0
    """Rows at or below the threshold."""
    rows_left_out: int = 0
    """Rows of events that were not asked for."""
    notes: Sequence[str] = field(default_factory=list)


class Events(Protocol):
    """Interactions that can be gone through by blocks of users."""

    @property
    def user_ids(self) -> pa.Array:
        """[U] ascending."""

    @property
    def item_ids(self) -> pa.Array:
        """[I] ascending; some may be without an interaction."""

    @property
    def facts(self) -> Facts:
        """What reading brought to light."""

    @property
    def has_times(self) -> bool:
        """Whether blocks have times."""

    @property
    def count(self) -> int:
        """Interactions."""

    def blocks(self) -> Iterator[Block]:
        """All users in order, in blocks that fit the memory."""
        ...


@dataclass(frozen=True, kw_only=True)
class EventsInMemory:
    """`Events` that are one block."""

    block: Block
    user_ids: pa.Array
    item_ids: pa.Array
    facts: Facts
    in_file: tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]] | None = None
    """Users and items of the positive rows in the order of the source; where the order is FILE."""

    @property
    def has_times(self) -> bool:
        return self.block.times is not None

    @property
    def count(self) -> int:
        return len(self.block.items)

    def blocks(self) -> Iterator[Block]:
        yield self.block

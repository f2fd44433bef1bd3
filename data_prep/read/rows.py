"""The one form in which every reader hands over what it read: blocks of rows with ids as numbers of 64 bits.

Shape legend: R rows of a block, N names in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Keys = npt.NDArray[np.signedinteger]
Times = npt.NDArray[np.signedinteger] | npt.NDArray[np.float64]
Place = Callable[[int], str]
"""Where a row of a block stands (file and line), looked up only for an error."""


@dataclass(frozen=True, kw_only=True)
class Names:
    """The texts behind some keys."""

    keys: npt.NDArray[np.int64]
    """[N] distinct."""
    texts: pa.Array
    """[N] strings."""


@dataclass(frozen=True, kw_only=True)
class Ids:
    """A column of ids: whole numbers are their own keys, the key of a text is its hash."""

    keys: Keys
    """[R] int64, or int32 where all fit."""
    names: Names | None = None
    """The text of every key of these rows; None where ids are whole numbers."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Consecutive rows of a source, checked: no id is missing, values and times are finite."""

    users: Ids
    items: Ids
    values: npt.NDArray[np.float32] | None = None
    """[R] rating, label (0 or 1), count or weight of an event; None: every row is an interaction."""
    times: Times | None = None
    """[R] in the unit of the source's schema; None where they were not asked for or are not there."""
    left_out: int = 0
    """Rows of events that were not asked for, which are not among these rows."""

    @property
    def count(self) -> int:
        """Rows."""
        return len(self.users.keys)

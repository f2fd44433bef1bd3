"""Held-out users as requests of item indices, and lists of item indices of any length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Lists of item indices in one array (CSR). U rows, E items in all rows together."""

    indptr: npt.NDArray[np.int64]
    """[U + 1]"""
    item_ids: npt.NDArray[np.int32]
    """[E]"""

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def row(self, k: int) -> npt.NDArray[np.int32]:
        return self.item_ids[self.indptr[k] : self.indptr[k + 1]]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """[U]"""
        return np.diff(self.indptr)

    def padded(self, rows: npt.NDArray[np.int64], padding: int) -> npt.NDArray[np.int32]:
        """int32 [B, L]: the given rows, filled up to the length L of the longest (at least 1)."""
        lengths = self.lengths[rows]
        block = np.full((len(rows), max(int(lengths.max(initial=1)), 1)), padding, np.int32)
        for k, row in enumerate(rows):
            block[k, : lengths[k]] = self.row(int(row))
        return block


@dataclass(frozen=True, kw_only=True)
class HeldOutUsers:
    """Users that the model was not trained on, or training users some of whose items it was not trained on."""

    fold_in: Rows
    """The items that a request holds."""
    fold_out: Rows | None
    """The items that the model should find; None for the calibration users."""
    user_ids: npt.NDArray[np.int32] | None
    """[U] rows of the training matrix; None where the model takes no users, or knows none of these."""
    source: str = "validation users"
    """What the users are, for the record of a calibration."""

    def requests(self, rows: npt.NDArray[np.int64], padding: int) -> Arrays:
        """The inputs of `serving` for the users of these rows."""
        inputs: Arrays = {"item_ids": self.fold_in.padded(rows, padding)}
        return inputs if self.user_ids is None else {"user_ids": self.user_ids[rows], **inputs}

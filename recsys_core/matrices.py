"""The arrays of a data set: binary CSR matrices, held-out users, id tables.

Shape legend: U users, I items, X more items, E interactions, S held-out rows, B some rows, N interactions of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import scipy.sparse as sp

from data_prep.encode.events import EventsInMemory


@dataclass(frozen=True, kw_only=True)
class Csr:
    """A binary sparse matrix [U, I]."""

    indptr: npt.NDArray[np.int64]
    """[U + 1]"""
    indices: npt.NDArray[np.int32]
    """[E] ascending within a row."""
    n_items: int

    @property
    def n_users(self) -> int:
        return len(self.indptr) - 1

    def rows(self, users: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Some rows, in one vectorised copy.

        Args:
            users: [B] row numbers.

        Returns:
            item_ids [N] of all rows one after another, and row_splits [B + 1].
        """
        starts = self.indptr[users]
        splits = np.zeros(len(users) + 1, np.int64)
        np.cumsum(self.indptr[users + 1] - starts, out=splits[1:])
        positions = np.arange(splits[-1]) + np.repeat(starts - splits[:-1], np.diff(splits))
        return self.indices[positions], splits

    def owners(self, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The row of each interaction, from its place among all (any shape); a search, faster where places ascend."""
        return np.searchsorted(self.indptr, places, side="right") - 1

    def to_scipy(self) -> sp.csr_matrix:
        """float32 copy in memory."""
        data = np.ones(len(self.indices), np.float32)
        return sp.csr_matrix((data, np.asarray(self.indices), np.asarray(self.indptr)), (self.n_users, self.n_items))

    def item_counts(self) -> npt.NDArray[np.int64]:
        """[I] users of each item."""
        return np.bincount(self.indices, minlength=self.n_items)


def csr_from_scipy(matrix: sp.spmatrix) -> Csr:
    """A `Csr` of the non-zero entries of a scipy sparse matrix; rows ascend, repeated entries count once."""
    compressed = matrix.tocsr(copy=True)
    compressed.sum_duplicates()
    compressed.eliminate_zeros()
    indptr, indices = compressed.indptr.astype(np.int64), compressed.indices.astype(np.int32)
    return Csr(indptr=indptr, indices=indices, n_items=compressed.shape[1])


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The known items of some users (fold-in), and the items to be found (fold-out).

    Strong generalisation: users that the model is not trained on. Split by time, by user or as given: users that it is
    trained on, less some items each; a user has one row at most. Leave-one-out: the same with one item each, and with
    candidates among which it has to be found.
    """

    fold_in: Csr
    """Items that are known (and excluded from recommendations)."""
    fold_out: Csr
    train_rows: npt.NDArray[np.int32] | None = None
    """[S] each row's place in the training matrix; None for users that the model is not trained on."""
    candidates: npt.NDArray[np.int32] | None = None
    """[S, 1 + N] the item to be found, then the sampled negatives (repeats are possible)."""

    @property
    def n_users(self) -> int:
        return self.fold_in.n_users

    @property
    def n_candidates(self) -> int:
        """1 + N, or 0 without candidates."""
        return 0 if self.candidates is None else self.candidates.shape[1]


@dataclass(frozen=True)
class ExtraItems:
    """Items that only held-out users have: they are no columns of the other matrices."""

    frame: pd.DataFrame
    """[X] item_id, title."""
    valid: sp.csr_matrix
    """[S, X] which of them the validation users have; 1 or nothing."""
    test: sp.csr_matrix


def with_found_items(train: Csr, held_out: HeldOut) -> Csr:
    """The training matrix with the items to be found of its held-out users."""
    assert held_out.train_rows is not None, "the held-out users are training users"
    found = held_out.fold_out.to_scipy().tocoo()
    rows = np.asarray(held_out.train_rows)[found.row]
    return csr_from_scipy(
        train.to_scipy() + sp.csr_matrix((found.data, (rows, found.col)), (train.n_users, train.n_items))
    )


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The arrays and tables of a data set in memory; see `dataset.Dataset` for the fields."""

    train: Csr
    item_frame: pd.DataFrame
    user_frame: pd.DataFrame
    valid: HeldOut | None = None
    test: HeldOut | None = None
    events: EventsInMemory | None = None
    time_unit: str = ""
    notes: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    extra: ExtraItems | None = None


def item_table(item_ids: object, titles: object, train: Csr) -> pd.DataFrame:
    """[I] rows: index, item_id, title (missing where None is given), count."""
    return pd.DataFrame(
        {
            "index": np.arange(train.n_items, dtype=np.int32),
            "item_id": item_ids,
            "title": titles if titles is not None else pd.array([None] * train.n_items, dtype="string"),
            "count": train.item_counts().astype(np.int64),
        }
    )


def user_table(ids_of_splits: Mapping[str, npt.NDArray | pd.Index]) -> pd.DataFrame:
    """One row for each user: split, index, user_id; the users of a split stand together."""
    parts = [
        pd.DataFrame({"split": name, "index": np.arange(len(ids), dtype=np.int32), "user_id": ids})
        for name, ids in ids_of_splits.items()
    ]
    return pd.concat(parts, ignore_index=True)


def storable(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """The table, with the ids of a column as text where Parquet has no type for them (UUIDs, text beside numbers)."""
    try:
        pa.array(table[column], from_pandas=True)
    except (pa.ArrowException, OverflowError):
        return table.assign(**{column: table[column].map(str)})
    return table

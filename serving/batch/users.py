"""The users of a batch and their histories as item indices, in blocks: of an export or of a prepared data set.

Shape legend: U users of a source, B users of a block, I items, E interactions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from serving.export_folder import ExportFolder, Rows
from serving.ids import original_ids

if TYPE_CHECKING:
    import pandas as pd

    from recsys_core.dataset import Dataset
    from recsys_core.matrices import Csr

NO_ROW = -1


@dataclass(frozen=True, kw_only=True)
class UserBlock:
    """Users one after another in the order of their source."""

    ids: npt.NDArray
    """[B] original ids: int64, or str in an object array."""
    histories: Rows
    """[B] item indices, the latest last where the source has an order."""
    rows: npt.NDArray[np.int32] | None
    """[B] rows of the users in the model (NCF), NO_ROW for others; None where the model takes no users."""

    def answerable(self) -> npt.NDArray[np.bool_]:
        """[B] whether the model can answer: it needs a history, NCF a user that it was trained on."""
        return self.histories.lengths > 0 if self.rows is None else self.rows != NO_ROW


class UserSource(Protocol):
    """Users in a fixed order, each once."""

    @property
    def fingerprint(self) -> str:
        """Equal for the same users with the same histories."""

    def __len__(self) -> int: ...

    def block(self, start: int, stop: int) -> UserBlock:
        """The users from `start` to before `stop`."""


def chosen_rows(rows: Rows, wanted: npt.NDArray[np.int64]) -> Rows:
    """Some rows [B] in the order of `wanted`; an empty row where it is NO_ROW."""
    known = wanted != NO_ROW
    starts = rows.indptr[np.where(known, wanted, 0)]
    lengths = np.where(known, rows.indptr[np.where(known, wanted + 1, 0)] - starts, 0)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    places = np.arange(indptr[-1]) + np.repeat(starts - indptr[:-1], lengths)
    return Rows(indptr=indptr, item_ids=np.asarray(rows.item_ids[places], np.int32))


def id_index(ids: npt.NDArray) -> pd.Index:
    """Finds ids: places of int64 ids, or of texts."""
    import pandas as pd

    return pd.Index(ids)


class ExportUsers:
    """The users that an export holds."""

    def __init__(self, export: ExportFolder) -> None:
        self._ids, self._histories = export.user_ids, export.histories
        self._rows = export.users["row"].to_numpy(np.int64)
        self._knows_users = export.knows_users
        self.fingerprint = f"export {export.identity}"

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def ids(self) -> npt.NDArray:
        """[U]"""
        return self._ids

    @property
    def model_rows(self) -> tuple[npt.NDArray, npt.NDArray[np.int64]]:
        """Ids of the users that a model of known users was trained on, and their rows."""
        return self._ids, self._rows

    def at(self, places: npt.NDArray[np.int64]) -> UserBlock:
        """Users by their places in `ids`; NO_ROW for an id that is not known, which the caller fills in."""
        known = places != NO_ROW
        rows = np.where(known, self._rows[np.where(known, places, 0)], NO_ROW)
        return UserBlock(
            ids=self._ids[places],
            histories=chosen_rows(self._histories, rows),
            rows=rows.astype(np.int32) if self._knows_users else None,
        )

    def block(self, start: int, stop: int) -> UserBlock:
        return self.at(np.arange(start, stop))


class DataSetUsers:
    """The users of a prepared data set, mapped into memory: its training users, then those held out.

    A history is everything that a user has there, also what was held out for the evaluation. Items are matched by id
    where it is not the data set that the model was trained on.
    """

    def __init__(self, export: ExportFolder, data: Dataset) -> None:
        """
        Raises:
            ValueError: the data set has none of the model's items, or is another one than that of a model that ranks
                items for its own users.
        """
        from recsys_core import user_histories

        self._data = data
        self._ids = original_ids(user_histories.users(data)["user_id"], export.id_types.user)
        same = data.fingerprint == export.content["data_set"]
        if export.knows_users and not same:
            raise ValueError(
                f"{data.name} is not the data set that the model was trained on, and it ranks items for its own "
                "users only; name that data set"
            )
        self._knows_users, self._n_items = export.knows_users, export.n_items
        self._item_index = None if same else _matched_items(data, export)
        self.fingerprint = f"data set {data.fingerprint}"

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def ids(self) -> npt.NDArray:
        """[U]"""
        return self._ids

    @property
    def model_rows(self) -> tuple[npt.NDArray, npt.NDArray[np.int64]]:
        """Ids of the users that a model of known users was trained on, and their rows."""
        return self._ids[: self._data.n_users], np.arange(self._data.n_users)

    @cached_property
    def _held_out_row(self) -> dict[str, npt.NDArray[np.int64]]:
        """Split -> [training users] the row of each in the split's matrices, where items of training users are held
        out."""
        found = {}
        for split in ("valid", "test"):
            train_rows = self._data.held_out(split).train_rows
            if train_rows is not None:
                rows = np.full(self._data.n_users, NO_ROW, np.int64)
                rows[np.asarray(train_rows)] = np.arange(len(train_rows))
                found[split] = rows
        return found

    def _parts(self, places: npt.NDArray[np.int64]) -> list[tuple[npt.NDArray[np.int64], Csr, npt.NDArray[np.int64]]]:
        """(place among `places`, matrix, row in it) of all that makes up the histories of these users."""
        data = self._data
        training = np.flatnonzero((places >= 0) & (places < data.n_users))
        parts = [(training, data.train, places[training])]
        if not data.is_split:
            return parts
        first = data.n_users
        for split in ("valid", "test"):
            held_out = data.held_out(split)
            if data.holds_out_items:
                rows = self._held_out_row[split][places[training]]
                found = rows != NO_ROW
                parts.append((training[found], held_out.fold_out, rows[found]))
                continue
            own = np.flatnonzero((places >= first) & (places < first + held_out.n_users))
            parts += [(own, matrix, places[own] - first) for matrix in (held_out.fold_in, held_out.fold_out)]
            first += held_out.n_users
        return parts

    def at(self, places: npt.NDArray[np.int64]) -> UserBlock:
        """Users by their places in `ids`; NO_ROW for an id that is not known, which the caller fills in."""
        owners, items = [], []
        for users, matrix, rows in self._parts(places):
            found, splits = matrix.rows(rows)
            items.append(np.asarray(found, np.int32))
            owners.append(np.repeat(users, np.diff(splits)))
        histories = histories_of_pairs(np.concatenate(owners), np.concatenate(items), len(places), self._item_index)
        of_model = np.where(places < self._data.n_users, places, NO_ROW).astype(np.int32)
        return UserBlock(ids=self._ids[places], histories=histories, rows=of_model if self._knows_users else None)

    def block(self, start: int, stop: int) -> UserBlock:
        return self.at(np.arange(start, stop))


def _matched_items(data: Dataset, export: ExportFolder) -> npt.NDArray[np.int64]:
    """[items of the data set] the model's index of each item, NO_ROW where it has none."""
    ids = original_ids(data.items["item_id"], export.id_types.item)
    found = id_index(export.item_ids).get_indexer(id_index(ids)).astype(np.int64)
    if not (found != NO_ROW).any():
        raise ValueError(f"{data.name} has none of the items of the model in {export.folder}")
    return found


def histories_of_pairs(
    owners: npt.NDArray[np.int64],
    items: npt.NDArray[np.int32],
    n_users: int,
    item_index: npt.NDArray[np.int64] | None = None,
) -> Rows:
    """Histories with ascending items from (user, item) pairs in any order, each pair once.

    Args:
        owners: [E] from 0 to `n_users` - 1.
        items: [E]
        item_index: the index of each item, NO_ROW for items that are left out; None if `items` are indices.
    """
    indices = items.astype(np.int64)
    if item_index is not None:
        indices = item_index[indices]
        owners, indices = owners[indices != NO_ROW], indices[indices != NO_ROW]
    width = int(indices.max(initial=0)) + 1
    keys = np.unique(owners * width + indices)
    counts = np.bincount(keys // width, minlength=n_users)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Rows(indptr=indptr, item_ids=(keys % width).astype(np.int32))


class ChosenUsers:
    """Some users of an export or of a data set, by id; ids that it does not have are users without history."""

    def __init__(self, source: ExportUsers | DataSetUsers, ids: npt.NDArray, fingerprint: str) -> None:
        """
        Args:
            ids: [U] original ids, each once.
            fingerprint: of the list of ids.
        """
        self._source, self._ids = source, ids
        self._places = id_index(source.ids).get_indexer(id_index(ids)).astype(np.int64)
        self.fingerprint = f"{source.fingerprint}, users {fingerprint}"

    def __len__(self) -> int:
        return len(self._ids)

    def block(self, start: int, stop: int) -> UserBlock:
        found = self._source.at(self._places[start:stop])
        return replace(found, ids=self._ids[start:stop])

"""Histories of a prepared data set, read only: all that each user has, held-out users and held-out items included.

Shape legend: U training users, S held-out rows, B users asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving.histories.read_only import ReadOnlyStore
from serving.ids import Id, IdTypes, id_type_of, original_ids

if TYPE_CHECKING:
    import pandas as pd

    from recsys_core.dataset import Dataset
    from recsys_core.matrices import Csr


class DatasetStore(ReadOnlyStore):
    """A prepared data set, mapped into memory."""

    read_only = True

    def __init__(self, data: Dataset) -> None:
        """
        Args:
            data: of a folder, in the view that a model was trained on.
        """
        assert data.folder is not None, "a prepared data set has a folder"
        self.address, self._folder, self.data = str(data.folder), data.folder, data

    @classmethod
    def open(cls, folder: Path, view: str = "") -> DatasetStore:
        """
        Args:
            view: see `Dataset.viewed`.

        Raises:
            ValueError: the folder is no data set.
        """
        from recsys_core.dataset import Dataset

        return cls(Dataset.open(folder).viewed(view))

    @cached_property
    def id_types(self) -> IdTypes:
        user, users_below = id_type_of(self._folder / "users.parquet", "user_id")
        item, items_below = id_type_of(self._folder / "items.parquet", "item_id")
        return IdTypes(user=user, item=item, below_zero=users_below or items_below)

    @cached_property
    def _item_ids(self) -> npt.NDArray:
        return original_ids(self.data.items["item_id"], self.id_types.item)

    @cached_property
    def user_ids(self) -> npt.NDArray:
        """Original ids of all users: the training users by row, then the other ones."""
        table = self.data.users
        parts = [table[table["split"] == name].sort_values("index")["user_id"] for name in ("train", "valid", "test")]
        import pandas as pd

        return original_ids(pd.concat(parts, ignore_index=True), self.id_types.user)

    @cached_property
    def _places(self) -> pd.Index:
        import pandas as pd

        return pd.Index(self.user_ids)

    def places(self, users: Sequence[Id]) -> npt.NDArray[np.int64]:
        """[B] the place of each user in `user_ids`, -1 for those that are not known."""
        import pandas as pd

        wanted: pd.Index = pd.Index(list(users), dtype=self._places.dtype if len(users) == 0 else None)
        return self._places.get_indexer(wanted).astype(np.int64)

    @cached_property
    def _parts(self) -> list[tuple[Csr, npt.NDArray[np.int64]]]:
        """Matrices that add up to the histories, each with the row of every user in it (-1 for none)."""
        data, count = self.data, len(self.user_ids)
        places = np.arange(count)
        parts = [(data.train, np.where(places < data.n_users, places, -1))]
        start = data.n_users
        for split in ("valid", "test") if data.is_split else ():
            held_out = data.held_out(split)
            rows = np.full(count, -1, np.int64)
            if held_out.train_rows is None:
                rows[start : start + held_out.n_users] = np.arange(held_out.n_users)
                parts.append((held_out.fold_in, rows))
                start += held_out.n_users
            else:  # `fold_in` is in the training matrix already
                rows[held_out.train_rows] = np.arange(held_out.n_users)
            parts.append((held_out.fold_out, rows))
        return parts

    def histories(self, users: Sequence[Id]) -> list[tuple[Id, ...] | None]:
        places = self.places(users)
        known = np.flatnonzero(places >= 0)
        owners, items = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)]
        for matrix, rows in self._parts:
            own = rows[places[known]]
            found, splits = matrix.rows(own[own >= 0])
            owners.append(np.repeat(known[own >= 0], np.diff(splits)))
            items.append(np.asarray(found))
        owner, item = np.concatenate(owners), np.concatenate(items)
        order = np.lexsort((item, owner))
        owner, item = owner[order], item[order]
        is_first = np.ones(len(owner), bool)  # the training items of a view hold held-out ones too
        is_first[1:] = (owner[1:] != owner[:-1]) | (item[1:] != item[:-1])
        ids = self._item_ids[item[is_first]].tolist()
        ends = np.searchsorted(owner[is_first], np.arange(len(users) + 1)).tolist()
        return [None if places[k] < 0 else tuple(ids[ends[k] : ends[k + 1]]) for k in range(len(users))]

    def rows(self, users: Sequence[Id], training_users: str) -> list[int | None]:
        if training_users != self.data.user_digest:
            raise ValueError(f"{self.address} does not hold the users that the model was trained on")
        return [int(p) if 0 <= p < self.data.n_users else None for p in self.places(users)]

    def users(self, block: int = 4096) -> Iterator[list[Id]]:
        for start in range(0, len(self.user_ids), block):
            yield self.user_ids[start : start + block].tolist()

    @property
    def refusal(self) -> str:
        return (
            f"{self.address} is a prepared data set, which never changes; load it into a store: "
            f"python -m serving histories load --data {self.address} --store sqlite:///histories.db"
        )

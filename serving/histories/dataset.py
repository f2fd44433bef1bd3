"""Histories of a prepared data set, read only: all that each user has, held-out users and held-out items included.

Shape legend: U training users, S held-out rows, B users asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving.histories.events import Event, ReadOnlyStoreError
from serving.ids import Id, IdTypes, id_type_of, original_ids

if TYPE_CHECKING:
    import pandas as pd

    from recsys_core.dataset import Dataset
    from recsys_core.matrices import Csr


class DatasetStore:
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

    def _items_of(self, place: int) -> npt.NDArray[np.int32]:
        """Indices of the items of a user, ascending."""
        found = [m.indices[m.indptr[r[place]] : m.indptr[r[place] + 1]] for m, r in self._parts if r[place] >= 0]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int32)

    def histories(self, users: Sequence[Id]) -> list[tuple[Id, ...] | None]:
        places = self.places(users)
        return [None if p < 0 else tuple(self._item_ids[self._items_of(int(p))].tolist()) for p in places]

    def rows(self, users: Sequence[Id], training_users: str) -> list[int | None]:
        if training_users != self.data.user_digest:
            raise ValueError(f"{self.address} does not hold the users that the model was trained on")
        return [int(p) if 0 <= p < self.data.n_users else None for p in self.places(users)]

    def users(self, block: int = 4096) -> Iterator[list[Id]]:
        for start in range(0, len(self.user_ids), block):
            yield self.user_ids[start : start + block].tolist()

    def append(self, events: Iterable[Event]) -> int:
        raise self._refusal

    def append_rows(self, users: Sequence[Id], first_row: int, training_users: str) -> None:
        raise self._refusal

    def forget(self, users: Sequence[Id]) -> int:
        raise self._refusal

    @property
    def _refusal(self) -> ReadOnlyStoreError:
        return ReadOnlyStoreError(
            f"{self.address} is a prepared data set, which never changes; load it into a store: "
            f"python -m serving histories load --data {self.address} --store sqlite:///histories.db"
        )

    def close(self) -> None:
        """Nothing is open."""

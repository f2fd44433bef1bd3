"""Reading a leave-one-out data set back with NumPy and pandas only, in original ids."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from .conftest import Prepared

HELD_OUT = ("valid", "test")


@dataclass(frozen=True)
class HeldOutItem:
    """One list of a held-out set."""

    user: int
    shown: set[int]
    """Fold-in."""
    wanted: set[int]
    """Fold-out."""
    candidates: list[int]


@dataclass(frozen=True)
class Lists:
    """A prepared folder with candidates."""

    folder: Path

    @cached_property
    def users(self) -> list[int]:
        table = pd.read_parquet(self.folder / "users.parquet")
        assert set(table["split"]) == {"train"}
        return table.sort_values("index")["user_id"].tolist()

    @cached_property
    def items(self) -> list[int]:
        return pd.read_parquet(self.folder / "items.parquet").sort_values("index")["item_id"].tolist()

    def array(self, name: str) -> np.ndarray:
        return np.load(self.folder / f"{name}.npy")

    def rows(self, name: str) -> list[set[int]]:
        """Items of every row of a matrix."""
        indptr, indices = self.array(f"{name}.indptr"), self.array(f"{name}.indices")
        rows = [indices[a:b].tolist() for a, b in pairwise(indptr)]
        assert all(row == sorted(set(row)) for row in rows)
        return [{self.items[i] for i in row} for row in rows]

    def train(self) -> dict[int, set[int]]:
        return dict(zip(self.users, self.rows("train"), strict=True))

    def lists(self, name: str) -> list[HeldOutItem]:
        rows, candidates = self.array(f"{name}.train_rows"), self.array(f"{name}.candidates")
        assert (rows.dtype, candidates.dtype) == (np.int32, np.int32)
        return [
            HeldOutItem(self.users[row], shown, wanted, [self.items[i] for i in of_row])
            for row, shown, wanted, of_row in zip(
                rows, self.rows(f"{name}.fold_in"), self.rows(f"{name}.fold_out"), candidates.tolist(), strict=True
            )
        ]

    def positives(self, name: str) -> dict[int, int]:
        """The held-out item of every user, which must have one list at most."""
        found = self.lists(name)
        assert len({one.user for one in found}) == len(found)
        assert all(one.wanted == {one.candidates[0]} for one in found)
        return {one.user: one.candidates[0] for one in found}

    def split(self) -> tuple[dict[int, set[int]], dict[int, int], dict[int, int]]:
        """Training items, validation item and test item of every user."""
        return self.train(), self.positives("valid"), self.positives("test")


def lists_of(data: Prepared) -> Lists:
    return Lists(data.folder)


def arrays(folder: Path) -> dict[str, bytes]:
    """Everything but the manifest and the tables of ids."""
    return {p.name: p.read_bytes() for p in sorted(folder.glob("*.npy"))}

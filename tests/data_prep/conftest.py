"""Writing raw files as their sources write them, and reading a prepared folder back without our own code."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data_prep.__main__ import main

Row = tuple[int, int, float]
MATRICES = ("train", "valid.fold_in", "valid.fold_out", "test.fold_in", "test.fold_out")


def random_rows(users: int = 40, items: int = 25, seed: int = 0) -> list[Row]:
    """Distinct (user, item) pairs with half-star ratings, in random order."""
    rng = np.random.default_rng(seed)
    pairs = [
        (int(u) + 1, int(i) + 1) for u in range(users) for i in rng.choice(items, rng.integers(3, 16), replace=False)
    ]
    rng.shuffle(pairs)
    return [(u, i, float(rng.integers(3, 11)) / 2) for u, i in pairs]


def write_csv(path: Path, rows: Iterable[Row], header: str = "userId,movieId,rating,timestamp") -> Path:
    path.write_text(header + "\n" + "".join(f"{u},{i},{r},{100 + u}\n" for u, i, r in rows))
    return path


@dataclass(frozen=True)
class Prepared:
    """A prepared folder, read with NumPy and pandas only."""

    folder: Path

    @property
    def manifest(self) -> dict[str, Any]:
        return json.loads((self.folder / "manifest.json").read_text())

    @property
    def items(self) -> pd.DataFrame:
        return pd.read_parquet(self.folder / "items.parquet")

    def users(self, split: str) -> list[int]:
        table = pd.read_parquet(self.folder / "users.parquet")
        return table[table["split"] == split].sort_values("index")["user_id"].tolist()

    def pairs(self, name: str) -> set[tuple[int, int]]:
        """(user id, item id) of a matrix, in original ids."""
        indptr, indices = (np.load(self.folder / f"{name}.{part}.npy") for part in ("indptr", "indices"))
        users, items = self.users(name.split(".")[0]), self.items["item_id"].to_numpy()
        return {(users[u], int(items[i])) for u in range(len(indptr) - 1) for i in indices[indptr[u] : indptr[u + 1]]}

    def content(self) -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in sorted(self.folder.iterdir())}


@pytest.fixture
def prepare(tmp_path: Path) -> Any:
    """Run the command in this process; returns the prepared folder."""

    def run(*words: str | Path, out: str = "out") -> Prepared:
        assert main([*map(str, words), "--out", str(tmp_path / out)]) == 0
        return Prepared(tmp_path / out)

    return run


@pytest.fixture
def refuse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the command and expect status 2 and one line; returns that line. Nothing may be left behind."""

    def run(*words: str | Path, out: Sequence[str] = ("refused",)) -> str:
        target = tmp_path.joinpath(*out)
        existed = target.exists()
        before = {p.name for p in tmp_path.iterdir()}
        capsys.readouterr()
        assert main([*map(str, words), "--out", str(target)]) == 2
        lines = [line for line in capsys.readouterr().err.replace("\r", "\n").splitlines() if line.startswith("error:")]
        assert len(lines) == 1
        assert target.exists() == existed
        assert {p.name for p in tmp_path.iterdir()} == before
        return lines[0]

    return run

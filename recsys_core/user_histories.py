"""Histories of all users, and held-out users for calibration and evaluation. An export holds them with --export-users.

users.parquet       row, user_id: one line for each user that the data set knows
histories.npz       indptr [U + 1], item_ids [E]: everything those users have, by row (never to be recommended to them)
calibration.npz     validation users: what a request holds (as below), without what is to be found
test.npz            test users: fold_in.*, fold_out.* (CSR), and user_ids, rows of users.parquet, if they are training
                    users
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from recsys_core.dataset import SPLITS, Dataset
from recsys_core.matrices import Csr, HeldOut, storable, with_found_items

CALIBRATION_USERS = 1_024
TEST_USERS = 10_000


def _all_items(held_out: HeldOut) -> sp.csr_matrix:
    return held_out.fold_in.to_scipy() + held_out.fold_out.to_scipy()


def histories(data: Dataset) -> sp.csr_matrix:
    """[users, I] everything that each known user has; held-out users who are no training users come after those."""
    train = data.train.to_scipy()
    if not data.is_split:
        return train
    if not data.holds_out_items:
        return sp.vstack([train, *(_all_items(data.held_out(split)) for split in SPLITS)], format="csr")
    everything = data.train
    for split in SPLITS:
        everything = with_found_items(everything, data.held_out(split))
    return everything.to_scipy()


def users(data: Dataset) -> pd.DataFrame:
    """row (of `histories`) and user_id."""
    table = data.users
    parts = [table[table["split"] == name].sort_values("index") for name in ("train", *SPLITS)]
    ids = pd.concat([part["user_id"] for part in parts], ignore_index=True)
    return pd.DataFrame({"row": np.arange(len(ids), dtype=np.int32), "user_id": ids})


def _first_rows(matrix: Csr, count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """indptr and indices of the first rows."""
    indptr = np.asarray(matrix.indptr[: count + 1])
    return indptr, np.asarray(matrix.indices[: indptr[-1]])


def _held_out(held_out: HeldOut, count: int, *, answers: bool) -> dict[str, npt.NDArray]:
    parts: dict[str, npt.NDArray] = {}
    for name in ("fold_in", "fold_out") if answers else ("fold_in",):
        parts[f"{name}.indptr"], parts[f"{name}.item_ids"] = _first_rows(getattr(held_out, name), count)
    if held_out.train_rows is not None:
        parts["user_ids"] = np.asarray(held_out.train_rows[:count])
    return parts


def held_out_users(data: Dataset, name: str) -> dict[str, npt.NDArray]:
    """The arrays of "calibration" or "test".npz; what serving takes from the data set where an export has no such file.

    Args:
        data: in the view that the model was trained on.
    """
    if name == "calibration":
        return _held_out(data.held_out("valid"), CALIBRATION_USERS, answers=False)
    return _held_out(data.held_out("test"), TEST_USERS, answers=True)


def write(folder: Path, data: Dataset) -> None:
    """Write the four files into an export that is being made."""
    storable(users(data), "user_id").to_parquet(folder / "users.parquet", index=False)
    everything = histories(data)
    everything.sort_indices()
    np.savez(
        folder / "histories.npz",
        indptr=everything.indptr.astype(np.int64),
        item_ids=everything.indices.astype(np.int32),
    )
    for name in ("calibration", "test"):
        np.savez(folder / f"{name}.npz", **held_out_users(data, name))

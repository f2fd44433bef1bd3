"""What a training of another library reads: the same training and held-out interactions, by index.

Shape legend: U users, I items, E interactions.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from recsys_core.dataset import Dataset
from recsys_core.errors import UserError
from recsys_core.matrices import Csr, HeldOut

MATRICES = ("train", "valid", "test")
NAME = "data"
"""RecBole's name of the data set: a folder, and the beginning of its files."""


def _of_all_users(held_out: HeldOut | None, data: Dataset) -> Csr:
    """[U, I] the items to be found, in the rows of the training matrix.

    Raises:
        UserError: the data set does not hold out items of training users.
    """
    if held_out is None or held_out.train_rows is None:
        raise UserError(
            f"{data.name} does not hold out items of its training users; the libraries know users by name, so prepare "
            "it with: python -m data_prep ... --protocol per-user"
        )
    rows, wanted = np.asarray(held_out.train_rows), held_out.fold_out
    counts = np.zeros(data.n_users, np.int64)
    counts[rows] = np.diff(wanted.indptr)
    by_row = np.argsort(rows, kind="stable")
    items = [np.asarray(wanted.indices[wanted.indptr[k] : wanted.indptr[k + 1]]) for k in by_row]
    return Csr(
        indptr=np.concatenate([[0], np.cumsum(counts)]),
        indices=np.concatenate(items).astype(np.int32),
        n_items=data.n_items,
    )


def _pairs(matrix: Csr) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Users [E] and items [E] of all interactions, by user."""
    users = np.repeat(np.arange(matrix.n_users), np.diff(matrix.indptr))
    return users, np.asarray(matrix.indices)


def parts(data: Dataset) -> dict[str, Csr]:
    """The matrices [U, I] to train on, to choose the epoch by, and to judge by. Raises as `_of_all_users`."""
    return {"train": data.train, "valid": _of_all_users(data.valid, data), "test": _of_all_users(data.test, data)}


def write(data: Dataset, folder: Path) -> None:
    """Write RecBole's atomic files, `NAME/NAME.train.inter` and so on, and `train.npz` for programs in Python."""
    (folder / NAME).mkdir(parents=True)
    found = parts(data)
    for name in MATRICES:
        users, items = _pairs(found[name])
        with (folder / NAME / f"{NAME}.{name}.inter").open("w") as file:
            file.write("user_id:token\titem_id:token\n")
            np.savetxt(file, np.stack([users, items], axis=1), fmt="%d", delimiter="\t")
    arrays = {
        f"{name}_{part}": np.asarray(getattr(found[name], part)) for name in MATRICES for part in ("indptr", "indices")
    }
    np.savez(folder / "matrices.npz", n_items=data.n_items, **arrays)

"""Data sets that hold out several items of training users, without candidates, and data sets with other ids.

`items_held_out` makes one in memory, `write` puts a data set in memory into a folder as `data_prep` does, and
`with_ids` gives the users and items of a folder other ids.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recsys_core import user_histories
from recsys_core.dataset import SPLITS, Dataset
from recsys_core.matrices import Csr, HeldOut


def csr(rows: list[list[int]], n_items: int) -> Csr:
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    indices = np.array([item for row in rows for item in sorted(row)], np.int32)
    return Csr(indptr=indptr, indices=indices, n_items=n_items)


def held_out(known: dict[int, list[int]], found: dict[int, list[int]], n_items: int) -> HeldOut:
    """A row for each user in `found`, in its order.

    Args:
        known: training row -> known items.
        found: training row -> items to be found.
    """
    return HeldOut(
        fold_in=csr([known[user] for user in found], n_items),
        fold_out=csr(list(found.values()), n_items),
        train_rows=np.array(list(found), np.int32),
    )


def items_held_out(data: Dataset, seed: int = 5) -> Dataset:
    """The interactions of a leave-one-out data set with up to three items of most users held out for validation, and up
    to four for the test. Some users have no row in one or in both of these; rows stand in no order."""
    rng = np.random.default_rng(seed)
    everything, n_items = user_histories.histories(data).tolil().rows, data.n_items
    train, valid, test = {}, {}, {}
    for user in rng.permutation(len(everything)).tolist():
        items = rng.permutation(everything[user]).tolist()
        first, second = (int(rng.integers(0, most + 1)) for most in (3, 4))
        if len(items) <= first + second:
            first = second = 0
        train[user] = items[first + second :]
        valid |= {user: items[:first]} if first else {}
        test |= {user: items[first : first + second]} if second else {}
    seen = {user: train[user] + valid.get(user, []) for user in train}
    matrix = csr([train[user] for user in sorted(train)], n_items)
    return replace(
        data,
        folder=None,
        manifest={},
        train=matrix,
        valid=held_out(train, valid, n_items),
        test=held_out(seen, test, n_items),
        item_frame=data.items.assign(count=matrix.item_counts()),
        user_frame=data.users,
    )


def _matrices(data: Dataset) -> dict[str, Csr]:
    held = {
        f"{s}.{part}": getattr(data.held_out(s), part) for s in ("valid", "test") for part in ("fold_in", "fold_out")
    }
    return {"train": data.train, **held}


def write(data: Dataset, folder: Path, protocol: str = "per-user") -> Path:
    """Write a data set in memory into a folder; returns the folder."""
    folder.mkdir(parents=True)
    for name, matrix in _matrices(data).items():
        np.save(folder / f"{name}.indptr.npy", np.asarray(matrix.indptr))
        np.save(folder / f"{name}.indices.npy", np.asarray(matrix.indices))
    for split in SPLITS:
        for part in ("train_rows", "candidates"):
            if (array := getattr(data.held_out(split), part)) is not None:
                np.save(folder / f"{split}.{part}.npy", array)
    data.items.to_parquet(folder / "items.parquet", index=False)
    data.users.to_parquet(folder / "users.parquet", index=False)
    counts = {"train_users": data.n_users, "train_items": data.n_items, "train_events": len(data.train.indices)}
    _write_manifest(folder, {"parameters": {"protocol": protocol}, "counts": counts})
    return folder


def _write_manifest(folder: Path, content: dict[str, Any]) -> None:
    """Write the manifest with the sizes and hashes of the files that the folder has now."""
    files = {
        path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
        for path in sorted(folder.iterdir())
        if path.name != "manifest.json"
    }
    about = {"format_version": 1, "source": {"name": "test"}, "warnings": []} | content | {"files": files}
    (folder / "manifest.json").write_text(json.dumps(about))


def with_ids(
    data: Path, folder: Path, *, user: Callable[[int], Any], item: Callable[[int], Any], title: str = ""
) -> Path:
    """A copy of a data set's folder in which users and items have other ids; returns the copy.

    Args:
        user, item: new id of each old one.
        title: beginning of new titles; "" for titles as they are.
    """
    shutil.copytree(data, folder)
    users, items = (pd.read_parquet(data / f"{name}.parquet") for name in ("users", "items"))
    users["user_id"] = [user(i) for i in users["user_id"]]
    items["item_id"] = [item(i) for i in items["item_id"]]
    if title:
        items["title"] = [f"{title} {i}" for i in items["item_id"]]
    users.to_parquet(folder / "users.parquet", index=False)
    items.to_parquet(folder / "items.parquet", index=False)
    _write_manifest(folder, json.loads((data / "manifest.json").read_text()))
    return folder

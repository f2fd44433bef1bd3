"""Views of a data set: training interactions joined by held-out ones, for the last run of a recipe.

Shape legend: U users, I items, X items that only held-out users have, S held-out rows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from recsys_core.config import ALL_USERS, FINAL_FIT
from recsys_core.errors import UserError
from recsys_core.matrices import (
    Csr,
    ExtraItems,
    HeldOut,
    csr_from_scipy,
    item_table,
    user_table,
    with_found_items,
)
from recsys_core.parquet import read_frame

if TYPE_CHECKING:
    from recsys_core.dataset import Dataset

SPLITS = ("valid", "test")


def viewed(data: Dataset, view: str) -> Dataset:
    """See `Dataset.viewed`."""
    if view not in (FINAL_FIT, ALL_USERS) or data.view:
        raise UserError(f"unknown view {view!r} of {data.name}, known are: {FINAL_FIT} and {ALL_USERS}")
    return _for_final_fit(data) if view == FINAL_FIT else _all_users(data)


def _for_final_fit(data: Dataset) -> Dataset:
    """The data set with its validation items among the training items, validated on its test items.

    For the last run, when nothing is chosen by validation items any more.
    """
    if not data.holds_out_items:
        raise UserError(
            f"{data.name} holds out users; --final-fit needs a data set of --protocol leave-one-out, time, per-user or "
            "given"
        )
    found = replace(data, train=with_found_items(data.train, data.held_out("valid")), valid=data.test, view=FINAL_FIT)
    vars(found)["fingerprint"] = data.fingerprint  # of the data set as it was split
    return found


def _all_users(data: Dataset) -> Dataset:
    """All users and all their interactions as training data. Items that only held-out users have become columns too.

    The held-out users are training users here: `valid` and `test` say what their requests look like, and measure
    nothing. The rows of the training matrix are the training users, then those of validation, then those of the test.
    """
    valid, test = data.held_out("valid"), data.held_out("test")
    if data.holds_out_items:
        train = with_found_items(with_found_items(data.train, valid), test)
        found = replace(data, train=train, item_frame=data.items.assign(count=train.item_counts()), view=ALL_USERS)
    else:
        found = _with_held_out_users(data, valid, test, _extra_items(data))
    vars(found)["fingerprint"] = data.fingerprint
    return found


def _with_held_out_users(data: Dataset, valid: HeldOut, test: HeldOut, extra: ExtraItems) -> Dataset:
    blocks = [data.train.to_scipy(), *(h.fold_in.to_scipy() + h.fold_out.to_scipy() for h in (valid, test))]
    added = [sp.csr_matrix((data.n_users, len(extra.frame)), dtype=np.float32), extra.valid, extra.test]
    train = csr_from_scipy(sp.hstack([sp.vstack(blocks), sp.vstack(added)], format="csr"))
    ends = np.cumsum([block.shape[0] for block in blocks])
    table, items = data.users, data.items
    ids = [table[table["split"] == name].sort_values("index")["user_id"] for name in ("train", *SPLITS)]
    ids_of_items, titles = (pd.concat([items[n], extra.frame[n]], ignore_index=True) for n in ("item_id", "title"))
    return replace(
        data,
        train=train,
        valid=_known(valid, train.n_items, np.arange(ends[0], ends[1])),
        test=_known(test, train.n_items, np.arange(ends[1], ends[2])),
        item_frame=item_table(ids_of_items, titles, train),
        user_frame=user_table({"train": pd.concat(ids, ignore_index=True)}),
        view=ALL_USERS,
    )


def _known(held_out: HeldOut, n_items: int, rows: npt.NDArray[np.integer]) -> HeldOut:
    """Held-out rows as those of training users, over more columns."""
    fold_in, fold_out = (replace(matrix, n_items=n_items) for matrix in (held_out.fold_in, held_out.fold_out))
    return HeldOut(fold_in=fold_in, fold_out=fold_out, train_rows=rows.astype(np.int32))


def _extra_items(data: Dataset) -> ExtraItems:
    """Items that only held-out users have.

    Raises:
        UserError: a data set of an earlier version, which left them out.
    """
    if data.extra is not None:
        return data.extra
    valid, test = data.held_out("valid"), data.held_out("test")
    if data.folder is not None and "extra_items.parquet" in data.manifest["files"]:
        frame = read_frame(data.folder / "extra_items.parquet")
        parts = (_read(data, f"{name}.extra", len(frame)) for name in SPLITS)
        return ExtraItems(frame, *(part.to_scipy() for part in parts))
    counts = data.manifest.get("counts", {})
    if (left_out := int(counts.get("items", data.n_items)) - data.n_items) > 0:
        raise UserError(
            f"{data.name} was prepared by an earlier version, which left out {left_out:,} items that only held-out "
            "users have; prepare it again for --final-fit"
        )
    none = (sp.csr_matrix((held_out.n_users, 0), dtype=np.float32) for held_out in (valid, test))
    return ExtraItems(data.items.iloc[:0], *none)


def _read(data: Dataset, name: str, n_items: int) -> Csr:
    assert data.folder is not None, "a data set in memory has its parts"
    try:
        indptr, indices = (np.load(data.folder / f"{name}.{part}.npy") for part in ("indptr", "indices"))
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{data.folder}/{name} cannot be read: {error}; prepare the data set again") from error
    return Csr(indptr=indptr, indices=indices, n_items=n_items)

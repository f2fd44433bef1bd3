"""Checks of held-out rows that belong to training users, for models that know their users by row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys_core.dataset import SPLITS, Dataset
from recsys_core.errors import UserError
from recsys_core.matrices import HeldOut


def check_held_out(data: Dataset) -> None:
    """Check the held-out rows of a data set against its training matrix, and their candidates if it has any.

    Raises:
        UserError: a row without a training user, a user or an item beyond the matrix, a user without training items, or
            incomplete lists of candidates.
    """
    lengths = np.diff(data.train.indptr)
    has_candidates = any(data.held_out(split).candidates is not None for split in SPLITS)
    for split in SPLITS:
        held_out = data.held_out(split)
        rows = held_out.train_rows
        if rows is None or len(rows) != held_out.n_users:
            raise UserError(f"{data.name}: {split} does not name the user of each row; prepare the data set again")
        if has_candidates:
            _check_candidates(data, split, held_out)
        _check_range(data, split, "user", rows, data.n_users)
        if (without := rows[lengths[rows] == 0]).size:
            raise UserError(
                f"{data.name}: the user in row {without[0]} has a {split} item but no training row; a model knows "
                "nothing of such a user"
            )


def _check_candidates(data: Dataset, split: str, held_out: HeldOut) -> None:
    lists = held_out.candidates
    if lists is None or lists.ndim != 2 or len(lists) != held_out.n_users:
        raise UserError(f"{data.name}: {split} has no complete lists of candidates; prepare the data set again")
    _check_range(data, split, "item", lists, data.n_items)


def _check_range(data: Dataset, split: str, name: str, ids: npt.NDArray[np.int32], limit: int) -> None:
    if ids.size and (ids.min() < 0 or ids.max() >= limit):
        wrong = ids.min() if ids.min() < 0 else ids.max()
        raise UserError(f"{data.name}: {split} names {name} {wrong}, expected 0 to {limit - 1}")

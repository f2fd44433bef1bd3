"""The test users of the candidate's data set, and which of them the served version was trained on.

Ids are compared as text, so that versions of data sets whose ids have another type can be compared. Shape legend:
S test users.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from recsys_core.config import ALL_USERS
from recsys_core.errors import UserError
from serving import data_set
from serving.export_folder import ExportFolder

if TYPE_CHECKING:
    from recsys_core.dataset import Dataset


@dataclass(frozen=True, kw_only=True)
class EvaluationUsers:
    """Test users; every list has S entries."""

    user_ids: tuple[str, ...]
    histories: tuple[tuple[str, ...], ...]
    """The items of each request (fold-in)."""
    relevant: tuple[frozenset[str], ...]
    """The items to be found (fold-out)."""
    are_training_users: bool
    """Whether the data set holds out items of its training users; else it holds out whole users."""

    def __len__(self) -> int:
        return len(self.user_ids)

    def chosen(self, mask: npt.NDArray[np.bool_]) -> EvaluationUsers:
        """Some of the users."""
        places = np.flatnonzero(mask)

        def some(values: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(values[k] for k in places)

        return EvaluationUsers(
            user_ids=some(self.user_ids),
            histories=some(self.histories),
            relevant=some(self.relevant),
            are_training_users=self.are_training_users,
        )


def id_text(value: object) -> str:
    """An id as text; a whole number that is stored as a float has no decimal point."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def open_data_set(export: ExportFolder, given: Path | None) -> Dataset:
    """The data set that an export was trained on.

    Args:
        given: --data; None for the folder that the run names.

    Raises:
        ValueError: it is not known, not there, or another one; the message names --data and --force.
    """
    try:
        return data_set.open_data_set(export.folder, export.content, given)
    except data_set.MissingDataError as error:
        raise ValueError(f"{error}, or publish without a comparison: --force") from None


def read_users(data: Dataset) -> EvaluationUsers:
    """The test users of a data set."""
    from recsys_core.evaluation.user_values import user_ids

    held_out = data.held_out("test")
    names = [id_text(i) for i in data.items["item_id"].tolist()]

    def rows(matrix: Any) -> list[tuple[str, ...]]:
        indptr, indices = np.asarray(matrix.indptr), np.asarray(matrix.indices)
        return [tuple(names[i] for i in indices[a:b].tolist()) for a, b in pairwise(indptr.tolist())]

    return EvaluationUsers(
        user_ids=tuple(id_text(u) for u in user_ids(data, "test").tolist()),
        histories=tuple(rows(held_out.fold_in)),
        relevant=tuple(frozenset(row) for row in rows(held_out.fold_out)),
        are_training_users=data.holds_out_items,
    )


def trained_on(
    users: EvaluationUsers, fingerprint: str, served: Mapping[str, Any], given: Path | None
) -> npt.NDArray[np.bool_] | None:
    """[S] whether the served version was trained on a user; None if that cannot be known.

    If the users' data set holds out whole users, a user counts who was a training user of the served version. If it
    holds out items, a user counts if one of the items to be found was a training item of that user.

    Args:
        fingerprint: of the users' data set.
        served: published.json of the served version.
        given: folder of the data set of the served version; None for the one that published.json names.

    Raises:
        ValueError: `given` is another data set.
    """
    origin = served.get("data") or {}
    view = origin.get("view", "")
    if served.get("data_set") == fingerprint:  # its test users: the served version saw them only if it saw all users
        return np.full(len(users), view == ALL_USERS)
    folder = given or (Path(origin["folder"]) if origin.get("folder") else None)
    data = _former_data_set(folder, str(served.get("data_set")), required=given is not None)
    return None if data is None else _overlap(users, data, view)


def _former_data_set(folder: Path | None, fingerprint: str, required: bool) -> Dataset | None:
    """The data set of the served version; None if it is not there any more and not `required`."""
    from recsys_core.dataset import Dataset

    if folder is None:
        return None
    try:
        data = Dataset.open(folder)
        if data.fingerprint != fingerprint:
            raise UserError(f"--served-data {folder} is not the data set that the served version was trained on")
    except UserError:
        if required:
            raise
        return None
    return data


def _overlap(users: EvaluationUsers, data: Dataset, view: str) -> npt.NDArray[np.bool_]:
    """See `trained_on`."""
    train = data.viewed(view) if view else data
    table = train.users
    of_training = table[table["split"] == "train"]
    row_of = {
        id_text(u): int(k) for u, k in zip(of_training["user_id"].tolist(), of_training["index"].tolist(), strict=True)
    }
    if not users.are_training_users:
        return np.array([u in row_of for u in users.user_ids], bool)
    names = [id_text(i) for i in train.items["item_id"].tolist()]
    indptr, indices = np.asarray(train.train.indptr), train.train.indices

    def saw(user: str, relevant: frozenset[str]) -> bool:
        row = row_of.get(user)
        return row is not None and any(names[i] in relevant for i in indices[indptr[row] : indptr[row + 1]].tolist())

    return np.array([saw(u, r) for u, r in zip(users.user_ids, users.relevant, strict=True)], bool)

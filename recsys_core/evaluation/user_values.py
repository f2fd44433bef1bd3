"""Per-user values of an evaluation as a table, and as the file `per_user.parquet` of a run.

A row for each split, model and user; a column for each metric, NaN where a user has nothing to find. Nothing here
imports TensorFlow. Shape legend: S held-out users.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from recsys_core.dataset import Dataset
from recsys_core.errors import UserError, os_message
from recsys_core.files import publish
from recsys_core.matrices import storable

FILE = "per_user.parquet"
"""Its name in the folder of a run."""
MODEL = "model"
"""Name of the trained model in the column `model`; a baseline has its own."""
KEYS = ("split", "user_id", "model")
ABOUT = b"recsys"
"""Entry of the file's metadata that says which data set the users are of."""
FORMAT_VERSION = 1


class HasValues(Protocol):
    """The part of an `Evaluation` that the table takes."""

    @property
    def values(self) -> Mapping[str, npt.NDArray[np.float64]]:
        """Metric -> [S]"""
        ...


@dataclass(frozen=True, kw_only=True)
class UserValues:
    """The content of a file of per-user values."""

    path: Path
    table: pd.DataFrame
    """Columns split, user_id, model, and one for each metric."""
    data_set: str
    """Fingerprint of the data set that was evaluated."""
    view: str
    """The view of it on which the model was trained."""

    @property
    def metrics(self) -> list[str]:
        return [name for name in self.table.columns if name not in KEYS]


def user_ids(data: Dataset, split: str) -> npt.NDArray[Any]:
    """[S] ids of the held-out users of a split, in the order of its rows.

    Raises:
        UserError: an unknown split, or a data set that is not split.
    """
    rows, users = data.held_out(split).train_rows, data.users
    ids = users[users["split"] == (split if rows is None else "train")].sort_values("index")["user_id"].to_numpy()
    return ids if rows is None else ids[np.asarray(rows)]


def user_table(data: Dataset, found: Mapping[str, Mapping[str, HasValues]]) -> pd.DataFrame:
    """The per-user values of some models.

    Args:
        found: split -> name of the model or baseline -> its evaluation.
    """
    parts = []
    for split, models in found.items():
        ids = user_ids(data, split)
        for name, evaluation in models.items():
            keys = {"split": split, "user_id": ids, "model": name}
            parts.append(pd.DataFrame(keys | dict(evaluation.values)))
    return pd.concat(parts, ignore_index=True)


def write(path: Path, table: pd.DataFrame, data: Dataset) -> None:
    """Write per-user values of a data set's users, whole or not at all.

    Raises:
        UserError: the place cannot be written.
    """
    about = {"format_version": FORMAT_VERSION, "data_set": data.fingerprint, "view": data.view}
    arrow = pa.Table.from_pandas(storable(table, "user_id"), preserve_index=False)
    arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), ABOUT: json.dumps(about).encode()})
    publish(path, lambda p: pq.write_table(arrow, p))


def read(path: Path) -> UserValues:
    """The per-user values of a file.

    Raises:
        UserError: the file is missing, damaged, or no file of per-user values.
    """
    try:
        arrow = pq.read_table(path)
        about = json.loads(arrow.schema.metadata[ABOUT])
        version, data_set, view = about["format_version"], about["data_set"], about["view"]
        table = arrow.to_pandas()
    except (pa.ArrowException, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} holds no per-user values ({type(error).__name__}: {reason})") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {os_message(error)}") from error
    if version != FORMAT_VERSION:
        raise UserError(f"{path} has format version {version}, this program reads {FORMAT_VERSION}; write it again")
    if missing := [name for name in KEYS if name not in table.columns]:
        raise UserError(f"{path} holds no per-user values (no column {missing[0]})")
    return UserValues(path=path, table=table, data_set=data_set, view=view)

"""Files that name the users of a batch: a list of users, or histories as rows or as JSON lines.

Shape legend: U users, E interactions.
"""

from __future__ import annotations

import json
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.batch.users import NO_ROW, UserBlock, id_index
from serving.export_folder import ExportFolder, Rows, digest
from serving.ids import IdType
from serving.recommend.id_files import ITEM_NAMES, as_array, as_ids, check_file, opened, read_columns, suffix_of

USER_NAMES = ("user", "user_id", "userid")
JSON_LINES = (".jsonl", ".ndjson")
HISTORIES_FORM = 'Parquet or CSV with the columns user and item, or JSON lines such as {"user": 1, "items": [2, 3]}'


def read_users(path: Path, id_type: IdType) -> tuple[npt.NDArray, str, int]:
    """The users that a file lists: Parquet or CSV with a column user or user_id, or text with one id a line.

    Returns:
        [U] ids, each once, in the order of the file; the digest of the file; and the number of repeated ids.

    Raises:
        ValueError: the file cannot be read, has no such column, or an id has another type than those of the model.
    """
    import pyarrow.compute as pc

    (column,) = read_columns(path, "--users", [USER_NAMES])
    ids = as_ids(column, id_type, f"--users {path}")
    unique = pc.unique(ids)
    values = unique.to_numpy(zero_copy_only=False) if id_type is int else unique.to_pylist()
    dtype = np.int64 if id_type is int else object
    return np.array(values, dtype), digest(path), len(ids) - len(unique)


class HistoryFile:
    """Users with the histories that a file holds. The whole file is held in memory as numbers."""

    def __init__(self, path: Path, export: ExportFolder, model_rows: tuple[npt.NDArray, npt.NDArray] | None) -> None:
        """
        Args:
            model_rows: ids and rows of the users that the model was trained on (NCF); None where it takes no users.

        Raises:
            ValueError: the file cannot be read, or holds something else than ids of the types of the model.
        """
        check_file(path, "--histories")
        self._ids, self._histories, self.unknown_items = (
            _from_json_lines(path, export) if suffix_of(path) in JSON_LINES else _from_rows(path, export)
        )
        self._rows: npt.NDArray[np.int32] | None = None
        if model_rows is not None:
            places = id_index(model_rows[0]).get_indexer(id_index(self._ids))
            self._rows = np.where(places >= 0, model_rows[1][places], NO_ROW).astype(np.int32)
        self.fingerprint = f"histories {digest(path)}"

    def __len__(self) -> int:
        return len(self._ids)

    def block(self, start: int, stop: int) -> UserBlock:
        indptr = self._histories.indptr[start : stop + 1]
        return UserBlock(
            ids=self._ids[start:stop],
            histories=Rows(indptr=indptr - indptr[0], item_ids=self._histories.item_ids[indptr[0] : indptr[-1]]),
            rows=None if self._rows is None else self._rows[start:stop],
        )


def ordered_histories(owners: npt.NDArray, items: npt.NDArray, n_users: int, n_items: int) -> Rows:
    """Histories in the order of the pairs; of a repeated pair the last one counts.

    Args:
        owners: [E] from 0 to `n_users` - 1.
        items: [E] item indices, NO_ROW for unknown items, which are left out.
    """
    known = items != NO_ROW
    owners, items = owners[known].astype(np.int64), items[known].astype(np.int64)
    keys = owners * n_items + items
    _, last = np.unique(keys[::-1], return_index=True)
    kept = np.sort(len(keys) - 1 - last)
    order = kept[np.argsort(owners[kept], kind="stable")]
    counts = np.bincount(owners[order], minlength=n_users)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Rows(indptr=indptr, item_ids=items[order].astype(np.int32))


def _from_rows(path: Path, export: ExportFolder) -> tuple[npt.NDArray, Rows, int]:
    types = export.id_types
    users, items = read_columns(path, "--histories", [USER_NAMES, ITEM_NAMES])
    users = as_ids(users, types.user, f"--histories {path}, users").combine_chunks().dictionary_encode()
    items = as_array(as_ids(items, types.item, f"--histories {path}, items"), types.item)
    if hasattr(users, "combine_chunks"):
        users = users.combine_chunks()
    ids = as_array(users.dictionary, types.user)
    owners = users.indices.to_numpy()
    indices = id_index(export.item_ids).get_indexer(id_index(items))
    histories = ordered_histories(owners, indices, len(ids), export.n_items)
    return ids, histories, int((indices == NO_ROW).sum())


def _from_json_lines(path: Path, export: ExportFolder) -> tuple[npt.NDArray, Rows, int]:
    """A user that several lines name has the items of all of them, at the place of the first."""
    index: dict[Any, int] = {original: k for k, original in enumerate(export.item_ids.tolist())}
    places: dict[Any, int] = {}
    owners, items = array("q"), array("q")
    with opened(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                user, own = _json_history(line, f"--histories {path}, line {number}", export)
                place = places.setdefault(user, len(places))
                found = [index.get(i, NO_ROW) for i in own]
                items.extend(found)
                owners.extend([place] * len(found))
    ids = np.array(list(places), np.int64 if export.id_types.user is int else object)
    indices = np.array(items, np.int64)
    histories = ordered_histories(np.array(owners, np.int64), indices, len(ids), export.n_items)
    return ids, histories, int((indices == NO_ROW).sum())


def _json_history(line: str, place: str, export: ExportFolder) -> tuple[Any, list[Any]]:
    """User and items of a line.

    Raises:
        ValueError: the line has another form, or ids of other types than those of the model.
    """
    try:
        found = json.loads(line)
        user, items = found["user"], found["items"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f'{place} is {line.strip()[:60]!r}, expected {{"user": ID, "items": [ID, ...]}}') from None
    if not isinstance(items, list):
        raise ValueError(f"{place}: items is {str(items)[:40]!r}, expected a list of ids")
    return _json_id(user, export.id_types.user, place), [_json_id(i, export.id_types.item, place) for i in items]


def _json_id(value: Any, id_type: IdType, place: str) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        if id_type is str:
            return str(value)
        if -(2**63) <= value < 2**63:
            return value
    elif isinstance(value, str) and id_type is str:
        return value
    expected = "whole numbers" if id_type is int else "texts"
    raise ValueError(f"{place} holds the id {str(value)[:40]!r}, expected {expected}")

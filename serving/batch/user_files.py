"""Files that name the users of a batch: a list of users, or histories as rows or as JSON lines.

Shape legend: U users, E interactions.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
import numpy.typing as npt

from serving.batch.users import NO_ROW, UserBlock, id_index
from serving.export_folder import ExportFolder, Rows, digest
from serving.ids import IdType

if TYPE_CHECKING:
    import pyarrow as pa

USER_NAMES = ("user", "user_id", "userid")
ITEM_NAMES = ("item", "item_id", "itemid")
JSON_LINES = (".jsonl", ".ndjson")
WHOLE_NUMBER = re.compile(r"[+-]?\d+(\.0+)?")
PARQUET = (".parquet", ".pq")
HISTORIES_FORM = 'Parquet or CSV with the columns user and item, or JSON lines such as {"user": 1, "items": [2, 3]}'


def _suffix(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def _check_file(path: Path, flag: str) -> None:
    if not path.is_file():
        raise ValueError(f"{flag} {path} {'is no file' if path.exists() else 'does not exist'}")


def _named(columns: Sequence[str], names: Sequence[str]) -> str | None:
    """The column with one of these names, in any case."""
    return next((column for column in columns if column.strip().lower() in names), None)


def _opened(path: Path) -> TextIO:
    """A text file, decompressed if its name ends in .gz."""
    if path.name.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8")  # type: ignore[return-value]
    return path.open(encoding="utf-8")


def _first_line(path: Path, delimiter: str) -> list[str]:
    with _opened(path) as file:
        return next(csv.reader(file, delimiter=delimiter), [])


def _read_delimited(path: Path, wanted: Sequence[Sequence[str]]) -> pa.Table:
    """The wanted columns of a CSV or TSV file as text; a file with one column may have no header."""
    import pyarrow as pa
    from pyarrow import csv as pa_csv

    delimiter = "\t" if _suffix(path) == ".tsv" else ","
    first = _first_line(path, delimiter)
    columns = [_named(first, names) for names in wanted]
    headless = len(wanted) == 1 and len(first) == 1 and columns[0] is None
    names = [wanted[0][0]] if headless else first
    return pa_csv.read_csv(
        path,
        read_options=pa_csv.ReadOptions(column_names=names, skip_rows=0 if headless else 1),
        parse_options=pa_csv.ParseOptions(delimiter=delimiter),
        convert_options=pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True),
    )


def _read_table(path: Path, flag: str, wanted: Sequence[Sequence[str]]) -> list[pa.ChunkedArray]:
    """The columns with the wanted names.

    Raises:
        ValueError: the file cannot be read, or lacks a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    _check_file(path, flag)
    try:
        if _suffix(path) in PARQUET:
            names = pq.read_schema(path).names
            found = [_named(names, own) for own in wanted]
            table = pq.read_table(path, columns=[name for name in found if name])
        else:
            table = _read_delimited(path, wanted)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{flag} {path} cannot be read: {' '.join(str(error).split())}") from None
    columns = [_named(table.column_names, own) for own in wanted]
    for column, own in zip(columns, wanted, strict=True):
        if column is None:
            raise ValueError(f"{flag} {path} has no column {own[0]} or {own[1]}")
    return [table[column] for column in columns]


def _as_ids(column: pa.ChunkedArray, id_type: IdType, what: str) -> pa.ChunkedArray:
    """int64 or string.

    Raises:
        ValueError: an id is missing, or is no whole number where the ids of the data set are; the first one is named.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.null_count:
        row = pc.index(pc.is_null(column), True).as_py()
        raise ValueError(f"{what}: row {row + 1} has no id")
    try:
        return pc.cast(column, pa.int64() if id_type is int else pa.string())
    except pa.ArrowException:
        rows = enumerate(column.to_pylist(), 1)
        wrong = next(((r, v) for r, v in rows if not WHOLE_NUMBER.fullmatch(str(v).strip())), None)
        where = "some ids are" if wrong is None else f"row {wrong[0]} holds {str(wrong[1])[:40]!r}, which is"
        raise ValueError(f"{what}: {where} no whole number within int64, as the ids of the model are") from None


def _array(column: pa.ChunkedArray, id_type: IdType) -> npt.NDArray:
    return column.to_numpy() if id_type is int else np.array(column.to_pylist(), object)


def read_users(path: Path, id_type: IdType) -> tuple[npt.NDArray, str, int]:
    """The users that a file lists: Parquet or CSV with a column user or user_id, or text with one id a line.

    Returns:
        [U] ids, each once, in the order of the file; the digest of the file; and the number of repeated ids.

    Raises:
        ValueError: the file cannot be read, has no such column, or an id has another type than those of the model.
    """
    import pyarrow.compute as pc

    (column,) = _read_table(path, "--users", [USER_NAMES])
    ids = _as_ids(column, id_type, f"--users {path}")
    unique = pc.unique(ids)
    values = unique.to_numpy(zero_copy_only=False) if id_type is int else unique.to_pylist()
    dtype = np.int64 if id_type is int else object
    return np.array(values, dtype), digest(path), len(ids) - len(unique)


def read_items(path: Path, flag: str, export: ExportFolder) -> npt.NDArray[np.bool_]:
    """[I] which items a file lists: Parquet or CSV with a column item or item_id, or text with one id a line.

    Raises:
        ValueError: the file cannot be read, has no such column, names no item of the model, or ids of another type.
    """
    (column,) = _read_table(path, flag, [ITEM_NAMES])
    ids = _array(_as_ids(column, export.id_types.item, f"{flag} {path}"), export.id_types.item)
    places = id_index(export.item_ids).get_indexer(id_index(ids))
    if len(ids) and not (places >= 0).any():
        raise ValueError(f"{flag} {path} names none of the items of the model")
    listed = np.zeros(export.n_items, np.bool_)
    listed[places[places >= 0]] = True
    return listed


class HistoryFile:
    """Users with the histories that a file holds. The whole file is held in memory as numbers."""

    def __init__(self, path: Path, export: ExportFolder, model_rows: tuple[npt.NDArray, npt.NDArray] | None) -> None:
        """
        Args:
            model_rows: ids and rows of the users that the model was trained on (NCF); None where it takes no users.

        Raises:
            ValueError: the file cannot be read, or holds something else than ids of the types of the model.
        """
        _check_file(path, "--histories")
        self._ids, self._histories, self.unknown_items = (
            _from_json_lines(path, export) if _suffix(path) in JSON_LINES else _from_rows(path, export)
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
    users, items = _read_table(path, "--histories", [USER_NAMES, ITEM_NAMES])
    users = _as_ids(users, types.user, f"--histories {path}, users").combine_chunks().dictionary_encode()
    items = _array(_as_ids(items, types.item, f"--histories {path}, items"), types.item)
    if hasattr(users, "combine_chunks"):
        users = users.combine_chunks()
    ids = _array(users.dictionary, types.user)
    owners = users.indices.to_numpy()
    indices = id_index(export.item_ids).get_indexer(id_index(items))
    histories = ordered_histories(owners, indices, len(ids), export.n_items)
    return ids, histories, int((indices == NO_ROW).sum())


def _from_json_lines(path: Path, export: ExportFolder) -> tuple[npt.NDArray, Rows, int]:
    """A user that several lines name has the items of all of them, at the place of the first."""
    index: dict[Any, int] = {original: k for k, original in enumerate(export.item_ids.tolist())}
    places: dict[Any, int] = {}
    owners, items = array("q"), array("q")
    with _opened(path) as file:
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

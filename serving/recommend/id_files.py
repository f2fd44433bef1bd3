"""Files that list ids: Parquet, CSV with a header, or text with one id a line; the items that such a file lists.

Shape legend: I items.
"""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np
import numpy.typing as npt

from serving.export_folder import ExportFolder
from serving.ids import IdType

if TYPE_CHECKING:
    import pyarrow as pa

ITEM_NAMES = ("item", "item_id", "itemid")
WHOLE_NUMBER = re.compile(r"[+-]?\d+(\.0+)?")
PARQUET = (".parquet", ".pq")


def suffix_of(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def check_file(path: Path, flag: str) -> None:
    if not path.is_file():
        raise ValueError(f"{flag} {path} {'is no file' if path.exists() else 'does not exist'}")


def _named(columns: Sequence[str], names: Sequence[str]) -> str | None:
    """The column with one of these names, in any case."""
    return next((column for column in columns if column.strip().lower() in names), None)


def opened(path: Path) -> TextIO:
    """A text file, decompressed if its name ends in .gz."""
    if path.name.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8")  # type: ignore[return-value]
    return path.open(encoding="utf-8")


def _first_line(path: Path, delimiter: str) -> list[str]:
    with opened(path) as file:
        return next(csv.reader(file, delimiter=delimiter), [])


def _read_delimited(path: Path, wanted: Sequence[Sequence[str]]) -> pa.Table:
    """The wanted columns of a CSV or TSV file as text; a file with one column may have no header."""
    import pyarrow as pa
    from pyarrow import csv as pa_csv

    delimiter = "\t" if suffix_of(path) == ".tsv" else ","
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


def read_columns(path: Path, flag: str, wanted: Sequence[Sequence[str]]) -> list[pa.ChunkedArray]:
    """The columns with the wanted names.

    Raises:
        ValueError: the file cannot be read, or lacks a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_file(path, flag)
    try:
        if suffix_of(path) in PARQUET:
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


def as_ids(column: pa.ChunkedArray, id_type: IdType, what: str) -> pa.ChunkedArray:
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


def as_array(column: pa.ChunkedArray, id_type: IdType) -> npt.NDArray:
    return column.to_numpy() if id_type is int else np.array(column.to_pylist(), object)


def read_items(path: Path, flag: str, export: ExportFolder) -> npt.NDArray[np.bool_]:
    """[I] which items a file lists: Parquet or CSV with a column item or item_id, or text with one id a line.

    Raises:
        ValueError: the file cannot be read, has no such column, names no item of the model, or ids of another type.
    """
    import pandas as pd

    (column,) = read_columns(path, flag, [ITEM_NAMES])
    ids = as_array(as_ids(column, export.id_types.item, f"{flag} {path}"), export.id_types.item)
    places = pd.Index(export.item_ids).get_indexer(pd.Index(ids))
    if len(ids) and not (places >= 0).any():
        raise ValueError(f"{flag} {path} names none of the items of the model")
    listed = np.zeros(export.n_items, np.bool_)
    listed[places[places >= 0]] = True
    return listed

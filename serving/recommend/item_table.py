"""The columns of the items that a filter may name: those of items.parquet, and those of a file that joins them by id.

Shape legend: I items.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from serving.export_folder import ExportFolder
from serving.recommend.requests import RequestError

if TYPE_CHECKING:
    import pyarrow as pa

SEPARATOR = "|"
"""Between the values of a text column that has several in one field, as in "Comedy|Drama"."""
OWN = ("index", "item_id")


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column in one of the few types that filters compare: numbers, text, truth, times, or lists of them."""
    import pyarrow as pa
    import pyarrow.types as kinds

    kind = column.type
    if kinds.is_dictionary(kind):
        return _plain(column.cast(kind.value_type))
    if kinds.is_large_string(kind) or kinds.is_string_view(kind):
        return column.cast(pa.string())
    if kinds.is_large_list(kind) or (kinds.is_list(kind) and not kinds.is_string(kind.value_type)):
        text = kinds.is_large_string(kind.value_type) or kinds.is_dictionary(kind.value_type)
        return column.cast(pa.list_(pa.string() if text else kind.value_type))
    return column


def _divided(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A text column as lists, if one of its fields has several values."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_string(column.type) or not pc.any(pc.match_substring(column, SEPARATOR)).as_py():
        return column
    return pc.split_pattern(column, SEPARATOR)


def read_table(path: Path) -> pa.Table:
    """A CSV or Parquet file with a column item_id.

    Raises:
        RequestError: it cannot be read, or has no column item_id.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path)
        else:
            table = pyarrow.csv.read_csv(path)
    except FileNotFoundError:
        raise RequestError(f"--items-table {path} does not exist, expected a CSV or Parquet file") from None
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0][:120]
        raise RequestError(f"--items-table {path} is no CSV or Parquet table: {reason}") from None
    if "item_id" not in table.column_names:
        raise RequestError(f"--items-table {path} has the columns {', '.join(table.column_names)}, expected item_id")
    return table


def joined(items: pa.Table, path: Path) -> pa.Table:
    """The items [I], and the columns of a file with their ids; null for items that the file does not have.

    Raises:
        RequestError: see `read_table`; or the file has none of the items.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    table = read_table(path)
    ids = items["item_id"]
    try:
        others = table["item_id"].cast(ids.type)
    except pa.ArrowException:
        kind = table["item_id"].type
        raise RequestError(f"--items-table {path} has item_ids of type {kind}, the data set's are {ids.type}") from None
    rows = pc.index_in(ids, others.combine_chunks())
    if len(items) and rows.null_count == len(rows):
        raise RequestError(f"--items-table {path} has none of the {len(items):,} items (its first id is {others[0]})")
    for name in table.column_names:
        if name in OWN:
            continue
        column = _divided(_plain(table[name])).take(rows)
        if name in items.column_names:
            items = items.drop_columns([name])
        items = items.append_column(name, column)
    return items


def item_table(export: ExportFolder, more: Path | None = None) -> pa.Table:
    """The table [I] of an export's items without their index, with the columns of a file more.

    Raises:
        RequestError: the file cannot be read, or does not belong to these items.
    """
    import pyarrow.parquet as pq

    items = pq.read_table(export.folder / "items.parquet")
    for place, name in enumerate(items.column_names):
        items = items.set_column(place, name, _plain(items[name]))
    if "index" in items.column_names:
        items = items.drop_columns(["index"])
    return items if more is None else joined(items, more)

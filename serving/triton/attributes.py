"""Columns of items that a served model's filters may name beside those of its export: items.parquet in its folder.

As the store, the table belongs to the model and not to a version: publishing and rolling back keep it. A version joins
it to its items when it is loaded. Triton does not show this file to its clients.
"""

from __future__ import annotations

import os
from pathlib import Path

from serving.export_folder import ExportFolder
from serving.recommend.item_table import item_table, read_table
from serving.recommend.where import ItemFilter

FILE = "items.parquet"


def write(model: Path, export: ExportFolder, table: Path) -> list[str]:
    """Write the columns of a CSV or Parquet file into a model's folder; returns the columns that a filter may name.

    Raises:
        RequestError: the file cannot be read, or does not belong to the items of the export.
    """
    import pyarrow.parquet as pq

    columns = item_table(export, table).column_names
    model.mkdir(parents=True, exist_ok=True)
    temporary = model / f".{FILE}.writing-{os.getpid()}"
    pq.write_table(read_table(table), temporary)
    temporary.replace(model / FILE)
    return columns


def check(model: Path, export: ExportFolder) -> None:
    """Raise RequestError if a model has a table that does not belong to the items of an export."""
    if (model / FILE).is_file():
        item_table(export, model / FILE)


def item_filter(model: Path, export: ExportFolder) -> ItemFilter | None:
    """The filter of a version's items with the table of its model; None for that of the export's own columns."""
    path = model / FILE
    return ItemFilter(item_table(export, path)) if path.is_file() else None

"""Attributes of items beside a prepared data set (`data_prep.read.attributes`), joined to its items for an export."""

from __future__ import annotations

import pandas as pd

from recsys_core.dataset import Dataset
from recsys_core.parquet import read_frame

FILE = "item_attributes.parquet"


def with_attributes(data: Dataset) -> pd.DataFrame:
    """[I] the items of a data set, and a column for each attribute; missing where an item has none."""
    if data.folder is None or not (data.folder / FILE).is_file():
        return data.items
    table = read_frame(data.folder / FILE, dtype_backend="numpy_nullable")  # whole numbers stay such
    ids = table.pop("item_id").astype(data.items["item_id"].dtype)
    table = table.set_index(ids)[table.columns.difference(data.items.columns, sort=False)]
    return data.items.join(table[~table.index.duplicated()], on="item_id")

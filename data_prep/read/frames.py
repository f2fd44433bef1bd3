"""Tables in memory (pandas, pyarrow, polars) column by column, as Arrow columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

SAMPLE_ROWS = 20_000
_PURE = ("string", "integer", "floating", "boolean", "bytes", "empty")
"""Kinds of object columns whose values are of one type, as pandas names them."""


class Frame:
    """A table of which only the columns that are asked for are converted."""

    def __init__(self, table: Any) -> None:
        """Raises ValueError if it is no table."""
        self._table = table
        if isinstance(table, pa.Table):
            self.names, self.count = tuple(table.column_names), table.num_rows
        elif hasattr(table, "to_arrow") and hasattr(table, "columns"):  # polars
            self._table = table.to_arrow()
            self.names, self.count = tuple(self._table.column_names), self._table.num_rows
        elif hasattr(table, "iloc") and hasattr(table, "columns"):
            self.names, self.count = tuple(str(name) for name in table.columns), len(table)
        else:
            raise ValueError(f"the table is a {type(table).__name__}, expected a pandas, pyarrow or polars one")

    def column(self, name: str) -> pa.ChunkedArray:
        """A column.

        Raises:
            ValueError: its values are of several types, or of one that Arrow does not know.
        """
        position = self.names.index(name)
        if isinstance(self._table, pa.Table):
            return self._table.column(position)
        return pa.chunked_array([_of_pandas(self._table.iloc[:, position], name)])

    def sample(self) -> pa.Table:
        """The first rows; a column that cannot be converted is empty, the error comes when it is asked for."""
        if isinstance(self._table, pa.Table):
            return self._table.slice(0, SAMPLE_ROWS)
        head = self._table.iloc[:SAMPLE_ROWS]
        columns = [_or_nulls(head.iloc[:, position], name) for position, name in enumerate(self.names)]
        return pa.Table.from_arrays(columns, names=list(self.names))


def _or_nulls(series: Any, name: str) -> pa.Array:
    try:
        return _of_pandas(series, name)
    except ValueError:
        return pa.nulls(len(series))


def _of_pandas(series: Any, name: str) -> pa.Array:
    """A pandas column; NaN and None are nulls, UUIDs their texts."""
    if series.dtype == object and pd.api.types.infer_dtype(series, skipna=True) not in _PURE:
        types = {_type(value) for value in series[series.notna()]}
        if types == {"UUID"}:
            series = series.map(str, na_action="ignore")
        elif types <= {"int", "float"}:
            series = pd.to_numeric(series)
        elif len(types) > 1:
            found = " and ".join(sorted(types)[:3])
            raise ValueError(
                f"the values of column {name!r} are of several types: {found}; make them text: "
                f"table[{name!r}] = table[{name!r}].astype(str)"
            )
    try:
        found = pa.Array.from_pandas(series)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"the values of column {name!r} cannot be read: {str(error).splitlines()[0]}") from None
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def _type(value: Any) -> str:
    """The type of a value, that of Python for a scalar of NumPy."""
    return type(value.item() if isinstance(value, np.generic) else value).__name__

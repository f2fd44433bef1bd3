"""A block of Arrow columns as checked `Rows`, and tables in memory as a source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from data_prep.read import ids, times, values
from data_prep.read.asked import Asked
from data_prep.read.columns import choose, widened
from data_prep.read.contents import Contents
from data_prep.read.frames import Frame
from data_prep.read.rows import Ids, Place, Rows
from data_prep.read.schema import Schema

T = TypeVar("T")
BLOCK_ROWS = 1 << 20


def rows(table: pa.Table, schema: Schema, place: Place, asked: Asked, *, with_times: bool) -> Rows:
    """Validate and convert one block.

    Args:
        table: holds the columns of the schema, of its types or of types that can be read as these.
        place: where a row of the table stands, for messages.
        with_times: whether the times are wanted.

    Raises:
        ValueError: an id, value or time is missing or is none; begins with the place of the row.
    """
    count, numbers, where = table.num_rows, None, place
    if schema.kind == "event":
        chosen = values.events(table[str(schema.value)], asked)
        numbers = chosen.weights
        if (kept := chosen.rows) is not None:
            table = table.take(pa.array(kept))

            def where(row: int) -> str:
                return place(int(kept[row]))

    users = ids.convert(table[schema.user], schema.types[schema.user], schema.user, "user", where)
    items = ids.convert(table[schema.item], schema.types[schema.item], schema.item, "item", where)
    if schema.value is not None and schema.kind != "event":
        commas = pa.types.is_string(schema.types[schema.value])
        numbers = values.convert(table[schema.value], schema.kind, schema.value, where, commas=commas)
        _check_numbers(numbers, schema.kind, users, items, where)
    when = times.convert(table[schema.time], schema, where) if with_times and schema.time is not None else None
    return Rows(users=users, items=items, values=numbers, times=when, left_out=count - table.num_rows)


def _check_numbers(numbers: np.ndarray, kind: str, users: Ids, items: Ids, place: Place) -> None:
    """Raise ValueError if a value is missing or not finite."""
    wrong = ~np.isfinite(numbers)
    if not wrong.any():
        return
    row = int(np.argmax(wrong))
    what = {"boolean": "labels", "count": "counts"}.get(kind, "ratings")
    state = "empty or NaN" if np.isnan(numbers[wrong]).all() else "empty, NaN or infinite"
    raise ValueError(
        f"{place(row)}: {int(wrong.sum())} {what} are {state}, the first for user {_shown(users, row)} and item "
        f"{_shown(items, row)}; every row needs a number"
    )


def _shown(column: Ids, row: int) -> str:
    """The id of a row as it came in."""
    if column.names is None:
        return str(column.keys[row])
    return column.names.texts[int(np.argmax(column.names.keys == column.keys[row]))].as_py()


class TableSource:
    """A table in memory as a source: pandas, pyarrow or polars."""

    def __init__(self, table: Any, asked: Asked, where: str = "the table") -> None:
        """Choose its columns.

        Raises:
            ValueError: the table is none, is empty, or has no columns of users and items.
        """
        frame = Frame(table)
        if not frame.count:
            raise ValueError(f"{where} holds no rows")
        self.schema: Schema = choose(frame.names, frame.sample(), asked, where, typed=True)
        self.files: tuple[str, ...] = (where,)
        self._table = pa.table({name: frame.column(name) for name in self.schema.types})
        self._asked, self._where = asked, where
        self._digest = ""

    def stamp(self) -> str:
        """The same as `digest`: a table has no cheaper identity."""
        return self.digest()

    def digest(self) -> str:
        """SHA-256 over the contents of the columns that are used."""
        if not self._digest:
            contents = Contents(self._table.schema)
            contents.add(self._table)
            self._digest = contents.digest()
        return self._digest

    def rows_estimate(self) -> int:
        """Rows."""
        return self._table.num_rows

    def widen(self, column: str, values: Sequence[str]) -> None:
        """Take the wider type that `columns.widened` names."""
        self.schema = widened(self.schema, column, values)

    def read(self, rank: int, size: int, use: Callable[[Rows], T], *, with_times: bool = True) -> Iterator[T]:
        """The share of one rank, in blocks of `BLOCK_ROWS`."""
        count = self._table.num_rows
        first, last = count * rank // size, count * (rank + 1) // size
        for start in range(first, last, BLOCK_ROWS):

            def place(row: int, start: int = start) -> str:
                return f"{self._where}, row {start + row + 1}"

            block = self._table.slice(start, min(BLOCK_ROWS, last - start))
            yield use(rows(block, self.schema, place, self._asked, with_times=with_times))

"""The interface between the readers of formats and `source`: pieces that a thread turns into a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from data_prep.read.rows import Place
from data_prep.read.schema import Schema
from data_prep.read.streams import Entry

SAMPLE_ROWS = 20_000
MOST_SAMPLED = 16
"""Files whose first rows are looked at, as long as there are fewer rows."""


class WiderType(Exception):
    """A column holds values that its type cannot: the source has to be read again from its start, as `schema` says.

    It is no ValueError, because nothing is wrong with the data. `source.read_all` catches it. With several ranks all of
    them have to read again: exchange `column` and `values`, and call `FileSource.widen` on every rank.
    """

    def __init__(self, column: str, values: Sequence[str]) -> None:
        super().__init__(f"column {column!r} holds {', '.join(map(repr, values))}")
        self.column = column
        self.values = tuple(values)


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Consecutive rows that are still to be parsed."""

    parse: Callable[[], tuple[pa.Table, Place]]
    """The columns of the schema, and where a row stands; raises ValueError or WiderType."""
    amount: int
    """Of it, in the unit of the reader, for the progress."""


class Reader(Protocol):
    """The files of one format."""

    @property
    def names(self) -> tuple[str, ...]:
        """Every column."""

    sample: pa.Table
    """Up to SAMPLE_ROWS first rows of all columns."""
    typed: bool
    """Whether the format knows types; else all columns of the sample are strings."""
    hint: str
    """What may be wrong where a column is missing."""
    unit: str
    """Of amounts: "B" or "row"."""

    def rows_estimate(self) -> int:
        """About how many rows there are; 0: not known."""

    def total(self, rank: int, size: int) -> int:
        """Amount of the share of a rank; 0: not known."""

    def check(self, schema: Schema) -> None:
        """Raise ValueError if a file cannot have the columns of the schema."""

    def pieces(self, schema: Schema, rank: int, size: int, columns: Sequence[str]) -> Iterator[Piece]:
        """The share of a rank: these columns, in the types of the schema, in the order of the files."""


def with_partition(table: pa.Table, entry: Entry, types: dict[str, pa.DataType], columns: Sequence[str]) -> pa.Table:
    """The table with those of the columns that stand in the names of its folders.

    Raises:
        WiderType: a name is none of the type.
    """
    for name, value in entry.partition.items():
        if name not in columns or name in table.column_names:
            continue
        kind = types.get(name, pa.string())
        try:
            scalar = pa.scalar(value, pa.string()).cast(kind)
            if value is not None and pa.types.is_integer(kind) and str(scalar.as_py()) != value:
                raise pa.ArrowInvalid(value)
        except pa.ArrowInvalid:
            raise WiderType(name, [str(value)]) from None
        indices = pa.repeat(pa.scalar(0, pa.int32()), table.num_rows)
        column = pa.DictionaryArray.from_arrays(indices, pa.array([scalar], kind))
        table = table.append_column(name, column.cast(kind))
    return table

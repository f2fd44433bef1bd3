"""Original ids of users and items: their types, their padding, and how they are read from a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

Id = int | str
IdType = type[int] | type[str]
PADDING, LOWEST_PADDING = -1, -(2**63)
"""`padding_id` of whole numbers where all ids are from 0, and where some are below 0."""


@dataclass(frozen=True, kw_only=True)
class IdTypes:
    """Types of the original ids of a data set: int, or str for all that are no whole numbers within int64."""

    user: IdType = int
    item: IdType = int
    below_zero: bool = False
    """Whether some ids are whole numbers below 0; then `padding_id` is another one."""

    @property
    def smallest(self) -> int:
        """The smallest whole number that may be an id."""
        return LOWEST_PADDING + 1 if self.below_zero else 0


WHOLE_NUMBERS = IdTypes()


def padding_id(id_type: IdType, below_zero: bool = False) -> Id:
    """The id that means "none" and fills up the rows of an array of original ids.

    Args:
        below_zero: see `IdTypes`.
    """
    return "" if id_type is str else LOWEST_PADDING if below_zero else PADDING


def type_name(id_type: IdType) -> str:
    """The type of ids, for messages and files: "text" or "int64"."""
    return "text" if id_type is str else "int64"


def type_named(name: str) -> IdType:
    """The type of ids with a `type_name`."""
    return str if name == "text" else int


def id_type_of(table: Path, column: str) -> tuple[IdType, bool]:
    """The type of the ids of a Parquet file, and whether some are below 0. Reads no other column, and text not at all.

    Raises:
        ValueError: the file is missing or damaged.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        kind = pq.read_schema(table).field(column).type
        if not pa.types.is_integer(kind) or pa.types.is_uint64(kind):  # int64 cannot hold all of uint64
            return str, False
        smallest = pc.min(pq.read_table(table, columns=[column])[column]).as_py()
        return int, smallest is not None and smallest < 0
    except FileNotFoundError:
        raise ValueError(f"{table.parent} is not complete: {table.name} is missing; train again") from None
    except (pa.ArrowException, KeyError) as error:
        raise ValueError(f"{table} is damaged ({error}); train again") from None


def original_ids(values: pd.Series, id_type: IdType) -> npt.NDArray:
    """int64, or an object array of str; a whole number that is stored as a float has no decimal point."""
    if id_type is int:
        return values.to_numpy(np.int64)
    texts = [str(int(v)) if isinstance(v, float) and v.is_integer() else str(v) for v in values.tolist()]
    return np.array(texts, object)

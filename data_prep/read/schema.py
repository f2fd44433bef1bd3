"""Which column of a source is taken for what, and how its values are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

KINDS = ("none", "rating", "boolean", "count", "event")


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The columns of a source and the use of four of them."""

    names: tuple[str, ...]
    """Every column, in order."""
    user: str
    item: str
    value: str | None = None
    """Column of ratings, labels, counts or names of events; None: every row is an interaction."""
    kind: str = "none"
    """What the values are; one of KINDS."""
    time: str | None = None
    types: Mapping[str, pa.DataType]
    """Type in which each of the four columns is read: ids int64 or string; ratings and counts float32; labels bool;
    events string; times int64, float64, timestamp or date32."""
    time_unit: str = ""
    """s, ms, us, ns or D (days) since 1970; "number" where numbers are no such times; "" without times."""
    notes: tuple[str, ...] = ()
    """Sentences for the owner of the data, as "times without a zone were taken as UTC"."""

"""How a text format lays out its columns. Imports nothing that takes long, for the help."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a text format lays out its columns."""

    delimiter: str
    """One character. ('::' is read as ':' with an empty column between.)"""
    columns: tuple[str, ...]
    """Every column of a row, in order."""
    user: str
    item: str
    rating: str | None
    """Name of the rating column, None where every row is a positive event."""
    header: bool
    """Whether the first line names the columns."""
    time: str | None = None
    """Name of the column of times to read (whole numbers, or dates), None where they are not needed."""
    dates: bool = False
    """Whether times are written as 2005-12-31; they are read as days."""

"""What is to be read, as the user said it. Imports nothing that takes long, for the help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

FORMATS = ("csv", "json", "lists", "parquet", "arrow")
"""csv: any delimited text; json: one object a line; lists: one line a user, its id and those of its items."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Where interactions are and how they are written; "" is found by itself."""

    raw: tuple[str, ...] = ()
    """Files, globs, folders, archives or addresses (s3://, gs://, http://, ...)."""
    format: str = ""
    """One of FORMATS."""
    delimiter: str = ""
    """Of delimited text and lists; more than one character is possible, as "::"."""
    header: tuple[str, ...] = ()
    """Names of the columns of files without a header line."""
    encoding: str = ""
    """Of text: a name that Python knows. A byte order mark decides where there is one."""
    user: str = ""
    item: str = ""
    rating: str | None = ""
    """Column of ratings, labels (boolean) or counts; None: every row is an interaction."""
    time: str | None = ""
    """None: times are not read."""
    event: str = ""
    """Column of the names of events."""
    event_weights: Mapping[str, float] = field(default_factory=dict)
    """Name of an event -> its weight; rows of other events are left out."""
    positive_events: tuple[str, ...] = ()
    """Events that are interactions; rows of other events are left out."""
    database: str = ""
    """Address of a database, as postgresql://user@host/name or sqlite:///file.db."""
    sql: str = ""
    """Query, or the name of a table, whose rows are read from `database`."""

"""Reading whole sources in tests: rows with their ids as they came in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data_prep.read.asked import Asked
from data_prep.read.rows import Ids, Rows
from data_prep.read.source import Source, open_source, read_all


def texts(ids: Ids) -> list[Any]:
    """The ids of a column as they were: numbers or texts."""
    if ids.names is None:
        return ids.keys.tolist()
    names = dict(zip(ids.names.keys.tolist(), ids.names.texts.to_pylist(), strict=True))
    return [names[key] for key in ids.keys.tolist()]


def as_tuples(rows: Rows) -> list[tuple[Any, ...]]:
    columns = [texts(rows.users), texts(rows.items)]
    columns += [] if rows.values is None else [rows.values.tolist()]
    columns += [] if rows.times is None else [rows.times.tolist()]
    return list(zip(*columns, strict=True))


def rows_of(source: Source, ranks: int = 1, with_times: bool = True) -> list[tuple[Any, ...]]:
    """All rows, as so many ranks read them one after the other."""

    def read() -> list[tuple[Any, ...]]:
        shares = [source.read(rank, ranks, as_tuples, with_times=with_times) for rank in range(ranks)]
        return [row for share in shares for block in share for row in block]

    return read_all(source, read)


def opened(*raw: str | Path, **asked: Any) -> Source:
    return open_source(Asked(raw=tuple(map(str, raw)), **asked))


def read(*raw: str | Path, ranks: int = 1, **asked: Any) -> list[tuple[Any, ...]]:
    return rows_of(opened(*raw, **asked), ranks)

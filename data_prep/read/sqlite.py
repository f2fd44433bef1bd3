"""SQLite through the standard library. Its columns have no types, so the types of the values are compared."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa

FETCHED_ROWS = 1 << 14
"""Rows that are Python objects at a time: few, so that the garbage collector has few to look through."""
BLOCK_ROWS = 1 << 18
_NAMED = {int: "whole numbers", float: "fractions", str: "texts", bytes: "bytes"}


class SQLite:
    """One database file, opened for reading only."""

    def __init__(self, path: str) -> None:
        """Look whether it is there.

        Raises:
            ValueError: it is not there, or is no database.
        """
        self._path = Path(path)
        if not self._path.is_file():
            absolute = f" (an absolute path has four slashes: sqlite:////{path})" if Path(f"/{path}").is_file() else ""
            raise ValueError(
                f"{path} does not exist{absolute}; name the file of the database with --database sqlite:///FILE"
            )
        self._opened_as = self.stamp()
        self.tables()

    def stamp(self) -> str:
        """Sizes and times of the file and of its log."""
        files = [p for p in (self._path, Path(f"{self._path}-wal")) if p.exists()]
        return " ".join(f"{s.st_size} {s.st_mtime_ns}" for s in (p.stat() for p in files) if s.st_size)

    @contextlib.contextmanager
    def _run(self, query: str) -> Iterator[sqlite3.Cursor]:
        """The answer to a query, from a connection of its own."""
        connection = None
        try:
            connection = sqlite3.connect(f"file:{quote(str(self._path.resolve()))}?mode=ro", uri=True)
            yield connection.execute(query)
        except (sqlite3.Error, sqlite3.Warning) as error:
            reason = str(error)
            if "not a database" in reason or "unable to open" in reason:
                raise ValueError(f"{self._path} cannot be opened as an SQLite database: {reason}") from None
            raise ValueError(f"{self._path} refuses the query of --sql: {reason}") from None
        finally:
            if connection is not None:
                connection.close()

    def tables(self) -> list[str]:
        """Tables and views."""
        with self._run("SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name") as answer:
            return [name for (name,) in answer if not name.startswith("sqlite_")]

    def sample(self, query: str, count: int) -> pa.Table:
        """The first rows."""
        with self._run(f"SELECT * FROM ({query}\n) AS q LIMIT {count}") as answer:
            names = [column[0] for column in answer.description]
            return _table(names, answer.fetchall(), {}, self._path)

    def order(self, query: str, columns: Sequence[str]) -> str:
        """Terms of ORDER BY."""
        return ", ".join('"' + name.replace('"', '""') + '" COLLATE BINARY' for name in columns)

    def estimate(self, query: str) -> int:
        """Rows of the query."""
        with self._run(f"SELECT count(*) FROM ({query}\n) AS q") as answer:
            return int(answer.fetchone()[0])

    def blocks(self, query: str) -> Iterator[pa.Table]:
        """The rows of a query.

        Raises:
            ValueError: the file changed since it was opened, or a column has values of several types.
        """
        if self.stamp() != self._opened_as:
            raise ValueError(f"{self._path} was changed while it was read; try again when nothing is written to it")
        before: dict[str, type] = {}
        with self._run(query) as answer:
            names = [column[0] for column in answer.description]
            parts = list[pa.Table]()
            while found := answer.fetchmany(FETCHED_ROWS):
                parts.append(_table(names, found, before, self._path))
                if len(parts) * FETCHED_ROWS >= BLOCK_ROWS:
                    yield pa.concat_tables(parts, promote_options="permissive")
                    parts.clear()
            if parts:
                yield pa.concat_tables(parts, promote_options="permissive")


def _table(names: Sequence[str], found: Sequence[tuple], before: dict[str, type], path: Path) -> pa.Table:
    """Rows as an Arrow table.

    Args:
        before: column -> the type of its values so far; is continued.
    """
    columns = [_column([row[k] for row in found], name, before, path) for k, name in enumerate(names)]
    return pa.Table.from_arrays(columns, names=list(names))


def _column(values: Sequence, name: str, before: dict[str, type], path: Path) -> pa.Array:
    """The values of a column, whole numbers among fractions as fractions."""
    types = set(map(type, values)) - {type(None)} | ({before[name]} if name in before else set())
    if types == {int, float}:
        types = {float}
        values = [value if value is None else float(value) for value in values]
    if len(types) > 1:
        listed = " and ".join(sorted(_NAMED[t] for t in types))
        raise ValueError(f"{path}: column {name!r} holds {listed}; make them one type: CAST({name} AS TEXT) AS {name}")
    if types:
        before[name] = next(iter(types))
    return pa.array(
        values,
        {int: pa.int64(), float: pa.float64(), str: pa.string(), bytes: pa.binary()}[types.pop()] if types else None,
    )

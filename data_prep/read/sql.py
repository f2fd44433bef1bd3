"""Rows of a database as a source: a SELECT or a table of PostgreSQL or SQLite, read as a stream.

The rows come ordered by time, then user, item and value, so that every reading has the same order, whatever the
order of the server is; of rows with equal times the one with the largest value comes last. The first rank reads all.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar
from urllib.parse import quote, unquote, urlsplit

import pyarrow as pa

from data_prep import progress
from data_prep.read.asked import Asked
from data_prep.read.columns import choose, listed
from data_prep.read.contents import Contents
from data_prep.read.convert import rows
from data_prep.read.frames import SAMPLE_ROWS
from data_prep.read.postgresql import PostgreSQL
from data_prep.read.rows import Rows
from data_prep.read.schema import Schema
from data_prep.read.sqlite import SQLite

T = TypeVar("T")
EXPECTED = "expected postgresql://user@host/name or sqlite:///file.db"
_TABLE = re.compile(r'([\w$]+|"[^"]+")(\.([\w$]+|"[^"]+"))*')
_SELECT = re.compile(r"\s*\(*\s*(SELECT|WITH|VALUES|TABLE)\b", re.IGNORECASE)
_COMMENT = re.compile(r"\s*(--[^\n]*\n|/\*.*?\*/)", re.DOTALL)


class Database(Protocol):
    """What is asked of a database."""

    def tables(self) -> list[str]:
        """Names of the tables and views that can be read, for a message."""

    def sample(self, query: str, count: int) -> pa.Table:
        """The first rows of a query. Raises ValueError with the database's reason."""

    def order(self, query: str, columns: Sequence[str]) -> str:
        """The terms of ORDER BY that give texts the order of their bytes."""

    def estimate(self, query: str) -> int:
        """About how many rows a query gives."""

    def stamp(self) -> str:
        """A text that is another one after every change."""

    def blocks(self, query: str) -> Iterator[pa.Table]:
        """The rows of a query. Raises ValueError with the database's reason."""


def opened(address: str) -> tuple[Database, str]:
    """The database of an address, and the address without a password.

    Raises:
        ValueError: the address is of no database that can be read, or it cannot be opened.
    """
    scheme = address.split("://")[0].split("+")[0].lower() if "://" in address else ""
    if scheme == "sqlite":
        path = re.sub(r"^sqlite(\+\w+)?:///?", "", address)
        return SQLite(path), f"sqlite:///{path}"
    if scheme in ("postgresql", "postgres"):
        url, password, shown = _parts(address)
        return PostgreSQL(url, password, shown), shown
    found = f"--database is an address of {scheme!r}" if scheme else "--database is no address"
    raise ValueError(f"{found}, {EXPECTED}; other databases: write the table to Parquet and name it with --raw")


def _parts(address: str) -> tuple[str, str, str]:
    """The address as libpq reads it, the password, and the address without it."""
    refused = ValueError(
        "--database cannot be understood, expected postgresql://user:password@host:port/name; in a password write "
        "%2F for /, %3A for :, %40 for @, %23 for #, %3F for ?, or put it into the variable PGPASSWORD or ~/.pgpass"
    )
    try:
        parts = urlsplit(address)
        port, password = parts.port, unquote(parts.password or "")
    except ValueError:
        raise refused from None
    if parts.fragment or "@" in parts.path:
        raise refused
    user = quote(unquote(parts.username), safe="") if parts.username else ""
    host = (f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or "") + (
        f":{port}" if port else ""
    )
    options = [option for option in parts.query.split("&") if option]
    secret = next((unquote(o.split("=", 1)[1]) for o in options if o.startswith("password=")), "")
    if not any(option.startswith("connect_timeout=") for option in options):
        options.append("connect_timeout=10")
    login = f"{user}:{quote(password, safe='')}@" if password else f"{user}@" if user else ""
    shown = f"postgresql://{user + '@' if user else ''}{host}{parts.path}"
    return f"postgresql://{login}{host}{parts.path}?{'&'.join(options)}", password or secret, shown


def _is_query(sql: str) -> bool:
    """Whether a text is a SELECT, behind comments; else it may be the name of a table."""
    while comment := _COMMENT.match(sql):
        sql = sql[comment.end() :]
    return _SELECT.match(sql) is not None


def quoted(name: str) -> str:
    """A name in SQL, as it is written."""
    return '"' + name.replace('"', '""') + '"'


class SqlSource:
    """The rows of a query or a table."""

    def __init__(self, asked: Asked) -> None:
        """Connect, and choose the columns.

        Raises:
            ValueError: a package or the database is missing, the login is wrong, the query is no SELECT, fails, gives
                no rows or has not the columns.
        """
        database, address = opened(asked.database)
        self._database, self._asked, self._address = database, asked, address
        self._query, sample = self._sampled(asked.sql)
        where = f"{address}, {'the query' if _is_query(asked.sql) else 'table ' + asked.sql.strip()}"
        if not sample.num_rows:
            raise ValueError(f"{where} holds no rows, expected a row for each interaction")
        self.schema: Schema = choose(sample.column_names, sample, asked, where, typed=True)
        self.files: tuple[str, ...] = (address,)
        self._digest = ""

    def _sampled(self, sql: str) -> tuple[str, pa.Table]:
        """The query without what may stand around it, and its first rows."""
        database, sql = self._database, sql.strip().rstrip(";").strip()
        if not sql:
            there = listed(database.tables()) or "none"
            raise ValueError(
                f'--database needs --sql "SELECT ..." or --sql TABLE; the tables of {self._address}: {there}'
            )
        if _TABLE.fullmatch(sql):
            parts = [part.strip('"') for part in re.findall(r'"[^"]+"|[^.]+', sql)]
            if found := _among(database.tables(), ".".join(parts)):
                query = f"SELECT * FROM {'.'.join(map(quoted, found.split('.') if len(parts) > 1 else [found]))}"
                return query, database.sample(query, SAMPLE_ROWS)
            there = listed(database.tables()) or "none"
            raise ValueError(f"{self._address} has no table {sql!r}, its tables: {there}")
        if not _is_query(sql) and sql in database.tables():  # a name with blanks
            query = f"SELECT * FROM {quoted(sql)}"
            return query, database.sample(query, SAMPLE_ROWS)
        if not _is_query(sql):
            raise ValueError(f"--sql is {sql[:60]!r}, expected a SELECT or the name of a table")
        return sql, database.sample(sql, SAMPLE_ROWS)

    def _ordered(self) -> str:
        """The query of the columns that are used, in an order that does not change."""
        s = self.schema
        keys = [name for name in (s.time, s.user, s.item, s.value) if name]
        order = self._database.order(self._query, keys)
        return f"SELECT {', '.join(map(quoted, s.types))} FROM ({self._query}\n) AS q ORDER BY {order}"

    def stamp(self) -> str:
        """Equal as long as nothing was written to the database."""
        return hashlib.sha256(f"{self._address}\n{self._query}\n{self._database.stamp()}".encode()).hexdigest()

    def digest(self) -> str:
        """SHA-256 over the rows; without further cost once all were read."""
        if not self._digest:
            for _ in self._blocks():
                pass
        return self._digest

    def rows_estimate(self) -> int:
        """What the database expects."""
        return self._database.estimate(self._query)

    def _blocks(self) -> Iterator[pa.Table]:
        contents: Contents | None = None
        for table in self._database.blocks(self._ordered()):
            contents = contents or Contents(table.schema)
            contents.add(table)
            yield table
        self._digest = contents.digest() if contents else hashlib.sha256().hexdigest()

    def widen(self, column: str, values: Sequence[str]) -> None:
        """A database says the types itself.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"{values[0][:40]!r} in column {column!r} is not of the type {self.schema.types[column]}")

    def read(self, rank: int, size: int, use: Callable[[Rows], T], *, with_times: bool = True) -> Iterator[T]:
        """All rows for the first rank, none for others."""
        if rank:
            return
        before = 0
        with progress.bar("reading", self.rows_estimate(), "row") as bar:
            for table in self._blocks():

                def place(row: int, before: int = before) -> str:
                    return f"{self._address}, row {before + row + 1} in order of time, user and item"

                yield use(rows(table, self.schema, place, self._asked, with_times=with_times))
                before += table.num_rows
                bar.update(table.num_rows)


def _among(tables: Sequence[str], name: str) -> str | None:
    """The table of a name: exactly so, else however it is capitalised."""
    exact = (table for table in tables if table == name)
    return next(exact, next((table for table in tables if table.lower() == name.lower()), None))

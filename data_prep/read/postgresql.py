"""PostgreSQL through ADBC: rows arrive as Arrow blocks of COPY, a few MiB at a time."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

MISSING = "PostgreSQL needs packages that are not installed: pip install adbc-driver-postgresql adbc-driver-manager"
_TEXTS = ("text", "character varying", "character", "name", "citext")
_TABLES = """
    SELECT CASE WHEN pg_table_is_visible(c.oid) THEN c.relname ELSE n.nspname || '.' || c.relname END::text AS name
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    ORDER BY 1
"""


class PostgreSQL:
    """One database; every reading has a connection of its own and sees the same rows."""

    def __init__(self, url: str, password: str, shown: str) -> None:
        """Connect.

        Args:
            url: address with the password.
            password: text that no message may show.
            shown: address for messages.

        Raises:
            ValueError: the package is missing, or the database cannot be reached.
        """
        try:
            from adbc_driver_postgresql import dbapi
        except ImportError:
            raise ValueError(MISSING) from None
        self._dbapi, self._url, self._password, self._shown = dbapi, url, password, shown
        self._snapshot = ""
        self._first = self._connected()  # its transaction holds the snapshot that all readings see
        try:
            self._snapshot = self._one("SELECT pg_export_snapshot()::text")
        except ValueError:  # some servers that speak the protocol of PostgreSQL have none
            self._first.close()
            self._first = self._connected()

    def __del__(self) -> None:
        first = getattr(self, "_first", None)
        if first is not None:
            first.close()

    def _connected(self) -> Any:
        connection = None
        try:
            connection = self._dbapi.connect(self._url)
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                if self._snapshot:
                    cursor.execute(f"SET TRANSACTION SNAPSHOT '{self._snapshot}'")
        except self._dbapi.Error as error:
            if connection is not None:
                connection.close()
            raise ValueError(f"{self._shown} cannot be opened: {self._reason(error)}") from None
        return connection

    @contextlib.contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """One line for an error of the server: the address, what was done, the server's reason."""
        try:
            yield
        except (self._dbapi.Error, pa.ArrowException, OSError) as error:
            raise ValueError(f"{self._shown} {what}: {self._reason(error)}") from None

    def _reason(self, error: Exception) -> str:
        """The message of the server in one line, without the password."""
        text = str(error).split("Query was")[0]
        found = re.search(r"(?:ERROR|FATAL):\s+(.*)", text) or re.search(r"\[libpq\] (.*)", text)
        line = (found[1] if found else text).splitlines()[0].strip()
        return line.replace(self._password, "...") if self._password else line

    def _table(self, query: str) -> pa.Table:
        with self._errors("cannot be asked"), self._first.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetch_arrow_table()

    def _one(self, query: str) -> str:
        return str(self._table(query).column(0)[0].as_py())

    def tables(self) -> list[str]:
        """Tables and views, with the schema where it has to be said."""
        return self._table(_TABLES)["name"].to_pylist()

    def sample(self, query: str, count: int) -> pa.Table:
        """The first rows."""
        connection = self._connected()  # an error ends the transaction of a connection
        try:
            with self._errors("refuses the query of --sql"), connection.cursor() as cursor:
                cursor.execute(f"SELECT * FROM ({query}\n) AS q LIMIT {count}")
                return cursor.fetch_arrow_table()
        finally:
            connection.close()

    def order(self, query: str, columns: Sequence[str]) -> str:
        """Terms of ORDER BY; texts in the order of their bytes, which is that of every server."""
        names = ['"' + name.replace('"', '""') + '"' for name in columns]
        asked = ", ".join(f"pg_typeof({name})::text AS t{k}" for k, name in enumerate(names))
        types = self._table(f"SELECT {asked} FROM ({query}\n) AS q LIMIT 1").to_pylist()[0].values()
        return ", ".join(f'{n} COLLATE "C"' if t in _TEXTS else n for n, t in zip(names, types, strict=True))

    def estimate(self, query: str) -> int:
        """Rows that the server's planner expects."""
        with self._errors("cannot be asked"), self._first.cursor() as cursor:
            cursor.adbc_statement.set_options(**{"adbc.postgresql.use_copy": "false"})  # COPY takes no EXPLAIN
            cursor.execute(f"EXPLAIN {query}")
            found = re.search(r"rows=(\d+)", str(cursor.fetchone()))
        return int(found[1]) if found else 0

    def stamp(self) -> str:
        """The state of the server's transactions."""
        return self._one("SELECT concat_ws(' ', pg_postmaster_start_time(), pg_current_snapshot())::text")

    def blocks(self, query: str) -> Iterator[pa.Table]:
        """The rows of a query, as they arrive."""
        connection = self._connected()
        try:
            with connection.cursor() as cursor:
                with self._errors("failed while it was read"):
                    cursor.execute(query)
                    batches = iter(cursor.fetch_record_batch())
                while (batch := self._next(batches)) is not None:
                    if batch.num_rows:
                        yield pa.Table.from_batches([batch])
        finally:
            connection.close()

    def _next(self, batches: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
        with self._errors("failed while it was read"):
            return next(batches, None)

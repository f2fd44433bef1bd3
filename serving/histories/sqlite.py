"""Histories in an SQLite file (standard library), with a write-ahead log: readers do not wait for a writer."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from serving.histories.events import (
    UNKNOWN_TIME,
    Event,
    StoreUnavailableError,
    in_blocks,
    no_rows,
    placed,
    types_of,
)
from serving.ids import Id, IdTypes, type_name, type_named

WAIT_S = 10.0
"""Seconds that a writer waits for another one."""
BLOCK = 20_000
"""Events of a transaction of `append`."""
# The columns of ids have no type, so SQLite keeps text as text and int64 as int64.
SCHEMA = """
    CREATE TABLE IF NOT EXISTS recsys_settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS recsys_events (user_id NOT NULL, item_id NOT NULL, time INTEGER NOT NULL,
        arrival INTEGER NOT NULL, PRIMARY KEY (user_id, item_id)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS recsys_rows (training_users TEXT NOT NULL, user_id NOT NULL, place INTEGER NOT NULL,
        PRIMARY KEY (training_users, user_id)) WITHOUT ROWID;
"""
UPSERT = f"""
    INSERT INTO recsys_events VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET time = excluded.time, arrival = excluded.arrival
    WHERE excluded.time >= time AND excluded.time > {UNKNOWN_TIME}
"""


class SqliteStore:
    """One database file. A file that was moved away is an error until it is there again."""

    read_only = False

    def __init__(self, path: Path, *, create: bool = False, id_types: IdTypes | None = None) -> None:
        """
        Args:
            create: make the file if it is not there.
            id_types: of a new file; None for those of its first event.

        """
        self._path, self._create = path.absolute(), create
        self._new_types = id_types
        self._types: IdTypes | None = None
        self.address = f"sqlite:///{path}"
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._inode = -1

    def check(self) -> None:
        """Make the file if it shall be made; raise ValueError if there is no file, or another one."""
        if self._create:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):  # a new file is its owner's alone
                os.close(os.open(self._path, os.O_CREAT | os.O_EXCL, 0o600))
            with self._lock:
                self._connect(create=True)
        elif not self._path.is_file():
            load = f"python -m serving histories load --data D --store {self.address}"
            raise ValueError(f"{self._path} does not exist; fill a store with: {load}")
        with self._opened():
            pass

    def _connect(self, create: bool = False) -> None:
        mode = "rwc" if create else "rw"
        try:
            connection = sqlite3.connect(
                f"file:{quote(str(self._path))}?mode={mode}", uri=True, timeout=WAIT_S, check_same_thread=False
            )
            connection.isolation_level = None  # transactions are begun and ended by `_writing`
            if create:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.executescript(SCHEMA)
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA secure_delete=ON")  # what `forget` deletes is overwritten
            connection.execute("SELECT 1 FROM recsys_events LIMIT 1").fetchone()
            self._inode = self._path.stat().st_ino
        except (sqlite3.Error, OSError) as error:
            if "no such table" in str(error) or "not a database" in str(error):
                raise ValueError(f"{self.address} is no store of histories ({error})") from None
            raise StoreUnavailableError(f"the store {self.address} cannot be opened: {error}") from None
        self._connection, self._types = connection, None

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """The connection to the file that is there now."""
        with self._lock:
            try:
                if self._path.stat().st_ino != self._inode or self._connection is None:
                    self.close()
                    self._connect()
            except FileNotFoundError:
                self.close()
                raise StoreUnavailableError(f"the store {self.address} is not there") from None
            assert self._connection is not None
            try:
                yield self._connection
            except sqlite3.Error as error:
                self.close()
                raise StoreUnavailableError(f"the store {self.address} failed: {error}") from None

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction, which waits for that of another process."""
        with self._opened() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    @property
    def id_types(self) -> IdTypes | None:
        with self._opened() as connection:
            return self._stored_types(connection) or self._new_types

    def _stored_types(self, connection: sqlite3.Connection) -> IdTypes | None:
        if self._types is None:
            found = dict(connection.execute("SELECT name, value FROM recsys_settings").fetchall())
            if "user_type" in found:
                self._types = IdTypes(user=type_named(found["user_type"]), item=type_named(found["item_type"]))
        return self._types

    def _settle_types(self, connection: sqlite3.Connection, types: IdTypes) -> IdTypes:
        """The types of the file; those that are given if it has none yet."""
        if (stored := self._stored_types(connection)) is not None:
            return stored
        pairs = [("user_type", type_name(types.user)), ("item_type", type_name(types.item)), ("arrivals", "0")]
        connection.executemany("INSERT INTO recsys_settings VALUES (?, ?)", pairs)
        return types

    def histories(self, users: Sequence[Id]) -> list[tuple[Id, ...] | None]:
        query = """SELECT user_id, item_id FROM recsys_events WHERE user_id IN (SELECT value FROM json_each(?))
            ORDER BY user_id, time, arrival"""
        found: dict[Id, list[Id]] = {}
        with self._opened() as connection:
            for user, item in connection.execute(query, (json.dumps(list(users)),)):
                found.setdefault(user, []).append(item)
        return [tuple(found[user]) if user in found else None for user in users]

    def rows(self, users: Sequence[Id], training_users: str) -> list[int | None]:
        query = """SELECT user_id, place FROM recsys_rows
            WHERE training_users = ? AND user_id IN (SELECT value FROM json_each(?))"""
        with self._opened() as connection:
            known = connection.execute("SELECT 1 FROM recsys_rows WHERE training_users = ? LIMIT 1", (training_users,))
            if known.fetchone() is None:
                raise no_rows(self.address)
            found = dict(connection.execute(query, (training_users, json.dumps(list(users)))).fetchall())
        return [found.get(user) for user in users]

    def users(self, block: int = 4096) -> Iterator[list[Id]]:
        query = "SELECT DISTINCT user_id FROM recsys_events {} ORDER BY user_id LIMIT ?"
        last: tuple[Id, ...] = ()
        while True:
            with self._opened() as connection:
                rows = connection.execute(query.format("WHERE user_id > ?" if last else ""), (*last, block)).fetchall()
            if not rows:
                return
            yield [user for (user,) in rows]
            last = rows[-1]

    def append(self, events: Iterable[Event]) -> int:
        return sum(self.append_groups([block])[0] for block in in_blocks(events, BLOCK))

    def append_groups(self, groups: Sequence[Sequence[Event]]) -> list[int]:
        first = next((event for group in groups for event in group), None)
        if first is None:
            return [0] * len(groups)
        with self._writing() as connection:
            types = self._settle_types(connection, self._new_types or types_of(first))
            (stored,) = connection.execute("SELECT value FROM recsys_settings WHERE name = 'arrivals'").fetchone()
            arrival, values = int(stored) + 1, [list[tuple[Id, Id, int | None, int]]() for _ in groups]
            for event, group, place in placed(groups, types):
                values[group].append((*event, arrival + place))
            written = [connection.executemany(UPSERT, rows).rowcount if rows else 0 for rows in values]
            connection.execute(
                "UPDATE recsys_settings SET value = ? WHERE name = 'arrivals'", (str(arrival + sum(map(len, groups))),)
            )
        return written

    def append_rows(self, users: Sequence[Id], first_row: int, training_users: str) -> None:
        values = [(training_users, user, row) for row, user in enumerate(users, first_row)]
        with self._writing() as connection:
            connection.executemany("INSERT OR REPLACE INTO recsys_rows VALUES (?, ?, ?)", values)

    def forget(self, users: Sequence[Id]) -> int:
        places = "user_id IN (SELECT value FROM json_each(?))"
        asked = (json.dumps(list(users)),)
        with self._writing() as connection:
            (known,) = connection.execute(
                f"SELECT count(DISTINCT user_id) FROM recsys_events WHERE {places}", asked
            ).fetchone()
            for table in ("recsys_events", "recsys_rows"):
                connection.execute(f"DELETE FROM {table} WHERE {places}", asked)
        with self._opened() as connection:  # the deleted pages leave the file and its log too
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return int(known)

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

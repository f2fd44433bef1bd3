"""Histories in PostgreSQL, by psycopg 3. libpq reads a password from PGPASSWORD or ~/.pgpass."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from serving.histories.events import (
    RETRY_AFTER_S,
    UNKNOWN_TIME,
    Event,
    PlacedEvent,
    StoreUnavailableError,
    in_blocks,
    no_rows,
    of_type,
    placed,
    types_of,
)
from serving.ids import Id, IdTypes, type_name, type_named

if TYPE_CHECKING:
    import psycopg

T = TypeVar("T")
MISSING = "PostgreSQL needs the package psycopg, which is not installed: pip install 'psycopg[binary]'"
BLOCK = 1 << 14
"""Events of a transaction of `append`. `arrival` holds a number of a sequence above the place among so many events."""
DEFAULTS = {"connect_timeout": "5", "tcp_user_timeout": "10000", "options": "-c statement_timeout=30000"}
"""Parameters of a connection, unless the address has them: a server that hangs is an error after seconds."""
LOCK = 7_106_905_412_611
"""Number of the advisory lock under which the tables are made."""
SETTINGS = "CREATE TABLE IF NOT EXISTS recsys_settings (name text PRIMARY KEY, value text NOT NULL)"
TABLES = """
    CREATE SEQUENCE IF NOT EXISTS recsys_arrivals;
    CREATE TABLE IF NOT EXISTS recsys_events (user_id {user} NOT NULL, item_id {item} NOT NULL, time bigint NOT NULL,
        arrival bigint NOT NULL, PRIMARY KEY (user_id, item_id));
    CREATE TABLE IF NOT EXISTS recsys_rows (training_users text NOT NULL, user_id {user} NOT NULL,
        place integer NOT NULL, PRIMARY KEY (training_users, user_id));
"""
UPSERT = f"""
    INSERT INTO recsys_events SELECT * FROM unnest(%s::{{user}}[], %s::{{item}}[], %s::bigint[], %s::bigint[])
    ON CONFLICT (user_id, item_id) DO UPDATE SET time = excluded.time, arrival = excluded.arrival
    WHERE excluded.time >= recsys_events.time AND excluded.time > {UNKNOWN_TIME} RETURNING arrival
"""
Value = tuple[Id, Id, int | None, int, int]
"""User, item, time, arrival and group of an event."""
_COLUMN = {"text": 'text COLLATE "C"', "int64": "bigint"}
_ARRAY = {"text": "text", "int64": "bigint"}


def shown_address(address: str) -> str:
    """The address without a password.

    Raises:
        ValueError: it is no address of PostgreSQL, or psycopg is missing.
    """
    try:
        from psycopg import conninfo
    except ImportError:
        raise ValueError(MISSING) from None
    try:
        parts = {k: str(v) for k, v in conninfo.conninfo_to_dict(address).items() if v is not None and k != "password"}
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"--store: the address of PostgreSQL cannot be read ({reason})") from None
    user = f"{quote(parts.pop('user'), safe='')}@" if "user" in parts else ""
    host, port, name = parts.pop("host", ""), parts.pop("port", ""), parts.pop("dbname", "")
    where = f"{f'[{host}]' if ':' in host else quote(host, safe='')}{f':{port}' if port else ''}"
    rest = "&".join(f"{key}={quote(value, safe='')}" for key, value in parts.items())
    return f"postgresql://{user}{where}/{quote(name, safe='')}{f'?{rest}' if rest else ''}"


def _statements(events: Iterable[PlacedEvent], arrivals: Sequence[int]) -> list[list[Value]]:
    """The values of consecutive statements: one statement takes a pair of user and item once.

    Those of a statement are sorted: two writers lock the rows in the same order, so that neither waits for the other
    for ever. The first statement holds all pairs, so the others lock nothing that is not locked.
    """
    found: list[list[Value]] = []
    seen: Counter[tuple[Id, Id]] = Counter()
    for event, group, place in events:
        pair = (event.user, event.item)
        if seen[pair] == len(found):
            found.append([])
        found[seen[pair]].append((*event, arrivals[place // BLOCK] + place % BLOCK, group))
        seen[pair] += 1
    return [sorted(values) for values in found]


class PostgresqlStore:
    """Three tables, `recsys_settings`, `recsys_events` and `recsys_rows`, in the first schema of the search path."""

    read_only = False

    def __init__(self, address: str, *, create: bool = False, id_types: IdTypes | None = None) -> None:
        """Connects with the first call.

        Args:
            create: make the tables if they are not there.
            id_types: of a new store; None for those of its first event.
        """
        self.address, self._given, self._create = shown_address(address), address, create
        self._new_types = id_types
        self._types: IdTypes | None = None
        self._lock = threading.RLock()
        self._connection: psycopg.Connection[Any] | None = None
        self._down_until = 0.0

    def check(self) -> None:
        """Raise ValueError if there are no tables, and `StoreUnavailableError` if the server does not answer."""
        self._run(lambda connection: connection.execute("SELECT 1 FROM recsys_settings LIMIT 1"))

    def _connect(self) -> psycopg.Connection[Any]:
        import psycopg
        from psycopg import conninfo

        options = {k: v for k, v in DEFAULTS.items() if k not in conninfo.conninfo_to_dict(self._given)}
        connection = psycopg.connect(self._given, autocommit=True, **options)
        self._types = None
        if self._create:
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
                connection.execute(SETTINGS)
        return connection

    def _run(self, work: Callable[[psycopg.Connection[Any]], T]) -> T:
        """Do something with the connection; once more with a new one if the server has closed it."""
        import psycopg

        with self._lock:
            if time.monotonic() < self._down_until:
                raise StoreUnavailableError(f"the store {self.address} does not answer")
            try:
                if self._connection is not None and not self._connection.closed:
                    try:
                        return work(self._connection)
                    except (psycopg.OperationalError, psycopg.InterfaceError):
                        self.close()
                self._connection = self._connect()
                return work(self._connection)
            except psycopg.errors.UndefinedTable:
                raise ValueError(
                    f"{self.address} is no store of histories; fill it with: python -m serving histories load"
                ) from None
            except psycopg.Error as error:
                self.close()
                self._down_until = time.monotonic() + RETRY_AFTER_S
                reason = " ".join(str(error).split())
                raise StoreUnavailableError(f"the store {self.address} does not answer: {reason}") from None

    @property
    def id_types(self) -> IdTypes | None:
        return self._run(self._stored_types) or self._new_types

    def _stored_types(self, connection: psycopg.Connection[Any]) -> IdTypes | None:
        if self._types is None:
            found = dict(connection.execute("SELECT name, value FROM recsys_settings").fetchall())
            if "user_type" in found:
                self._types = IdTypes(user=type_named(found["user_type"]), item=type_named(found["item_type"]))
        return self._types

    def _settle_types(self, connection: psycopg.Connection[Any], types: IdTypes) -> IdTypes:
        """The types of the store; those that are given, and tables of them, if it has none yet."""
        if (stored := self._stored_types(connection)) is not None:
            return stored
        names = {"user_type": type_name(types.user), "item_type": type_name(types.item)}
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            for pair in names.items():
                connection.execute("INSERT INTO recsys_settings VALUES (%s, %s) ON CONFLICT DO NOTHING", pair)
            settled = self._stored_types(connection)
            assert settled is not None, "the types were written"
            columns = {"user": _COLUMN[type_name(settled.user)], "item": _COLUMN[type_name(settled.item)]}
            connection.execute(TABLES.format(**columns))
        return settled

    def _select(self, query: str, users: Sequence[Id], *values: object) -> list[Any]:
        """The rows of a query that names the users as %s::{type}[]; none if the store is new."""

        def work(connection: psycopg.Connection[Any]) -> list[Any]:
            types = self._stored_types(connection)
            if types is None:
                return []
            typed = query.format(type=_ARRAY[type_name(types.user)])
            return connection.execute(typed, (*values, of_type(users, types.user))).fetchall()

        return self._run(work)

    def histories(self, users: Sequence[Id]) -> list[tuple[Id, ...] | None]:
        found: dict[Id, list[Id]] = {}
        query = """SELECT user_id, item_id FROM recsys_events WHERE user_id = ANY(%s::{type}[])
            ORDER BY user_id, time, arrival"""
        for user, item in self._select(query, users):
            found.setdefault(user, []).append(item)
        return [tuple(found[user]) if user in found else None for user in users]

    def rows(self, users: Sequence[Id], training_users: str) -> list[int | None]:
        query = "SELECT user_id, place FROM recsys_rows WHERE training_users = %s AND user_id = ANY(%s::{type}[])"
        found = dict(self._select(query, users, training_users))
        if not found and not self._select(
            "SELECT 1 FROM recsys_rows WHERE training_users = %s AND user_id <> ALL(%s::{type}[]) LIMIT 1",
            (),
            training_users,
        ):
            raise no_rows(self.address)
        return [found.get(user) for user in users]

    def users(self, block: int = 4096) -> Iterator[list[Id]]:
        last: tuple[Id, ...] = ()
        while rows := self._run(partial(self._users_after, last, block)):
            yield [user for (user,) in rows]
            last = rows[-1]

    def _users_after(self, last: tuple[Id, ...], block: int, connection: psycopg.Connection[Any]) -> list[Any]:
        """The next users in the order of their ids, each in a row of its own."""
        if self._stored_types(connection) is None:
            return []
        where = "WHERE user_id > %s" if last else ""
        query = f"SELECT DISTINCT user_id FROM recsys_events {where} ORDER BY user_id LIMIT %s"
        return connection.execute(query, (*last, block)).fetchall()

    def append(self, events: Iterable[Event]) -> int:
        return sum(self.append_groups([block])[0] for block in in_blocks(events, BLOCK))

    def append_groups(self, groups: Sequence[Sequence[Event]]) -> list[int]:
        first = next((event for group in groups for event in group), None)

        def work(connection: psycopg.Connection[Any]) -> list[int]:
            written = [0] * len(groups)
            if first is None:
                return written
            types = self._settle_types(connection, self._new_types or types_of(first))
            with connection.transaction():
                for values in _statements(placed(groups, types), self._arrivals(connection, groups)):
                    group_of = {arrival: group for *_, arrival, group in values}
                    names = {"user": _ARRAY[type_name(types.user)], "item": _ARRAY[type_name(types.item)]}
                    columns = [list(column) for column in list(zip(*values, strict=True))[:4]]
                    for (arrival,) in connection.execute(UPSERT.format(**names), columns).fetchall():
                        written[group_of[arrival]] += 1
            return written

        return self._run(work)

    def _arrivals(self, connection: psycopg.Connection[Any], groups: Sequence[Sequence[Event]]) -> list[int]:
        """The first `arrival` of each BLOCK of the events of a transaction."""
        blocks = -(-sum(map(len, groups)) // BLOCK)
        query = "SELECT nextval('recsys_arrivals') FROM generate_series(1, %s)"
        return sorted(number * BLOCK for (number,) in connection.execute(query, (blocks,)).fetchall())

    def append_rows(self, users: Sequence[Id], first_row: int, training_users: str) -> None:
        query = """INSERT INTO recsys_rows SELECT %s, u, %s + n - 1 FROM unnest(%s::{type}[]) WITH ORDINALITY AS x(u, n)
            ON CONFLICT (training_users, user_id) DO UPDATE SET place = excluded.place RETURNING 1"""
        self._select(query, users, training_users, first_row)

    def forget(self, users: Sequence[Id]) -> int:
        known = self._select("SELECT DISTINCT user_id FROM recsys_events WHERE user_id = ANY(%s::{type}[])", users)
        for table in ("recsys_events", "recsys_rows"):
            self._select(f"DELETE FROM {table} WHERE user_id = ANY(%s::{{type}}[]) RETURNING 1", users)
        return len(known)

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

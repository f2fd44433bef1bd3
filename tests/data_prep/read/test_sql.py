"""Tables and queries of real databases: an SQLite file, and a PostgreSQL server that the test starts."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from data_prep.read.asked import Asked
from data_prep.read.rows import Rows
from data_prep.read.sql import SqlSource, _parts

from .postgresql_server import ENCODED, PASSWORD, execute, free_port, running

ROWS = [
    ("ann@x.org", "SKU-2", 4.5, "2020-01-02T10:00:00"),
    ("bob@x.org", "SKU-1", 3.0, "2020-01-01T10:00:00"),
    ("ann@x.org", "SKU-1", 5.0, "2020-01-01T10:00:00"),
    ("ann@x.org", "SKU-1", 1.0, "2020-01-01T10:00:00"),
]
EXPECTED = [
    ("ann@x.org", "SKU-1", 1.0, 1577872800000000),
    ("ann@x.org", "SKU-1", 5.0, 1577872800000000),
    ("bob@x.org", "SKU-1", 3.0, 1577872800000000),
    ("ann@x.org", "SKU-2", 4.5, 1577959200000000),
]
"""By time, user, item and rating; microseconds since 1970."""


def texts(ids: Any) -> list[Any]:
    """The ids of rows as they came in."""
    if ids.names is None:
        return ids.keys.tolist()
    named = dict(zip(ids.names.keys.tolist(), ids.names.texts.to_pylist(), strict=True))
    return [named[key] for key in ids.keys.tolist()]


def everything(source: SqlSource) -> list[tuple]:
    found = []
    for block in source.read(0, 1, lambda rows: rows):
        assert block.values is not None and block.times is not None
        columns = (texts(block.users), texts(block.items), block.values.tolist(), block.times.tolist())
        found += list(zip(*columns, strict=True))
    return found


# SQLite


@pytest.fixture
def lite(tmp_path: Path) -> Callable[..., str]:
    """Write an SQLite file; returns its address."""

    def write(*statements: str, rows: Any = ROWS) -> str:
        with sqlite3.connect(tmp_path / "shop.db") as database:
            database.execute("CREATE TABLE Orders (customer_email, sku, rating, purchased_at)")
            database.executemany("INSERT INTO Orders VALUES (?, ?, ?, ?)", rows)
            for statement in statements:
                database.execute(statement)
        database.close()
        return f"sqlite:///{tmp_path / 'shop.db'}"

    return write


@pytest.mark.parametrize("sql", ["Orders", "orders", "SELECT * FROM Orders;", "-- all\nselect * from Orders -- end"])
def test_sqlite(sql: str, lite: Callable[..., str]) -> None:
    source = SqlSource(Asked(database=lite(), sql=sql))
    assert (source.schema.user, source.schema.item) == ("customer_email", "sku")
    assert everything(source) == EXPECTED
    assert source.rows_estimate() == 4
    assert list(source.read(1, 2, lambda rows: rows)) == []


def test_the_digest_is_that_of_the_rows(lite: Callable[..., str]) -> None:
    address = lite()
    one, two = (SqlSource(Asked(database=address, sql="Orders")) for _ in range(2))
    everything(one)
    assert one.digest() == two.digest()
    assert one.stamp() == two.stamp()
    other = SqlSource(Asked(database=address, sql="SELECT * FROM Orders WHERE rating > 2"))
    assert other.digest() != one.digest()


def test_a_query_names_columns_for_the_reader(lite: Callable[..., str]) -> None:
    sql = "SELECT customer_email AS who, sku AS what, purchased_at FROM Orders WHERE rating > 2"
    with pytest.raises(
        ValueError, match="the query: no column 'userId', 'movieId' among 'who', 'what', 'purchased_at'"
    ):
        SqlSource(Asked(database=lite(), sql=sql))


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("", "--database needs --sql \"SELECT ...\" or --sql TABLE; the tables of sqlite:///{path}: 'Orders'"),
        ("order", "sqlite:///{path} has no table 'order', its tables: 'Orders'"),
        ("DELETE FROM Orders", "--sql is 'DELETE FROM Orders', expected a SELECT or the name of a table"),
        ("SELECT * FROM Orders; DELETE FROM Orders", "{path} refuses the query of --sql: near"),
        ("SELECT nope FROM Orders", "{path} refuses the query of --sql: no such column: nope"),
        ("SELECT * FROM Orders WHERE rating > 9", "sqlite:///{path}, the query holds no rows"),
        (
            "SELECT sku, rating FROM Orders",
            "no column 'userId' among 'sku', 'rating'; name the right one with --user-c",
        ),
    ],
)
def test_bad_queries(sql: str, message: str, lite: Callable[..., str], tmp_path: Path) -> None:
    with pytest.raises(ValueError) as refused:
        SqlSource(Asked(database=lite(), sql=sql))
    assert message.format(path=tmp_path / "shop.db") in str(refused.value)
    assert "\n" not in str(refused.value)
    with sqlite3.connect(tmp_path / "shop.db") as database:
        assert database.execute("SELECT count(*) FROM Orders").fetchone() == (4,)


def test_ids_of_several_types(lite: Callable[..., str]) -> None:
    with pytest.raises(ValueError, match="column 'sku' holds texts and whole numbers; make them one type: CAST"):
        SqlSource(Asked(database=lite(rows=[*ROWS, ("ann@x.org", 7, 4.0, "2020-01-01")]), sql="Orders"))


def test_a_missing_id_names_its_row(lite: Callable[..., str]) -> None:
    source = SqlSource(Asked(database=lite(rows=[*ROWS, (None, "SKU-1", 4.0, "2021-01-01T00:00:00")]), sql="Orders"))
    with pytest.raises(
        ValueError, match="shop.db, row 5 in order of time, user and item: 1 rows have an empty user id"
    ):
        everything(source)


def test_a_file_that_changes(lite: Callable[..., str], tmp_path: Path) -> None:
    source = SqlSource(Asked(database=lite(), sql="Orders"))
    with sqlite3.connect(tmp_path / "shop.db") as database:
        database.execute("DELETE FROM Orders WHERE rating = 3")
    database.close()
    with pytest.raises(ValueError, match="was changed while it was read"):
        everything(source)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("sqlite:///nowhere.db", "nowhere.db does not exist; name the file of the database"),
        ("mysql://me:secret@host/x", "--database is an address of 'mysql', expected postgresql://user@host/name or"),
        ("shop", "--database is no address, expected postgresql://"),
        (f"postgresql://me:{PASSWORD}@host/x", "--database cannot be understood"),
    ],
)
def test_bad_addresses(address: str, message: str) -> None:
    with pytest.raises(ValueError) as refused:
        SqlSource(Asked(database=address, sql="Orders"))
    assert message in str(refused.value)
    assert "secret" not in str(refused.value) and "p@ss" not in str(refused.value)


def test_an_absolute_path_has_four_slashes(lite: Callable[..., str]) -> None:
    address = lite().replace("sqlite:////", "sqlite:///")
    with pytest.raises(
        ValueError, match=r"does not exist \(an absolute path has four slashes: sqlite:////.*shop.db\); name"
    ):
        SqlSource(Asked(database=address, sql="Orders"))


def test_a_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adbc_driver_postgresql", None)
    with pytest.raises(ValueError) as refused:
        SqlSource(Asked(database="postgresql://me:secret@host/x", sql="orders"))
    assert str(refused.value) == (
        "PostgreSQL needs packages that are not installed: pip install adbc-driver-postgresql adbc-driver-manager"
    )


def test_what_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("no database, but long enough that it could be one " * 40)
    with pytest.raises(ValueError, match="x.db cannot be opened as an SQLite database: file is not a database"):
        SqlSource(Asked(database=f"sqlite:///{tmp_path / 'x.db'}", sql="t"))


@pytest.mark.parametrize(
    ("address", "url", "password", "shown"),
    [
        ("postgres://h/d", "postgresql://h/d?connect_timeout=10", "", "postgresql://h/d"),
        (
            f"postgresql+psycopg2://me:{ENCODED}@h:5433/d?sslmode=require",
            f"postgresql://me:{ENCODED}@h:5433/d?sslmode=require&connect_timeout=10",
            PASSWORD,
            "postgresql://me@h:5433/d",
        ),
        (
            "postgresql://me@[::1]/d?password=abc&connect_timeout=3",
            "postgresql://me@[::1]/d?password=abc&connect_timeout=3",
            "abc",
            "postgresql://me@[::1]/d",
        ),
    ],
)
def test_parts_of_an_address(address: str, url: str, password: str, shown: str) -> None:
    assert _parts(address) == (url, password, shown)


# PostgreSQL


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server with some tables; its address without login."""
    with running() as place:
        _fill(f"postgresql://me:{ENCODED}@{place}")
        yield place


def _fill(url: str) -> None:
    values = ", ".join(f"('{u}', '{i}', {r}, '{t}')" for u, i, r, t in ROWS)
    execute(
        url,
        "CREATE TABLE orders (customer_email text, sku varchar(20), rating numeric, purchased_at timestamp)",
        f"INSERT INTO orders VALUES {values}",
        "CREATE SCHEMA shop",
        'CREATE TABLE shop."Visits" AS SELECT gen_random_uuid() AS user_id, g::smallint AS item_id, '
        "now() AS visited_at, g % 2 = 0 AS clicked FROM generate_series(1, 5) AS g",
        "CREATE TABLE many AS SELECT (g * 7) % 1000 AS user_id, repeat('item ', 20) || g % 300 AS item, "
        "to_timestamp(1500000000 + g % 1000) AS time FROM generate_series(1, 300000) AS g",
    )


def asked(server: str, sql: str, **more: Any) -> Asked:
    return Asked(database=f"postgresql://me:{ENCODED}@{server}", sql=sql, **more)


@pytest.mark.parametrize("sql", ["orders", "ORDERS", "select * from orders -- all", "WITH o AS (TABLE orders) TABLE o"])
def test_postgresql(sql: str, server: str) -> None:
    source = SqlSource(asked(server, sql))
    assert list(source.files) == [f"postgresql://me@{server}"]
    assert source.schema.notes == ("column 'purchased_at': times without a zone were taken as UTC",)
    assert everything(source) == EXPECTED
    assert list(source.read(1, 2, lambda rows: rows)) == []


def test_types_of_postgresql(server: str) -> None:
    source = SqlSource(asked(server, "shop.visits"))
    (block,) = source.read(0, 1, lambda rows: rows)
    assert source.schema.kind == "boolean" and source.schema.time_unit == "us"
    assert sorted(block.items.keys.tolist()) == [1, 2, 3, 4, 5]
    assert all(len(text) == 36 and text[14] == "4" for text in texts(block.users))  # UUIDs of version 4
    by_item = dict(zip(block.items.keys.tolist(), block.values.tolist(), strict=True))
    assert by_item == {1: 0.0, 2: 1.0, 3: 0.0, 4: 1.0, 5: 0.0}


def test_every_reading_sees_the_same_rows_in_the_same_order(server: str) -> None:
    def keys(rows: Rows) -> list[tuple[int, int, int]]:
        assert rows.times is not None
        return list(zip(rows.users.keys.tolist(), rows.items.keys.tolist(), rows.times.tolist(), strict=True))

    source = SqlSource(asked(server, "many"))
    stamp = source.stamp()
    blocks = list(source.read(0, 1, keys))
    assert len(blocks) > 1  # streamed
    url = f"postgresql://me:{ENCODED}@{server}"
    execute(url, "UPDATE many SET item = 'item 0' WHERE user_id = 5")  # moves these rows, and changes them
    assert list(chain(*source.read(0, 1, keys))) == list(chain(*blocks))
    later = SqlSource(asked(server, "many"))
    assert later.stamp() != stamp
    assert later.digest() != source.digest()
    times = [time for _, _, time in chain(*blocks)]
    assert times == sorted(times) and len(times) == 300_000


def test_a_server_that_goes_away_while_rows_are_read(server: str) -> None:
    """The message of the driver, in one line."""
    source = SqlSource(asked(server, "many"))
    reading = source.read(0, 1, lambda rows: rows.count)
    assert next(reading) > 0
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = 'me'"
    execute(f"postgresql://me:{ENCODED}@{server}", others)
    with pytest.raises(
        ValueError, match=f"^postgresql://me@{server} (failed while it was read|cannot be asked): [^\n]+$"
    ):
        list(reading)
        source.stamp()


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        (
            "",
            "--database needs --sql \"SELECT ...\" or --sql TABLE; the tables of postgresql://me@{server}: 'many', '",
        ),
        ("nowhere", "postgresql://me@{server} has no table 'nowhere', its tables: 'many', 'orders', 'shop.Visits'"),
        ("DROP TABLE orders", "--sql is 'DROP TABLE orders', expected a SELECT or the name of a table"),
        ("WITH d AS (DELETE FROM orders RETURNING *) SELECT * FROM d", "refuses the query of --sql: "),
        ("SELECT nope FROM orders", 'refuses the query of --sql: column "nope" does not exist'),
        ("SELECT * FROM orders WHERE 1 / (rating - 3)::int > 0", "refuses the query of --sql: division by zero"),
        ("SELECT * FROM orders WHERE false", "postgresql://me@{server}, the query holds no rows"),
    ],
)
def test_bad_queries_of_postgresql(sql: str, message: str, server: str) -> None:
    with pytest.raises(ValueError) as refused:
        SqlSource(asked(server, sql))
    assert message.format(server=server) in str(refused.value)
    assert "\n" not in str(refused.value) and "p@ss" not in str(refused.value)
    assert len(everything(SqlSource(asked(server, "orders")))) == 4


@pytest.mark.parametrize(
    ("login", "place", "reason"),
    [
        ("me:wr%40ng", "{server}", 'password authentication failed for user "me"'),
        (f"me:{ENCODED}", "127.0.0.1:{closed}/postgres", "Connection refused"),
        (f"me:{ENCODED}", "{host}/nowhere", 'database "nowhere" does not exist'),
    ],
)
def test_a_database_that_cannot_be_opened(login: str, place: str, reason: str, server: str) -> None:
    where = place.format(server=server, host=server.split("/")[0], closed=free_port())
    with pytest.raises(ValueError) as refused:
        SqlSource(Asked(database=f"postgresql://{login}@{where}", sql="orders"))
    message = str(refused.value)
    assert message.startswith(f"postgresql://me@{where} cannot be opened: ")
    assert reason in message and "\n" not in message
    assert "p@ss" not in message and "wr@ng" not in message and "%40" not in message

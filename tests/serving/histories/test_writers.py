"""Two writers at once, and stores that go away and come back."""

from __future__ import annotations

import multiprocessing
import sqlite3
import time
from pathlib import Path

import pytest

from serving.histories import postgresql as postgresql_store
from serving.histories import redis as redis_store
from serving.histories import sqlite
from serving.histories.events import RETRY_AFTER_S, Event, StoreUnavailableError
from serving.histories.sqlite import SqliteStore
from serving.histories.store import open_store
from tests.data_prep.read.postgresql_server import free_port
from tests.serving.histories.conftest import empty_postgresql, empty_redis
from tests.serving.histories.servers import RedisServer

ITEMS = 60


def _write(address: str, first: int) -> None:
    """Events of users that another process writes too, in blocks of two."""
    store = open_store(address, create=True)
    for item in range(first, first + ITEMS):
        assert store.append([Event(1, item), Event(2, -item), Event(1, 10_000, item)]) >= 2
    store.close()


def test_two_writers_lose_nothing(address: str) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(address, first)) for first in (0, 1_000)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert [writer.exitcode for writer in writers] == [0, 0]
    wanted = {*range(ITEMS), *range(1_000, 1_000 + ITEMS)}
    found = open_store(address).histories([1, 2])
    assert found[0] is not None and found[1] is not None
    assert len(found[0]) == len(set(found[0])) and set(found[0]) == {*wanted, 10_000}
    assert set(found[1]) == {-item for item in wanted}


def test_a_reader_is_not_kept_waiting_by_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    store = open_store(f"sqlite:///{path}", create=True)
    store.append([Event(1, 1)])
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    assert store.histories([1]) == [(1,)]
    assert time.monotonic() - started < 5  # a writer would wait for 10 s
    writer.close()


def test_an_sqlite_file_that_was_moved_away_and_back(tmp_path: Path) -> None:
    path, away = tmp_path / "h.db", tmp_path / "away.db"
    store = open_store(f"sqlite:///{path}", create=True)
    store.append([Event(1, 1)])
    path.rename(away)
    for _ in range(2):
        with pytest.raises(StoreUnavailableError, match=r"the store sqlite:///.*h\.db is not there"):
            store.histories([1])
    with pytest.raises(StoreUnavailableError, match="is not there"):
        store.append([Event(1, 2)])
    assert not path.exists()  # no writer makes an empty one
    away.rename(path)
    assert store.histories([1]) == [(1,)]


def test_a_redis_that_was_killed_and_started_again(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(empty_redis(redis_server, monkeypatch))
    store.append([Event(1, 1, 5), Event(1, 2, 6)])
    redis_server.kill()
    for _ in range(2):  # the second answer comes without another try
        with pytest.raises(StoreUnavailableError, match=f"redis://127.0.0.1:{redis_server.port}/0 does not answer"):
            store.histories([1])
    redis_server.start()
    time.sleep(RETRY_AFTER_S)
    assert store.histories([1]) == [(1, 2)]
    assert store.append([Event(1, 1, 7)]) == 1
    assert store.histories([1]) == [(2, 1)]


def test_a_connection_that_postgresql_ended(postgresql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    psycopg = pytest.importorskip("psycopg")
    store = open_store(empty_postgresql(postgresql, monkeypatch), create=True)
    store.append([Event(1, 1)])
    with psycopg.connect(f"postgresql://me@{postgresql}", autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    assert store.histories([1]) == [(1,)]
    assert store.append([Event(1, 2)]) == 1


def test_a_new_sqlite_file_is_its_owners_alone(tmp_path: Path) -> None:
    open_store(f"sqlite:///{tmp_path / 'new' / 'h.db'}", create=True).append([Event(1, 1)])
    assert {p.stat().st_mode & 0o777 for p in (tmp_path / "new").iterdir()} == {0o600}


@pytest.mark.parametrize("scheme", ["postgresql", "redis"])
def test_a_server_that_is_not_there(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psycopg" if scheme == "postgresql" else "redis")
    address = f"{scheme}://me:s3cret@127.0.0.1:{free_port()}/0"
    with pytest.raises(StoreUnavailableError, match="does not answer: .*refused") as caught:
        open_store(address)
    assert "s3cret" not in str(caught.value) and "\n" not in str(caught.value)
    open_store(address, must_answer=False).close()


def test_a_wrong_password(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDISCLI_AUTH", "wrong")
    with pytest.raises(StoreUnavailableError, match="does not answer: .*(WRONGPASS|invalid username-password)"):
        open_store(redis_server.address)


def test_postgresql_without_tables(postgresql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "p@ss:w/rd#1")
    address = f"postgresql://me@{postgresql}?options=-c%20search_path%3Dnowhere"
    with pytest.raises(ValueError, match="is no store of histories; fill it with: python -m serving histories load"):
        open_store(address)


GROUPS = [[Event(1, 1, 5), Event(2, 2, 5)], [Event(1, 1, 6)], [Event(3, 3, 6), Event(1, 1, 7)]]
"""One pair in every group, which PostgreSQL does not take twice in a statement."""


def test_groups_are_one_transaction_of_sqlite(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'h.db'}", create=True)
    assert isinstance(store, SqliteStore) and store._connection is not None
    statements: list[str] = []
    store._connection.set_trace_callback(statements.append)
    assert store.append_groups(GROUPS) == [2, 1, 2]
    assert statements.count("COMMIT") == 1


def test_groups_are_one_transaction_of_postgresql(postgresql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    psycopg = pytest.importorskip("psycopg")
    address = empty_postgresql(postgresql, monkeypatch)
    assert open_store(address, create=True).append_groups(GROUPS) == [2, 1, 2]
    with psycopg.connect(address) as other:
        assert other.execute("SELECT count(DISTINCT xmin::text), count(*) FROM recsys_events").fetchone() == (1, 3)


def test_groups_are_one_transaction_of_redis(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    redis = pytest.importorskip("redis")
    store = open_store(empty_redis(redis_server, monkeypatch))
    store.append([Event(9, 9)])
    server = redis.Redis(port=redis_server.port, password=redis_server.password)
    server.config_resetstat()
    assert store.append_groups(GROUPS) == [2, 1, 2]
    assert server.info("commandstats")["cmdstat_exec"]["calls"] == 1


def test_more_events_than_a_block_keep_their_order(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (sqlite, postgresql_store, redis_store):
        monkeypatch.setattr(module, "BLOCK", 3)
    store = open_store(address, create=True)
    store.append([Event(1, item, 5) for item in range(10)])
    assert store.append_groups([[Event(1, item, 5) for item in (3, 9, 1, 7)], [Event(1, 20, 5), Event(1, 0, 5)]]) == [
        4,
        2,
    ]
    assert store.histories([1]) == [(2, 4, 5, 6, 8, 3, 9, 1, 7, 20, 0)]

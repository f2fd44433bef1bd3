"""Empty stores of every kind, on real servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from serving.histories.store import HistoryStore, open_store
from tests.data_prep.read.postgresql_server import ENCODED, PASSWORD, running
from tests.serving.histories.servers import RedisServer, running_redis

Opener = Callable[[], HistoryStore]
KINDS = ("sqlite", "postgresql", "redis")
_NUMBERS = count()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """Host, port and database of a server whose user "me" has the password PASSWORD."""
    pytest.importorskip("psycopg", reason="the package psycopg is not installed")
    with running() as where:
        yield where


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


def empty_postgresql(where: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty schema of its own; the password is in PGPASSWORD."""
    import psycopg

    name = f"store{next(_NUMBERS)}"
    with psycopg.connect(f"postgresql://me:{ENCODED}@{where}", autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    return f"postgresql://me@{where}?options=-c%20search_path%3D{name}"


def empty_redis(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of the server, emptied; the password is in REDISCLI_AUTH."""
    import redis

    redis.Redis(port=server.port, password=server.password).flushall()
    monkeypatch.setenv("REDISCLI_AUTH", server.password)
    return server.address


@pytest.fixture(params=KINDS)
def address(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of an empty store."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'histories.db'}"
    server: Any = request.getfixturevalue("postgresql" if request.param == "postgresql" else "redis_server")
    return (empty_postgresql if request.param == "postgresql" else empty_redis)(server, monkeypatch)


@pytest.fixture
def opener(address: str) -> Iterator[Opener]:
    """Opens the same store again and again, each time with a connection of its own."""
    opened: list[HistoryStore] = []

    def again() -> HistoryStore:
        opened.append(open_store(address, create=True))
        return opened[-1]

    yield again
    for store in opened:
        store.close()


@pytest.fixture
def store(opener: Opener) -> HistoryStore:
    return opener()

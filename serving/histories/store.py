"""The interface of the stores of histories, and `open_store`, which opens one by its address."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from serving.histories import postgresql, redis
from serving.histories.dataset import DatasetStore
from serving.histories.events import Event
from serving.histories.exported import ExportStore
from serving.histories.postgresql import PostgresqlStore
from serving.histories.redis import RedisStore
from serving.histories.sqlite import SqliteStore
from serving.ids import Id, IdTypes

EXPECTED = "expected sqlite:///FILE, postgresql://USER@HOST/NAME, redis://HOST/0, or the folder of a prepared data set"
SQLITE_FILE = b"SQLite format 3\0"


class HistoryStore(Protocol):
    """Histories of users, by original ids. All methods but `close` raise `StoreUnavailableError` if it is down.

    The methods may be called by several threads. After an error the next call connects again.
    """

    address: str
    """As it was opened, without a password."""
    read_only: bool

    @property
    def id_types(self) -> IdTypes | None:
        """Types of the ids; None for a store that is new and has no events yet."""

    def histories(self, users: Sequence[Id]) -> list[tuple[Id, ...] | None]:
        """The items of each user, the latest last, without duplicates; None for a user that is not known. One query.

        The items of a prepared data set or of an export are in no order of time: neither holds times.
        """

    def rows(self, users: Sequence[Id], training_users: str) -> list[int | None]:
        """The row of each user in the training matrix of a model; None for those that it was not trained on.

        Args:
            training_users: `Dataset.user_digest` of the model's training data.

        Raises:
            ValueError: the store does not know the rows of these training users.
        """

    def users(self, block: int = 4096) -> Iterator[list[Id]]:
        """All users, each once, in a fixed order."""

    def append(self, events: Iterable[Event]) -> int:
        """Write events; returns how many of them made a history longer or moved an item to its end.

        Many events are written in several transactions; `append_groups` takes one.

        Raises:
            ReadOnlyStoreError, ValueError: the store takes no events, or an id or a time is not valid.
        """

    def append_groups(self, groups: Sequence[Sequence[Event]]) -> list[int]:
        """Write groups of events in one transaction, in their order; returns of each group what `append` returns.

        All are written or none. Of several events of one user and item in a group, the latest counts.

        Raises:
            ReadOnlyStoreError, ValueError: as `append`; nothing is written.
        """

    def append_rows(self, users: Sequence[Id], first_row: int, training_users: str) -> None:
        """Write the rows of consecutive training users of a model; see `rows`."""

    def forget(self, users: Sequence[Id]) -> int:
        """Delete all that is known of users; returns how many were known."""

    def close(self) -> None:
        """Close the connection."""


def open_store(
    address: str,
    *,
    create: bool = False,
    id_types: IdTypes | None = None,
    view: str = "",
    must_answer: bool = True,
) -> HistoryStore:
    """Open a store.

    Args:
        address: sqlite:///FILE (or the file itself), postgresql://..., redis://..., the folder of a prepared data set,
            or an export that holds its users. The last two are read only.
        create: make the SQLite file or the tables of PostgreSQL if they are not there.
        id_types: of a new store; None for those of its first event.
        view: of the data set (`Dataset.viewed`).
        must_answer: ask the store at once; False for a server that has to start while its store is down.

    Raises:
        ValueError: the address is not understood, or there is no such store.
        StoreUnavailableError: the server does not answer.
    """
    store = _database(address, create, id_types)
    if store is None:
        return _folder(address, view)
    if must_answer:
        store.check()
    return store


def _database(
    address: str, create: bool, id_types: IdTypes | None
) -> SqliteStore | PostgresqlStore | RedisStore | None:
    """The store of an address with a scheme, or of an SQLite file; None for others."""
    scheme = address.split("://")[0].lower() if "://" in address else ""
    if scheme == "sqlite" or (not scheme and _is_sqlite(Path(address))):
        path = address.split("://", 1)[1].removeprefix("/") if scheme else address
        return SqliteStore(Path(path), create=create, id_types=id_types)
    if scheme in ("postgresql", "postgres"):
        return PostgresqlStore(address, create=create, id_types=id_types)
    if scheme in ("redis", "rediss"):
        return RedisStore(address, id_types=id_types)
    if scheme:
        raise ValueError(f"--store is an address of {scheme!r}, {EXPECTED}")
    return None


def _is_sqlite(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(SQLITE_FILE)) == SQLITE_FILE


def _folder(address: str, view: str) -> HistoryStore:
    folder = Path(address)
    if (folder / "manifest.json").is_file():
        return DatasetStore.open(folder, view)
    if (folder / "export.json").is_file() or (folder / "export" / "export.json").is_file():
        return ExportStore(folder)
    what = "is no prepared data set and no database" if folder.exists() else "does not exist"
    raise ValueError(f"--store: {address} {what}; {EXPECTED}")


def shown_address(address: str) -> str:
    """An address without a password, for messages and files.

    Raises:
        ValueError: the address is not understood.
    """
    scheme = address.split("://")[0].lower() if "://" in address else ""
    if scheme in ("postgresql", "postgres"):
        return postgresql.shown_address(address)
    return redis.shown_address(address) if scheme in ("redis", "rediss") else address


def lasting_address(address: str) -> str:
    """An address without a password that means the same in another folder, for files."""
    shown = shown_address(address)
    if shown.startswith("sqlite:"):
        path = Path(shown.split("://", 1)[1].removeprefix("/"))
        return f"sqlite:///{path.absolute()}"
    return shown if "://" in shown else str(Path(shown).absolute())


def has_password(address: str) -> bool:
    """Whether an address holds a password, which `shown_address` leaves out."""
    return "://" in address and (urlsplit(address).password is not None or "password=" in address)

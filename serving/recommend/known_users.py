"""What a store knows of the users of requests: their items and, for NCF, their rows in the training matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.data_set import MissingDataError
from serving.export_folder import ExportFolder, Id, IdTypes
from serving.histories.dataset import DatasetStore
from serving.histories.events import StoreUnavailableError
from serving.histories.exported import ExportStore
from serving.histories.store import HistoryStore, open_store


@dataclass(frozen=True)
class KnownUser:
    """A user of a request."""

    items: tuple[Id, ...] = ()
    """Original ids, the latest last."""
    is_known: bool = False
    row: int | None = None
    """In the training matrix; None for a model that takes no users, and for users that it was not trained on."""
    note: str = ""
    """Why the user is not known."""


NOBODY = KnownUser()
DOWN = "the store of histories does not answer"


def find_store(export: ExportFolder, address: str | None) -> HistoryStore | None:
    """The store of an address; without one the users of the export, or else its data set; None if there is none.

    Raises:
        ValueError: there is no such store, --data is another data set, or the ids of its items have another type.
        StoreUnavailableError: the server does not answer.
    """
    if address is not None:
        store = open_store(address, view=str(export.content.get("view", "")))
        check_item_type(export, store)
        return store
    if export.holds_users and export.data is None:
        return ExportStore(export)
    try:
        return DatasetStore(export.data_set)
    except MissingDataError:
        return None


def require_store(export: ExportFolder, address: str | None) -> HistoryStore:
    """As `find_store`.

    Raises:
        ValueError: there is none; one line that names --store and --data.
    """
    store = find_store(export, address)
    if store is None:
        raise ValueError(f"{_missing(export.folder)}: name a store with --store, or the data set with --data")
    return store


def _missing(export: Path) -> str:
    return f"{export} holds no users, and its data set is not where its run says"


def check_item_type(export: ExportFolder, store: HistoryStore) -> None:
    """Raise ValueError if the ids of the store's items have another type than the model's."""
    types = store.id_types
    if types is not None and types.item is not export.id_types.item:
        kinds = {int: "whole numbers", str: "text"}
        raise ValueError(
            f"the items of {store.address} are {kinds[types.item]}, those of the model are "
            f"{kinds[export.id_types.item]}; they have to be the same ids"
        )


def types_of_users(export: ExportFolder, store: HistoryStore | None) -> IdTypes:
    """The types of the ids in requests: users as the store has them, items as the model has them."""
    types = store.id_types if store is not None else None
    own = export.id_types
    if types is None or types.user is own.user:
        return own
    return IdTypes(user=types.user, item=own.item, below_zero=own.below_zero)


class KnownUsers:
    """Looks up the users of requests, those of a batch in one query."""

    def __init__(self, export: ExportFolder, store: HistoryStore | None, *, popular_if_down: bool = False) -> None:
        """
        Args:
            store: None where users are not known.
            popular_if_down: answer without what the store knows while it is down, and say so in the note.
        """
        self._export, self._store, self._popular_if_down = export, store, popular_if_down

    def find(self, users: Sequence[Id | None]) -> list[KnownUser]:
        """
        Args:
            users: one for each request; None for a request that names none.

        Raises:
            StoreUnavailableError: the store is down.
            ValueError: the store does not know which users the model was trained on (NCF).
        """
        named = list(dict.fromkeys(user for user in users if user is not None))
        if not named:
            return [NOBODY] * len(users)
        if self._store is None:
            why = "users are not known here: no store was named"
            found = {user: KnownUser(note=f"user {user}: {why}") for user in named}
        else:
            try:
                found = self._from_store(self._store, named)
            except StoreUnavailableError:
                if not self._popular_if_down:
                    raise
                found = {user: KnownUser(note=DOWN) for user in named}
        return [NOBODY if user is None else found[user] for user in users]

    def _from_store(self, store: HistoryStore, users: list[Id]) -> dict[Id, KnownUser]:
        histories = store.histories(users)
        wants_rows = self._export.knows_users
        rows = store.rows(users, self._export.training_users) if wants_rows else [None] * len(users)
        found = {}
        for user, items, row in zip(users, histories, rows, strict=True):
            is_known = row is not None if wants_rows else items is not None
            note = "" if is_known else f"user {user} is not known"
            if wants_rows and row is None and items is not None:
                note = f"user {user} is not known to the model, which ranks for the users that it was trained on"
            found[user] = KnownUser(items=items or (), is_known=is_known, row=row, note=note)
        return found

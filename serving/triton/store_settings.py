"""Which store of histories a served model reads: store.json in the model's folder, beside config.pbtxt.

It belongs to the model, not to a version: publishing and rolling back keep it. It holds no password; the server takes
that from its environment (PGPASSWORD, REDISCLI_AUTH). Triton does not show this file to its clients.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from serving.export_folder import ExportFolder, IdTypes
from serving.histories.store import HistoryStore, lasting_address, open_store
from serving.ids import type_name, type_named
from serving.recommend.known_users import check_item_type, types_of_users

FILE = "store.json"
ERROR, POPULAR = "error", "popular"


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """A store, and what becomes of requests that need it while it is down."""

    address: str
    """Without a password; a path in it is absolute."""
    user_type: str
    """`type_name` of the ids of users."""
    if_down: str = ERROR
    """ERROR, or POPULAR: such requests are answered without what the store knows."""
    view: str = ""
    """Of a data set (`Dataset.viewed`)."""

    def open(self) -> HistoryStore:
        """Open the store, which may be down."""
        return open_store(self.address, view=self.view, must_answer=False)


def read(model: Path) -> StoreSettings | None:
    """The settings of a model of a repository; None if it has no store.

    Raises:
        ValueError: the file is damaged.
    """
    path = model / FILE
    if not path.is_file():
        return None
    try:
        return StoreSettings(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}); build the repository again with --store") from None


def write(model: Path, settings: StoreSettings) -> None:
    """Write the settings of a model, under a temporary name that is renamed."""
    model.mkdir(parents=True, exist_ok=True)
    temporary = model / f".{FILE}.writing-{os.getpid()}"
    temporary.write_text(json.dumps(vars(settings), indent=2) + "\n")
    temporary.replace(model / FILE)


def check_and_describe(export: ExportFolder, address: str, if_down: str, *, takes_events: bool) -> StoreSettings:
    """The settings for an export, after the store was opened once.

    Args:
        takes_events: the store has to take events; it is made if it is not there.

    Raises:
        ValueError: there is no such store, it fits the export not, or takes no events.
        StoreUnavailableError: it is down.
    """
    view = str(export.content.get("view", ""))
    types = export.id_types if takes_events else None
    store = open_store(address, create=takes_events, id_types=types, view=view)
    try:
        check_item_type(export, store)
        if takes_events and store.read_only:
            raise ValueError(f"--accept-events: {store.address} is read only; take an SQLite file, PostgreSQL or Redis")
        if export.knows_users:
            store.rows([], export.training_users)  # raises ValueError if it does not know them
        user = types_of_users(export, store).user
    finally:
        store.close()
    return StoreSettings(address=lasting_address(address), user_type=type_name(user), if_down=if_down, view=view)


def id_types(model: Path, export: ExportFolder) -> IdTypes:
    """The types of the ids in requests to a model: users as its store has them, items as the export has them."""
    settings, own = read(model), export.id_types
    if settings is None:
        return own
    return IdTypes(user=type_named(settings.user_type), item=own.item, below_zero=own.below_zero)

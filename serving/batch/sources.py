"""The users that a command names: of a file, of a store, of a data set, or those of the export."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from serving.batch.stored import StoreUsers, users_of_store
from serving.batch.user_files import HistoryFile, read_users
from serving.batch.users import ChosenUsers, DataSetUsers, ExportUsers, UserSource
from serving.data_set import MissingDataError
from serving.export_folder import ExportFolder
from serving.histories.store import HistoryStore, open_store
from serving.recommend.known_users import check_item_type, types_of_users


@dataclass(frozen=True, kw_only=True)
class SourceChoice:
    """What the flags say; each None where the flag was not given."""

    users: Path | None = None
    histories: Path | None = None
    store: str | None = None
    data: Path | None = None
    notes: list[str] = field(default_factory=list, compare=False)
    """Filled by `open_source`: what the user should know of a file."""


def open_source(choice: SourceChoice, export: ExportFolder, kept: Path) -> UserSource:
    """
    Args:
        kept: file that keeps the list of a store's users while the batch goes on.

    Raises:
        ValueError: a file, the store or the data set cannot be read, or does not fit the model.
    """
    if choice.histories is not None:
        return _of_histories(choice, export)
    if choice.store is not None and not _is_data_set(choice.store):
        return _of_store(open_store(choice.store, view=str(export.content.get("view", ""))), choice, export, kept)
    everyone = _known_users(choice, export)
    if choice.users is None:
        return everyone
    ids, content, repeated = read_users(choice.users, export.id_types.user)
    _note_repeated(choice, repeated)
    return ChosenUsers(everyone, ids, content)


def _known_users(choice: SourceChoice, export: ExportFolder) -> ExportUsers | DataSetUsers:
    """The users of the data set that the flags name, else those of the export, else those of its data set.

    Raises:
        ValueError: there is none; one line that names --store and --data.
    """
    from recsys_core.dataset import Dataset

    folder = choice.data or (Path(choice.store) if choice.store and _is_data_set(choice.store) else None)
    if folder is not None:
        return DataSetUsers(export, Dataset.open(folder))
    if export.holds_users:
        return ExportUsers(export)
    try:
        return DataSetUsers(export, export.data_set)
    except MissingDataError as error:
        raise ValueError(f"{error}, or a store of histories with --store") from None


def _is_data_set(address: str) -> bool:
    return (Path(address) / "manifest.json").is_file()


def _of_histories(choice: SourceChoice, export: ExportFolder) -> HistoryFile:
    assert choice.histories is not None
    trained = _known_users(choice, export).model_rows if export.knows_users else None
    source = HistoryFile(choice.histories, export, trained)
    if source.unknown_items:
        text = f"{source.unknown_items:,} interactions of items that the model does not know are left out"
        choice.notes.append(text)
    return source


def _of_store(store: HistoryStore, choice: SourceChoice, export: ExportFolder, kept: Path) -> StoreUsers:
    check_item_type(export, store)
    types, fingerprint = types_of_users(export, store), f"store {store.address}"
    if choice.users is None:
        ids = users_of_store(store, types.user, kept)
    else:
        ids, content, repeated = read_users(choice.users, types.user)
        _note_repeated(choice, repeated)
        fingerprint += f", users {content}"
    rows = partial(store.rows, training_users=export.training_users) if export.knows_users else None
    return StoreUsers(store, ids, export, fingerprint, rows)


def _note_repeated(choice: SourceChoice, repeated: int) -> None:
    if repeated:
        choice.notes.append(f"--users {choice.users} names {repeated:,} users again; each is answered once")
